package logentries

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"time"
)

// contentType is sent and signed with every request of the owner: the vendor's document calls it optional and shows it.
const contentType = "application/json"

// sign returns the signature of one request in base64: HMAC-SHA1, keyed by the owner key's text, over method, content type,
// date, path and the base64 of the body's SHA-256, with nothing between them. The path has neither host nor query nor a
// slash at either end; the date and the body must be the very bytes that are sent.
func sign(ownerKey, method, contentType, date, path string, body []byte) string {
	sum := sha256.Sum256(body)
	mac := hmac.New(sha1.New, []byte(ownerKey))
	// The vendor's sample leaves this out, and so shows one signature for every request.
	mac.Write([]byte(method + contentType + date + path + base64.StdEncoding.EncodeToString(sum[:])))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// signedPath returns a URL's path as it is signed.
func signedPath(path string) string {
	path, _, _ = strings.Cut(path, "?")
	return strings.Trim(path, "/")
}

// signOwner proves the owner for one request, by a signature over what is about to be sent, and returns what proves it. The
// owner key itself is never part of it. The request has no body.
func (s *settings) signOwner(r *http.Request, now time.Time) (proof string) {
	date := now.UTC().Format(http.TimeFormat)
	proof = sign(s.OwnerKey, r.Method, contentType, date, signedPath(r.URL.EscapedPath()), nil)
	r.Header.Set("Date", date)
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Authorization-Api-Key", s.OwnerKeyID+":"+proof)
	return proof
}
