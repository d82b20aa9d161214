package logentries

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/sluice-io/sluice/plugins/rest"
	"github.com/sluice-io/sluice/proto/fault"
)

// link is one of an answer's links. Relations are compared without regard to case: the vendor's documents differ.
type link struct{ rel, href string }

func find(links []link, rel string) (href string, ok bool) {
	for _, l := range links {
		if strings.EqualFold(l.rel, rel) && l.href != "" {
			return l.href, true
		}
	}
	return "", false
}

// vendorHost matches the hosts under which the vendor answers a key: links of one may point to another.
var vendorHost = regexp.MustCompile(`^(rest\.logentries\.com|[a-z0-9-]+\.(rest\.logs|api)\.insight\.rapid7\.com)$`)

// target is where a link leads: an origin that may see the key, and the rest of the link as the vendor wrote it. IDs in it
// hold characters that must not be escaped anew.
type target struct{ origin, path string }

// follow reads a link of an answer that came from base. Only base's own origin and the vendor's hosts are followed, over
// HTTPS, or over plain HTTP if that is what the user configured.
func follow(href string, base *url.URL) (target, error) {
	const op = "follow a link"
	u, err := url.Parse(href)
	if err != nil {
		return target{}, fault.New(fault.Corrupt, op, "", errors.New("the vendor's link can't be read"))
	}
	own := rest.Origin(base)
	href, _, _ = strings.Cut(href, "#")
	if u.Scheme == "" && u.Host == "" && strings.HasPrefix(href, "/") {
		return target{own, href}, nil
	}
	if u.Host == "" || u.Opaque != "" || u.Path == "" {
		return target{}, fault.New(fault.Corrupt, op, "", errors.New("the vendor's link is no URL with a host and a path"))
	}
	origin := rest.Origin(u)
	if u.Scheme == "" { // "//host/path"
		origin = base.Scheme + ":" + strings.TrimPrefix(origin, ":")
	}
	allowed := origin == own || strings.HasPrefix(origin, "https://") && vendorHost.MatchString(strings.TrimPrefix(origin, "https://"))
	if !allowed || u.User != nil {
		return target{}, fault.New(fault.Config, op,
			"nothing was sent there, the key neither; if you trust that host, set base_url to it",
			fmt.Errorf("the vendor's link leads to %s", origin))
	}
	_, rest, _ := strings.Cut(href, "//")
	return target{origin, rest[strings.IndexByte(rest, '/'):]}, nil
}
