package httpapi

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prytany/prytany/httpapi/internal/feed"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/locks/service"
)

// seeds are requests from which the fuzzer begins: method, target, headers, body.
var seeds = [][4]string{
	{"PUT", "/v1/locks/nightly?wait=30s", "Idempotency-Key: k", `{"ttl":"30s","note":"n"}`},
	{"PUT", "/v1/locks/a//..%2F?wait=1s", "Prytany-Forward: ?1", `{"session":"s","mode":"exclusive","slots":1}`},
	{"DELETE", "/v1/locks/nightly?force=true&reason=x", "", ""},
	{"DELETE", "/v1/groups/g%2F1/locks/nightly", `If-Match: "37"`, ""},
	{"GET", "/v1/locks/nightly?fence=37", "", ""},
	{"GET", "/v1/locks?prefix=%C3%BC&limit=10&cursor=x", "", ""},
	{"POST", "/v1/sessions", "Content-Type: application/json", `{"ttl":"15s","name":"w","lock_delay":"0s"}`},
	{"PUT", "/v1/sessions/s-1", "", "{}"},
	{"GET", "/v1/sessions?limit=10", "", ""},
	{"GET", "/v1/sessions/s-1?consistency=linearizable", "", ""},
	{"DELETE", "/v1/sessions/s-1", `Idempotency-Key: "k"`, ""},
	{"DELETE", "/v1/config/a", "If-Match: 42\r\nPrytany-Guard: nightly;fence=37", ""},
	{"PUT", "/v1/config/app/color", "Prytany-Guard: nightly;fence=37\r\nPrytany-Session: s", "blue\xff"},
	{"PUT", "/v1/config/a", "If-None-Match: *\r\nContent-Type: text/plain; charset=utf-8", ""},
	{"GET", "/v1/config/a?wait=30s&consistency=stale&min_revision=3", `If-None-Match: W/"41"`, ""},
	{"GET", "/v1/config/a", "Accept: application/json;q=0.5, */*\r\nOrigin: null", ""},
	{"GET", "/v1/config?keys_only", "", ""},
	{"PUT", "/v1/locks/a", "", `{"mode":"shared"}`},
	{"PUT", "/v1/locks/a?wait=1m", "", `{"slots":3,"session":"s"}`},
	{"POST", "/v1/locks:acquire", "", `{"session":"s","names":["a","b/c"],"note":"n"}`},
	{"POST", "/v1/locks/a:yield", "", `{"within":"10s","reason":"deploy"}`},
	{"DELETE", "/v1/locks/a", "If-Match: 3\r\nPrytany-Session: s", ""},
	{"PUT", "/v1/sessions/s?hold=5s&since=40", "", ""},
	{"GET", "/v1/explain/locks/a?session=s-15", "", ""},
	{"PUT", "/v1/elections/web?wait=1m", "Idempotency-Key: k", `{"session":"s","value":"http://a","note":"n"}`},
	{"PATCH", "/v1/elections/web", `If-Match: "37"`, `{"value":"http://b"}`},
	{"GET", "/v1/elections/web?wait=1s", `If-None-Match: "37"`, ""},
	{"GET", "/v1/elections/web", "Accept: text/event-stream\r\nLast-Event-ID: 7", ""},
	{"DELETE", "/v1/elections/web", `If-Match: "37"`, ""},
	{"POST", "/v1/groups/main/elections/web:transfer", `If-Match: "37"`, `{"to":"s-2"}`},
	{"PUT", "/v1/fences/disk", "", `{"fence":37}`},
	{"GET", "/v1/fences/disk", "", ""},
	{"DELETE", "/v1/fences/disk", `If-Match: "37"`, ""},
	{"GET", "/v1/config?prefix=a/&delimiter=/", "", ""},
	{"GET", "/v1/watch/app/?events=put,delete&from=7", "", ""},
	{"GET", "/v1/watch", "Accept: text/event-stream;q=0.1, application/x-ndjson\r\nLast-Event-ID: 9", ""},
	{"POST", "/v1/transactions", "", `{"if":[{"key":"a","revision":0},{"key":"b","exists":true},{"key":"c","value":"v"},` +
		`{"key":"d","value_base64":"/w=="},{"session":"s"},{"lock":"l","fence":37}],"then":[{"put":"a","value":"v","content_type":"text/plain",` +
		`"session":"s"},{"get":"b"}],"else":[{"delete":"a"},{"delete_prefix":"x/"},{"put":"c","value_base64":"/w=="}]}`},
	{"POST", "/v1/leader:transfer", "Prytany-Forward: ?1", `{"to":"n2"}`},
	{"GET", "/v1/events?from=7&limit=10", "", ""},
	{"GET", "/v1/events", "Last-Event-ID: 7", ""},
	{"GET", "/v1/rtt", "", ""},
	{"GET", "/v1/groups?prefix=a&limit=10&cursor=ab", "", ""},
	{"POST", "/v1/groups", "Idempotency-Key: k", `{"name":"orders","replicas":3,"zones":["a","b"],"near":"n1"}`},
	{"GET", "/v1/groups/orders", "", ""},
	{"PATCH", "/v1/groups/orders", "", `{"replicas":5}`},
	{"DELETE", "/v1/groups/orders", "", ""},
	{"POST", "/v1/groups/orders:move", "", `{"from":"n1","to":"n4"}`},
	{"POST", "/v1/groups:rebalance", "", `{"dry_run":true,"limit":10}`},
	{"POST", "/v1/members", "", `{"node":"n4"}`},
	{"DELETE", "/v1/members/n4?force", "", ""},
	{"POST", "/v1/members/n4:replace?force=true", "", `{"by":"n5"}`},
	{"GET", "/v1/groups/far/locks/a", "Prytany-Relayed: ABCDEFGHIJKLMNOPQRSTUVWXYZ", ""},
	{"GET", "/readyz?verbose", "", ""},
	{"OPTIONS", "*", "", ""},
	{"CONNECT", "host:80", "", ""},
}

