package httpapi

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/locks/service"
)

func rev(n uint64) *uint64 { return &n }

// filled is a fake that answers with something in every field.
func filled() *fake {
	f := newFake()
	f.session = locks.Session{ID: "s-14", Name: "web-2", TTL: 15 * time.Second, LockDelay: time.Second, ExpiresIn: 9 * time.Second, Created: 14,
		Holds: []locks.Grant{{Name: "nightly", Fence: 37}}, Waits: []string{"other"}}
	f.grant = locks.Grant{Name: "nightly", Session: "s-14", Fence: 37, ExpiresIn: 15 * time.Second, Waited: 2 * time.Second}
	f.lock = locks.Lock{Name: "nightly", Changed: 37, Past: []locks.Past{{Session: "s-1", Owner: "w", Fence: 30, Ended: 36, Reason: "released"}},
		Waiters: []locks.Waiter{{Session: "s-15", Owner: "web-3", Campaign: true, Value: "http://n3", Note: "n", Since: 40}},
		Holders: []locks.Holder{{Session: "s-14", Owner: "web-2", Fence: 37, Elected: true, Value: "http://n2", Since: 37, Held: time.Second, ExpiresIn: -1}}}
	f.kept = locks.Kept{Session: f.session}
	f.grants = []locks.Grant{{Name: "a", Session: "s-14", Fence: 37}, {Name: "b", Session: "s-14", Fence: 37}}
	f.highest = 37
	f.txn = locks.TxnResult{Succeeded: true, Steps: []locks.Done{
		{Kind: locks.OpPut, Key: "k", Revision: 50, Created: 50, Version: 1, Session: "s-14"},
		{Kind: locks.OpGet, Key: "g", Found: true, Value: []byte("\xff"), ContentType: "text/plain", Revision: 42, Created: 41, Version: 2},
		{Kind: locks.OpGet, Key: "none"},
		{Kind: locks.OpDelete, Key: "d", Deleted: 1},
		{Kind: locks.OpDeletePrefix, Key: "a/"},
	}}
	f.stream = &script{turns: []turn{{err: &locks.Error{Code: locks.Compacted, Current: 70}}}}
	f.entry = locks.Entry{Key: "app/color", Value: []byte("blue"), ContentType: "text/plain", Revision: 42, Created: 41, Version: 2}
	return f
}

