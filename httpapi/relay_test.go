package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/prytany/prytany/httpapi/internal/relay"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/leaktest"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/locks/service"
)

// member is a node that has a part in the group far alone, as f. It is served under
// the URL.
func member(t *testing.T, f *fake) (url string, s *Server, stop func()) {
	t.Helper()
	cfg := config(f)
	cfg.Locks = func(g string) (service.Locks, bool) { return f, g == "far" }
	s = New(cfg)
	addr, _, stop := serve(t, s)
	return "http://" + addr, s, stop
}

// front is a node that has a part in main alone and passes requests for far on.
func front(nodes ...string) Config {
	cfg := config(newFake())
	cfg.Locks = func(g string) (service.Locks, bool) { return newFake(), g == "main" }
	cfg.IsLeader = func(g string) bool { return false }
	cfg.Relay = func(g string) (urls []string, unknown bool) {
		if g == "far" {
			return nodes, false
		}
		return nil, true
	}
	return cfg
}

// patient is a Server that gives the nodes to which it passes requests on all the time that
// they need.
func patient(cfg Config) *Server {
	s := New(cfg)
	s.relay = relay.New(relay.Config{Dial: time.Minute, Patience: time.Minute, Pong: time.Minute})
	return s
}

// happens waits until c is closed, or has a value.
func happens(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(time.Minute):
		t.Errorf("does not happen: %s", what)
	}
}

// leakless fails the test if goroutines outlive it and all its nodes.
func leakless(t *testing.T) {
	now := goleak.IgnoreCurrent()
	t.Cleanup(func() { leaktest.None(t, now) })
}

var idInBody = regexp.MustCompile(`"request_id":"[A-Z2-7]+"`)

// asIs is what a reply says, but for the id of the request.
func asIs(rec *httptest.ResponseRecorder) string {
	h := rec.Header().Clone()
	h.Del(api.HeaderRequestID)
	if h.Get("Content-Length") == "0" {
		h.Del("Content-Length") // net/http says so over the wire
	}
	return fmt.Sprint(rec.Code, h, idInBody.ReplaceAllString(rec.Body.String(), ""))
}

// What another node answers is what it would have answered itself, to whatever it is
// asked.
func TestRelayedIsAsDirect(t *testing.T) {
	leakless(t)
	f := filled()
	url, direct, _ := member(t, f)
	relaying := patient(front(url))
	for _, seed := range seeds {
		path, ok := strings.CutPrefix(strings.Replace(strings.Replace(seed[1], "/groups/main/", "/", 1), "/groups/g%2F1/", "/", 1), "/v1/")
		if !ok || strings.HasPrefix(path, "events") || strings.HasPrefix(path, "rtt") || strings.HasPrefix(path, "groups") || strings.HasPrefix(path, "members") {
			continue
		}
		var headers []string
		if seed[2] != "" {
			headers = strings.Split(seed[2], "\r\n")
		}
		if seed[0] != "GET" && !strings.Contains(seed[2], "Idempotency-Key") && !strings.HasPrefix(path, "leader") && !strings.HasPrefix(path, "sessions/") {
			headers = append(headers, "Idempotency-Key: k")
		}
		methods := []string{seed[0]}
		if seed[0] == "GET" {
			methods = append(methods, "HEAD")
		}
		for _, method := range methods {
			for _, err := range []error{nil, &locks.Error{Code: locks.SessionUnknown, Detail: "d"}, &locks.Error{Code: locks.NoLeader}} {
				var replies [2]string
				var calls [2][]any
				for i, s := range []*Server{direct, relaying} {
					fresh := filled()
					f.mu.Lock()
					f.calls, f.err, f.stream = nil, err, fresh.stream
					f.mu.Unlock()
					replies[i] = asIs(send(t, s, method, "/v1/groups/far/"+path, seed[3], headers...))
					if calls[i] = f.calls; len(calls[i]) == 1 {
						if put, ok := calls[i][0].(service.Put); ok && len(put.Value) == 0 {
							put.Value = nil // as without a body, or with an empty one
							calls[i][0] = put
						}
					}
				}
				if replies[0] != replies[1] || !reflect.DeepEqual(calls[0], calls[1]) {
					t.Errorf("%s %s: directly\n%s\n%+v\nrelayed\n%s\n%+v", method, path, replies[0], calls[0], replies[1], calls[1])
				}
			}
		}
	}
	relaying.relay.CloseIdle()
}

