// Package rapid7 holds what the sources for Rapid7 Log Search (formerly Logentries) share: where the vendor lives, its
// documented limits, what LEQL may be sent, and the usage API. It is no source: it has no config of its own.
package rapid7

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/sluice-io/sluice/plugins/rest"
)

// Where the vendor lives.
const (
	Legacy      = "legacy" // the region's name of the host from before the regions
	legacyURL   = "https://rest.logentries.com"
	regionalURL = "https://%s.rest.logs.insight.rapid7.com"
)

// Regions are those that the vendor's documents name. Others are tried, since new ones come without a release of ours.
var Regions = []string{"us", "us2", "us3", "eu", "ca", "au", "ap", Legacy}

// RegionSchema is the text of the JSON Schema property region, which is needed unless base_url is given.
const RegionSchema = `"region": {"type": "string", "pattern": "^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$",
  "examples": ["us", "us2", "us3", "eu", "ca", "au", "ap", "legacy"],
  "description": "Where the account's data lives: us, us2, us3, eu, ca, au, ap, or legacy for rest.logentries.com. Needed unless base_url is given."}`

var region = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// Place is where an account's data lives: a region, or a base URL in its stead.
type Place struct{ Region, BaseURL string }

// NewPlace returns the place that settings name, trimmed, the region in lower case.
func NewPlace(region, baseURL string) Place {
	return Place{strings.ToLower(strings.TrimSpace(region)), strings.TrimSpace(baseURL)}
}

// URL is the base URL of the place.
func (p Place) URL() string {
	switch {
	case p.BaseURL != "":
		return p.BaseURL
	case p.Region == Legacy:
		return legacyURL
	}
	return fmt.Sprintf(regionalURL, p.Region)
}

// String names the place where a key should be valid, for hints.
func (p Place) String() string {
	if p.BaseURL != "" {
		return "base_url " + p.BaseURL
	}
	return "region " + p.Region
}

// NotFound is the hint of a 404: the vendor answers so to a wrong key and in a wrong region, too. missing says what else it may
// mean, such as that a log doesn't exist; it may be empty.
func (p Place) NotFound(missing string) string {
	if missing == "" {
		return "api_key is wrong, or it doesn't belong to " + p.String() + ": the vendor answers both alike"
	}
	where := "in "
	if p.BaseURL != "" {
		where = "at "
	}
	return missing + ", or it isn't " + where + p.String() + ", or api_key is wrong: the vendor answers all three alike"
}

// Validate returns everything that is wrong, each with its key.
func (p Place) Validate() error {
	var errs []error
	if p.Region == "" && p.BaseURL == "" {
		errs = append(errs, fmt.Errorf("region: is missing: want one of %s, or a base_url", strings.Join(Regions, ", ")))
	}
	if p.Region != "" && !region.MatchString(p.Region) {
		errs = append(errs, fmt.Errorf("region: %q can't be part of a host name: want one of %s", p.Region, strings.Join(Regions, ", ")))
	}
	if p.BaseURL != "" {
		if _, err := rest.ParseBaseURL(p.BaseURL, true); err != nil {
			errs = append(errs, fmt.Errorf("base_url: %w", err))
		}
	}
	return errors.Join(errs...)
}

// Warnings says what is odd about a valid place, a sentence each.
func (p Place) Warnings() []string {
	var out []string
	if p.BaseURL == "" && !slices.Contains(Regions, p.Region) {
		out = append(out, fmt.Sprintf("region %s is none that the vendor documents (%s)", p.Region, strings.Join(Regions, " ")))
	}
	if base, err := rest.ParseBaseURL(p.URL(), true); err == nil && showsKey(base) {
		out = append(out, "base_url is plain http: the network sees api_key")
	}
	return out
}

// showsKey says whether the key would travel unencrypted over a network.
func showsKey(base *url.URL) bool {
	if base.Scheme != "http" {
		return false
	}
	host := base.Hostname()
	addr, err := netip.ParseAddr(host)
	local := err == nil && addr.IsLoopback() || host == "localhost" || strings.HasSuffix(host, ".localhost")
	return !local
}

// CheckKey returns what is wrong with a credential of the settings; the error doesn't hold it.
func CheckKey(name, key string) error {
	switch {
	case key == "":
		return fmt.Errorf("%s: is empty", name)
	case strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }):
		return fmt.Errorf("%s: holds a character that no key has (white space, a line break or non-ASCII)", name)
	}
	return nil
}
