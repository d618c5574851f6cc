package client

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/multiplex"
	"github.com/prytany/prytany/internal/port"
)

// TestOutcomes answers a change by a script, one line per attempt, and looks at
// what the caller is told.
func TestOutcomes(t *testing.T) {
	problem := func(status int, code api.Code, applied api.Applied) func(*http.Request) (*http.Response, error) {
		return func(*http.Request) (*http.Response, error) { return replyProblem(status, code, applied), nil }
	}
	lost := func(*http.Request) (*http.Response, error) { return nil, errLost }
	down := func(*http.Request) (*http.Response, error) { return nil, &net.OpError{Op: "dial", Err: errLost} }
	proxy := func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 502, Status: "502 Bad Gateway", Header: http.Header{}, Body: http.NoBody}, nil
	}
	login := func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 302, Status: "302 Found", Header: http.Header{"Location": {"/login"}}, Body: http.NoBody}, nil
	}
	noLeader := problem(503, api.CodeNoLeader, api.AppliedNo)
	conflict := problem(412, api.CodeRevisionMismatch, api.AppliedNo)
	tooLarge := problem(413, api.CodeTooLarge, api.AppliedNo)
	unknown := problem(504, api.CodeOutcomeUnknown, api.AppliedUnknown)
	for name, tt := range map[string]struct {
		script []func(*http.Request) (*http.Response, error) // the last is repeated; nil: done
		want   error                                         // of kinds; nil: none
		fails  bool                                          // though want is nil
	}{
		"done":                         {script: []func(*http.Request) (*http.Response, error){nil}},
		"no leader, then done":         {script: []func(*http.Request) (*http.Response, error){noLeader, noLeader, nil}},
		"lost, then done":              {script: []func(*http.Request) (*http.Response, error){lost, silence, nil}},
		"all down":                     {script: []func(*http.Request) (*http.Response, error){down}, want: ErrUnavailable},
		"never a leader":               {script: []func(*http.Request) (*http.Response, error){down, noLeader}, want: ErrUnavailable},
		"silent":                       {script: []func(*http.Request) (*http.Response, error){silence}, want: ErrUnknownOutcome},
		"lost, then down":              {script: []func(*http.Request) (*http.Response, error){lost, down}, want: ErrUnknownOutcome},
		"lost, then no leader":         {script: []func(*http.Request) (*http.Response, error){lost, noLeader}, want: ErrUnknownOutcome},
		"unknown to the server":        {script: []func(*http.Request) (*http.Response, error){unknown, noLeader}, want: ErrUnknownOutcome},
		"conflict":                     {script: []func(*http.Request) (*http.Response, error){conflict}, want: ErrConflict},
		"lost, then a binding refusal": {script: []func(*http.Request) (*http.Response, error){lost, conflict}, want: ErrConflict},
		"lost, then another refusal":   {script: []func(*http.Request) (*http.Response, error){lost, tooLarge}, want: ErrUnknownOutcome},
		"too large":                    {script: []func(*http.Request) (*http.Response, error){tooLarge}, fails: true},
		"broken node":                  {script: []func(*http.Request) (*http.Response, error){problem(500, api.CodeInternal, api.AppliedUnknown)}, want: ErrUnknownOutcome},
		"gateway without nodes":        {script: []func(*http.Request) (*http.Response, error){proxy}, want: ErrUnknownOutcome},
		"redirected elsewhere":         {script: []func(*http.Request) (*http.Response, error){login}, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				c, f := newFake(t, Config{}, func(_ *fake, req *http.Request) (*http.Response, error) {
					step := tt.script[min(n, len(tt.script)-1)]
					n++
					if step == nil {
						return nil, nil
					}
					return step(req)
				})
				_, err := c.Put(t.Context(), "k", []byte("v"))
				for _, kind := range kinds {
					if got := errors.Is(err, kind); got != (kind == tt.want) {
						t.Errorf("%v is %q: %v", err, kind, got)
					}
				}
				if (err != nil) != (tt.want != nil || tt.fails) {
					t.Errorf("err = %v", err)
				}
				if len(f.keys) != 1 {
					t.Errorf("one change with %d keys", len(f.keys))
				}
				if f.now() > c.cfg.Timeout {
					t.Errorf("took %v", f.now())
				}
			})
		})
	}
}

func TestNoRepetitionAfterTheServerForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, f := newFake(t, Config{}, func(*fake, *http.Request) (*http.Response, error) { return nil, errLost })
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err := c.Put(ctx, "k", nil)
		if !errors.Is(err, ErrUnknownOutcome) || f.now() > time.Minute+time.Second {
			t.Errorf("err = %v after %v", err, f.now())
		}
	})
}

func TestWhatCannotBeSentFailsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, f := newFake(t, Config{}, nil)
		_, err := c.Put(t.Context(), "k", nil, ContentType("text/plain\r\nX: y"))
		if !errors.Is(err, errRequest) {
			t.Errorf("bad header: %v", err)
		}
		if _, err = c.Call(t.Context(), Call{Method: "BAD METHOD", Path: "config"}); !errors.Is(err, errRequest) {
			t.Errorf("bad method: %v", err)
		}
		if f.now() != 0 || len(f.requests()) != 0 {
			t.Errorf("took %v and %v", f.now(), f.requests())
		}
	})
}

func TestCallerWhoLeavesBlamesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := newFake(t, Config{}, func(_ *fake, req *http.Request) (*http.Response, error) { return silence(req) })
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err := c.Get(ctx, "k")
		if !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("err = %v", err)
		}
		if i, _ := c.link.Pick(); i != 0 {
			t.Error("turned away from an endpoint because the caller left")
		}
	})
}

func TestGetNewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, f := newFake(t, Config{}, func(f *fake, req *http.Request) (*http.Response, error) {
			wait, err := time.ParseDuration(req.URL.Query().Get("wait"))
			if err != nil || wait > 5*time.Minute {
				t.Errorf("wait %q", req.URL.Query().Get("wait"))
			}
			if change := 50*time.Second - f.now(); change > wait {
				time.Sleep(wait)
				return replyJSON(304, nil), nil
			} else if change > 0 {
				time.Sleep(change)
			}
			return nil, nil
		})
		e, err := c.GetNewer(t.Context(), "k", 6, time.Hour)
		if err != nil || e.Revision != 7 || f.now() != 50*time.Second {
			t.Errorf("%+v, %v at %v", e, err, f.now())
		}
	})
}

// A node counts what it is asked to change, once per key, and breaks the
// connection instead of answering, as often as it is told.
type node struct {
	mu      sync.Mutex
	lose    int
	effects map[string]int
	names   []string
}

// listen serves n at a URL of its own. Connections are shared if that is asked for.
func listen(t *testing.T, n http.Handler, shares bool) string {
	if shares {
		s := multiplex.NewServer(multiplex.ServerConfig{Handler: n})
		t.Cleanup(func() { s.Close(); s.Shutdown(context.Background()) })
		n = s
	}
	srv := httptest.NewServer(n)
	t.Cleanup(srv.Close)
	return srv.URL
}

// bothWays tests with connections that are shared, and with plain HTTP.
func bothWays(t *testing.T, test func(t *testing.T, shares bool, hc *http.Client)) {
	t.Run("shared", func(t *testing.T) { test(t, true, nil) })
	t.Run("plain", func(t *testing.T) { test(t, false, &http.Client{Transport: &http.Transport{}}) })
}

func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.effects[r.Header.Get(api.HeaderIdempotencyKey)] = 1
	name, err := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), "/v1/config/"))
	if err == nil {
		n.names = append(n.names, name)
	}
	if n.lose > 0 {
		n.lose--
		panic(http.ErrAbortHandler)
	}
	w.Header().Set(api.HeaderRevision, "7")
}

// TestLostRepliesHaveOneEffect puts over real connections that break before the
// reply.
func TestLostRepliesHaveOneEffect(t *testing.T) { bothWays(t, testLostReplies) }

func testLostReplies(t *testing.T, shares bool, hc *http.Client) {
	state := &node{effects: map[string]int{}, lose: 5}
	c, err := New(Config{Endpoints: []string{listen(t, state, shares), listen(t, state, shares)}, HTTPClient: hc})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for range 3 {
		if rev, err := c.Put(t.Context(), "k", []byte("v")); rev != 7 || err != nil {
			t.Fatalf("put: %d, %v", rev, err)
		}
	}
	state.mu.Lock()
	defer state.mu.Unlock()
	if len(state.effects) != 3 {
		t.Errorf("%d effects; want 3", len(state.effects))
	}
}