// Who has no part in a group and may not pass the request on says so.
func TestNotRelayed(t *testing.T) {
	f := filled()
	url, _, _ := member(t, f)
	relayed := api.HeaderRelayed + ": " + strings.Repeat("A", 26)
	for _, tc := range []struct {
		target  string
		headers []string
		status  int
		code    api.Code
	}{
		{"/v1/groups/near/locks/a", nil, 404, api.CodeGroupUnknown},
		{"/v1/groups/far/locks/a", []string{relayed}, 421, api.CodeNotMember},
		{"/v1/groups/near/locks/a", []string{relayed}, 421, api.CodeNotMember}, // it may be new
		{"/v1/groups/far/locks/a", []string{"Prytany-Forward: ?0"}, 421, api.CodeNotLeader},
		{"/v1/groups/far/locks/a?consistency=stale", []string{"Prytany-Forward: ?0"}, 421, api.CodeNotLeader},
		{"/v1/groups/far/locks/a?wait=x", nil, 400, api.CodeInvalid},
		{"/v1/groups/far/locks/a?wait=1h", nil, 400, api.CodeInvalid},
		{"/v1/groups/far/locks/" + strings.Repeat("x", 513), nil, 400, api.CodeInvalid},
	} {
		p := problemIn(t, send(t, patient(front(url)), "GET", tc.target, "", tc.headers...))
		if p.Status != tc.status || p.Code != tc.code || p.Code == api.CodeNotLeader && p.Leader != "http://n2:7480" {
			t.Errorf("%.60s %v: %+v, want %d %s", tc.target, tc.headers, p, tc.status, tc.code)
		}
	}
	cfg := front(url)
	cfg.LeaderURL = nil
	if p := problemIn(t, send(t, patient(cfg), "GET", "/v1/groups/far/locks/a", "", "Prytany-Forward: ?0")); p.Code != api.CodeNoLeader {
		t.Errorf("%+v", p)
	}
	p := problemIn(t, send(t, patient(front(url)), "PUT", "/v1/groups/far/config/a", strings.Repeat("x", 256<<10+1)))
	if p.Code != api.CodeTooLarge {
		t.Errorf("%+v", p)
	}
	if f.count() != 0 {
		t.Errorf("the member was asked %+v", f.calls)
	}
}

// A node that cannot ask which groups there are does not say that there is no such group.
func TestRelayToNobodyKnown(t *testing.T) {
	for _, method := range []string{"GET", "PUT"} {
		p := problemIn(t, send(t, patient(front()), method, "/v1/groups/far/config/a", ""))
		if p.Code != api.CodeNoLeader || p.Applied != api.AppliedNo || !p.Retryable {
			t.Errorf("%+v", p)
		}
		if p := problemIn(t, send(t, patient(front()), method, "/v1/groups/nowhere/config/a", "")); p.Code != api.CodeGroupUnknown {
			t.Errorf("%+v", p)
		}
	}
}

// Two nodes that take each other for members do not ask each other for ever.
func TestRelayLoop(t *testing.T) {
	var urls [2]string
	for i := range urls {
		cfg := front()
		cfg.Relay = func(string) ([]string, bool) { return urls[:], false }
		addr, _, _ := serve(t, patient(cfg))
		urls[i] = "http://" + addr
	}
	cfg := front(urls[:]...)
	for _, method := range []string{"GET", "PUT"} {
		p := problemIn(t, send(t, patient(cfg), method, "/v1/groups/far/config/a", ""))
		if p.Code != api.CodeNoLeader || p.Applied != api.AppliedNo || !p.Retryable {
			t.Errorf("%+v", p)
		}
	}
}

