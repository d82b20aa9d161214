package object

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/commitlog"
	"github.com/sluice-io/sluice/sinks/object/store"
	"github.com/sluice-io/sluice/sinks/partfile"
	"github.com/sluice-io/sluice/sinks/parts"
	"github.com/sluice-io/sluice/sinks/secure"
	"github.com/sluice-io/sluice/sinks/setting"
	"github.com/sluice-io/sluice/sinks/target"
)

const sinkType = "object"

// Providers, as in settings.
const (
	onS3    = "s3"
	onGCS   = "gcs"
	onAzure = "azure"
)

// schemes are the providers' in a url.
var schemes = map[string]string{"s3": onS3, "gs": onGCS, "azblob": onAzure}

// settings are an object sink's keys in a config.
type settings struct {
	URL         string          `json:"url"`
	Provider    string          `json:"provider"`
	Bucket      string          `json:"bucket"`
	Prefix      string          `json:"prefix"`
	Endpoint    string          `json:"endpoint"`
	Region      string          `json:"region"`
	PathStyle   *bool           `json:"path_style"`
	Credentials credentials     `json:"credentials"`
	TLS         secure.Settings `json:"tls"`
	Layout      string          `json:"layout"`
	PartSize    setting.Size    `json:"part_size"`
	Upload      upload          `json:"upload"`
	content
}

// credentials are keys of any provider; without them the provider's own chain is asked.
type credentials struct {
	AccessKey    string `json:"access_key"`
	SecretKey    string `json:"secret_key"`
	SessionToken string `json:"session_token"`
	SASToken     string `json:"sas_token"`
	File         string `json:"file"`
}

// upload is how large parts are sent.
type upload struct {
	PartSize    setting.Size `json:"part_size"`
	Concurrency int          `json:"concurrency"`
}

const (
	minPiece    = 5 << 20 // S3's
	maxPiece    = 1 << 30
	maxPieces   = 10_000    // of one object
	pieceUnit   = 256 << 10 // Google's: pieces are rounded down to it
	maxAtOnce   = 64
	minPartSize = 1 << 10
)

// schema describes settings.
const schema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "object sink",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "url": {
      "type": "string", "pattern": "^(s3|gs|azblob)://",
      "description": "Provider, bucket and prefix in one: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or azblob://CONTAINER/PREFIX; endpoint, region and path_style may follow as in a query (?region=eu-central-1). Or give bucket and the others as keys."
    },
    "provider": {"type": "string", "enum": ["s3", "gcs", "azure"], "default": "s3", "description": "Whose protocol the store speaks. s3: Amazon S3 and what is compatible to it."},
    "bucket": {"type": "string", "minLength": 1, "description": "The bucket; on Azure the container. It must be there."},
    "prefix": {"type": "string", "description": "What all keys begin with, a slash is added. One prefix belongs to one pipeline. {pipeline}, {source} and {labels.NAME} are replaced, their values escaped as Hive does."},
    "endpoint": {"type": "string", "minLength": 1, "description": "URL of the store, such as https://minio.example.com:9000; default: the provider's own. http:// is without TLS."},
    "region": {"type": "string", "minLength": 1, "description": "S3: the bucket's region; default: asked for. Most compatible stores take us-east-1."},
    "path_style": {"type": "boolean", "description": "S3: the bucket stands in the URL's path instead of in the host's name; default: true with an endpoint, else false."},
    "credentials": {
      "type": "object", "additionalProperties": false,
      "description": "Without them they are looked for where the provider's own tools do: environment, files of the user, role of the container or machine.",
      "properties": {
        "access_key": {"type": "string", "minLength": 1, "description": "S3: access key ID. Azure: name of the storage account."},
        "secret_key": {"type": "string", "minLength": 1, "x-sluice-secret": true, "description": "S3: secret access key. Azure: key of the account."},
        "session_token": {"type": "string", "minLength": 1, "x-sluice-secret": true, "description": "S3: token of temporary credentials."},
        "sas_token": {"type": "string", "minLength": 1, "x-sluice-secret": true, "description": "Azure: a shared access signature for the container instead of secret_key."},
        "file": {"type": "string", "minLength": 1, "description": "GCS: JSON file of a service account or of a workload identity, relative to the config file."}
      }
    },
    "tls": ` + secure.Schema + `,
    ` + parts.LayoutProperties + `,
    ` + contentProperties + `,
    "upload": {
      "type": "object", "additionalProperties": false,
      "description": "How objects that are larger than one piece are sent: a transaction holds concurrency + 1 pieces at most.",
      "properties": {
        "part_size": {"type": ["string", "integer"], "default": "8MiB", "minimum": 5242880, "pattern": "` + setting.SizePattern + `", "description": "Size of a piece, 5MiB to 1GiB; an object has 10000 at most."},
        "concurrency": {"type": "integer", "default": 2, "minimum": 1, "maximum": 64, "description": "Pieces of one object that are sent at once."}
      }
    }
  }
}`

func defaults() settings {
	d := parts.Defaults()
	return settings{Layout: d.Layout, PartSize: d.PartSize, content: contentDefaults(), Upload: upload{PartSize: 8 << 20, Concurrency: 2}}
}

// bucketName is what all providers take. Its length is looked at beside it: {1,220} would cost a millisecond at every start.
var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]+[a-z0-9]$`)

