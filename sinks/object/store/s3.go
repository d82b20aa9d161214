package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/sluice-io/sluice/proto/fault"
	"github.com/sluice-io/sluice/sinks/commitlog"
)

// S3Options are what a client of S3, or of a store that speaks its protocol, is made with.
type S3Options struct {
	Place
	Region    string // empty: asked for
	PathStyle bool   // the bucket stands in the path, not in the host's name
	// Credentials; without AccessKey they are looked for where Amazon's tools do: the environment, ~/.aws/credentials, the role of
	// the container or machine.
	AccessKey, SecretKey, SessionToken string
}

// S3 is a Store in a bucket. Its errors name the right that is missing.
type S3 struct {
	place Place
	core  minio.Core
	puts  minio.Core // sends a request once: of a conditional one every answer counts, and a try that ends may leave its body being read
	http  *http.Transport
}

var _ commitlog.Store = (*S3)(nil)

// NewS3 returns a client. Credentials are looked for, the bucket isn't asked.
func NewS3(o S3Options) (*S3, error) {
	const op = "connect to the store"
	endpoint := o.Endpoint
	if endpoint == "" {
		endpoint = "https://s3.amazonaws.com"
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, fault.New(fault.Config, op, "write the endpoint as https://host:port", err)
	}
	tr := transport(o.TLS)
	creds := credentials.NewStaticV4(o.AccessKey, o.SecretKey, o.SessionToken)
	if o.AccessKey == "" {
		creds = credentials.NewChainCredentials([]credentials.Provider{
			&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}, &credentials.IAM{Client: &http.Client{Transport: tr, Timeout: 10 * time.Second}},
		})
		v, err := creds.GetWithContext(nil)
		if err != nil || v.AccessKeyID == "" {
			tr.CloseIdleConnections()
			return nil, fault.New(fault.Auth, op,
				"set credentials.access_key and secret_key, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role that may write to the bucket",
				errors.New("no credentials: neither in the settings, nor in the environment, ~/.aws/credentials or the machine's role"))
		}
	}
	lookup := minio.BucketLookupDNS
	if o.PathStyle {
		lookup = minio.BucketLookupPath
	}
	client := func(tries int) (minio.Core, error) {
		core, err := minio.NewCore(u.Host, &minio.Options{
			Creds: creds, Secure: u.Scheme != "http", Transport: straight{tr}, Region: o.Region, BucketLookup: lookup, MaxRetries: tries,
		})
		if err != nil {
			return minio.Core{}, fault.New(fault.Config, op, "write the endpoint as https://host:port", err)
		}
		core.SetAppInfo("sluice", "1")
		return *core, nil
	}
	s := &S3{place: o.Place, http: tr}
	if s.core, err = client(tries); err != nil {
		return nil, err
	}
	if s.puts, err = client(1); err != nil {
		return nil, err
	}
	return s, nil
}

// straight gives answers to requests with a body back as those that net/http doesn't follow: before it asks whether it should, it closes the
// body of the request, which the transport may still be sending and minio's signing reader doesn't bear. Nothing of a store is ever
// redirected: S3 says so of a bucket in another region.
type straight struct{ http.RoundTripper }

// sentKey is what a context has the bodies by that its requests send: minio hands a transport none that tells when it is closed.
type sentKey struct{}

// RoundTrip implements http.RoundTripper.
func (s straight) RoundTrip(r *http.Request) (*http.Response, error) {
	if sent, ok := r.Context().Value(sentKey{}).(*bodies); ok && r.Body != nil && r.Body != http.NoBody {
		r = r.WithContext(r.Context()) // a copy: it isn't changed for whoever made it
		r.Body = sent.of(r.Body)
	}
	res, err := s.RoundTripper.RoundTrip(r)
	if err != nil || r.Body == nil {
		return res, err
	}
	switch res.StatusCode {
	case http.StatusMovedPermanently:
		res.StatusCode = http.StatusPermanentRedirect
	case http.StatusFound, http.StatusSeeOther:
		res.StatusCode = http.StatusTemporaryRedirect
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return res, nil
	}
	res.Header.Del("Location") // without it these two aren't followed
	return res, nil
}

