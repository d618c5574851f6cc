package multiplex

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestBreakOffWhenFull shows that a request which is broken off on a full connection
// costs no other.
func TestBreakOffWhenFull(t *testing.T) {
	var slow atomic.Int64
	w := serve(t, ServerConfig{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		if r.URL.Path == "/slow" { // as a lock's request that gives its place up
			slow.Add(1)
			time.Sleep(200 * time.Millisecond)
		}
	})})
	c := w.dial(t)
	trust(c)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var broken atomic.Int64
	var all sync.WaitGroup
	for range MaxOpen - 1 {
		all.Go(func() {
			_, _, err := c.Do(ctx, Request{Method: "GET", Target: "/"})
			if errors.Is(err, ErrOver) {
				broken.Add(1)
			}
		})
	}
	one, stop := context.WithCancel(ctx)
	all.Go(func() { _, _, _ = c.Do(one, Request{Method: "GET", Target: "/slow"}) })
	for c.Room() {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(100 * time.Millisecond)
	stop()
	for !c.Room() {
		time.Sleep(time.Millisecond)
	}
	again, halt := context.WithTimeout(ctx, time.Second)
	defer halt()
	_, sent, err := c.Do(again, Request{Method: "GET", Target: "/"})
	t.Logf("sent %v, %v", sent, err)
	cancel()
	all.Wait()
	if n := broken.Load(); n > 0 {
		t.Errorf("%d requests of others were lost", n)
	}
}

// TestAnswerLostStress shows that what is answered while a connection ends is heard.
func TestAnswerLostStress(t *testing.T) {
	lost := 0
	const rounds = 100
	for range rounds {
		gate := make(chan struct{})
		var in sync.WaitGroup
		in.Add(8)
		srv := NewServer(ServerConfig{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			in.Done()
			<-gate
		})})
		base, stop := context.WithCancelCause(context.Background())
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		h := &http.Server{Handler: srv, BaseContext: func(net.Listener) context.Context { return base }}
		go h.Serve(ln)
		raw, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c, err := NewClient(t.Context(), raw, "x")
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		var bad atomic.Int64
		for range 8 {
			all.Go(func() {
				if _, _, err := c.Do(t.Context(), Request{Method: "GET", Target: "/"}); err != nil {
					bad.Add(1)
				}
			})
		}
		in.Wait()
		go stop(nil)
		close(gate)
		all.Wait()
		if bad.Load() > 0 {
			lost++
		}
		c.Close()
		srv.Shutdown(context.Background())
		_ = h.Close()
	}
	if lost > 0 {
		t.Errorf("answers lost in %d of %d graceful ends", lost, rounds)
	}
}

// TestCondRace has many wait for room at once.
func TestCondRace(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	q := &queue{w: a, timeout: time.Minute}
	q.changed.L = &q.mu
	q.reserved = maxQueued + 1
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { q.reserve(new(exchange), 1) })
	}
	for range 200 {
		time.Sleep(time.Millisecond)
		q.mu.Lock()
		q.changed.Broadcast()
		q.mu.Unlock()
	}
	q.mu.Lock()
	q.reserved = 0
	q.changed.Broadcast()
	q.mu.Unlock()
	all.Wait()
}

// TestOddHeaders shows that an answer that cannot be told ends nothing but itself.
func TestOddHeaders(t *testing.T) {
	in := make(chan bool)
	w := serve(t, ServerConfig{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/value":
			w.Header().Set("Content-Type", "a/b;c=\"\x01\"")
		case "/name":
			w.Header()["a b"] = []string{"c"}
		case "/slow":
			in <- true
			<-in
		}
	})})
	c := w.dial(t)
	slow := make(chan error, 1)
	go func() {
		_, _, err := c.Do(t.Context(), Request{Method: "GET", Target: "/slow"})
		slow <- err
	}()
	<-in
	for _, odd := range []string{"/value", "/name"} {
		if _, sent, err := c.Do(t.Context(), Request{Method: "GET", Target: odd}); !errors.Is(err, ErrAborted) || !sent {
			t.Errorf("%s: %v, sent %v; want ErrAborted", odd, err, sent)
		}
	}
	in <- true
	if err := <-slow; err != nil {
		t.Errorf("another request: %v", err)
	}
}

// TestNoRoomOnceGone shows that those who wait for room to answer in do not all answer at
// once when the client is given up.
func TestNoRoomOnceGone(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	q := &queue{w: a, timeout: time.Minute, reserved: maxQueued + 1, busy: true}
	q.changed.L = &q.mu
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if q.reserve(new(exchange), MaxReply) {
				t.Error("there is room for an answer that nobody takes")
			}
		})
	}
	time.Sleep(10 * time.Millisecond) // most wait now; those who come later are told the same
	q.close()
	all.Wait()
}

// TestOnlyFirstWriteCounts shows that answers which are written in pieces are bounded, too.
func TestOnlyFirstWriteCounts(t *testing.T) {
	var made atomic.Int64
	w := serve(t, ServerConfig{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		part := make([]byte, 4096) // as io.Copy, promhttp
		for range 250 {
			if _, err := w.Write(part); err != nil {
				return
			}
		}
		made.Add(1)
	})})
	conn, _ := w.raw(t)
	_ = conn.(*net.TCPConn).SetReadBuffer(4096)
	var b []byte
	for i := range 256 {
		b = appendFrame(b, kindRequest, uint64(i+1), request("GET", "/metrics"), nil)
	}
	_, _ = conn.Write(b)
	time.Sleep(8 * time.Second)
	if n := made.Load(); n > 40 {
		t.Errorf("%d answers of 1 MB were made for a client that reads nothing", n)
	}
}