// Each request becomes the right call and its answer the right reply.
func TestServed(t *testing.T) {
	const pastJSON = `{"session":"s-1","owner":"w","fence":30,"ended":36,"reason":"released"}`
	const lockJSON = `{"name":"nightly","holders":[{"session":"s-14","owner":"web-2","fence":37,"mode":"exclusive","value":"http://n2","since":37,"held_ms":1000}],` +
		`"waiters":[{"session":"s-15","owner":"web-3","mode":"exclusive","note":"n","since":40}],` +
		`"past":[` + pastJSON + `],"changed_revision":37}`
	const electionJSON = `{"name":"nightly","leader":{"session":"s-14","owner":"web-2","term":37,"value":"http://n2","held_ms":1000},` +
		`"candidates":[{"session":"s-15","owner":"web-3","value":"http://n3","since":40}],"past":[` + pastJSON + `],"changed_revision":37}`
	const termJSON = `{"name":"nightly","session":"s-14","term":37,"expires_in_ms":15000,"waited_ms":2000}`
	const sessionJSON = `{"id":"s-14","name":"web-2","ttl_ms":15000,"lock_delay_ms":1000,"expires_in_ms":9000,"created_revision":14,` +
		`"holds":[{"name":"nightly","fence":37}],"waits":["other"],"keys":[]}`
	const entryJSON = `{"key":"app/color","value":"blue","content_type":"text/plain","revision":42,"created_revision":41,"version":2}`
	const grantJSON = `{"name":"nightly","session":"s-14","fence":37,"mode":"exclusive","expires_in_ms":15000,"waited_ms":2000}`
	for _, tc := range []struct {
		method, target, body string
		headers              []string
		call                 any
		status               int
		reply                string
		replyHeaders         string // "Name: value" lines
	}{
		{"POST", "/v1/sessions", "", nil, service.CreateSession{}, 201,
			`{"id":"s-14","ttl_ms":15000,"expires_in_ms":9000}`, "Location: /v1/sessions/s-14"},
		{"POST", "/v1/groups/g%2F1/sessions", `{"ttl":"30s","name":"web-2","lock_delay":"1s"}`, nil,
			service.CreateSession{TTL: 30 * time.Second, Name: "web-2", LockDelay: time.Second}, 201,
			`{"id":"s-14","ttl_ms":15000,"expires_in_ms":9000}`, "Location: /v1/groups/g%2F1/sessions/s-14"},
		{"PUT", "/v1/sessions/s-14", "", nil, service.KeepAlive{ID: "s-14"}, 200, `{"ttl_ms":15000,"expires_in_ms":9000}`, ""},
		{"PUT", "/v1/sessions/s-14", " {} ", nil, service.KeepAlive{ID: "s-14"}, 200, `{"ttl_ms":15000,"expires_in_ms":9000}`, ""},
		{"PUT", "/v1/sessions/s-14?hold=5s&since=40", "", nil, service.KeepAlive{ID: "s-14", Hold: 5 * time.Second, Since: 40}, 200,
			`{"ttl_ms":15000,"expires_in_ms":9000,"revision":50}`, ""},
		{"GET", "/v1/sessions/s-14?min_revision=7", "", nil, getSessionCall{"s-14", service.Read{MinRevision: 7}}, 200, sessionJSON, ""},
		{"GET", "/v1/sessions?limit=2&cursor=s-1", "", nil, listCall{"sessions", service.List{Limit: 2, Token: "s-1"}, service.Read{}}, 200,
			`{"sessions":[{"id":"s-14","name":"web-2","ttl_ms":15000,"lock_delay_ms":1000,"expires_in_ms":9000,"created_revision":14}],"revision":50,"next":"more"}`, ""},
		{"DELETE", "/v1/sessions/s-14", "", nil, endSessionCall{"s-14", service.Common{}}, 204, "", ""},

		{"PUT", "/v1/locks/nightly", `{"ttl":"30s"}`, []string{"Content-Type: application/x-www-form-urlencoded"},
			service.Acquire{Name: "nightly", TTL: 30 * time.Second, Slots: 1}, 200, grantJSON, "ETag: \"37\"\nPrytany-Fence: 37"},
		{"PUT", "/v1/locks/nightly?wait=30s", `{"session":"s-14","note":"n","mode":"exclusive","slots":1}`, nil,
			service.Acquire{Name: "nightly", Session: "s-14", Note: "n", Slots: 1, Wait: 30 * time.Second}, 200, grantJSON, ""},
		{"PUT", "/v1/locks/nightly", `{"mode":"shared"}`, nil, service.Acquire{Name: "nightly", Mode: locks.Shared, Slots: 1}, 200, grantJSON, ""},
		{"PUT", "/v1/locks/nightly", `{"slots":3,"mode":""}`, nil, service.Acquire{Name: "nightly", Slots: 3}, 200, "", ""},
		{"POST", "/v1/locks:acquire", `{"session":"s-14","names":["a","b"],"note":"n"}`, nil,
			service.AcquireAll{Session: "s-14", Names: []string{"a", "b"}, Note: "n"}, 200, `{"locks":[{"name":"a","fence":37},{"name":"b","fence":37}]}`, ""},
		{"POST", "/v1/groups/g%2F1/locks:acquire", `{"session":"s-14","names":["a"]}`, nil, service.AcquireAll{Session: "s-14", Names: []string{"a"}}, 200, "", ""},
		{"POST", "/v1/locks/a/b:yield", "", nil, service.AskYield{Name: "a/b"}, 202, "", ""},
		{"POST", "/v1/locks/a:yield:yield", `{"within":"10s","reason":"deploy"}`, nil,
			service.AskYield{Name: "a:yield", Within: 10 * time.Second, Reason: "deploy"}, 202, "", ""},
		{"GET", "/v1/locks/a:yield", "", nil, getLockCall{"a:yield", service.Read{}}, 200, "", ""},
		{"PUT", "/v1/locks/a:yield", "", nil, service.Acquire{Name: "a:yield", Slots: 1}, 200, "", ""},
		{"DELETE", "/v1/locks/nightly", "", []string{`If-Match: "37"`, "Prytany-Session: s-14"}, service.Release{Name: "nightly", Fence: 37, Session: "s-14"}, 204, "", ""},
		{"DELETE", "/v1/locks/nightly", "", []string{`If-Match: "37"`}, service.Release{Name: "nightly", Fence: 37}, 204, "", ""},
		{"DELETE", "/v1/locks/nightly", "", []string{`If-Match: 37`}, service.Release{Name: "nightly", Fence: 37}, 204, "", ""},
		{"DELETE", "/v1/locks/nightly?force=true", "", nil, service.Release{Name: "nightly", Force: true}, 204, "", ""},
		{"DELETE", "/v1/locks/nightly?force&reason=stuck", "", nil, service.Release{Name: "nightly", Force: true, Reason: "stuck"}, 204, "", ""},
		{"GET", "/v1/locks/nightly", "", nil, getLockCall{"nightly", service.Read{}}, 200, lockJSON, "ETag: \"37\"\nPrytany-Fence: 37\nCache-Control: no-cache"},
		{"GET", "/v1/locks/nightly", "", []string{`If-None-Match: "36", W/"37"`}, getLockCall{"nightly", service.Read{}}, 304, "", "ETag: \"37\""},
		{"GET", "/v1/locks/nightly?wait=30s", "", []string{`If-None-Match: "37"`},
			getLockCall{"nightly", service.Read{Wait: 30 * time.Second, Not: 37, HasNot: true}}, 304, "", ""},
		{"GET", "/v1/locks/nightly?wait=30s", "", []string{`If-None-Match: "12"`},
			getLockCall{"nightly", service.Read{Wait: 30 * time.Second, Not: 12, HasNot: true}}, 200, lockJSON, ""},
		{"GET", "/v1/locks/nightly?fence=37", "", nil, checkFenceCall{"nightly", 37, service.Read{}}, 204, "", ""},
		{"GET", "/v1/locks?prefix=n", "", nil, listCall{"locks", service.List{Prefix: "n"}, service.Read{}}, 200,
			`{"locks":[` + lockJSON + `],"revision":50,"next":"more"}`, ""},

		{"PUT", "/v1/elections/nightly?wait=1m", `{"session":"s-14","value":"http://n2","note":"n"}`, nil,
			service.Acquire{Name: "nightly", Session: "s-14", Note: "n", Slots: 1, Wait: time.Minute, Campaign: true, Value: "http://n2"}, 200, termJSON,
			"ETag: \"37\"\nPrytany-Fence: 37"},
		{"PUT", "/v1/elections/nightly", `{"ttl":"30s"}`, nil, service.Acquire{Name: "nightly", TTL: 30 * time.Second, Slots: 1, Campaign: true}, 200, termJSON, ""},
		{"PATCH", "/v1/elections/nightly", `{"value":"v"}`, []string{`If-Match: "37"`}, service.Proclaim{Name: "nightly", Fence: 37, Value: "v"}, 200,
			`{"name":"nightly","term":37,"waited_ms":0}`, "ETag: \"37\"\nPrytany-Fence: 37"},
		{"PATCH", "/v1/elections/nightly", `{"value":""}`, []string{`If-Match: 37`}, service.Proclaim{Name: "nightly", Fence: 37}, 200, "", ""},
		{"GET", "/v1/elections/nightly", "", nil, getLockCall{"nightly", service.Read{}}, 200, electionJSON, "ETag: \"37\"\nCache-Control: no-cache\nVary: Accept"},
		{"GET", "/v1/elections/nightly?wait=30s", "", []string{`If-None-Match: "37"`},
			getLockCall{"nightly", service.Read{Wait: 30 * time.Second, Not: 37, HasNot: true}}, 304, "", "ETag: \"37\""},
		{"GET", "/v1/elections/a:transfer", "", nil, getLockCall{"a:transfer", service.Read{}}, 200, "", ""},
		{"DELETE", "/v1/elections/nightly", "", []string{`If-Match: "37"`}, service.Release{Name: "nightly", Fence: 37}, 204, "", ""},
		{"POST", "/v1/elections/nightly:transfer", `{"to":"s-15"}`, nil, service.Transfer{Name: "nightly", To: "s-15"}, 200, termJSON, "ETag: \"37\"\nPrytany-Fence: 37"},
		{"POST", "/v1/groups/main/elections/a:b:transfer", `{"to":"s-15"}`, []string{`If-Match: "37"`}, service.Transfer{Name: "a:b", Fence: 37, To: "s-15"}, 200, "", ""},

		{"PUT", "/v1/fences/disk/1", `{"fence":37}`, nil, service.AdvanceFence{Resource: "disk/1", Fence: 37}, 200, `{"highest":37}`, `ETag: "37"`},
		{"GET", "/v1/fences/disk?min_revision=7", "", nil, getFenceCall{"disk", service.Read{MinRevision: 7}}, 200, `{"highest":37}`, `ETag: "37"`},
		{"DELETE", "/v1/fences/disk", "", []string{`If-Match: "37"`}, service.ForgetFence{Resource: "disk", Fence: 37}, 204, "", ""},

		{"GET", "/v1/watch/app/?events=put,delete", "", nil,
			service.Watch{Prefix: "app/", Types: locks.EventSet(0).With(locks.EventPut).With(locks.EventDelete)}, 200, "",
			"Content-Type: application/x-ndjson\nX-Accel-Buffering: no\nVary: Accept\nCache-Control: no-store"},
		{"GET", "/v1/watch?from=7", "", []string{"Accept: text/event-stream"}, service.Watch{From: 7}, 200, "", "Content-Type: text/event-stream"},
		{"GET", "/v1/watch/?from=7", "", []string{"Last-Event-ID: 9", "Accept: text/html, */*"}, service.Watch{From: 10}, 200, "", "Content-Type: application/x-ndjson"},
		{"HEAD", "/v1/groups/g%2F1/watch/a%2Fb", "", []string{"Last-Event-ID: 0"}, service.Watch{Prefix: "a/b", From: 1}, 200, "", ""},

		{"POST", "/v1/transactions", `{"if":[{"key":"a","revision":0},{"key":"b","exists":true},{"key":"c","exists":false},{"key":"d","value":"v"},` +
			`{"key":"e","value_base64":"/w=="},{"session":"s-14"},{"lock":"l","fence":37}],` +
			`"then":[{"put":"k","value":"v","session":"s-14","content_type":"text/plain"},{"put":"b","value_base64":""}],` +
			`"else":[{"get":"g"},{"delete":"d"},{"delete_prefix":"a/"},{"put":"k","value":""}]}`, nil,
			service.Txn{
				If: []locks.If{{Kind: locks.IfRevision, Name: "a"}, {Kind: locks.IfExists, Name: "b"}, {Kind: locks.IfAbsent, Name: "c"},
					{Kind: locks.IfValue, Name: "d", Value: []byte("v")}, {Kind: locks.IfValue, Name: "e", Value: []byte("\xff")},
					{Kind: locks.IfAlive, Name: "s-14"}, {Kind: locks.IfCurrent, Name: "l", Revision: 37}},
				Then: []locks.Op{{Kind: locks.OpPut, Key: "k", Value: []byte("v"), ContentType: "text/plain", Session: "s-14"},
					{Kind: locks.OpPut, Key: "b", Value: []byte{}, ContentType: api.TypeBytes}},
				Else: []locks.Op{{Kind: locks.OpGet, Key: "g"}, {Kind: locks.OpDelete, Key: "d"}, {Kind: locks.OpDeletePrefix, Key: "a/"},
					{Kind: locks.OpPut, Key: "k", Value: []byte{}, ContentType: api.TypeBytes}},
			}, 200, `{"succeeded":true,"revision":50,"results":[` +
				`{"op":"put","key":"k","entry":{"key":"k","revision":50,"created_revision":50,"version":1,"session":"s-14"}},` +
				`{"op":"get","key":"g","entry":{"key":"g","value_base64":"/w==","content_type":"text/plain","revision":42,"created_revision":41,"version":2}},` +
				`{"op":"get","key":"none"},{"op":"delete","key":"d","deleted":1},{"op":"delete_prefix","key":"a/","deleted":0}]}`, ""},

		{"PUT", "/v1/config/app/color", "blue", []string{"Content-Type: text/plain"},
			service.Put{Key: "app/color", Value: []byte("blue"), ContentType: "text/plain"}, 200,
			`{"key":"app/color","revision":42,"version":2,"created":false}`, "ETag: \"42\""},
		{"PUT", "/v1/config/a", "\xff\x00", []string{`If-Match: "41"`, "Content-Type: application/x-www-form-urlencoded"},
			service.Put{Key: "a", Value: []byte("\xff\x00"), ContentType: api.TypeBytes, IfRevision: rev(41)}, 200, "", ""},
		{"PUT", "/v1/config/a", "v", []string{`If-Match: *`}, service.Put{Key: "a", Value: []byte("v"), ContentType: api.TypeBytes, IfPresent: true}, 200, "", ""},
		{"PUT", "/v1/config/a", "", []string{`If-None-Match: *`, "Prytany-Session: s-14", "Prytany-Guard: a/b%3B;fence=37"},
			service.Put{Key: "a", ContentType: api.TypeBytes, IfRevision: rev(0), Session: "s-14", Guard: &locks.Guard{Lock: "a/b;", Fence: 37}}, 200, "", ""},
		{"GET", "/v1/config/app/color", "", nil, getCall{"app/color", service.Read{}}, 200, "blue",
			"Content-Type: text/plain\nETag: \"42\"\nContent-Security-Policy: sandbox\nX-Content-Type-Options: nosniff\nVary: Accept\nPrytany-Created-Revision: 41\nPrytany-Version: 2"},
		{"GET", "/v1/config/a", "", []string{"Accept: text/html, application/json;q=0.9"}, getCall{"a", service.Read{}}, 200, entryJSON, "Content-Type: application/json"},
		{"GET", "/v1/config/a", "", []string{"Accept: application/json;q=0, */*"}, getCall{"a", service.Read{}}, 200, "blue", ""},
		{"HEAD", "/v1/config/a", "", nil, getCall{"a", service.Read{}}, 200, "", "Content-Length: 4"},
		{"GET", "/v1/config/a", "", []string{`If-None-Match: *`}, getCall{"a", service.Read{}}, 304, "", ""},
		{"GET", "/v1/config/a?wait=1m", "", nil, getCall{"a", service.Read{Wait: time.Minute}}, 200, "blue", ""},
		{"GET", "/v1/config/a?consistency=stale", "", nil, getCall{"a", service.Read{Stale: true}}, 200, "blue", "Prytany-Applied: 50\nPrytany-Age-Ms: 0"},
		{"DELETE", "/v1/config/a", "", []string{`If-Match: "42"`, "Prytany-Guard: l;fence=3"},
			service.Delete{Key: "a", IfRevision: rev(42), Guard: &locks.Guard{Lock: "l", Fence: 3}}, 204, "", ""},
		{"DELETE", "/v1/config/a", "", []string{`Idempotency-Key: "k\"1"`}, nil, 204, "", ""},
		{"GET", "/v1/config?prefix=app/", "", nil, listCall{"entries", service.List{Prefix: "app/"}, service.Read{}}, 200,
			`{"entries":[` + entryJSON + `],"revision":50,"next":"more"}`, ""},
		{"GET", "/v1/config?prefix=app/&delimiter=/", "", nil, listCall{"entries", service.List{Prefix: "app/", Delimiter: "/"}, service.Read{}}, 200, "", ""},
		{"GET", "/v1/config?keys_only", "", nil, listCall{"entries", service.List{}, service.Read{}}, 200,
			`{"entries":[{"key":"app/color","content_type":"text/plain","revision":42,"created_revision":41,"version":2}],"revision":50,"next":"more"}`, ""},
	} {
		what := tc.method + " " + tc.target + " " + strings.Join(tc.headers, ", ")
		f := filled()
		rec := send(t, New(config(f)), tc.method, tc.target, tc.body, tc.headers...)
		if rec.Code != tc.status || tc.reply != "" && strings.TrimSuffix(rec.Body.String(), "\n") != tc.reply {
			t.Errorf("%s: %d %s\nwant %d %s", what, rec.Code, rec.Body, tc.status, tc.reply)
		}
		if f.count() != 1 || tc.call != nil && !reflect.DeepEqual(f.calls[0], tc.call) {
			t.Errorf("%s: called %+v, want %+v", what, f.calls, tc.call)
		}
		if (rec.Code == 204 || rec.Code == 304 || tc.method == "HEAD") && rec.Body.Len() > 0 {
			t.Errorf("%s: a body: %s", what, rec.Body)
		}
		want := "Prytany-Revision: 50\nPrytany-Slot: 60\nPrytany-Leader: http://n2:7480\n" + tc.replyHeaders
		for line := range strings.SplitSeq(strings.TrimSpace(want), "\n") {
			name, value, _ := strings.Cut(line, ": ")
			if got := rec.Header().Get(name); got != value {
				t.Errorf("%s: %s: %q, want %q", what, name, got, value)
			}
		}
		if rec.Header().Get("Content-Type") == api.TypeJSON && !strings.HasSuffix(rec.Body.String(), "\n") {
			t.Errorf("%s: no newline at the end", what)
		}
		if stale := strings.Contains(tc.target, "stale"); !stale && rec.Header().Get(api.HeaderApplied) != "" {
			t.Errorf("%s: looks stale", what)
		}
	}
}