// longestBucket is the most that one of the providers takes, in bytes.
const longestBucket = 222

// place is settings in the shape in which they are used.
type place struct {
	settings
	at     store.Place
	format partfile.Format
}

// parse reads settings and reports everything that is wrong with them.
func parse(c sinks.Config) (place, error) {
	p := place{settings: defaults()}
	if err := setting.Decode(sinkType, c.Settings, &p.settings); err != nil {
		return p, err
	}
	errs := []error{p.fromURL(), p.checkKeys(), p.checkUpload()}
	p.Provider = cmp.Or(p.Provider, onS3)
	if p.Bucket == "" {
		errs = append(errs, errors.New("bucket: a bucket is needed, or url: s3://BUCKET/PREFIX"))
	} else if len(p.Bucket) > longestBucket || !bucketName.MatchString(p.Bucket) {
		errs = append(errs, fmt.Errorf("bucket: %q isn't the name of a bucket: 3 to 63 lower-case letters, digits, points, hyphens", p.Bucket))
	}
	var err error
	if p.at.Prefix, err = prefix(c, p.Prefix); err != nil {
		errs = append(errs, fmt.Errorf("prefix: %w", err))
	}
	p.at.Bucket = p.Bucket
	p.Upload.PartSize -= p.Upload.PartSize % pieceUnit
	errs = append(errs, p.connection(c))
	if p.format, err = p.newFormat(); err != nil {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return p, setting.Wrong(sinkType, err)
	}
	return p, nil
}

// fromURL puts what url says into the keys that it stands for.
func (p *place) fromURL() error {
	if p.URL == "" {
		return nil
	}
	if p.Bucket != "" || p.Prefix != "" || p.Provider != "" {
		return errors.New("url: it stands for provider, bucket and prefix: give either it or them")
	}
	// A prefix may have placeholders, whose braces no URL has.
	whole, query, _ := strings.Cut(p.URL, "?")
	scheme, rest, ok := strings.Cut(whole, "://")
	if p.Provider = schemes[scheme]; !ok || p.Provider == "" {
		return fmt.Errorf("url: %q begins with none of s3://, gs:// and azblob://", whole)
	}
	p.Bucket, p.Prefix, _ = strings.Cut(rest, "/")
	values, err := url.ParseQuery(query)
	if err != nil {
		return fmt.Errorf("url: %w", err)
	}
	var errs []error
	for key, v := range values {
		switch {
		case key == "region" && p.Region == "":
			p.Region = v[0]
		case key == "endpoint" && p.Endpoint == "":
			p.Endpoint = v[0]
		case key == "path_style" && p.PathStyle == nil:
			on, err := strconv.ParseBool(v[0])
			p.PathStyle = &on
			errs = append(errs, err)
		default:
			errs = append(errs, fmt.Errorf("url: %s isn't one of endpoint, region and path_style, or is there twice", key))
		}
	}
	return errors.Join(errs...)
}