// A desk is a server that lives as long as a fuzz target, with a fake for each input.
type desk struct {
	fake *fake
	s    *Server
}

func newDesk() *desk {
	d := &desk{}
	cfg := config(nil)
	cfg.Locks = func(g string) (service.Locks, bool) { return d.fake, g == "main" || g == "g/1" }
	d.s = New(cfg)
	return d
}

// request makes a request of what the fuzzer chose; nil for what net/http answers by
// itself.
func request(method, target, headers string, body []byte) *http.Request {
	text := method + " " + target + " HTTP/1.1\r\nHost: localhost\r\n" + headers + "\r\n\r\n"
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil {
		return nil
	}
	if len(body) > 0 {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	return r
}

// check holds the reply to what holds for all.
func (d *desk) check(t *testing.T, rec *httptest.ResponseRecorder) {
	t.Helper()
	switch {
	case rec.Code >= 500:
		t.Fatalf("%d %s", rec.Code, rec.Body)
	case rec.Code >= 400:
		problemIn(t, rec)
		if d.fake.count() > 0 {
			t.Fatalf("refused with %s, but made the call %+v", rec.Body, d.fake.calls)
		}
	}
	for _, call := range d.fake.calls {
		checkCall(t, call)
	}
}

// allocated is how many bytes this process has allocated so far.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// Whatever is sent, the answer is no 5xx, a refusal is a whole problem that
// has reached nobody, what reaches the service is within its limits, and no more
// memory is used than four times what a body may have, and some for the reply.
func FuzzRequest(f *testing.F) {
	for _, s := range seeds {
		f.Add(s[0], s[1], s[2], []byte(s[3]))
	}
	d := newDesk()
	f.Fuzz(func(t *testing.T, method, target, headers string, body []byte) {
		r := request(method, target, headers, body)
		if r == nil {
			return
		}
		d.fake = filled()
		rec := httptest.NewRecorder()
		before := allocated()
		d.s.ServeHTTP(rec, r)
		if used := allocated() - before; used > 4*512<<10+2<<20 {
			t.Fatalf("%d bytes were allocated for a body of %d", used, len(body))
		}
		d.check(t, rec)
	})
}

// strange reports whether r has a header that looks like one of ours, or like a
// condition, and is none that this server knows: it passes over those, and the document
// does not name them. So is a group without a name, which the document's templates of
// paths take and the router does not.
func strange(r *http.Request) bool {
	if strings.HasPrefix(r.URL.EscapedPath(), "/v1/groups//") {
		return true
	}
	for name := range r.Header {
		known := slices.Contains(conditions, name) || name == api.HeaderForward || name == api.HeaderRelayed
		if !known && (strings.HasPrefix(name, "Prytany-") || strings.HasPrefix(name, "If-")) {
			return true
		}
	}
	return false
}

// FuzzDocument is FuzzRequest, and holds request and reply to the OpenAPI document,
// which takes longer than everything else.
func FuzzDocument(f *testing.F) {
	for _, s := range seeds {
		f.Add(s[0], s[1], s[2], []byte(s[3]))
	}
	d := newDesk()
	f.Fuzz(func(t *testing.T, method, target, headers string, body []byte) {
		r := request(method, target, headers, body)
		if r == nil || strange(r) {
			return
		}
		d.fake = filled()
		d.check(t, answerTo(t, d.s, r))
	})
}

// A transaction that is taken is one to encoding/json as well, and nothing in it
// is lost.
func FuzzTransaction(f *testing.F) {
	for _, s := range seeds {
		if s[1] == "/v1/transactions" {
			f.Add(s[3])
		}
	}
	f.Add(`{"then":[{"put":"a","value":"\ud800"}],"else":[{}]}`)
	d := newDesk()
	f.Fuzz(func(t *testing.T, body string) {
		fake := filled()
		d.fake = fake
		rec := httptest.NewRecorder()
		d.s.ServeHTTP(rec, request("POST", "/v1/transactions", "", []byte(body)))
		if rec.Code != 200 {
			if p := problemIn(t, rec); p.Status >= 500 || p.Field == "" || fake.count() > 0 {
				t.Fatalf("%+v", p)
			}
			return
		}
		var want api.Transaction
		d := json.NewDecoder(strings.NewReader(body))
		d.DisallowUnknownFields()
		if err := d.Decode(&want); err != nil {
			t.Fatal(err)
		}
		got := fake.calls[0].(service.Txn)
		checkTxn(t, &got)
		if len(got.If) != len(want.If) || len(got.Then) != len(want.Then) || len(got.Else) != len(want.Else) {
			t.Fatalf("%+v, want %+v", got, want)
		}
		for i, o := range want.Then {
			keys := map[locks.OpKind]*string{locks.OpPut: o.Put, locks.OpGet: o.Get, locks.OpDelete: o.Delete, locks.OpDeletePrefix: o.DeletePrefix}
			if key := keys[got.Then[i].Kind]; key == nil || *key != got.Then[i].Key || o.Session != got.Then[i].Session {
				t.Fatalf("%+v, want %+v", got.Then[i], o)
			}
			if o.Value != nil && *o.Value != string(got.Then[i].Value) {
				t.Fatalf("%q, want %q", got.Then[i].Value, *o.Value)
			}
		}
	})
}

// Whatever stands in an event, a reader of either format gets it back.
func FuzzEvents(f *testing.F) {
	f.Add("a", "b\ndata: c\r\n\r\n", "\u2028<&>", uint64(7))
	f.Add("\x00", "id: 9", "\xff", uint64(0))
	f.Fuzz(func(t *testing.T, name, owner, value string, revision uint64) {
		in := []api.Event{
			{Type: api.EventLeader, Revision: revision, More: true, Name: name, Owner: owner, Value: value},
			{Type: api.EventUnlock, Revision: revision, Name: value, Owner: name, Reason: owner},
		}
		plain := eventsOf(t, api.TypeNDJSON, string(feed.Events(in, false)))
		messages := eventsOf(t, api.TypeSSE, string(feed.Events(in, true)))
		if len(plain) != 2 || !reflect.DeepEqual(plain, messages) {
			t.Fatalf("%+v\n%+v", plain, messages)
		}
		valid := utf8.ValidString(name) && utf8.ValidString(owner) && utf8.ValidString(value)
		if valid && !reflect.DeepEqual(plain, in) {
			t.Fatalf("%+v, want %+v", plain, in)
		}
	})
}

// checkCall checks that call is within the default limits.
func checkCall(t *testing.T, call any) {
	t.Helper()
	name, ttl, wait, value := "x", 15*time.Second, time.Duration(0), 0
	switch c := call.(type) {
	case service.KeepAlive:
		name, wait = c.ID, c.Hold
	case getSessionCall:
		name = c.id
	case endSessionCall:
		name = c.id
	case getLockCall:
		name, wait = c.name, c.rd.Wait
	case checkFenceCall:
		name = c.name
	case getFenceCall:
		name = c.resource
	case getCall:
		name, wait = c.key, c.rd.Wait
	case listCall:
		if len(c.l.Prefix) > 512 || len(c.l.Delimiter) > 512 || c.l.Limit < 0 || c.l.Limit > 1000 {
			t.Fatalf("%+v", call)
		}
	case service.CreateSession:
		ttl = orDefault(c.TTL, ttl)
	case service.Acquire:
		name, wait, ttl = c.Name, c.Wait, orDefault(c.TTL, ttl)
		if c.Slots < 1 || c.Slots > 10_000 || c.Mode == locks.Shared && (c.Slots > 1 || c.Campaign) || len(c.Value) > 4<<10 {
			t.Fatalf("%+v", call)
		}
	case service.AcquireAll:
		name = c.Session
		if len(c.Names) < 1 || len(c.Names) > 128 {
			t.Fatalf("%+v", call)
		}
	case service.Release:
		name = c.Name
		if c.Force == (c.Fence != 0) || c.Force && c.Session != "" {
			t.Fatalf("%+v", call)
		}
	case service.AskYield:
		name = c.Name
		if c.Within < 0 || c.Within > time.Hour {
			t.Fatalf("%+v", call)
		}
	case service.Proclaim:
		name = c.Name
		if c.Fence == 0 || len(c.Value) > 4<<10 {
			t.Fatalf("%+v", call)
		}
	case service.Transfer:
		name = c.Name + c.To
	case service.AdvanceFence:
		name = c.Resource
	case service.ForgetFence:
		name = c.Resource
	case service.Put:
		name, value = c.Key, len(c.Value)
	case service.Delete:
		name = c.Key
	case service.Txn:
		checkTxn(t, &c)
	case service.Watch:
		if len(c.Prefix) > 512 || c.From > 1<<53-1 || c.Types >= 1<<locks.NumEventTypes {
			t.Fatalf("%+v", call)
		}
	default:
		t.Fatalf("%T", call)
	}
	switch {
	case name == "" || len(name) > 2*512 || !utf8.ValidString(name),
		ttl < 2*time.Second || ttl > 24*time.Hour,
		wait < 0 || wait > 5*time.Minute,
		value > 256<<10:
		t.Fatalf("beyond the limits: %.300q", call)
	}
}

// checkTxn checks that a transaction is within the default limits.
func checkTxn(t *testing.T, x *service.Txn) {
	t.Helper()
	n, size := len(x.If)+len(x.Then)+len(x.Else), 0
	for _, c := range x.If {
		size += len(c.Name) + len(c.Value)
		if c.Kind < locks.IfRevision || c.Kind > locks.IfCurrent || c.Name == "" || len(c.Name) > 512 {
			t.Fatalf("%+v", c)
		}
	}
	for _, o := range slices.Concat(x.Then, x.Else) {
		size += len(o.Key) + len(o.Value)
		if o.Kind < locks.OpPut || o.Kind > locks.OpDeletePrefix || o.Key == "" || len(o.Key) > 512 || len(o.Value) > 256<<10 ||
			(o.Kind == locks.OpPut) != (o.ContentType != "") || o.Kind != locks.OpPut && (o.Value != nil || o.Session != "") {
			t.Fatalf("%+v", o)
		}
	}
	if n < 1 || n > 128 || size > 512<<10 {
		t.Fatalf("%d conditions and operations of %d bytes", n, size)
	}
}

// Every route of the document is one that the seeds of the fuzzer reach, so that
// it begins in all of them.
func TestFuzzReachesEveryRoute(t *testing.T) {
	reached := map[string]bool{}
	for _, s := range seeds {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(s[0] + " " + s[1] + " HTTP/1.1\r\nHost: x\r\n\r\n")))
		if err != nil {
			t.Fatal(err)
		}
		if _, path, _ := document(t).find(r); path != "" {
			reached[s[0]+" "+strings.Replace(path, "/v1/groups/{group}/", "/v1/", 1)] = true
		}
	}
	for _, rt := range table() {
		for m := range rt.methods {
			if want := m + " /v1" + strings.ReplaceAll(rt.path, ":.*", ""); !reached[want] {
				t.Errorf("no seed for %s", want)
			}
		}
	}
}