// What stands in the path is the name, byte by byte, decoded once.
func TestNamesAreBytes(t *testing.T) {
	for path, name := range map[string]string{
		"a//b":                    "a//b",
		"a/../b":                  "a/../b",
		"..":                      "..",
		"a/":                      "a/",
		"/":                       "/",
		"a%2Fb":                   "a/b",
		"a%252Fb":                 "a%2Fb",
		"a%00b":                   "a\x00b",
		"a%0Ab":                   "a\nb",
		"a+b":                     "a+b",
		"a;b=c":                   "a;b=c",
		"a%3Fb":                   "a?b",
		"%C3%BC":                  "ü",
		"%7Bname%7D":              "{name}",
		"locks/x:acquire":         "locks/x:acquire",
		strings.Repeat("x", 512):  strings.Repeat("x", 512),
		strings.Repeat("%2e", 99): strings.Repeat(".", 99),
	} {
		for _, prefix := range []string{"/v1", "/v1/groups/main", "/v1/groups/g%2F1"} {
			f := filled()
			if rec := send(t, New(config(f)), "GET", prefix+"/config/"+path, ""); rec.Code != 200 {
				t.Errorf("%s: %d %s", path, rec.Code, rec.Body)
			} else if got := f.calls[0].(getCall).key; got != name {
				t.Errorf("%s: %q, want %q", path, got, name)
			}
		}
	}
}

