package httpapi

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
)

// A refusal is a bad request and how it is refused.
type refusal struct {
	method, target, body string
	headers              []string
	status               int
	code                 api.Code
	field                string
}

// Everything a client can get wrong is a 4xx that names what, and reaches
// nobody.
func TestRefused(t *testing.T) {
	long := strings.Repeat("x", 513)
	for _, tc := range append([]refusal{
		// paths
		{"GET", "/", "", nil, 404, api.CodeNotFound, ""},
		{"GET", "/v1", "", nil, 404, api.CodeNotFound, ""},
		{"GET", "/v2/locks/a", "", nil, 404, api.CodeNotFound, ""},
		{"GET", "//v1/locks/a", "", nil, 404, api.CodeNotFound, ""},
		{"GET", "/v1/kv/a", "", nil, 404, api.CodeNotFound, ""},
		{"GET", "/v1/elections", "", nil, 404, api.CodeNotFound, ""},
		{"GET", "/v1/fences", "", nil, 404, api.CodeNotFound, ""},
		{"GET", "/v1/explain/a", "", nil, 404, api.CodeNotFound, ""},
		{"POST", "/v1/locks:release", "{}", nil, 404, api.CodeNotFound, ""},
		{"GET", "/v1/groups/", "", nil, 404, api.CodeNotFound, ""},
		{"GET", "/metrics", "", nil, 404, api.CodeNotFound, ""},
		{"GET", "/v1/groups/nope/locks/a", "", nil, 404, api.CodeGroupUnknown, "group"},
		{"GET", "/v1/groups/%FF/locks/a", "", nil, 404, api.CodeGroupUnknown, "group"},
		// methods
		{"POST", "/v1/locks/a", "{}", nil, 405, api.CodeMethodNotAllowed, "method"},
		{"PATCH", "/v1/config/a", "", nil, 405, api.CodeMethodNotAllowed, "method"},
		{"PUT", "/v1/config", "v", nil, 405, api.CodeMethodNotAllowed, "method"},
		{"DELETE", "/v1/status", "", nil, 405, api.CodeMethodNotAllowed, "method"},
		{"OPTIONS", "/v1/sessions", "", nil, 405, api.CodeMethodNotAllowed, "method"},
		// names
		{"GET", "/v1/locks/", "", nil, 400, api.CodeInvalid, "name"},
		{"PUT", "/v1/config/" + long, "v", nil, 400, api.CodeInvalid, "key"},
		{"PUT", "/v1/locks/%ff", "{}", nil, 400, api.CodeInvalid, "name"},
		{"PUT", "/v1/sessions/%C3%28", "", nil, 400, api.CodeInvalid, "id"},
		// query
		{"GET", "/v1/locks/a?waits=1s", "", nil, 400, api.CodeInvalid, "waits"},
		{"PUT", "/v1/config/a?cas=4", "v", nil, 400, api.CodeInvalid, "cas"},
		{"GET", "/v1/locks/a?wait=1s&wait=2s", "", nil, 400, api.CodeInvalid, "wait"},
		{"GET", "/v1/locks?prefix=%zz", "", nil, 400, api.CodeInvalid, "query"},
		{"GET", "/v1/locks?prefix=%ff", "", nil, 400, api.CodeInvalid, "prefix"},
		{"GET", "/v1/locks?prefix=" + long, "", nil, 400, api.CodeInvalid, "prefix"},
		{"GET", "/v1/locks?limit=0", "", nil, 400, api.CodeInvalid, "limit"},
		{"GET", "/v1/config?limit=1001", "", nil, 400, api.CodeInvalid, "limit"},
		{"GET", "/v1/config?limit=ten", "", nil, 400, api.CodeInvalid, "limit"},
		{"GET", "/v1/config?keys_only=yes", "", nil, 400, api.CodeInvalid, "keys_only"},
		{"GET", "/v1/config/a?wait=30", "", nil, 400, api.CodeInvalid, "wait"},
		{"GET", "/v1/config/a?wait=", "", nil, 400, api.CodeInvalid, "wait"},
		{"GET", "/v1/config/a?wait=-1s", "", nil, 400, api.CodeInvalid, "wait"},
		{"GET", "/v1/config/a?wait=6m", "", nil, 400, api.CodeInvalid, "wait"},
		{"PUT", "/v1/locks/a?wait=300y", "", nil, 400, api.CodeInvalid, "wait"},
		{"GET", "/v1/sessions?consistency=fast", "", nil, 400, api.CodeInvalid, "consistency"},
		{"GET", "/v1/config/a?min_revision=-1", "", nil, 400, api.CodeInvalid, "min_revision"},
		{"GET", "/v1/config/a?min_revision=9007199254740992", "", nil, 400, api.CodeInvalid, "min_revision"},
		{"GET", "/v1/locks/a?fence=0", "", nil, 400, api.CodeInvalid, "fence"},
		{"GET", "/v1/locks/a?fence=37&wait=1s", "", nil, 400, api.CodeInvalid, "wait"},
		{"GET", "/v1/events?limit=0", "", nil, 400, api.CodeInvalid, "limit"},
		{"GET", "/v1/events?limit=1001", "", nil, 400, api.CodeInvalid, "limit"},
		{"GET", "/v1/events?from=0", "", nil, 400, api.CodeInvalid, "from"},
		{"GET", "/v1/events?from=9007199254740992", "", nil, 400, api.CodeInvalid, "from"},
		{"GET", "/v1/events?kinds=claim", "", nil, 400, api.CodeInvalid, "kinds"},
		{"GET", "/v1/events?limit=5", "", []string{"Accept: text/event-stream"}, 400, api.CodeInvalid, "limit"},
		{"GET", "/v1/events", "", []string{"Last-Event-ID: x"}, 400, api.CodeInvalid, "Last-Event-ID"},
		{"POST", "/v1/events", "", nil, 405, api.CodeMethodNotAllowed, "method"},
		{"GET", "/v1/rtt?unit=us", "", nil, 400, api.CodeInvalid, "unit"},
		{"GET", "/v1/groups/main/rtt", "", nil, 404, api.CodeNotFound, ""},
		{"POST", "/v1/leader:transfer", `{"to":""}`, nil, 400, api.CodeInvalid, "to"},
		{"POST", "/v1/leader:transfer", `{"to":3}`, nil, 400, api.CodeInvalid, "to"},
		{"POST", "/v1/leader:transfer", `{"node":"n2"}`, nil, 400, api.CodeInvalid, "node"},
		{"POST", "/v1/leader:transfer", `["n2"]`, nil, 400, api.CodeInvalid, "body"},
		{"POST", "/v1/leader:transfer?wait=1s", "", nil, 400, api.CodeInvalid, "wait"},
		{"POST", "/v1/leader:transfer", "", []string{"If-Match: 3"}, 400, api.CodeInvalid, "If-Match"},
		{"POST", "/v1/groups/nope/leader:transfer", "", nil, 404, api.CodeGroupUnknown, "group"},
		{"GET", "/v1/leader:transfer", "", nil, 405, api.CodeMethodNotAllowed, "method"},
		{"GET", "/v1/status?pretty", "", nil, 400, api.CodeInvalid, "pretty"},
		{"GET", "/readyz?verbose=2", "", nil, 400, api.CodeInvalid, "verbose"},
		{"DELETE", "/v1/locks/a?force=1", "", nil, 400, api.CodeInvalid, "force"},
		{"DELETE", "/v1/locks/a?reason=x", "", []string{`If-Match: "3"`}, 400, api.CodeInvalid, "reason"},
		// JSON
		{"POST", "/v1/sessions", `{"tll":"15s"}`, nil, 400, api.CodeInvalid, "tll"},
		{"POST", "/v1/sessions", `{"TTL":"15s"}`, nil, 400, api.CodeInvalid, "TTL"},
		{"POST", "/v1/sessions", `{"ttl":"15s","ttl":"16s"}`, nil, 400, api.CodeInvalid, "ttl"},
		{"POST", "/v1/sessions", `{"name":"\ud800"}`, nil, 400, api.CodeInvalid, "name"},
		{"POST", "/v1/sessions", `{"name":"a\udc00\ud800b"}`, nil, 400, api.CodeInvalid, "name"},
		{"POST", "/v1/sessions", `{"name":"\ud83d\ude00\\\uDBFF\u0041"}`, nil, 400, api.CodeInvalid, "name"},
		{"POST", "/v1/sessions", `{"ttl":15}`, nil, 400, api.CodeInvalid, "ttl"},
		{"POST", "/v1/sessions", `{"ttl":{"ttl":["15s"]}}`, nil, 400, api.CodeInvalid, "ttl"},
		{"POST", "/v1/sessions", `{"ttl":"-1s"}`, nil, 400, api.CodeInvalid, "ttl"},
		{"POST", "/v1/sessions", `{"ttl":"0s"}`, nil, 400, api.CodeInvalid, "ttl"},
		{"POST", "/v1/sessions", `{"ttl":"300y"}`, nil, 400, api.CodeInvalid, "ttl"},
		{"POST", "/v1/sessions", `{"ttl":"300 years"}`, nil, 400, api.CodeInvalid, "ttl"},
		{"POST", "/v1/sessions", `{"ttl":"2562047h47m16.854775807s"}`, nil, 400, api.CodeInvalid, "ttl"},
		{"POST", "/v1/sessions", `{"ttl":"99999999999999999999h"}`, nil, 400, api.CodeInvalid, "ttl"},
		{"POST", "/v1/sessions", `{"lock_delay":"61s"}`, nil, 400, api.CodeInvalid, "lock_delay"},
		{"POST", "/v1/sessions", `{"name":"` + strings.Repeat("n", 1025) + `"}`, nil, 400, api.CodeInvalid, "name"},
		{"POST", "/v1/sessions", `{"ttl":"15s"} {}`, nil, 400, api.CodeInvalid, "body"},
		{"POST", "/v1/sessions", `{"ttl":"15s"`, nil, 400, api.CodeInvalid, "body"},
		{"POST", "/v1/sessions", `{"ttl"`, nil, 400, api.CodeInvalid, "body"},
		{"POST", "/v1/sessions", `{"ttl":"15s",}`, nil, 400, api.CodeInvalid, "body"},
		{"POST", "/v1/sessions", `["15s"]`, nil, 400, api.CodeInvalid, "body"},
		{"POST", "/v1/sessions", `null`, nil, 400, api.CodeInvalid, "body"},
		{"POST", "/v1/sessions", `ttl=15s`, nil, 400, api.CodeInvalid, "body"},
		{"POST", "/v1/sessions", "{\"name\":\"\xff\"}", nil, 400, api.CodeInvalid, "body"},
		{"POST", "/v1/sessions", strings.Repeat("[", 20000), nil, 400, api.CodeInvalid, "body"},
		{"POST", "/v1/sessions", `{"name":` + strings.Repeat("[", 20000), nil, 400, api.CodeInvalid, "body"},
		{"POST", "/v1/sessions", `{"name":"` + strings.Repeat(" ", 50000) + `"}`, nil, 413, api.CodeTooLarge, "body"},
		{"PUT", "/v1/sessions/s-1", `{"ttl":"15s"}`, nil, 400, api.CodeInvalid, "ttl"},
		{"PUT", "/v1/locks/a", `{"mode":"Shared"}`, nil, 400, api.CodeInvalid, "mode"},
		{"PUT", "/v1/locks/a", `{"mode":"shared","slots":3}`, nil, 400, api.CodeInvalid, "slots"},
		{"PUT", "/v1/locks/a", `{"slots":10001}`, nil, 400, api.CodeInvalid, "slots"},
		{"PUT", "/v1/locks/a", `{"slots":-1}`, nil, 400, api.CodeInvalid, "slots"},
		{"PUT", "/v1/locks/a", `{"slots":0}`, nil, 400, api.CodeInvalid, "slots"},
		{"PUT", "/v1/locks/a", `{"slots":"1"}`, nil, 400, api.CodeInvalid, "slots"},
		{"PUT", "/v1/locks/a", `{"slots":1e99}`, nil, 400, api.CodeInvalid, "slots"},
		{"PUT", "/v1/locks/a", `{"session":"s","ttl":"15s"}`, nil, 400, api.CodeInvalid, "ttl"},
		{"PUT", "/v1/locks/a", `{"session":"` + long + `"}`, nil, 400, api.CodeInvalid, "session"},
		{"PUT", "/v1/locks/a", `{"session":""}`, nil, 400, api.CodeInvalid, "session"},
		{"PUT", "/v1/locks/a", `{"session":"","ttl":"15s"}`, nil, 400, api.CodeInvalid, "session"},
		{"PUT", "/v1/locks/a", `{"session":null}`, nil, 400, api.CodeInvalid, "session"},
		{"PUT", "/v1/locks/a", `{"slots":null}`, nil, 400, api.CodeInvalid, "slots"},
		{"POST", "/v1/sessions", `{"ttl":null}`, nil, 400, api.CodeInvalid, "ttl"},
		{"PUT", "/v1/locks/a", `{"note":"` + strings.Repeat("n", 1025) + `"}`, nil, 400, api.CodeInvalid, "note"},
		// bodies
		{"GET", "/v1/locks/a", "x", nil, 400, api.CodeInvalid, "body"},
		{"DELETE", "/v1/config/a", "x", nil, 400, api.CodeInvalid, "body"},
		{"PUT", "/v1/config/a", strings.Repeat("v", 256<<10+1), nil, 413, api.CodeTooLarge, "body"},
		{"PUT", "/v1/config/a", "v", []string{"Content-Encoding: gzip"}, 415, api.CodeEncoding, "Content-Encoding"},
		// conditions
		{"DELETE", "/v1/locks/a", "", nil, 428, api.CodeFenceRequired, "If-Match"},
		{"DELETE", "/v1/locks/a?force=false", "", nil, 428, api.CodeFenceRequired, "If-Match"},
		{"DELETE", "/v1/locks/a", "", []string{`If-Match: *`}, 400, api.CodeInvalid, "If-Match"},
		{"DELETE", "/v1/locks/a", "", []string{`If-Match: "0"`}, 400, api.CodeInvalid, "If-Match"},
		{"DELETE", "/v1/locks/a", "", []string{`If-Match: "abc"`}, 400, api.CodeInvalid, "If-Match"},
		{"DELETE", "/v1/locks/a", "", []string{`If-Match: W/"3"`}, 400, api.CodeInvalid, "If-Match"},
		{"DELETE", "/v1/locks/a", "", []string{`If-Match: "3", "4"`}, 400, api.CodeInvalid, "If-Match"},
		{"DELETE", "/v1/locks/a", "", []string{`If-Match: "3"`, `If-Match: "4"`}, 400, api.CodeInvalid, "If-Match"},
		{"DELETE", "/v1/locks/a?force=true", "", []string{`If-Match: "3"`}, 400, api.CodeInvalid, "If-Match"},
		{"PUT", "/v1/locks/a", "", []string{`If-Match: "3"`}, 400, api.CodeInvalid, "If-Match"},
		{"PUT", "/v1/config/a", "v", []string{`If-Match: "3"`, "If-None-Match: *"}, 400, api.CodeInvalid, "If-None-Match"},
		{"PUT", "/v1/config/a", "v", []string{`If-None-Match: "3"`}, 400, api.CodeInvalid, "If-None-Match"},
		{"PUT", "/v1/config/a", "v", []string{`If-Match: "0"`}, 400, api.CodeInvalid, "If-Match"},
		{"PUT", "/v1/config/a", "v", []string{`If-Match:`}, 400, api.CodeInvalid, "If-Match"},
		{"DELETE", "/v1/config/a", "", []string{`If-Match: *`}, 400, api.CodeInvalid, "If-Match"},
		{"DELETE", "/v1/config/a", "", []string{`If-None-Match: *`}, 400, api.CodeInvalid, "If-None-Match"},
		{"GET", "/v1/config/a", "", []string{`If-Match: "3"`}, 400, api.CodeInvalid, "If-Match"},
		{"GET", "/v1/config/a?wait=1s", "", []string{"If-None-Match: *"}, 400, api.CodeInvalid, "If-None-Match"},
		{"GET", "/v1/locks/a?wait=1s", "", []string{`If-None-Match: "1", "2"`}, 400, api.CodeInvalid, "If-None-Match"},
		// other headers
		{"PUT", "/v1/config/a", "v", []string{"Prytany-Guard: a"}, 400, api.CodeInvalid, api.HeaderGuard},
		{"PUT", "/v1/config/a", "v", []string{"Prytany-Guard:"}, 400, api.CodeInvalid, api.HeaderGuard},
		{"DELETE", "/v1/config/a", "", []string{"Prytany-Guard: a;fence=x"}, 400, api.CodeInvalid, api.HeaderGuard},
		{"PUT", "/v1/config/a", "v", []string{"Prytany-Guard: %ff;fence=1"}, 400, api.CodeInvalid, api.HeaderGuard},
		{"PUT", "/v1/config/a", "v", []string{"Prytany-Guard: a;fence=1", "Prytany-Guard: b;fence=1"}, 400, api.CodeInvalid, api.HeaderGuard},
		{"PUT", "/v1/config/a", "v", []string{"Prytany-Session: \xff"}, 400, api.CodeInvalid, api.HeaderSession},
		{"PUT", "/v1/config/a", "v", []string{"Prytany-Session: "}, 400, api.CodeInvalid, api.HeaderSession},
		{"DELETE", "/v1/config/a", "", []string{"Prytany-Session: s"}, 400, api.CodeInvalid, api.HeaderSession},
		{"PUT", "/v1/config/a", "v", []string{"Content-Type: nonsense;;"}, 400, api.CodeInvalid, "Content-Type"},
		{"PUT", "/v1/config/a", "v", []string{"Content-Type: json"}, 400, api.CodeInvalid, "Content-Type"},
		{"PUT", "/v1/config/a", "v", []string{"Prytany-Forward: no"}, 400, api.CodeInvalid, api.HeaderForward},
		{"POST", "/v1/sessions", "", []string{"Idempotency-Key:"}, 400, api.CodeInvalid, api.HeaderIdempotencyKey},
		{"POST", "/v1/sessions", "", []string{`Idempotency-Key: ""`}, 400, api.CodeInvalid, api.HeaderIdempotencyKey},
		{"POST", "/v1/sessions", "", []string{"Idempotency-Key: grüße"}, 400, api.CodeInvalid, api.HeaderIdempotencyKey},
		{"DELETE", "/v1/sessions/s", "", []string{"Idempotency-Key: " + strings.Repeat("k", 256)}, 400, api.CodeInvalid, api.HeaderIdempotencyKey},
		// browsers
		{"POST", "/v1/sessions", "", []string{"Sec-Fetch-Site: cross-site"}, 403, api.CodeForbiddenOrigin, "Origin"},
		{"PUT", "/v1/config/a", "v", []string{"Origin: https://evil.example"}, 403, api.CodeForbiddenOrigin, "Origin"},
	}, refusals()...) {
		f := newFake()
		p := problemIn(t, send(t, New(config(f)), tc.method, tc.target, tc.body, tc.headers...))
		if p.Status != tc.status || p.Code != tc.code || p.Field != tc.field || p.Applied != api.AppliedNo || p.Retryable {
			t.Errorf("%s %.60s %.60q %q: %d %s field %q, want %d %s field %q\n%s", tc.method, tc.target, tc.body, tc.headers,
				p.Status, p.Code, p.Field, tc.status, tc.code, tc.field, p.Detail)
		}
		if f.count() != 0 {
			t.Errorf("%s %.60s %.60q %q: refused, but made the call %+v", tc.method, tc.target, tc.body, tc.headers, f.calls)
		}
	}
}

