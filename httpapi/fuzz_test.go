package httpapi

import (
	"bufio"
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prytany/prytany/locks"
)

// Whatever is sent, the answer is no 5xx, a refusal is a whole problem that
// has reached nobody, and what reaches the service is within its limits.
func FuzzRequest(f *testing.F) {
	for _, s := range [][4]string{
		{"PUT", "/v1/locks/nightly?wait=30s", "Idempotency-Key: k", `{"ttl":"30s","note":"n"}`},
		{"PUT", "/v1/locks/a//..%2F?wait=1s", "Prytany-Forward: ?1", `{"session":"s","mode":"exclusive","slots":1}`},
		{"DELETE", "/v1/locks/nightly?force=true&reason=x", "", ""},
		{"DELETE", "/v1/groups/g%2F1/locks/nightly", `If-Match: "37"`, ""},
		{"GET", "/v1/locks/nightly?fence=37", "", ""},
		{"GET", "/v1/locks?prefix=%C3%BC&limit=10&cursor=x", "", ""},
		{"POST", "/v1/sessions", "Content-Type: application/json", `{"ttl":"15s","name":"w","lock_delay":"0s"}`},
		{"PUT", "/v1/sessions/s-1", "", "{}"},
		{"PUT", "/v1/config/app/color", "Prytany-Guard: nightly;fence=37\r\nPrytany-Session: s", "blue\xff"},
		{"PUT", "/v1/config/a", "If-None-Match: *\r\nContent-Type: text/plain; charset=utf-8", ""},
		{"GET", "/v1/config/a?wait=30s&consistency=stale&min_revision=3", `If-None-Match: W/"41"`, ""},
		{"GET", "/v1/config/a", "Accept: application/json;q=0.5, */*\r\nOrigin: null", ""},
		{"GET", "/v1/config?keys_only", "", ""},
		{"GET", "/readyz?verbose", "", ""},
		{"OPTIONS", "*", "", ""},
		{"CONNECT", "host:80", "", ""},
	} {
		f.Add(s[0], s[1], s[2], []byte(s[3]))
	}
	f.Fuzz(func(t *testing.T, method, target, headers string, body []byte) {
		text := method + " " + target + " HTTP/1.1\r\nHost: localhost\r\n" + headers + "\r\n\r\n"
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
		if err != nil {
			return // net/http answers such by itself
		}
		if len(body) > 0 {
			plain := httptest.NewRequest("PUT", "/", bytes.NewReader(body))
			r.Body, r.ContentLength = plain.Body, plain.ContentLength
		}
		fake := filled()
		rec := reply(t, New(config(fake)), r)
		switch {
		case rec.Code >= 500:
			t.Fatalf("%d %s", rec.Code, rec.Body)
		case rec.Code >= 400:
			problemIn(t, rec)
			if fake.count() > 0 {
				t.Fatalf("refused with %s, but made the call %+v", rec.Body, fake.calls)
			}
		}
		for _, call := range fake.calls {
			checkCall(t, call)
		}
	})
}

// checkCall checks that call is within the default limits.
func checkCall(t *testing.T, call any) {
	t.Helper()
	name, ttl, wait, value := "x", 15*time.Second, time.Duration(0), 0
	switch c := call.(type) {
	case keepAliveCall:
		name = c.id
	case getSessionCall:
		name = c.id
	case endSessionCall:
		name = c.id
	case getLockCall:
		name, wait = c.name, c.rd.Wait
	case checkFenceCall:
		name = c.name
	case getCall:
		name, wait = c.key, c.rd.Wait
	case listCall:
		if len(c.l.Prefix) > 512 || c.l.Limit < 0 || c.l.Limit > 1000 {
			t.Fatalf("%+v", call)
		}
	case locks.CreateSession:
		ttl = orDefault(c.TTL, ttl)
	case locks.Acquire:
		name, wait, ttl = c.Name, c.Wait, orDefault(c.TTL, ttl)
	case locks.Release:
		name = c.Name
		if c.Force == (c.Fence != 0) {
			t.Fatalf("%+v", call)
		}
	case locks.Put:
		name, value = c.Key, len(c.Value)
	case locks.Delete:
		name = c.Key
	default:
		t.Fatalf("%T", call)
	}
	switch {
	case name == "" || len(name) > 512 || !utf8.ValidString(name),
		ttl < 2*time.Second || ttl > 24*time.Hour,
		wait < 0 || wait > 5*time.Minute,
		value > 256<<10:
		t.Fatalf("beyond the limits: %.300q", call)
	}
}