func TestFreeLock(t *testing.T) {
	f := filled()
	f.lock = locks.Lock{Name: "nightly", Changed: 45, LockDelayRemaining: 3 * time.Second,
		Past: []locks.Past{{Session: "s-1", Owner: "w", Fence: 37, Ended: 45, Reason: "expired"},
			{Session: "s-0", Owner: "v", Fence: 30, Ended: 36, Reason: "forced: stuck"}}}
	rec := send(t, New(config(f)), "GET", "/v1/locks/nightly", "")
	const want = `{"name":"nightly","holders":[],"waiters":[],"past":[{"session":"s-1","owner":"w","fence":37,"ended":45,"reason":"expired"},` +
		`{"session":"s-0","owner":"v","fence":30,"ended":36,"reason":"forced: stuck"}],` +
		`"changed_revision":45,"lock_delay_remaining_ms":3000}` + "\n"
	if rec.Body.String() != want || rec.Header().Get("ETag") != `"45"` || rec.Header().Get(api.HeaderFence) != "" {
		t.Errorf("%v %s", rec.Header(), rec.Body)
	}
}

func TestBinaryValue(t *testing.T) {
	f := filled()
	f.entry.Value, f.entry.ContentType = []byte("\xff\xfe"), ""
	rec := send(t, New(config(f)), "GET", "/v1/config/a", "", "Accept: application/json")
	var e api.Entry
	if err := json.Unmarshal(rec.Body.Bytes(), &e); err != nil || e.Value != nil || e.ValueBase64 == nil || *e.ValueBase64 != "//4=" {
		t.Errorf("%v %s", err, rec.Body)
	}
	rec = send(t, New(config(f)), "GET", "/v1/config/a", "")
	if rec.Body.String() != "\xff\xfe" || rec.Header().Get("Content-Type") != api.TypeBytes {
		t.Errorf("%v %q", rec.Header(), rec.Body)
	}
}

