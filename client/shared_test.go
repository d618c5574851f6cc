package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prytany/prytany/client/internal/link"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/multiplex"
)

// TestLargeValue reads a value that is larger than a shared connection carries.
func TestLargeValue(t *testing.T) { bothWays(t, largeValue) }

func largeValue(t *testing.T, shares bool, hc *http.Client) {
	value := strings.Repeat("\x00", multiplex.MaxReply+1)
	url := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entryHeader(w.Header(), 7)
		_, _ = io.WriteString(w, value)
	}), shares)
	c, err := New(Config{Endpoints: []string{url}, HTTPClient: hc})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if e, err := c.Get(t.Context(), "k"); err != nil || !bytes.Equal(e.Value, []byte(value)) {
		t.Errorf("%d bytes, %v", len(e.Value), err)
	}
}

// TestLargeHead shows that a request whose head is too large is refused, and not repeated.
func TestLargeHead(t *testing.T) { bothWays(t, largeHead) }

func largeHead(t *testing.T, shares bool, hc *http.Client) {
	state := &node{effects: map[string]int{}}
	mk := func() string {
		var h http.Handler = state
		if shares {
			s := multiplex.NewServer(multiplex.ServerConfig{Handler: h})
			t.Cleanup(func() { s.Close(); s.Shutdown(context.Background()) })
			h = s
		}
		srv := httptest.NewUnstartedServer(h)
		srv.Config.MaxHeaderBytes = 32 << 10 // as a node
		srv.Start()
		t.Cleanup(srv.Close)
		return srv.URL
	}
	c, err := New(Config{Endpoints: []string{mk(), mk()}, HTTPClient: hc})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, err = c.Put(t.Context(), strings.Repeat("k", 40<<10), nil)
	if err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%.200v; want a refusal, and not that the time is over", err)
	}
}

// TestLeavingNode shows that a node which is going down is left for another.
func TestLeavingNode(t *testing.T) {
	state := &node{effects: map[string]int{}}
	s := multiplex.NewServer(multiplex.ServerConfig{Handler: state})
	base, stop := context.WithCancelCause(context.Background())
	srv := httptest.NewUnstartedServer(s)
	var conns atomic.Int64
	srv.Config.BaseContext = func(net.Listener) context.Context { return base }
	srv.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			conns.Add(1)
		}
	}
	srv.Start()
	t.Cleanup(func() { s.Close(); s.Shutdown(context.Background()); srv.Close() })
	good := listen(t, &node{effects: map[string]int{}}, true)
	c, err := New(Config{Endpoints: []string{srv.URL, good}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Put(t.Context(), "k", nil); err != nil {
		t.Fatal(err)
	}
	stop(errors.New("the node goes down")) // as stopRequests; the listener stays until elections are over
	if _, err := c.Put(t.Context(), "k", nil); err != nil {
		t.Errorf("%v, though another node was there", err)
	}
	if n := conns.Load(); n > 20 {
		t.Errorf("one request made %d connections to a node that leaves", n)
	}
}

// TestEndedBefore shows that a change whose context has ended is not sent.
func TestEndedBefore(t *testing.T) { bothWays(t, endedBefore) }

func endedBefore(t *testing.T, shares bool, hc *http.Client) {
	state := &node{effects: map[string]int{}}
	c, err := New(Config{Endpoints: []string{listen(t, state, shares)}, HTTPClient: hc})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Put(t.Context(), "k", nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.Put(ctx, "k", nil)
	time.Sleep(100 * time.Millisecond)
	state.mu.Lock()
	defer state.mu.Unlock()
	if err == nil || errors.Is(err, ErrUnknownOutcome) || len(state.effects) != 1 {
		t.Errorf("%v; %d effects, want 1", err, len(state.effects))
	}
}

// mortal is the address of a proxy for a node. From die on its first connection passes
// nothing on any more, and made counts all.
func mortal(t *testing.T, state http.Handler) (addr string, die func(), made *atomic.Int64) {
	t.Helper()
	backend := strings.TrimPrefix(listen(t, state, true), "http://")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var dead atomic.Bool
	made = new(atomic.Int64)
	var mu sync.Mutex
	var open []net.Conn
	go func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			n := made.Add(1)
			out, err := net.Dial("tcp", backend)
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, in, out)
			mu.Unlock()
			pipe := func(a, b net.Conn) {
				buf := make([]byte, 4096)
				for {
					k, err := a.Read(buf)
					if err != nil {
						return
					}
					if n == 1 && dead.Load() {
						continue
					}
					_, _ = b.Write(buf[:k])
				}
			}
			go pipe(in, out)
			go pipe(out, in)
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		defer mu.Unlock()
		for _, c := range open {
			_ = c.Close()
		}
	})
	return ln.Addr().String(), func() { dead.Store(true) }, made
}