// Close ends idle connections.
func (s *S3) Close() error {
	s.http.CloseIdleConnections()
	return nil
}

// Location implements commitlog.Store.
func (s *S3) Location() string { return s.place.location("s3") }

// Get implements commitlog.Store.
func (s *S3) Get(ctx context.Context, key string) ([]byte, error) {
	body, _, _, err := s.core.GetObject(ctx, s.place.Bucket, s.place.key(key), minio.GetObjectOptions{})
	if err != nil {
		return nil, s.fault("read "+key, "s3:GetObject", err)
	}
	b, err := io.ReadAll(io.LimitReader(body, maxObject+1))
	if err = errors.Join(err, body.Close()); err != nil {
		return nil, s.fault("read "+key, "s3:GetObject", err)
	}
	if len(b) > maxObject {
		return nil, fault.Errorf(fault.Config, "read "+key, "it is larger than %d bytes: no entry is", maxObject)
	}
	return b, nil
}

// GetRange implements commitlog.Store. A connection that breaks within the answer is no reason to begin a large object anew.
func (s *S3) GetRange(ctx context.Context, key string, off, n int64) (b []byte, size int64, err error) {
	for try := 1; try <= tries && backoff(ctx, try); try++ {
		b, size, err = s.getRange(ctx, key, off, n)
		if err == nil || !brokeOff(err) {
			break
		}
	}
	if err = errors.Join(err, ctx.Err()); err != nil {
		return nil, 0, s.fault("read "+key, "s3:GetObject", err)
	}
	return b, size, nil
}

// brokeOff reports whether an error is of a connection, not the store's answer.
func brokeOff(err error) bool {
	var answered minio.ErrorResponse
	return !errors.As(err, &answered)
}

func (s *S3) getRange(ctx context.Context, key string, off, n int64) ([]byte, int64, error) {
	var o minio.GetObjectOptions
	if err := o.SetRange(off, off+n-1); err != nil {
		return nil, 0, err
	}
	body, _, header, err := s.core.GetObject(ctx, s.place.Bucket, s.place.key(key), o)
	if minio.ToErrorResponse(err).Code == "InvalidRange" { // off is at its end or beyond
		i, err := s.core.StatObject(ctx, s.place.Bucket, s.place.key(key), minio.StatObjectOptions{})
		return nil, i.Size, err
	}
	if err != nil {
		return nil, 0, err
	}
	b, err := io.ReadAll(io.LimitReader(body, maxObject))
	if err = errors.Join(err, body.Close()); err != nil {
		return nil, 0, err
	}
	return rangeOf(header, b, off, n)
}

func absent() (o minio.PutObjectOptions) {
	o.SetMatchETagExcept("*")
	return o
}

// PutAbsent implements commitlog.Store.
func (s *S3) PutAbsent(ctx context.Context, key string, b []byte) error {
	return s.conditionally(ctx, "write "+key, func(ctx context.Context) error {
		_, err := s.puts.PutObject(ctx, s.place.Bucket, s.place.key(key), bytes.NewReader(b), int64(len(b)), "", "", absent())
		return err
	})
}

// conditionally sends a conditional request until its outcome is known.
func (s *S3) conditionally(ctx context.Context, op string, send func(context.Context) error) error {
	unsure, err := again(ctx, send)
	return unlessUnsure(op, unsure, s.fault(op, "s3:PutObject", err))
}

