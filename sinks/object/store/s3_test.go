package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/sluice-io/sluice/internal/testsize"
	"github.com/sluice-io/sluice/proto/fault"
)

func TestMain(m *testing.M) {
	testsize.Crowd()
	goleak.VerifyTestMain(m)
}

const secret = "hush-hush-hush"

// answering returns a client whose every request is answered by h.
func answering(t *testing.T, h http.HandlerFunc) *S3 {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	s, err := NewS3(S3Options{
		Place: Place{Bucket: "lake", Prefix: "p", Endpoint: server.URL}, Region: "us-east-1", PathStyle: true, AccessKey: "k", SecretKey: secret,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func xmlError(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>said</Message><BucketName>lake</BucketName><RequestId>1</RequestId></Error>`, code)
}

// What a store answers, and what is to be done about it.
func TestS3Errors(t *testing.T) {
	for _, tt := range []struct {
		status int
		code   string
		kind   fault.Kind
		hint   string
		is     error
	}{
		{404, "NoSuchKey", fault.Unknown, "", fs.ErrNotExist},
		{412, "PreconditionFailed", fault.Unknown, "", fs.ErrExist},
		{404, "NoSuchBucket", fault.Config, `no bucket "lake"`, nil},
		{404, "NoSuchThing", fault.Config, "does S3 answer", nil},
		{403, "InvalidAccessKeyId", fault.Auth, "access_key", nil},
		{403, "SignatureDoesNotMatch", fault.Auth, "secret_key", nil},
		{403, "RequestTimeTooSkewed", fault.Config, "clock", nil},
		{403, "AccessDenied", fault.Auth, "s3:", nil},
		{403, "Other", fault.Auth, "s3:", nil},
		{400, "AuthorizationHeaderMalformed", fault.Config, "region", nil},
		{301, "PermanentRedirect", fault.Config, "region", nil},
		{301, "Moved", fault.Config, "region", nil},
		{307, "Moved", fault.Config, "region", nil},
		{501, "NotImplemented", fault.Config, "conditional writes", nil},
		{400, "Strange", fault.Transient, "", nil},
	} {
		s := answering(t, func(w http.ResponseWriter, _ *http.Request) { xmlError(w, tt.status, tt.code) })
		ctx := context.Background()
		for right, err := range map[string]error{
			"s3:GetObject": func() error { _, err := s.Get(ctx, "x"); return err }(),
			"s3:PutObject": s.PutAbsent(ctx, "x", []byte("y")),
			"s3:ListBucket": func() error {
				for _, err := range s.List(ctx, "", "", false) {
					return err
				}
				return nil
			}(),
			"s3:DeleteObject": s.Delete(ctx, "x"),
		} {
			if tt.code == "NoSuchKey" && right == "s3:DeleteObject" {
				if err != nil {
					t.Errorf("delete what isn't there: %v", err)
				}
				continue
			}
			if err == nil || fault.KindOf(err) != tt.kind || !strings.Contains(fault.HintOf(err), tt.hint) || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%s, %s: %v: %v (%s)", tt.code, right, fault.KindOf(err), err, fault.HintOf(err))
			}
			if tt.hint == "s3:" && !strings.Contains(fault.HintOf(err), right) {
				t.Errorf("%s: the hint %q doesn't name the right %s", tt.code, fault.HintOf(err), right)
			}
			if strings.Contains(fmt.Sprint(err, fault.HintOf(err)), secret) {
				t.Errorf("%s: the secret is in %v", tt.code, err)
			}
		}
	}
}

// A busy store, and one that has another conditional request under way, is asked again, with the condition each time.
func TestS3AsksAgain(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"SlowDown", "ConditionalRequestConflict"} {
		var asked, conditional atomic.Int64
		s := answering(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("If-None-Match") == "*" {
				conditional.Add(1)
			}
			if asked.Add(1) < 3 {
				xmlError(w, map[string]int{"SlowDown": 503, "ConditionalRequestConflict": 409}[code], code)
			}
		})
		if err := s.PutAbsent(context.Background(), "x", []byte("y")); err != nil || asked.Load() != 3 || conditional.Load() != 3 {
			t.Errorf("%s: %v after %d requests, %d of them conditional", code, err, asked.Load(), conditional.Load())
		}
	}
}

// A connection that breaks leaves the outcome open.
func TestS3Unknown(t *testing.T) {
	t.Parallel()
	s := answering(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	if err := s.PutAbsent(context.Background(), "x", []byte("y")); fault.KindOf(err) != fault.Transient {
		t.Errorf("%v: %v", fault.KindOf(err), err)
	}
}

// TestRedirectsOfWrites: an answer that redirects may come before a body has been sent. The client must not close the body of a request whose
// sending goes on, which minio's signing reader doesn't bear.
func TestRedirectsOfWrites(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 302, 303, 307, 308} {
		s := answering(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
			xmlError(w, status, "PermanentRedirect")
		})
		for range 20 {
			if err := s.PutAbsent(t.Context(), "x", make([]byte, 64<<10)); fault.KindOf(err) != fault.Config || !strings.Contains(fault.HintOf(err), "region") {
				t.Fatalf("%d: %v (%s)", status, err, fault.HintOf(err))
			} else if text := err.Error(); !strings.Contains(text, "HTTP 307") && !strings.Contains(text, "HTTP 308") { // the two that net/http leaves alone
				t.Fatalf("%d: %v", status, err)
			}
		}
	}
}
