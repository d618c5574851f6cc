//go:build linux

package world

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prytany/prytany/jepsen/wire"
)

// networks skips, or fails where they must be had, if there are no networks.
func networks(t *testing.T) {
	t.Helper()
	h, err := newHost("probe", address(t, 250), wire.New(0))
	if err == nil {
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		return
	}
	if os.Getenv("REQUIRE_NETNS") == "1" {
		t.Fatalf("REQUIRE_NETNS is 1: %v", err)
	}
	t.Skipf("no networks of their own: %v", err)
}

func hosts(t *testing.T, sw *wire.Switch) (a, b *Host) {
	t.Helper()
	networks(t)
	for i, h := range []**Host{&a, &b} {
		made, err := newHost(string(rune('a'+i)), address(t, byte(i+1)), sw)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := made.Close(); err != nil {
				t.Error(err)
			}
		})
		*h = made
	}
	return a, b
}

// echo answers whatever comes by TCP and UDP to a port of the host.
func echo(t *testing.T, h *Host, port int) string {
	t.Helper()
	at := fmt.Sprintf("%s:%d", h.At, port)
	err := h.Do(func() error {
		l, err := net.Listen("tcp", at)
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = l.Close() })
		u, err := net.ListenPacket("udp", at)
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = u.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
			}
		}()
		go func() {
			buf := make([]byte, 2000)
			for {
				n, from, err := u.ReadFrom(buf)
				if err != nil {
					return
				}
				_, _ = u.WriteTo(buf[:n], from)
			}
		}()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func dial(t *testing.T, h *Host, network, at string) net.Conn {
	t.Helper()
	var c net.Conn
	err := h.Do(func() (err error) { c, err = net.DialTimeout(network, at, 5*time.Second); return err })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// inquire sends one message and waits so long for it to come back.
func inquire(c net.Conn, limit time.Duration) error {
	_ = c.SetDeadline(time.Now().Add(limit))
	if _, err := c.Write([]byte("hello")); err != nil {
		return err
	}
	buf := make([]byte, 5)
	_, err := io.ReadFull(c, buf)
	return err
}

func TestHostsReachEachOtherThroughTheSwitchAlone(t *testing.T) {
	sw := wire.New(1)
	a, b := hosts(t, sw)
	at := echo(t, b, wire.PeerPort)
	tcp, udp := dial(t, a, "tcp", at), dial(t, a, "udp", at)
	for name, c := range map[string]net.Conn{"tcp": tcp, "udp": udp} {
		if err := inquire(c, 5*time.Second); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	const delay = 30 * time.Millisecond
	sw.Set("slow", wire.Rule{Delay: delay})
	begin := time.Now()
	if err := inquire(udp, 5*time.Second); err != nil || time.Since(begin) < 2*delay {
		t.Errorf("with a delay of %v each way: %v after %v", delay, err, time.Since(begin))
	}
	sw.Set("slow")
	// One way is enough to have no answer, and the other plane is not hit.
	sw.Set("cut", wire.Rule{From: []string{"b"}, Plane: wire.Peers, Drop: 1})
	if err := inquire(udp, 300*time.Millisecond); err == nil {
		t.Error("an answer came through a way that is cut")
	}
	other := dial(t, a, "udp", echo(t, b, wire.GossipPort))
	if err := inquire(other, 5*time.Second); err != nil {
		t.Errorf("the plane that is not cut: %v", err)
	}
	sw.Heal()
	if err := inquire(dial(t, a, "udp", at), 5*time.Second); err != nil {
		t.Errorf("after the switch was healed: %v", err)
	}
	if err := inquire(tcp, 20*time.Second); err != nil {
		t.Errorf("tcp after the switch was healed: %v", err)
	}
}

func TestBigTransfersSurviveBadWeather(t *testing.T) {
	sw := wire.New(2)
	a, b := hosts(t, sw)
	c := dial(t, a, "tcp", echo(t, b, wire.HTTPPort))
	sw.Set("weather", wire.Rule{Drop: 0.02, Jitter: 2 * time.Millisecond, Reorder: 0.05, Hold: 3 * time.Millisecond, Duplicate: 0.05})
	const size = 256 << 10
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	go func() { _, _ = c.Write(make([]byte, size)) }()
	if n, err := io.CopyN(io.Discard, c, size); err != nil {
		t.Errorf("%d of %d bytes came back: %v", n, size, err)
	}
	if n := sw.Counts(); n.Lost == 0 || n.Doubled == 0 || n.Held == 0 {
		t.Errorf("nothing was broken: %+v", n)
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	networks(t)
	w, err := New(Options{Nodes: 1, Clients: 1, Logs: t.TempDir()}, true)
	if err != nil {
		t.Fatal(err)
	}
	dir := w.Dir()
	if _, err := os.Stat(dir); err != nil {
		t.Fatal(err)
	}
	// What a process has left that is no more, and only that, is swept.
	gone := filepath.Join(os.TempDir(), prefix+"2147483646-1")
	if err := os.MkdirAll(gone, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Sweep(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(gone); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", gone, err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("a living world was swept: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", dir, err)
	}
}

func TestAwaitSaysWhatIsWrong(t *testing.T) {
	w, err := New(Options{Binary: "/bin/false", Nodes: 1, Logs: t.TempDir()}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}()
	n := w.Nodes[0]
	if n.Running() {
		t.Error("it runs before it was started")
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	if err := n.Await(context.Background()); err == nil {
		t.Error("a process that ended is ready")
	}
	<-n.Gone()
	if n.Running() || n.PID() != 0 {
		t.Error("it runs after its end")
	}
}

func address(t *testing.T, last byte) netip.Addr {
	t.Helper()
	return netip.AddrFrom4([4]byte{10, 77, 0, last})
}