func TestNamesArriveWhole(t *testing.T) { bothWays(t, testNames) }

func testNames(t *testing.T, shares bool, hc *http.Client) {
	state := &node{effects: map[string]int{}}
	c, err := New(Config{Endpoints: []string{listen(t, state, shares)}, HTTPClient: hc})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	names := []string{
		"a", "a/b", "a//b", "/a", "a/", "//", ".", "..", "a/../b", "./.", "...", "%", "%2F", "%%", "a#b", "a?b=c", "a b", " a ",
		"a+b", "a;b", "a:b", "http://x/", "ä/日本/🔒", "\x01\t\n", "\\", `"`, "*", strings.Repeat("ü", 256), strings.Repeat("/", 512),
	}
	for _, name := range names {
		if _, err := c.Put(t.Context(), name, nil); err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if got := state.names[len(state.names)-1]; got != name {
			t.Errorf("%q arrived as %q", name, got)
		}
	}
}

// TestSilentServers accept connections and say nothing.
func TestSilentServers(t *testing.T) { bothWays(t, testSilent) }

func testSilent(t *testing.T, shares bool, hc *http.Client) {
	silent := listen(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), shares)
	good := listen(t, &node{effects: map[string]int{}}, shares)
	closed, err := port.Keep()
	if err != nil {
		t.Fatal(err)
	}
	defer closed.Release()
	for _, tt := range []struct {
		endpoints []string
		timeout   time.Duration
		want      error
	}{
		{[]string{silent, good}, 0, nil},
		{[]string{closed.Addr(), good}, 0, nil},
		{[]string{silent}, 3 * time.Second, ErrUnknownOutcome},
		{[]string{closed.Addr()}, time.Second, ErrUnavailable},
	} {
		c, err := New(Config{Endpoints: tt.endpoints, Timeout: tt.timeout, HTTPClient: hc})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Put(t.Context(), "k", nil); !errors.Is(err, tt.want) {
			t.Errorf("%v: %v; want %v", tt.endpoints, err, tt.want)
		}
		_ = c.Close()
	}
}

// TestNodeThatSharesNothing puts to a node of an older version, and to one that says
// nothing to who asks for a shared connection.
func TestNodeThatSharesNothing(t *testing.T) {
	state := &node{effects: map[string]int{}}
	for name, h := range map[string]http.Handler{
		"older": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == multiplex.Path {
				http.NotFound(w, r)
				return
			}
			state.ServeHTTP(w, r)
		}),
		"broken": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == multiplex.Path {
				panic(http.ErrAbortHandler)
			}
			state.ServeHTTP(w, r)
		}),
	} {
		c, err := New(Config{Endpoints: []string{listen(t, h, false)}})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if rev, err := c.Put(t.Context(), "k", nil); rev != 7 || err != nil {
				t.Errorf("%s: %d, %v", name, rev, err)
			}
		}
		_ = c.Close()
	}
	state.mu.Lock()
	defer state.mu.Unlock()
	if len(state.effects) != 4 {
		t.Errorf("%d effects; want 4", len(state.effects))
	}
}

// TestRepeatedByTransport has a node take a change and go down without an answer.
// net/http then tries to send it once more, and its error is that of the attempt that
// reached nobody. Found by prytany-jepsen in bad weather.
func TestRepeatedByTransport(t *testing.T) {
	var srv *httptest.Server
	asked := 0
	srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked == 1 {
			w.Header().Set(api.HeaderRevision, "7")
			return
		}
		_ = srv.Listener.Close()
		panic(http.ErrAbortHandler)
	}))
	defer srv.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var dials atomic.Int32
	tr := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		// The first is good, the second is that of net/http, the third that of the client's
		// next attempt: by then it has judged the one before.
		if dials.Add(1) == 3 {
			cancel()
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}
	c, err := New(Config{Endpoints: []string{srv.URL}, HTTPClient: &http.Client{Transport: tr}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Put(t.Context(), "k", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(ctx, "k", nil); !errors.Is(err, ErrUnknownOutcome) {
		t.Errorf("%v; want an unknown outcome: the node has seen it", err)
	}
}