// TestEndedBefore shows that a request whose context has ended is not sent.
func TestEndedBefore(t *testing.T) {
	var seen atomic.Int64
	w := serve(t, ServerConfig{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen.Add(1) })})
	c := w.dial(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	unknown := 0
	for range 50 {
		if _, sent, _ := c.Do(ctx, Request{Method: "PUT", Target: "/"}); sent {
			unknown++
		}
	}
	time.Sleep(100 * time.Millisecond)
	if unknown > 0 || seen.Load() > 0 {
		t.Errorf("of 50 requests whose context had ended before, %d are said to be sent, and %d were carried out", unknown, seen.Load())
	}
}

// TestZone asks an address with a zone, which is no part of a Host.
func TestZone(t *testing.T) {
	c := &Client{}
	defer func() { _ = recover() }()
	t.Error(c.upgrade("[fe80::1%eth0]:80"))
}

// TestHeadsCount has a client ask for answers that are hardly more than a head and take
// none: they are bounded as others are.
func TestHeadsCount(t *testing.T) {
	for body := range 2 {
		w := serve(t, ServerConfig{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Some", strings.Repeat("x", 8<<10))
			_, _ = w.Write(make([]byte, body))
		})})
		conn, _ := w.raw(t)
		_ = conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
		var b []byte
		for i := range 200 * MaxOpen {
			if i%500 == 0 && i < 10*MaxOpen {
				time.Sleep(20 * time.Millisecond) // so that it is answered, and not too much
			}
			b = appendFrame(b[:0], kindRequest, uint64(i+1), request("GET", "/"), nil)
			if _, err := conn.Write(b); err != nil {
				break // it was ended, or nothing is taken any more
			}
		}
		w.shared.mu.Lock()
		for c := range w.shared.conns {
			c.out.mu.Lock()
			if n := len(c.out.next); n > 2*maxQueued {
				t.Errorf("%d bytes wait for a client that reads nothing", n)
			}
			c.out.mu.Unlock()
		}
		w.shared.mu.Unlock()
	}
}

// TestTooLargeAndAborted has handlers give up when they are told that their answer is too
// large, or that it cannot be read in parts: that is what their clients hear.
func TestTooLargeAndAborted(t *testing.T) {
	w := serve(t, ServerConfig{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/large":
			if _, err := io.Copy(w, strings.NewReader(strings.Repeat("x", MaxReply+1))); err != nil {
				panic(http.ErrAbortHandler)
			}
		case "/parts":
			_, _ = w.Write([]byte("the first"))
			if err := http.NewResponseController(w).Flush(); err == nil {
				t.Error("it was flushed")
			}
		case "/head":
			w.Header().Set("X-Some", strings.Repeat("x", maxHead))
		}
	})})
	c := w.dial(t)
	for _, target := range []string{"/large", "/parts", "/head"} {
		if r, _, err := c.Do(t.Context(), Request{Method: "GET", Target: target}); !errors.Is(err, ErrLarge) {
			t.Errorf("%s: %d, %v; want ErrLarge", target, r.Status, err)
		}
	}
	if r, _, err := c.Do(t.Context(), Request{Method: "GET", Target: "/"}); err != nil || r.Status != http.StatusOK {
		t.Errorf("afterwards: %d, %v", r.Status, err)
	}
}

// TestHalfAnAnswer has a handler end before it has written what it announced: that is no
// answer, but to a HEAD.
func TestHalfAnAnswer(t *testing.T) {
	w := serve(t, ServerConfig{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = w.Write([]byte("half"))
	})})
	c := w.dial(t)
	if r, _, err := c.Do(t.Context(), Request{Method: "GET", Target: "/"}); !errors.Is(err, ErrAborted) {
		t.Errorf("%d %q, %v; want ErrAborted", r.Status, r.Body, err)
	}
	if r, _, err := c.Do(t.Context(), Request{Method: "HEAD", Target: "/"}); err != nil || r.Status != http.StatusOK {
		t.Errorf("HEAD: %d, %v", r.Status, err)
	}
}

// TestPanicsAreTold has a handler panic: its client hears that there is no answer, and the
// log why.
func TestPanicsAreTold(t *testing.T) {
	var log bytes.Buffer // what was written before an answer is read after it
	w := serve(t, ServerConfig{
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/quiet" {
				panic(http.ErrAbortHandler)
			}
			panic("for no reason")
		}),
		Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	c := w.dial(t)
	for _, target := range []string{"/quiet", "/loud"} {
		if _, _, err := c.Do(t.Context(), Request{Method: "GET", Target: target}); !errors.Is(err, ErrAborted) {
			t.Errorf("%s: %v; want ErrAborted", target, err)
		}
	}
	if got := log.String(); strings.Count(got, "panicked") != 1 || !strings.Contains(got, "for no reason") {
		t.Errorf("the log: %q", got)
	}
}