// Two requests have one hash if and only if a retry may look so.
func TestRequestHash(t *testing.T) {
	hash := func(method, target, body string, headers ...string) uint64 {
		f := filled()
		rec := send(t, New(config(f)), method, target, body, append(headers, "Idempotency-Key: k")...)
		if f.count() != 1 {
			t.Fatalf("%s %s: %d %s", method, target, rec.Code, rec.Body)
		}
		c := reflect.ValueOf(f.calls[0]).FieldByName("Common").Interface().(service.Common)
		if c.IdempotencyKey != "k" || c.RequestHash == 0 {
			t.Fatalf("%s %s: %+v", method, target, c)
		}
		return c.RequestHash
	}
	first := hash("PUT", "/v1/locks/a?wait=30s", `{"session":"s"}`)
	for _, target := range []string{"/v1/locks/a?wait=30s", "/v1/locks/a?wait=1s", "/v1/locks/a", "/v1/groups/main/locks/a", "/v1/locks/%61"} {
		if hash("PUT", target, `{"session":"s"}`) != first {
			t.Errorf("%s is another request", target)
		}
	}
	seen := map[uint64]string{first: "first"}
	for _, tc := range [][]string{
		{"PUT", "/v1/locks/b", `{"session":"s"}`},
		{"PUT", "/v1/locks/a", `{"session":"t"}`},
		{"PUT", "/v1/locks/a", ``},
		{"PUT", "/v1/groups/g%2F1/locks/a", `{"session":"s"}`},
		{"DELETE", "/v1/locks/a", "", `If-Match: "3"`},
		{"DELETE", "/v1/locks/a", "", `If-Match: "4"`},
		{"DELETE", "/v1/locks/a?force=true", ""},
		{"DELETE", "/v1/locks/a?force=true&reason=x", ""},
		{"PUT", "/v1/config/a", `{"session":"s"}`},
		{"PUT", "/v1/config/a", "v"},
		{"PUT", "/v1/config/a", "v", "Content-Type: text/plain"},
		{"PUT", "/v1/config/a", "v", "Prytany-Session: s"},
		{"PUT", "/v1/config/a", "v", "Prytany-Guard: l;fence=1"},
		{"PUT", "/v1/config/a", "v", "If-None-Match: *"},
		{"PUT", "/v1/config/a", "v", "If-Match: *"},
		{"POST", "/v1/sessions", ``},
		{"PUT", "/v1/elections/a", `{"session":"s"}`},
		{"PUT", "/v1/locks/a", `{"session":"s","mode":"shared"}`},
		{"PUT", "/v1/locks/a", `{"session":"s","slots":2}`},
		{"POST", "/v1/locks/a:yield", ""},
		{"POST", "/v1/locks/a:yield", `{"within":"1s"}`},
		{"POST", "/v1/locks:acquire", `{"session":"s","names":["a","b"]}`},
		{"POST", "/v1/locks:acquire", `{"session":"s","names":["b","a"]}`},
		{"DELETE", "/v1/locks/a", "", `If-Match: "3"`, "Prytany-Session: s"},
		{"DELETE", "/v1/elections/a", "", `If-Match: "3"`},
		{"PATCH", "/v1/elections/a", `{"value":"v"}`, `If-Match: "3"`},
		{"PATCH", "/v1/elections/a", `{"value":"v"}`, `If-Match: "4"`},
		{"POST", "/v1/elections/a:transfer", `{"to":"s"}`},
		{"POST", "/v1/elections/a:transfer", `{"to":"s"}`, `If-Match: "3"`},
		{"PUT", "/v1/fences/a", `{"fence":3}`},
		{"PUT", "/v1/fences/a", `{"fence":4}`},
		{"DELETE", "/v1/fences/a", "", `If-Match: "3"`},
		{"POST", "/v1/transactions", `{"then":[{"get":"a"}]}`},
		{"POST", "/v1/transactions", `{"else":[{"get":"a"}]}`},
	} {
		h := hash(tc[0], tc[1], tc[2], tc[3:]...)
		if seen[h] != "" {
			t.Errorf("%q and %q have one hash", tc, seen[h])
		}
		seen[h] = strings.Join(tc, " ")
	}
}