// again sends a request whose body is made anew each time: again while another one for the same key is under way, for which S3 asks, while
// the store is busy, or when the connection broke. After success no transport reads a body any more. unsure says that a try which nothing
// told the outcome of may have taken place.
func again(ctx context.Context, send func(context.Context) error) (unsure bool, err error) {
	var sent bodies
	tracked := context.WithValue(ctx, sentKey{}, &sent)
	for n := 1; n <= tries && backoff(ctx, n); n++ {
		if err = send(tracked); err == nil {
			sent.open.Wait()
			return unsure, nil
		}
		var r minio.ErrorResponse
		switch answered := errors.As(err, &r); {
		case !answered, busy(r.StatusCode), r.Code == "RequestTimeout": // the latter with status 400
			unsure = unsure || r.Code != "SlowDown" && r.Code != "SlowDownWrite" // these were put off
			continue
		case r.Code == "ConditionalRequestConflict", r.Code == "OperationAborted":
			continue
		case r.Region != "" && (r.Code == "AuthorizationHeaderMalformed" || r.Code == "InvalidRegion"): // the client knows the region now
			continue
		}
		break
	}
	return unsure, errors.Join(err, ctx.Err())
}

// Delete implements commitlog.Store.
func (s *S3) Delete(ctx context.Context, key string) error {
	err := s.fault("delete "+key, "s3:DeleteObject", s.core.RemoveObject(ctx, s.place.Bucket, s.place.key(key), minio.RemoveObjectOptions{}))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// List implements commitlog.Store.
func (s *S3) List(ctx context.Context, prefix, after string, folders bool) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		o := minio.ListObjectsOptions{Prefix: s.place.key(prefix), Recursive: !folders}
		if after != "" {
			o.StartAfter = s.place.key(after)
		}
		for i := range s.core.ListObjectsIter(ctx, s.place.Bucket, o) {
			if i.Err != nil {
				yield("", s.fault("list "+prefix, "s3:ListBucket", i.Err))
				return
			}
			if !yield(s.place.relative(i.Key), nil) {
				return
			}
		}
	}
}

// AbortUploads implements commitlog.Store.
func (s *S3) AbortUploads(ctx context.Context, prefix string, match func(key string) bool) error {
	keyAfter, idAfter := "", ""
	for {
		page, err := s.core.ListMultipartUploads(ctx, s.place.Bucket, s.place.key(prefix), keyAfter, idAfter, "", 1000)
		if err != nil {
			return s.fault("list unfinished uploads below "+prefix, "s3:ListBucketMultipartUploads", err)
		}
		for _, u := range page.Uploads {
			key := s.place.relative(u.Key)
			if !match(key) {
				continue
			}
			if err := s.abort(ctx, key, u.UploadID); err != nil {
				return err
			}
		}
		if !page.IsTruncated {
			return nil
		}
		keyAfter, idAfter = page.NextKeyMarker, page.NextUploadIDMarker
	}
}

