package store

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// sharedKey signs requests with the key of a storage account.
func sharedKey(account string, key []byte) func(context.Context, *http.Request, []byte) error {
	return func(_ context.Context, r *http.Request, body []byte) error {
		r.Header.Set("X-Ms-Date", time.Now().UTC().Format(http.TimeFormat))
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(stringToSign(account, r, len(body))))
		r.Header.Set("Authorization", "SharedKey "+account+":"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		return nil
	}
}

// stringToSign is what the signature is of: method, headers, and the resource with its query.
func stringToSign(account string, r *http.Request, length int) string {
	size := ""
	if length > 0 {
		size = strconv.Itoa(length)
	}
	h := r.Header.Get
	lines := []string{
		r.Method, h("Content-Encoding"), h("Content-Language"), size, h("Content-Md5"), h("Content-Type"), "", // the date is X-Ms-Date's
		h("If-Modified-Since"), h("If-Match"), h("If-None-Match"), h("If-Unmodified-Since"), h("Range"),
	}
	var own []string
	for name, v := range r.Header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-ms-") {
			own = append(own, name+":"+strings.Join(v, ","))
		}
	}
	slices.Sort(own)
	lines = append(append(lines, own...), "/"+account+r.URL.EscapedPath())
	var query []string
	for name, v := range r.URL.Query() {
		slices.Sort(v)
		query = append(query, strings.ToLower(name)+":"+strings.Join(v, ","))
	}
	slices.Sort(query)
	return strings.Join(append(lines, query...), "\n")
}

// managedIdentity asks the machine's metadata service for tokens of its identity.
func managedIdentity() oauth2.TokenSource {
	return oauth2.ReuseTokenSource(nil, identitySource{&http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}})
}

type identitySource struct{ http *http.Client }

// Token implements oauth2.TokenSource.
func (s identitySource) Token() (*oauth2.Token, error) {
	q := url.Values{"api-version": {"2018-02-01"}, "resource": {"https://storage.azure.com/"}}
	if id := os.Getenv("AZURE_CLIENT_ID"); id != "" {
		q.Set("client_id", id)
	}
	r, err := http.NewRequest(http.MethodGet, "http://169.254.169.254/metadata/identity/oauth2/token?"+q.Encode(), nil) //nolint:noctx // the client has a timeout
	if err != nil {
		return nil, err
	}
	r.Header.Set("Metadata", "true")
	res, err := s.http.Do(r)
	if err != nil {
		return nil, errors.New("no key, no SAS token, and the machine's metadata service doesn't answer")
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return nil, err
	}
	var t struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   string `json:"expires_in"`
	}
	if err := json.Unmarshal(b, &t); err != nil || t.AccessToken == "" {
		return nil, fmt.Errorf("the machine's metadata service gives no token (HTTP %d): has the machine an identity?", res.StatusCode)
	}
	seconds, err := strconv.Atoi(t.ExpiresIn)
	if err != nil {
		seconds = 300
	}
	return &oauth2.Token{AccessToken: t.AccessToken, TokenType: "Bearer", Expiry: time.Now().Add(time.Duration(seconds) * time.Second)}, nil
}