func TestIdempotencyKey(t *testing.T) {
	for header, want := range map[string]string{
		"abc": "abc", `"abc"`: "abc", `"a\"b\\c"`: `a"b\c`, "a b": "a b", strings.Repeat("k", 255): strings.Repeat("k", 255), `"`: `"`,
	} {
		f := filled()
		rec := send(t, New(config(f)), "DELETE", "/v1/sessions/s", "", "Idempotency-Key: "+header)
		if f.count() != 1 || f.calls[0].(endSessionCall).c.IdempotencyKey != want {
			t.Errorf("%s: %d %s %+v", header, rec.Code, rec.Body, f.calls)
		}
	}
}

func TestNodePaths(t *testing.T) {
	cfg := config(newFake())
	checks := []api.Check{{Name: "joined", OK: true}, {Name: "quorum", OK: true}}
	cfg.Ready = func() []api.Check { return checks }
	cfg.Status = func() api.Status { return api.Status{Name: "n1"} }
	cfg.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		w.Header().Set("Vary", "Accept")
		_, _ = w.Write([]byte("up 1\n"))
	})
	s := New(cfg)
	expect := func(target, want string, status int, headers ...string) {
		t.Helper()
		if rec := send(t, s, "GET", target, "", headers...); rec.Code != status || !strings.Contains(rec.Body.String(), want) {
			t.Errorf("%s: %d %s, want %d %s", target, rec.Code, rec.Body, status, want)
		}
	}
	expect("/livez", "ok\n", 200)
	expect("/metrics", "up 1\n", 200)
	expect("/readyz", "ready\n", 200)
	expect("/readyz?verbose", "[+] joined ok\n[+] quorum ok\nready\n", 200)
	expect("/v1/status", `"name":"n1"`, 200)
	expect("/v1/status", `"groups":[],"group_counts":{"here":0,"leads":0,"leaderless":0,"known":0},"links":[]`, 200)
	expect("/v1/members", `{"members":[]}`, 200)
	checks[1] = api.Check{Name: "quorum", Detail: "1 of 3 voters"}
	expect("/livez", "ok\n", 200)
	expect("/readyz?verbose", "[+] joined ok\n[-] quorum failed: 1 of 3 voters\nnot ready\n", 503)
	expect("/readyz?verbose", `{"ready":false,"checks":[{"name":"joined","ok":true},{"name":"quorum","ok":false,"detail":"1 of 3 voters"}]}`, 503,
		"Accept: application/json")
	if p := problemIn(t, send(t, s, "GET", "/readyz", "")); p.Code != api.CodeNotReady || p.Detail != "quorum: 1 of 3 voters" {
		t.Errorf("%+v", p)
	}
}