func (s *S3) abort(ctx context.Context, key, id string) error {
	err := s.fault("give up the upload of "+key, "s3:AbortMultipartUpload", s.core.AbortMultipartUpload(ctx, s.place.Bucket, s.place.key(key), id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// NewUpload implements commitlog.Store.
func (s *S3) NewUpload(ctx context.Context, key string) (commitlog.Upload, error) {
	id, err := s.core.NewMultipartUpload(ctx, s.place.Bucket, s.place.key(key), minio.PutObjectOptions{})
	if err != nil {
		return nil, s.fault("begin the upload of "+key, "s3:PutObject", err)
	}
	return &s3Upload{store: s, key: key, id: id}, nil
}

type s3Upload struct {
	store   *S3
	key, id string

	mu    sync.Mutex
	parts []minio.CompletePart
}

// Put implements commitlog.Upload.
func (u *s3Upload) Put(ctx context.Context, n int, b []byte) error {
	s := u.store
	var part minio.ObjectPart
	_, err := again(ctx, func(ctx context.Context) (err error) {
		part, err = s.puts.PutObjectPart(ctx, s.place.Bucket, s.place.key(u.key), u.id, n, bytes.NewReader(b), int64(len(b)), minio.PutObjectPartOptions{})
		return err
	})
	if err != nil {
		return s.fault(fmt.Sprintf("send piece %d of %s", n, u.key), "s3:PutObject", err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.parts = append(u.parts, minio.CompletePart{PartNumber: n, ETag: part.ETag})
	return nil
}

// Complete implements commitlog.Upload.
func (u *s3Upload) Complete(ctx context.Context) error {
	s := u.store
	slices.SortFunc(u.parts, func(a, b minio.CompletePart) int { return a.PartNumber - b.PartNumber })
	return s.conditionally(ctx, "complete "+u.key, func(ctx context.Context) error {
		_, err := s.puts.CompleteMultipartUpload(ctx, s.place.Bucket, s.place.key(u.key), u.id, u.parts, absent())
		return err
	})
}

// Abort implements commitlog.Upload.
func (u *s3Upload) Abort(ctx context.Context) error { return u.store.abort(ctx, u.key, u.id) }

// fault classifies what S3 answered. right is what the credentials must be allowed.
func (s *S3) fault(op, right string, err error) error {
	if err == nil {
		return nil
	}
	var r minio.ErrorResponse
	if !errors.As(err, &r) {
		return unreachable(op, s.core.EndpointURL().String(), err)
	}
	said := fmt.Errorf("%s (%s, HTTP %d)", r.Message, r.Code, r.StatusCode)
	wrong := func(kind fault.Kind, format string, args ...any) error {
		return fault.New(kind, op, fmt.Sprintf(format, args...), said)
	}
	switch r.Code {
	case "NoSuchKey", "NoSuchUpload":
		return fmt.Errorf("%s: %w: %w", op, said, fs.ErrNotExist)
	case "PreconditionFailed":
		return fmt.Errorf("%s: %w: %w", op, said, fs.ErrExist)
	case "NoSuchBucket":
		return wrong(fault.Config, "there is no bucket %q at %s: make it, or correct bucket, region or endpoint", s.place.Bucket, s.core.EndpointURL())
	case "InvalidAccessKeyId", "InvalidToken", "ExpiredToken", "TokenRefreshRequired", "XAdminUserNotFound":
		return wrong(fault.Auth, "the store doesn't know the access key, or its session has ended: check credentials.access_key and session_token")
	case "SignatureDoesNotMatch":
		return wrong(fault.Auth, "credentials.secret_key isn't the one of the access key")
	case "RequestTimeTooSkewed":
		return wrong(fault.Config, "this machine's clock is wrong: signatures hold for 15 minutes (timedatectl tells)")
	case "AccessDenied", "AllAccessDisabled", "AccountProblem":
		return wrong(fault.Auth, "allow the credentials %s on bucket %q below %q", right, s.place.Bucket, s.place.Prefix)
	case "AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException", "TemporaryRedirect":
		where := "the region of the bucket"
		if r.Region != "" {
			where = r.Region
		}
		return wrong(fault.Config, "set region to %s", where)
	case "EntityTooSmall":
		return wrong(fault.Config, "raise upload.part_size to 5MiB at least: the store takes no smaller pieces")
	case "EntityTooLarge":
		return wrong(fault.Config, "lower upload.part_size or part_size")
	case "NotImplemented", "InvalidArgument", "InvalidRequest", "MethodNotAllowed":
		return wrong(fault.Config, "the store can't do what the sink needs: conditional writes, multipart uploads and lists of version 2")
	case "SlowDown", "SlowDownWrite", "SlowDownRead", "Throttling", "RequestLimitExceeded":
		return wrong(fault.Transient, "the store asks for fewer requests; it is tried again")
	}
	switch r.StatusCode {
	case http.StatusPreconditionFailed:
		return fmt.Errorf("%s: %w: %w", op, said, fs.ErrExist)
	case http.StatusNotFound: // not NoSuchKey: it must not read as an object that isn't there
		return wrong(fault.Config, "does S3 answer at %s?", s.core.EndpointURL())
	case http.StatusForbidden, http.StatusUnauthorized:
		return wrong(fault.Auth, "allow the credentials %s on bucket %q below %q", right, s.place.Bucket, s.place.Prefix)
	case http.StatusMovedPermanently, http.StatusPermanentRedirect, http.StatusTemporaryRedirect:
		return wrong(fault.Config, "set region or endpoint to where the bucket is")
	}
	return fault.New(fault.Transient, op, "", said)
}
