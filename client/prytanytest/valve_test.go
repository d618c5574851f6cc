package prytanytest_test

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// A valve lies between a client and a node. Once shut it swallows everything
// in both directions, without a word: connections stay open and new ones are
// accepted.
type valve struct {
	ln     net.Listener
	target string

	mu    sync.Mutex
	shut  bool
	ended bool
	conns []net.Conn
	work  sync.WaitGroup
}

func newValve(t *testing.T, endpoint string) *valve {
	t.Helper()
	u, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	v := &valve{ln: ln, target: u.Host}
	v.work.Go(v.accept)
	t.Cleanup(v.close)
	return v
}

func (v *valve) url() string { return "http://" + v.ln.Addr().String() }

func (v *valve) accept() {
	for {
		in, err := v.ln.Accept()
		if err != nil {
			return
		}
		if !v.keep(in) {
			continue
		}
		out, err := net.Dial("tcp", v.target)
		if err != nil {
			_ = in.Close()
			continue
		}
		if v.keep(out) {
			v.work.Go(func() { v.carry(in, out) })
			v.work.Go(func() { v.carry(out, in) })
		}
	}
}

// keep notes a connection, and reports whether anything may pass.
func (v *valve) keep(c net.Conn) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ended {
		_ = c.Close()
		return false
	}
	v.conns = append(v.conns, c)
	return !v.shut
}

// carry copies until an end; what comes through a shut valve is dropped.
func (v *valve) carry(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		v.mu.Lock()
		shut := v.shut
		v.mu.Unlock()
		if shut {
			_, _ = io.Copy(io.Discard, from)
			return
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			_ = to.Close()
			return
		}
	}
}

func (v *valve) setShut(shut bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.shut = shut
}

func (v *valve) close() {
	_ = v.ln.Close()
	v.mu.Lock()
	v.ended = true
	for _, c := range v.conns {
		_ = c.Close()
	}
	v.mu.Unlock()
	v.work.Wait()
}