// The largest bodies of all kinds get through.
func TestRelayedBodies(t *testing.T) {
	f := filled()
	url, _, _ := member(t, f)
	s := patient(front(url))
	value := strings.Repeat("\x00", 256<<10)
	if rec := send(t, s, "PUT", "/v1/groups/far/config/a", value); rec.Code != 200 || string(f.calls[0].(service.Put).Value) != value {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	txn := `{"then":[{"put":"k","value":"` + strings.Repeat(`\u0041`, 256<<10) + `"}]}`
	if rec := send(t, s, "POST", "/v1/groups/far/transactions", txn); rec.Code != 200 || len(f.calls[1].(service.Txn).Then[0].Value) != 256<<10 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	f.entry.Value = []byte(value)
	if rec := send(t, s, "GET", "/v1/groups/far/config/a", ""); rec.Code != 200 || rec.Body.String() != value {
		t.Errorf("%d, %d bytes", rec.Code, rec.Body.Len())
	}
}

// upstream is a node that answers as h says.
func upstream(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

// A change has a key before it leaves, so that it can be sent again, unless a key means
// nothing. The id of the request is the same on both nodes.
func TestRelayedHeaders(t *testing.T) {
	var got []http.Header
	var body []string
	broken := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, body = append(got, r.Header), append(body, string(b))
		panic(http.ErrAbortHandler)
	})
	ids := map[string]bool{}
	for _, tc := range []struct {
		method, target string
		headers        []string
		tries          int
		key            bool
		code           api.Code
		retryable      bool
	}{
		{"PUT", "config/a", nil, 2, true, api.CodeOutcomeUnknown, false},
		{"PUT", "config/a", []string{"Idempotency-Key: mine"}, 2, true, api.CodeOutcomeUnknown, true},
		{"DELETE", "locks/a?force", nil, 2, true, api.CodeOutcomeUnknown, false},
		{"PUT", "sessions/a", nil, 2, true, api.CodeOutcomeUnknown, true},
		{"POST", "leader:transfer", nil, 1, false, api.CodeOutcomeUnknown, false},
		{"POST", "leader:transfer", []string{"Idempotency-Key: mine"}, 1, false, api.CodeOutcomeUnknown, true},
		{"GET", "config/a", []string{"Accept-Encoding: gzip", "Connection: x-mine", "X-Mine: 1", "Cookie: c"}, 2, false, api.CodeNoLeader, true},
	} {
		got, body = nil, nil
		text := ""
		if tc.method == "PUT" && strings.HasPrefix(tc.target, "config") {
			text = "value"
		}
		p := problemIn(t, send(t, patient(front(broken, broken)), tc.method, "/v1/groups/far/"+tc.target, text, tc.headers...))
		if len(got) != tc.tries || p.Code != tc.code || p.Retryable != tc.retryable {
			t.Errorf("%s %s %v: %d tries, %+v", tc.method, tc.target, tc.headers, len(got), p)
			continue
		}
		first := got[0]
		if key := first.Get(api.HeaderIdempotencyKey); (key != "") != tc.key || key != got[tc.tries-1].Get(api.HeaderIdempotencyKey) ||
			tc.key && tc.headers != nil && key != "mine" || ids[key] && key != "mine" && key != "" {
			t.Errorf("%s %s: keys %q and %q", tc.method, tc.target, key, got[tc.tries-1].Get(api.HeaderIdempotencyKey))
		} else {
			ids[key] = true
		}
		if first.Get(api.HeaderRelayed) != p.RequestID || body[0] != text || body[tc.tries-1] != text || first.Get("X-Mine") != "" {
			t.Errorf("%s %s: %v, %q, of %s", tc.method, tc.target, first, body, p.RequestID)
		}
		if tc.method == "GET" && (first.Get("Cookie") != "c" || first.Get("Accept-Encoding") != "gzip") {
			t.Errorf("%v", first)
		}
	}
	// On the other side the id is taken over if it is one.
	rec := send(t, New(config(newFake())), "GET", "/v1/locks/a", "", api.HeaderRelayed+": ABCDEFGHIJKLMNOPQRSTUVWXYZ")
	if id := rec.Header().Get(api.HeaderRequestID); id != "ABCDEFGHIJKLMNOPQRSTUVWXYZ" {
		t.Errorf("%q", id)
	}
	rec = send(t, New(config(newFake())), "GET", "/v1/locks/a", "", api.HeaderRelayed+": abcdefghijklmnopqrstuvwxyz")
	if id := rec.Header().Get(api.HeaderRequestID); len(id) != 26 || strings.ToUpper(id) != id {
		t.Errorf("%q", id)
	}
}

// An answer that breaks off does not look whole.
func TestRelayedAnswerBreaksOff(t *testing.T) {
	broken := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	observed := make(chan int, 1)
	cfg := front(broken)
	cfg.Observe = func(_ string, status int, _ time.Duration) { observed <- status }
	addr, _, _ := serve(t, patient(cfg))
	resp, err := http.Get("http://" + addr + "/v1/groups/far/config/a")
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
	}
	if err == nil {
		t.Error("half an answer looks whole")
	}
	if status := <-observed; status != 200 {
		t.Errorf("observed %d", status)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

// watching is a client that reads the watch of a node line by line.
func watching(t *testing.T, addr string) (lines *bufio.Reader, resp *http.Response, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+addr+"/v1/groups/far/watch/a", nil)
	if err != nil {
		t.Fatal(err)
	}
	tr := new(http.Transport)
	resp, err = tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	return bufio.NewReader(resp.Body), resp, func() {
		cancel()
		_ = resp.Body.Close()
		tr.CloseIdleConnections()
	}
}

