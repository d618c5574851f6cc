package client

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// A freezer is a network between client and server, which can be made to take
// everything and pass nothing on: no connection breaks, no packet gets through.
type freezer struct {
	net.Listener
	to     string
	mu     sync.Mutex
	frozen bool
	conns  []net.Conn
	work   sync.WaitGroup
}

func newFreezer(t *testing.T, to string) *freezer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &freezer{Listener: l, to: to}
	f.work.Go(f.accept)
	t.Cleanup(func() {
		_ = l.Close()
		f.mu.Lock()
		for _, c := range f.conns {
			_ = c.Close()
		}
		f.mu.Unlock()
		f.work.Wait()
	})
	return f
}

func (f *freezer) accept() {
	for {
		in, err := f.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", f.to)
		if err != nil {
			_ = in.Close()
			continue
		}
		f.mu.Lock()
		f.conns = append(f.conns, in, out)
		f.mu.Unlock()
		f.work.Go(func() { f.pass(in, out) })
		f.work.Go(func() { f.pass(out, in) })
	}
}

func (f *freezer) pass(from, to net.Conn) {
	defer func() { _ = to.Close() }()
	buf := make([]byte, 4096)
	for {
		f.mu.Lock()
		frozen := f.frozen
		f.mu.Unlock()
		if frozen {
			_, _ = io.Copy(io.Discard, from) // until it is closed
			return
		}
		n, err := from.Read(buf)
		f.mu.Lock()
		frozen = f.frozen
		f.mu.Unlock()
		if err != nil {
			return
		}
		if !frozen {
			_, _ = to.Write(buf[:n])
		}
	}
}

func (f *freezer) freeze() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.frozen = true
}

// TestFrozenNetwork drops all packets silently, over real connections: the lock
// ends by the local clock, and the listener waits for nobody.
func TestFrozenNetwork(t *testing.T) {
	_, state := newFake(t, Config{}, nil)
	state.base = time.Now()
	room := &newsroom{f: state, ring: make(chan struct{})}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		resp, err := room.on(state, req)
		if err != nil {
			return
		}
		if resp == nil {
			resp = state.answer(req)
		}
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	}))
	defer srv.Close()
	a, b := newFreezer(t, srv.Listener.Addr().String()), newFreezer(t, srv.Listener.Addr().String())
	c, err := New(Config{Endpoints: []string{a.Addr().String(), b.Addr().String()}, SessionTTL: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	h := mustLock(t, c, "job")
	for listening := false; !listening; time.Sleep(time.Millisecond) {
		lost := h.Err() != nil // before anybody listened
		state.mu.Lock()
		if lost {
			room.holds = nil
		}
		listening = len(room.holds) > 0
		state.mu.Unlock()
		if lost {
			h = mustLock(t, c, "job")
		}
	}
	a.freeze()
	b.freeze()
	judged := make(chan struct{})
	late := time.AfterFunc(h.s.ttl, func() {
		defer close(judged)
		if left := h.s.Remaining(); left > 0 {
			t.Errorf("%v left a whole TTL after the last packet", left)
		}
	})
	<-h.Done()
	if !late.Stop() {
		<-judged
	}
	if !errors.Is(h.Err(), ErrSessionExpired) {
		t.Error(h.Err())
	}
	_ = c.Close() // nobody hears of it
}
