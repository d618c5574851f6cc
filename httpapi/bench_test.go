package httpapi

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
)

// A sink takes an answer and keeps its status alone.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) WriteHeader(status int)      { s.status = status }

// BenchmarkHandler is one request from the router to the answer, without a network
// and with a service that answers at once: what HTTP costs beside net/http's own
// reading and writing.
func BenchmarkHandler(b *testing.B) {
	value := bytes.Repeat([]byte("x"), 256)
	for _, tt := range []struct {
		name, method, target, body string
		header                     []string
		status                     int
	}{
		{"put", "PUT", "/v1/config/app/color", string(value), []string{"Content-Type: " + api.TypeBytes, "Idempotency-Key: k1"}, 200},
		{"get", "GET", "/v1/config/app/color", "", nil, 200},
		{"get-json", "GET", "/v1/config/app/color", "", []string{"Accept: " + api.TypeJSON}, 200},
		{"lock", "PUT", "/v1/locks/nightly", `{"session":"s-1"}`, []string{"Content-Type: " + api.TypeJSON, "Idempotency-Key: k2"}, 200},
		{"unlock", "DELETE", "/v1/locks/nightly", "", []string{`If-Match: "37"`, "Idempotency-Key: k3"}, 204},
		{"keepalive", "PUT", "/v1/sessions/s-1", "", nil, 200},
	} {
		b.Run(tt.name, func(b *testing.B) {
			f := newFake()
			f.entry = locks.Entry{Key: "app/color", Value: value, Revision: 41, Created: 40, Version: 2}
			f.grant = locks.Grant{Name: "nightly", Session: "s-1", Fence: 37}
			f.session = locks.Session{ID: "s-1", TTL: time.Minute}
			s := New(config(f))
			req := httptest.NewRequest(tt.method, tt.target, nil)
			for _, h := range tt.header {
				name, value, _ := strings.Cut(h, ": ")
				req.Header.Set(name, value)
			}
			body := strings.NewReader(tt.body)
			req.Body, req.ContentLength = http.NoBody, int64(len(tt.body))
			w := &sink{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				if tt.body != "" {
					body.Reset(tt.body)
					req.Body = readCloser{body}
				}
				clear(w.header)
				w.status = http.StatusOK
				s.ServeHTTP(w, req)
				if w.status != tt.status {
					b.Fatalf("status %d, want %d", w.status, tt.status)
				}
				f.calls = f.calls[:0]
			}
		})
	}
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }
