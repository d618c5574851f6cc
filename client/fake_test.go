package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/api"
)

// A fake is a network with nodes of one very small cluster behind it. It has no
// sockets, so that it fits into a bubble of fake time. on, if set, may answer
// in its place: (nil, nil) leaves the request to the fake.
type fake struct {
	base time.Time
	on   func(f *fake, req *http.Request) (*http.Response, error)

	mu       sync.Mutex
	skew     time.Duration // how far the clock was put forward: the machine slept
	sessions int
	fence    uint64
	log      []string       // "PUT locks/a" for each request that was answered
	keys     map[string]int // requests by Idempotency-Key
	sent     []time.Duration
}

var errLost = errors.New("connection reset by peer")

// newFake returns a client of a fake. Inside a bubble all clocks are false.
func newFake(t *testing.T, cfg Config, on func(*fake, *http.Request) (*http.Response, error)) (*Client, *fake) {
	t.Helper()
	f := &fake{base: time.Now(), on: on, keys: map[string]int{}}
	cfg.HTTPClient = &http.Client{Transport: f}
	if len(cfg.Endpoints) == 0 {
		cfg.Endpoints = []string{"http://n1", "http://n2"}
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.now = f.now
	return c, f
}

func (f *fake) now() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Since(f.base) + f.skew
}

func (f *fake) sleep(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.skew += d
}

// what is the request in a few letters.
func what(req *http.Request) string {
	return req.Method + " " + strings.TrimPrefix(req.URL.EscapedPath(), "/v1/")
}

func (f *fake) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	if key := req.Header.Get(api.HeaderIdempotencyKey); key != "" {
		f.keys[key]++
	}
	f.mu.Unlock()
	if f.on != nil {
		if resp, err := f.on(f, req); resp != nil || err != nil {
			return resp, err
		}
	}
	return f.answer(req), nil
}

// answer does what is asked.
func (f *fake) answer(req *http.Request) *http.Response {
	at := f.now()
	f.mu.Lock()
	defer f.mu.Unlock()
	w := what(req)
	f.log = append(f.log, w)
	switch {
	case w == "POST sessions":
		var in api.CreateSession
		_ = json.NewDecoder(req.Body).Decode(&in)
		ttl, _ := time.ParseDuration(in.TTL)
		f.sessions++
		return replyJSON(201, api.SessionCreated{ID: fmt.Sprintf("s%d-%s", f.sessions, ttl), TTLMS: ttl.Milliseconds(), ExpiresInMS: new(ttl.Milliseconds())})
	case strings.HasPrefix(w, "PUT sessions/"):
		_, text, _ := strings.Cut(w, "-")
		ttl, _ := time.ParseDuration(text)
		f.sent = append(f.sent, at)
		return replyJSON(200, api.KeptAlive{TTLMS: ttl.Milliseconds(), ExpiresInMS: ttl.Milliseconds()})
	case strings.HasPrefix(w, "PUT locks/"):
		f.fence++
		return replyJSON(200, api.Grant{Fence: f.fence})
	case req.Method == http.MethodDelete:
		return replyJSON(204, nil)
	}
	resp := replyEntry("", 7)
	resp.Header.Set(api.HeaderRevision, "7")
	return resp
}

func (f *fake) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.log...)
}

func (f *fake) count(w string) (n int) {
	for _, r := range f.requests() {
		if strings.HasPrefix(r, w) {
			n++
		}
	}
	return n
}

func replyJSON(status int, v any) *http.Response {
	var b bytes.Buffer
	if v != nil {
		_ = json.NewEncoder(&b).Encode(v)
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(&b)}
}

// replyEntry is an entry as a node sends it: the value, and all else in the header.
func replyEntry(value string, revision uint64) *http.Response {
	h := http.Header{}
	entryHeader(h, revision)
	return &http.Response{StatusCode: 200, Header: h, Body: io.NopCloser(strings.NewReader(value))}
}

func entryHeader(h http.Header, revision uint64) {
	h.Set("ETag", api.FormatETag(revision))
	h.Set(api.HeaderCreated, "5")
	h.Set(api.HeaderVersion, "3")
	h.Set("Content-Type", api.TypeBytes)
}

func replyProblem(status int, code api.Code, applied api.Applied) *http.Response {
	return replyJSON(status, api.Problem{Code: code, Applied: applied})
}

// silence is a server that took the request and says nothing.
func silence(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, context.Cause(req.Context())
}