// A refusal says which limit, and what broke it.
func TestRefusalNamesLimitAndValue(t *testing.T) {
	cfg := config(newFake())
	cfg.Limits = locks.Limits{MaxName: 8, MaxValue: 4, MinTTL: time.Second, MaxTTL: time.Minute}
	s := New(cfg)
	for _, tc := range []struct{ method, target, body, limit, value string }{
		{"POST", "/v1/sessions", `{"ttl":"300y"}`, "1s to 1m0s", "300y"},
		{"POST", "/v1/sessions", `{"ttl":15}`, "a string", "15"},
		{"GET", "/v1/locks/123456789", "", "1 to 8 bytes", "123456789"},
		{"PUT", "/v1/config/a", "12345", "4 bytes", "5 bytes"},
		{"GET", "/v1/locks?limit=5000", "", "1 to 1000", "5000"},
		{"GET", "/v1/locks?lmit=5", "", "prefix, limit, cursor, consistency, min_revision", "5"},
		{"POST", "/v1/locks/a", "", "DELETE, GET, HEAD, PUT", "POST"},
		{"PATCH", "/v1/elections/a", "", "\"<fence>\"", ""},
		{"PUT", "/v1/fences/a", `{"fence":0}`, "1 to 9007199254740991", "0"},
		{"PUT", "/v1/sessions/a?hold=9h", "", "0s to 5m0s", "9h"},
		{"GET", "/v1/watch?events=pot", "", "delete, expire, leader, lock, put, session, unlock, yield", "pot"},
		{"PUT", "/v1/locks/a", `{"slots":20000}`, "1 to 10000", "20000"},
		{"PUT", "/v1/locks/a?wait=" + strings.Repeat("9", 99), "", "0s to 5m0s", strings.Repeat("9", 64) + "…"},
	} {
		p := problemIn(t, send(t, s, tc.method, tc.target, tc.body))
		if p.Limit != tc.limit || p.Value != tc.value {
			t.Errorf("%s %s %s: limit %q, value %q, want %q, %q", tc.method, tc.target, tc.body, p.Limit, p.Value, tc.limit, tc.value)
		}
		for _, s := range []string{p.Limit, p.Field} {
			if tc.method != "POST" && tc.method != "PATCH" && !strings.Contains(p.Detail, s) {
				t.Errorf("%q does not say %q", p.Detail, s)
			}
		}
	}
}

