package elsa

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"time"
)

// Headers of the gateway's signature, version 2.
const (
	headerTimestamp = "X-Ncp-Apigw-Timestamp"
	headerAccessKey = "X-Ncp-Iam-Access-Key"
	headerSignature = "X-Ncp-Apigw-Signature-V2"
)

// signature returns the gateway's signature, version 2: base64 of the HMAC-SHA256 over method, target, time and access key.
// target is the path with its query, byte for byte as it is sent. The body is no part of it, whatever the vendor's prose says.
func signature(method, target, timestamp, accessKey, secretKey string) string {
	mac := hmac.New(sha256.New, []byte(secretKey))
	// A hash never fails to take bytes.
	_, _ = mac.Write([]byte(method + " " + target + "\n" + timestamp + "\n" + accessKey))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// sign adds the headers of a request that is sent now, and returns the signature.
func sign(r *http.Request, now time.Time, accessKey, secretKey string) string {
	timestamp := strconv.FormatInt(now.UnixMilli(), 10)
	signed := signature(r.Method, r.URL.RequestURI(), timestamp, accessKey, secretKey)
	r.Header.Set(headerTimestamp, timestamp)
	r.Header.Set(headerAccessKey, accessKey)
	r.Header.Set(headerSignature, signed)
	return signed
}
