//go:build linux

package port

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

// TestKeptPort listens at a port that is kept, again and again, while others ask the system
// for any.
func TestKeptPort(t *testing.T) {
	p, err := Keep()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Release()
	for range 3 {
		if _, err := net.Dial("tcp", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("while nobody listens: %v; want to be refused", err)
		}
		l, err := net.Listen("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		in, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = in.Close() // first, so that this end of the connection lingers
		_ = c.Close()
		_ = l.Close()
	}
}

// TestKeptPortIsNobodyElses takes more ports than the system could give out without one that
// is kept, if it did.
func TestKeptPortIsNobodyElses(t *testing.T) {
	p, err := Keep()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Release()
	for range 20_000 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Addr().String(); got == p.Addr() {
			t.Fatalf("somebody else got %s", got)
		}
		_ = l.Close()
	}
}