func TestAllow(t *testing.T) {
	rec := send(t, New(config(newFake())), "PATCH", "/v1/groups/main/sessions/x", "")
	if got := rec.Header().Get("Allow"); rec.Code != http.StatusMethodNotAllowed || got != "DELETE, GET, HEAD, PUT" {
		t.Errorf("%d, Allow %q", rec.Code, got)
	}
}

func TestHosts(t *testing.T) {
	cfg := config(newFake())
	cfg.CheckHost, cfg.Hosts = true, []string{"Prytany.example"}
	s := New(cfg)
	for host, want := range map[string]int{
		"127.0.0.1:7480": 200, "[::1]:7480": 200, "[::1]": 200, "10.1.2.3": 200, "localhost": 200, "LOCALHOST:7480": 200, "localhost.:80": 200,
		"prytany.example": 200, "prytany.example:7480": 200, "prytany.example.": 200,
		"evil.example": 403, "evil.example:7480": 403, "localhost.evil.example": 403, "127.0.0.1.evil.example": 403, "0x7f000001": 403,
	} {
		rec := sendTo(t, s, host)
		if rec.Code != want {
			t.Errorf("Host %s: %d, want %d", host, rec.Code, want)
		}
		if want == 403 && problemIn(t, rec).Code != api.CodeForbiddenHost {
			t.Errorf("Host %s: %s", host, rec.Body)
		}
	}
	if rec := sendTo(t, New(config(newFake())), "any.example"); rec.Code != 200 {
		t.Errorf("without CheckHost: %d", rec.Code)
	}
}