// checkKeys reports keys of another provider.
func (p *place) checkKeys() error {
	var errs []error
	c := p.Credentials
	for _, k := range []struct {
		name  string
		given bool
		of    []string
	}{
		{"region", p.Region != "", []string{onS3}},
		{"path_style", p.PathStyle != nil, []string{onS3}},
		{"credentials.access_key", c.AccessKey != "", []string{onS3, onAzure}},
		{"credentials.secret_key", c.SecretKey != "", []string{onS3, onAzure}},
		{"credentials.session_token", c.SessionToken != "", []string{onS3}},
		{"credentials.sas_token", c.SASToken != "", []string{onAzure}},
		{"credentials.file", c.File != "", []string{onGCS}},
	} {
		if of := cmp.Or(p.Provider, onS3); k.given && !slices.Contains(k.of, of) {
			errs = append(errs, fmt.Errorf("%s: it is for %s, and the provider is %s", k.name, strings.Join(k.of, " and "), of))
		}
	}
	switch of := cmp.Or(p.Provider, onS3); {
	case of == onS3 && (c.AccessKey == "") != (c.SecretKey == ""):
		errs = append(errs, errors.New("credentials: access_key and secret_key go together: one of them is missing"))
	case of == onAzure && c.AccessKey == "" && p.Endpoint == "":
		errs = append(errs, errors.New("credentials.access_key: the storage account's name is needed"))
	case of == onAzure && c.SecretKey != "" && c.SASToken != "":
		errs = append(errs, errors.New("credentials: secret_key or sas_token, not both"))
	}
	return errors.Join(errs...)
}

func (p *place) checkUpload() error {
	var errs []error
	if p.PartSize < minPartSize {
		errs = append(errs, fmt.Errorf("part_size: %d bytes is less than %d", p.PartSize, minPartSize))
	}
	u := p.Upload
	if u.PartSize < minPiece || u.PartSize > maxPiece {
		errs = append(errs, fmt.Errorf("upload.part_size: %d bytes isn't between 5MiB and 1GiB", u.PartSize))
	} else if p.PartSize > u.PartSize*(maxPieces*9/10) {
		errs = append(errs, fmt.Errorf("upload.part_size: an object has %d pieces at most, too few for part_size: raise one or lower the other", maxPieces))
	}
	if u.Concurrency < 1 || u.Concurrency > maxAtOnce {
		errs = append(errs, fmt.Errorf("upload.concurrency: %d isn't between 1 and %d", u.Concurrency, maxAtOnce))
	}
	return errors.Join(errs...)
}

// connection works out endpoint and TLS.
func (p *place) connection(c sinks.Config) error {
	if p.Endpoint != "" {
		if !strings.Contains(p.Endpoint, "://") {
			if p.Endpoint = "https://" + p.Endpoint; !p.TLS.On(true) {
				p.Endpoint = "http" + strings.TrimPrefix(p.Endpoint, "https")
			}
		}
		u, err := url.Parse(p.Endpoint)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" {
			return errors.New("endpoint: it isn't of the form https://host:port")
		}
		if p.Provider != onAzure && strings.Trim(u.Path, "/") != "" {
			return errors.New("endpoint: it has a path; bucket and prefix have keys of their own")
		}
		p.at.Endpoint = strings.TrimSuffix(p.Endpoint, "/")
	}
	plain := strings.HasPrefix(p.Endpoint, "http://")
	if plain != !p.TLS.On(!plain) {
		return errors.New("tls: it says the contrary of endpoint: http:// is without TLS")
	}
	if plain {
		return nil
	}
	var err error
	p.at.TLS, err = p.TLS.Config(c.Base)
	return err
}

// prefix fills the placeholders in.
func prefix(c sinks.Config, text string) (string, error) {
	t, err := target.Parse(strings.Trim(text, "/"))
	if err != nil {
		return "", err
	}
	for _, name := range target.Names() {
		if name != "pipeline" && name != "source" && t.Uses(name) {
			return "", fmt.Errorf("{%s} isn't known when the sink is opened: put it into layout", name)
		}
	}
	at, err := t.Fill(target.Values{Pipeline: c.Pipeline, Source: c.Source, Labels: c.Labels}, commitlog.EscapeName)
	if err != nil {
		return "", err
	}
	if at != "" && path.Clean("/"+at) != "/"+at {
		return "", fmt.Errorf("%q has an empty name, . or .. between its slashes", at)
	}
	return at, nil
}

func (p place) options() parts.Options {
	return parts.Options{
		Type: sinkType, Settings: parts.Settings{Layout: p.Layout, PartSize: p.PartSize}, Format: p.format,
		Buffer: int64(p.Upload.PartSize) * int64(p.Upload.Concurrency+1),
	}
}