// What happens arrives at once, also by way of another node; whoever of the three goes,
// the others let go.
func TestRelayedStream(t *testing.T) {
	for name, end := range map[string]func(client, member, relaying func()){
		"the client goes": func(client, _, _ func()) { client() },
		"the member goes": func(_, member, _ func()) { member() },
		"the relay goes":  func(_, _, relaying func()) { relaying() },
	} {
		t.Run(name, func(t *testing.T) {
			leakless(t)
			f := newFake()
			f.stream = &script{more: make(chan turn), gone: make(chan struct{})}
			url, _, stopMember := member(t, f)
			s := patient(front(url))
			addr, srv, stopRelay := serve(t, s)
			lines, resp, stopClient := watching(t, addr)
			defer stopClient()
			expect := func(kind string) {
				t.Helper()
				for line := ""; !strings.Contains(line, `"type":"`+kind+`"`); {
					var err error
					if line, err = lines.ReadString('\n'); err != nil {
						t.Fatalf("waiting for %s: %q, %v", kind, line, err)
					}
				}
			}
			if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != api.TypeNDJSON {
				t.Errorf("%d %v", resp.StatusCode, resp.Header)
			}
			expect("bookmark")
			for i, kind := range []string{"delete", "lock", "yield"} {
				f.stream.more <- turn{changes: everything[i : i+1], upTo: everything[i].Revision}
				expect(kind) // before there is more
			}
			end(stopClient, stopMember, stopRelay)
			happens(t, "the stream ends at the member", f.stream.gone)
			rest, err := io.ReadAll(lines)
			switch name {
			case "the member goes":
				if err != nil || !strings.Contains(string(rest), `"code":"stopping"`) {
					t.Errorf("%q, %v", rest, err)
				}
			case "the relay goes":
				if err == nil {
					t.Errorf("looks whole: %q", rest)
				}
				if err := srv.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			}
			stopMember()
			s.relay.CloseIdle()
		})
	}
}

// A client that goes takes its request with it.
func TestRelayedClientGoes(t *testing.T) {
	arrived, ended := make(chan struct{}), make(chan struct{})
	hanging := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(arrived)
		<-r.Context().Done()
		close(ended)
	})
	addr, _, _ := serve(t, patient(front(hanging)))
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "PUT /v1/groups/far/locks/a?wait=1m HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"); err != nil {
		t.Fatal(err)
	}
	happens(t, "the request arrives at the member", arrived)
	_ = conn.Close()
	happens(t, "the request ends at the member", ended)
}

// When the relaying node goes down, whoever waits is sent elsewhere, and a change that
// is under way is answered.
func TestRelayStops(t *testing.T) {
	release, arrived := make(chan struct{}), make(chan struct{}, 2)
	slow := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		select {
		case <-release:
			_, _ = io.WriteString(w, "{}")
		case <-r.Context().Done():
		}
	})
	s := patient(front(slow))
	addr, srv, stop := serve(t, s)
	type result struct {
		status int
		text   string
	}
	ask := func(method, path string) chan result {
		out := make(chan result, 1)
		go func() {
			req, _ := http.NewRequest(method, "http://"+addr+"/v1/groups/far/"+path, bytes.NewReader(nil))
			resp, err := new(http.Transport).RoundTrip(req)
			if err != nil {
				out <- result{0, err.Error()}
				return
			}
			defer resp.Body.Close()
			text, _ := io.ReadAll(resp.Body)
			out <- result{resp.StatusCode, string(text)}
		}()
		<-arrived
		return out
	}
	poll, change := ask("GET", "locks/a?wait=1m"), ask("PUT", "config/a")
	stop()
	if r := <-poll; r.status != 503 || !strings.Contains(r.text, "stopping") {
		t.Errorf("a long poll: %+v", r)
	}
	close(release)
	if r := <-change; r.status != 200 {
		t.Errorf("a change: %+v", r)
	}
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// What is passed on takes room as what is answered here.
func TestRelayedTakesRoom(t *testing.T) {
	arrived := make(chan struct{}, 3)
	hanging := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-r.Context().Done()
	})
	cfg := front(hanging)
	cfg.MaxInFlight, cfg.MaxStreams, cfg.MaxHeld = 1, 1, 1
	s := patient(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, target := range []string{"GET locks/a?wait=1m", "GET watch/a", "PUT sessions/a?hold=1m"} {
		method, path, _ := strings.Cut(target, " ")
		go s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(method, "/v1/groups/far/"+path, nil).WithContext(ctx))
		<-arrived
		if p := problemIn(t, send(t, s, method, "/v1/groups/far/"+path, "")); p.Code != api.CodeOverloaded || p.Limit != "1" {
			t.Errorf("%s: %+v", target, p)
		}
	}
}
