package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/leaktest"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// patience is how long anything may take on a slow machine.
const patience = time.Minute

// eventually polls until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("did not happen: %s", what)
		}
	}
}

// A lan knows where nodes are and which links are cut.
type lan struct {
	mu    sync.Mutex
	addrs map[synod.NodeID]string
	cut   map[[2]synod.NodeID]bool // one way
	lives map[synod.NodeID]uint64  // incarnations begun
}

func newLAN() *lan {
	return &lan{addrs: make(map[synod.NodeID]string), cut: make(map[[2]synod.NodeID]bool), lives: make(map[synod.NodeID]uint64)}
}

// live returns the next incarnation of n.
func (l *lan) live(n synod.NodeID) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lives[n]++
	return l.lives[n]
}

func (l *lan) set(n synod.NodeID, addr string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.addrs[n] = addr
}

func (l *lan) resolve(n synod.NodeID) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.addrs[n]
}

func (l *lan) setCut(a, b synod.NodeID, cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut[[2]synod.NodeID{a, b}], l.cut[[2]synod.NodeID{b, a}] = cut, cut
}

func (l *lan) allowed(a, b synod.NodeID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.cut[[2]synod.NodeID{a, b}]
}

// A logBuffer collects log lines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), s)
}

// A testNode is a transport and what it was told.
type testNode struct {
	*Transport
	id   synod.NodeID
	addr string
	log  *logBuffer
	end  func() // as by a crash; waits

	mu   sync.Mutex
	got  []replica.Packet
	from []synod.NodeID
	gone []synod.NodeID
}

func (n *testNode) received() []replica.Packet {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.got
}

func (n *testNode) losses() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.gone)
}

// has reports whether a packet with the number was received.
func (n *testNode) has(number uint64) bool {
	for _, p := range n.received() {
		if numberOf(p) == number {
			return true
		}
	}
	return false
}

// hasBulk reports whether a packet was received that travels on the bulk connection.
func (n *testNode) hasBulk() bool {
	return slices.ContainsFunc(n.received(), func(p replica.Packet) bool {
		_, ok := p.Msg.(paxos.SnapshotChunk)
		return ok
	})
}

// packet is one with a number to know it by.
func packet(number uint64) replica.Packet {
	return replica.Packet{Group: paxos.Main, Msg: paxos.Confirm{Config: 1, Ballot: synod.Ballot{Round: 1, Member: 1}, Seq: number}}
}

func numberOf(p replica.Packet) uint64 {
	if c, ok := p.Msg.(paxos.Confirm); ok {
		return c.Seq
	}
	return 0
}

func listen(t testing.TB, addr string) net.Listener {
	t.Helper()
	var ln net.Listener
	eventually(t, "listening at "+addr, func() bool {
		var err error
		ln, err = net.Listen("tcp", addr)
		return err == nil
	})
	return ln
}

// start runs node id at addr ("" for any), known to l. change may be nil.
func start(t testing.TB, l *lan, id synod.NodeID, addr string, change func(*Config)) *testNode {
	t.Helper()
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	ln := listen(t, addr)
	n := &testNode{id: id, log: &logBuffer{}}
	cfg := Config{
		Self: id, Incarnation: l.live(id), Cluster: func() string { return "athens" }, Listener: ln, Resolve: l.resolve,
		Deliver: func(from synod.NodeID, p replica.Packet) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.got, n.from = append(n.got, p), append(n.from, from)
		},
		Disconnected: func(peer synod.NodeID) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.gone = append(n.gone, peer)
		},
		Allowed: func(peer synod.NodeID) bool { return l.allowed(id, peer) },
		Log:     slog.New(slog.NewTextHandler(n.log, &slog.HandlerOptions{Level: slog.LevelDebug})),

		// What waits for a connection that is not there in time is dropped.
		DialTimeout: patience, HelloTimeout: patience, UserTimeout: patience,
	}
	if change != nil {
		change(&cfg)
	}
	n.addr = cfg.Listener.Addr().String()
	tr, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	n.Transport = tr
	l.set(id, n.addr)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- tr.Run(ctx) }()
	n.end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v; want context.Canceled", err)
		}
	})
	t.Cleanup(func() {
		n.end()
		if t.Failed() {
			n.log.mu.Lock()
			defer n.log.mu.Unlock()
			t.Logf("log of %v:\n%s", id, n.log.b.String())
		}
	})
	return n
}

// reaches sends until to has received something new from n.
func (n *testNode) reaches(t *testing.T, to *testNode, number uint64) {
	t.Helper()
	eventually(t, "a packet arrives", func() bool {
		n.Send(to.id, packet(number))
		return to.has(number)
	})
}

// deaf accepts connections, says hello as node id, and reads no more.
func deaf(t *testing.T, l *lan, id synod.NodeID) {
	t.Helper()
	ln := listen(t, "127.0.0.1:0")
	l.set(id, ln.Addr().String())
	var conns sync.WaitGroup
	stop := make(chan struct{})
	conns.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer closeConn(conn)
				h, err := readHello(conn)
				if err != nil {
					return
				}
				h.node, h.wanted = id, h.node
				if h.write(conn) == nil {
					<-stop
				}
			})
		}
	})
	t.Cleanup(func() {
		close(stop)
		_ = ln.Close()
		conns.Wait()
	})
}

// refused reports whether the other side closes conn, whatever it says before.
func refused(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		t.Fatal("the connection was not closed")
	}
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}
