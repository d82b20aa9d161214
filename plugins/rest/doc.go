// Package rest is HTTP for vendor APIs: one request under a budget, an answer that is complete or an error with a kind.
//
// What net/http does by itself and a source must not do is off: redirects are never followed (a key would travel with them),
// nothing is compressed unasked, and there is no timeout over a whole answer, only one for silence. An answer's body returns
// io.EOF only when its completeness was proved: the final chunk, Content-Length met, or HTTP/2's END_STREAM, and gzip's
// trailer. Everything else is an error of a kind, with the vendor's own text where it sent one and without any secret.
//
// The package doesn't retry: the host does, in one place, by the kind of the error.
//
//	client, err := rest.New(rest.Options{BaseURL: "https://api.example.com", HTTP: cfg.HTTP, Budget: cfg.Budget,
//		Header: http.Header{"X-Api-Key": {key}}, Key: key})
//	answer, err := client.Do(ctx, rest.Request{Op: "list logs", Path: "/logs", Limit: limit, Waiting: out.Waiting})
//	if err != nil {
//		return err // a *fault.Error
//	}
//	defer answer.Close()
//	_, err = io.Copy(dst, answer) // nil: the answer is complete
package rest