// The options that few replies have.
func TestRareReplies(t *testing.T) {
	for _, tc := range []struct {
		set                   func(f *fake)
		method, target, reply string
	}{
		{func(f *fake) { f.grant.Mode = locks.Shared }, "PUT", "/v1/locks/a",
			`{"name":"nightly","session":"s-14","fence":37,"mode":"shared","expires_in_ms":15000,"waited_ms":2000}`},
		{func(f *fake) { f.grant.Slots = 3 }, "PUT", "/v1/locks/a",
			`{"name":"nightly","session":"s-14","fence":37,"mode":"exclusive","slots":3,"expires_in_ms":15000,"waited_ms":2000}`},
		{func(f *fake) {
			f.lock = locks.Lock{Name: "a", Slots: 2, Changed: 9, LockDelayRemaining: -1, Yield: &locks.Yield{Since: 8, Reason: "r"},
				Holders: []locks.Holder{{Session: "s-1", Owner: "s-1", Fence: 3, Since: 3, Held: -1, ExpiresIn: -1}, {Session: "s-2", Owner: "s-2", Fence: 3, Since: 3, Held: -1, ExpiresIn: -1}}}
		}, "GET", "/v1/locks/a", `{"name":"a","slots":2,"holders":[{"session":"s-1","owner":"s-1","fence":3,"mode":"exclusive","since":3},` +
			`{"session":"s-2","owner":"s-2","fence":3,"mode":"exclusive","since":3}],"waiters":[],"past":[],"yield":{"since":8,"reason":"r"},"changed_revision":9}`},
		{func(f *fake) {
			f.lock = locks.Lock{Name: "a", Slots: 1, Changed: 9, Yield: &locks.Yield{Since: 8, Within: time.Minute, Remaining: 5 * time.Second}}
		}, "GET", "/v1/locks/a", `{"name":"a","holders":[],"waiters":[],"past":[],"yield":{"since":8,"remaining_ms":5000},"changed_revision":9}`},
		{func(f *fake) { f.lock.Holders[0].Elected, f.lock.Waiters[0].Campaign, f.lock.Past = false, false, nil }, "GET", "/v1/elections/a",
			`{"name":"nightly","candidates":[],"past":[],"changed_revision":37}`},
		{func(f *fake) { f.entries = []locks.Entry{{Key: "app/"}, f.entry, {Key: "web/"}} }, "GET", "/v1/config?delimiter=/&keys_only",
			`{"entries":[{"key":"app/color","content_type":"text/plain","revision":42,"created_revision":41,"version":2}],"prefixes":["app/","web/"],"revision":50,"next":"more"}`},
		{func(f *fake) {
			f.kept.Held, f.kept.Missed = 3*time.Second, true
			f.kept.News = []locks.Change{{Revision: 47, Events: []locks.Event{
				{Type: locks.EventYield, Name: "a", Session: "s-14", Fence: 3, Within: time.Second, Reason: "r"},
			}}}
		}, "PUT", "/v1/sessions/s?hold=5s", `{"ttl_ms":15000,"expires_in_ms":9000,"held_ms":3000,"revision":50,` +
			`"events":[{"type":"yield","revision":47,"name":"a","session":"s-14","fence":3,"within_ms":1000,"reason":"r"}],"missed":true}`},
		{func(f *fake) {
			f.txn = locks.TxnResult{Failed: []locks.Failed{{Index: 0, Current: 41}, {Index: 2}}}
		}, "POST", "/v1/transactions", `{"succeeded":false,"revision":50,"failed":[{"index":0,"current":41},{"index":2,"current":0}],"results":[]}`},
	} {
		f := filled()
		tc.set(f)
		body := map[string]string{"POST": `{"then":[{"get":"k"}]}`}[tc.method]
		if rec := send(t, New(config(f)), tc.method, tc.target, body); strings.TrimSpace(rec.Body.String()) != tc.reply {
			t.Errorf("%s %s: %s\nwant %s", tc.method, tc.target, rec.Body, tc.reply)
		}
	}
}

func TestRoutes(t *testing.T) {
	routes := New(config(newFake())).Routes()
	if len(routes) != 2*16+13 {
		t.Errorf("%d routes: %v", len(routes), routes)
	}
	for _, want := range []Route{
		{"/v1/locks/{name}", []string{"DELETE", "GET", "PUT"}},
		{"/v1/groups/{group}/sessions", []string{"GET", "POST"}},
	} {
		found := false
		for _, r := range routes {
			found = found || reflect.DeepEqual(r, want)
		}
		if !found {
			t.Errorf("no %v in %v", want, routes)
		}
	}
}