// silenced is a client with a connection that was used, and has died since.
func silenced(t *testing.T) (c *Client, made *atomic.Int64) {
	t.Helper()
	addr, die, made := mortal(t, &node{effects: map[string]int{}})
	c, err := New(Config{Endpoints: []string{addr}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := c.Put(t.Context(), "k", nil); err != nil {
		t.Fatal(err)
	}
	die()
	return c, made
}

// TestSilentQueue shows that who waits in a queue does not ask again over a connection
// that has fallen silent.
func TestSilentQueue(t *testing.T) {
	c, made := silenced(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for range 2 { // attempts, as Link.Do makes them, but that each waits a minute
		_, _, _ = c.link.Once(ctx, placeInQueue(), 300*time.Millisecond)
	}
	if _, _, err := c.link.Once(ctx, placeInQueue(), 10*time.Second); err != nil {
		t.Errorf("the third attempt: %v; %d connections", err, made.Load())
	}
}

func placeInQueue() link.Request {
	return link.Request{Method: "PUT", Path: "locks/l", Queue: true, Small: true, Change: true, Key: "x"}
}

// TestCloseWhileMaking shows that a connection which is made while the client is closed
// does not stay.
func TestCloseWhileMaking(t *testing.T) {
	s := multiplex.NewServer(multiplex.ServerConfig{Handler: &node{effects: map[string]int{}}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	closed, ended := make(chan struct{}), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		cancel() // the request that the connection is for
		<-closed
		s.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { s.Close(); s.Shutdown(context.Background()); srv.Close() })
	c, err := New(Config{Endpoints: []string{srv.URL}})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = c.Put(ctx, "k", nil)
	_ = c.Close()
	close(closed)
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("a connection of a closed client is open")
	}
}

// TestRetireChurn shows that a caller's short patience costs others no connection.
func TestRetireChurn(t *testing.T) {
	s := multiplex.NewServer(multiplex.ServerConfig{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "slow") {
			<-r.Context().Done()
			return
		}
		w.Header().Set("Prytany-Revision", "7")
	})})
	var conns atomic.Int64
	srv := httptest.NewUnstartedServer(s)
	srv.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			conns.Add(1)
		}
	}
	srv.Start()
	t.Cleanup(func() { s.Close(); s.Shutdown(context.Background()); srv.Close() })
	c, err := New(Config{Endpoints: []string{srv.URL}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Put(t.Context(), "k", nil); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 64 { // all sent over the first connection
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond+time.Duration(i)*10*time.Millisecond)
			defer cancel()
			_, _ = c.Put(ctx, "slow", nil)
		})
	}
	stop := make(chan struct{})
	var good sync.WaitGroup
	good.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = c.Put(t.Context(), "k", nil)
				time.Sleep(time.Millisecond)
			}
		}
	})
	all.Wait()
	close(stop)
	good.Wait()
	if n := conns.Load(); n > 10 {
		t.Errorf("%d connections, of which 1 was silent", n)
	}
}

// TestSilentAndImpatient has callers with little time each, one after the other, ask over a
// connection that has fallen silent: together they find that out.
func TestSilentAndImpatient(t *testing.T) {
	c, _ := silenced(t)
	var err error
	for range 25 {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, err = c.Put(ctx, "k", nil)
		cancel()
		if err == nil {
			return
		}
	}
	t.Errorf("25 callers, and none on a new connection: %v", err)
}

// TestCrowdStays has more callers come at once than two connections take: a node is no
// worse for that, and nobody turns away from it.
func TestCrowdStays(t *testing.T) {
	const crowd = 2*multiplex.MaxOpen + 500
	var first, second atomic.Int64
	all := make(chan struct{})
	slow := func(n *atomic.Int64) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if n.Add(1) == crowd {
				close(all)
			}
			select {
			case <-all:
			case <-time.After(2 * time.Second):
			}
			w.Header().Set("Prytany-Revision", "7")
		})
	}
	c, err := New(Config{Endpoints: []string{listen(t, slow(&first), true), listen(t, slow(&second), true)}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	var callers sync.WaitGroup
	for i := range crowd {
		put := link.Request{Method: http.MethodPut, Path: "config/k", Small: true, Change: true, Key: fmt.Sprint(i)}
		callers.Go(func() { // one attempt, as Link.Do makes them, but with time enough
			if _, _, err := c.link.Once(t.Context(), put, time.Minute); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	if n := second.Load(); n > 0 {
		t.Errorf("%d of %d requests went to the second node", n, crowd)
	}
}

// A hook calls a function instead of logging.
type hook struct {
	slog.Handler
	call func()
}

func (h hook) Enabled(context.Context, slog.Level) bool  { return true }
func (h hook) Handle(context.Context, slog.Record) error { h.call(); return nil }

// TestLargeThenRefused has a change be done whose answer is too large to be shared, and its
// repetition refused: nobody may say that nothing has happened.
func TestLargeThenRefused(t *testing.T) {
	for _, code := range []struct {
		status int
		code   api.Code
	}{{http.StatusServiceUnavailable, api.CodeOverloaded}, {http.StatusForbidden, "forbidden"}} {
		ctx, cancel := context.WithCancel(t.Context())
		var refused atomic.Bool
		url := listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if _, plain := w.(http.Flusher); !plain {
				_, _ = w.Write(make([]byte, multiplex.MaxReply+1))
				return
			}
			refused.Store(true)
			w.WriteHeader(code.status)
			_ = json.NewEncoder(w).Encode(api.Problem{Code: code.code, Applied: api.AppliedNo})
		}), true)
		between := func() { // attempts: the last one has been judged
			if refused.Load() {
				cancel()
			}
		}
		c, err := New(Config{Endpoints: []string{url}, Log: slog.New(hook{slog.DiscardHandler, between})})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Put(ctx, "k", nil); !errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("%d: %v; want ErrUnknownOutcome", code.status, err)
		}
		cancel()
		_ = c.Close()
	}
}

// TestUpgradesRefusedOnTheWay has something between client and node answer 503 to upgrades:
// the client does without.
func TestUpgradesRefusedOnTheWay(t *testing.T) {
	state := &node{effects: map[string]int{}}
	url := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		state.ServeHTTP(w, r)
	}), false)
	c, err := New(Config{Endpoints: []string{url}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Put(t.Context(), "k", nil); err != nil {
		t.Error(err)
	}
}
