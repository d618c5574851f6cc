package transport

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/codec"
	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

func TestPacketsArriveInOrder(t *testing.T) {
	l := newLAN()
	a, b := start(t, l, 1, "", nil), start(t, l, 2, "", nil)
	const many = 50_000 // fits the queue
	for i := range uint64(many) {
		a.Send(b.id, packet(i+1))
		b.Send(a.id, packet(i+1))
	}
	for _, n := range []*testNode{a, b} {
		eventually(t, "all packets arrive", func() bool { return len(n.received()) == many })
		for i, p := range n.received() {
			if numberOf(p) != uint64(i)+1 {
				t.Fatalf("node %v: packet %d is %v", n.id, i, p)
			}
			if want := 3 - n.id; n.from[i] != want {
				t.Fatalf("packet from %v; want %v", n.from[i], want)
			}
		}
		if d := n.Dropped(); d != 0 {
			t.Errorf("Dropped() = %d; want 0", d)
		}
	}
}

func TestEveryKindArrivesAsItWas(t *testing.T) {
	l := newLAN()
	a, b := start(t, l, 1, "", nil), start(t, l, 2, "", nil)
	ballot := synod.Ballot{Round: 7, Member: 2}
	big := synod.Value(strings.Repeat("x", 3<<20))
	for _, p := range []replica.Packet{
		{Msg: leader.Heartbeat{Seq: 1, Incarnation: 3, Healthy: true}},
		{Group: 1, Msg: paxos.Accept{Config: 1, Ballot: ballot, First: 4, Values: []synod.Value{"a", big}, Decided: 3}},
		{Group: 2, Msg: paxos.Learned{First: 1, Values: []synod.Value{big}, Decided: 9}},
		{Group: 3, Msg: paxos.SnapshotChunk{Slot: 5, Size: 4, Sum: 6, Data: []byte("data")}},
		{Group: 4, Msg: replica.Forward{ID: 8, Hops: 1, Kind: replica.KindAsk, Payload: []byte("q")}},
	} {
		before := len(b.received())
		a.Send(b.id, p)
		eventually(t, "the packet arrives", func() bool { return len(b.received()) > before })
		if got := b.received()[before]; !reflect.DeepEqual(got, p) {
			t.Errorf("sent %T, received %T, which differs", p.Msg, got.Msg)
		}
	}
}

func TestWhatNoFrameHoldsIsDropped(t *testing.T) {
	l := newLAN()
	a, b := start(t, l, 1, "", nil), start(t, l, 2, "", nil)
	a.Send(b.id, replica.Packet{Msg: replica.Forward{Payload: make([]byte, codec.MaxFrame)}})
	if d := a.Dropped(); d != 1 {
		t.Errorf("Dropped() = %d; want 1", d)
	}
	a.Send(b.id, replica.Packet{Msg: replica.Forward{ID: 1, Payload: make([]byte, maxPacket-64)}})
	eventually(t, "the largest packet arrives", func() bool { return len(b.received()) == 1 })
}

func TestSendBeforeRunIsQueued(t *testing.T) {
	l := newLAN()
	b := start(t, l, 2, "", nil)
	cfg := Config{
		Self: 1, Cluster: func() string { return "" }, Listener: listen(t, "127.0.0.1:0"), Resolve: l.resolve,
		Deliver: func(synod.NodeID, replica.Packet) {}, Disconnected: func(synod.NodeID) {},
		DialTimeout: patience, HelloTimeout: patience, UserTimeout: patience,
	}
	early, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	early.Send(b.id, packet(1))
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- early.Run(ctx) }()
	eventually(t, "the packet arrives", func() bool { return b.has(1) })
	cancel()
	<-done
	early.Send(b.id, packet(2)) // must neither panic nor start anything
	if err := early.Run(t.Context()); err == nil {
		t.Error("a second Run worked")
	}
}

func TestConfigIsChecked(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("New took an empty Config")
	}
}

func TestACrashIsNoticedOnce(t *testing.T) {
	for _, tt := range []struct {
		name string
		meet func(t *testing.T, a, b *testNode)
	}{
		{"by the one that sends", func(t *testing.T, a, b *testNode) { a.reaches(t, b, 1) }},
		{"on both connections", func(t *testing.T, a, b *testNode) {
			a.reaches(t, b, 1)
			b.reaches(t, a, 1)
			a.Send(b.id, replica.Packet{Group: 1, Msg: paxos.SnapshotChunk{Slot: 1, Data: []byte("s")}})
			b.Send(a.id, replica.Packet{Group: 1, Msg: paxos.SnapshotChunk{Slot: 1, Data: []byte("s")}})
			eventually(t, "bulk is connected, and a knows of both connections", func() bool {
				return a.known(b.id).links[bulk].up.Load() && a.hasBulk()
			})
		}},
		{"by the one that receives", func(t *testing.T, a, b *testNode) {
			l := a.peerFor(b.id).links[control] // a knows b, but has not reached it
			b.reaches(t, a, 1)
			if l.up.Load() {
				t.Fatal("a has connected to b")
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLAN()
			a, b := start(t, l, 1, "", nil), start(t, l, 2, "", nil)
			tt.meet(t, a, b)
			b.end()
			eventually(t, "the crash is noticed", func() bool { return a.losses() > 0 })
			failed := a.Dropped()
			for i := uint64(100); a.Dropped() < failed+5; i++ { // the address goes on refusing
				a.Send(b.id, packet(i))
				time.Sleep(time.Millisecond)
			}
			if n := a.losses(); n != 1 {
				t.Errorf("Disconnected was called %d times; want once", n)
			}
		})
	}
}

// TestACrashIsNoticedOnceWhoeverComesLate has a connection of a process that is gone be
// accepted after that was told.
func TestACrashIsNoticedOnceWhoeverComesLate(t *testing.T) {
	l := newLAN()
	a, b := start(t, l, 1, "", nil), start(t, l, 2, "", nil)
	a.reaches(t, b, 1)
	h := b.hello(a.id, control)
	b.end()
	for i, tt := range []struct {
		is   life
		want int
	}{
		{h.life(), 1}, // by the connection that it had
		{h.life(), 1},
		{life{h.incarnation + 1, h.nonce + 1}, 2},
	} {
		if i > 0 {
			conn, err := net.Dial("tcp", a.addr)
			if err != nil {
				t.Fatal(err)
			}
			h.incarnation, h.nonce = tt.is.incarnation, tt.is.nonce
			if err := h.write(conn); err != nil {
				t.Fatal(err)
			}
			if answer, err := readHello(conn); err != nil || answer.refused {
				t.Fatalf("the answer is %+v, %v", answer, err)
			}
			closeConn(conn)
		}
		eventually(t, "a has looked for it", func() bool { return a.log.count("connection refused") == i+1 })
		if n := a.losses(); n != tt.want {
			t.Errorf("connection %d: Disconnected was called %d times; want %d", i, n, tt.want)
		}
	}
}

func TestWhoWasNeverThereIsNotLost(t *testing.T) {
	l := newLAN()
	a, b := start(t, l, 1, "", nil), start(t, l, 2, "", nil)
	b.end()
	for a.Dropped() < 5 {
		a.Send(b.id, packet(1))
		a.Send(77, packet(1)) // of no known address
		time.Sleep(time.Millisecond)
	}
	if n := a.losses(); n != 0 {
		t.Errorf("Disconnected was called %d times; want never", n)
	}
}

func TestARestartResumes(t *testing.T) {
	l := newLAN()
	a, b := start(t, l, 1, "", nil), start(t, l, 2, "", nil)
	for i := range uint64(3) {
		a.reaches(t, b, i+1)
		b.end()
		eventually(t, "the crash is noticed", func() bool { return a.losses() == int(i)+1 })
		b = start(t, l, 2, b.addr, func(c *Config) { c.Incarnation = i + 2 })
		b.reaches(t, a, i+1)
	}
	a.reaches(t, b, 10)
}

func TestAConnectionFromThePeerEndsTheWait(t *testing.T) {
	l := newLAN()
	hour := func(c *Config) { c.BackoffMin, c.BackoffMax = time.Millisecond, time.Hour }
	a, b := start(t, l, 1, "", hour), start(t, l, 2, "", nil)
	b.end()
	link := a.peerFor(b.id).links[control]
	for a.log.count("cannot connect") < 25 { // the next wait is an hour, more or less
		a.Send(b.id, packet(1))
		link.wake()
		time.Sleep(time.Millisecond)
	}
	b = start(t, l, 2, b.addr, nil)
	b.reaches(t, a, 1)
	a.reaches(t, b, 2)
}

func TestStrangersAreRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Config)
		as     synod.NodeID // the node that a believes to be there
		want   string       // in both logs
	}{
		{"cluster", func(c *Config) { c.Cluster = func() string { return "sparta" } }, 2, "belongs to cluster"},
		{"node", nil, 3, "an address is used again"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLAN()
			a, b := start(t, l, 1, "", nil), start(t, l, 2, "", tt.change)
			l.set(tt.as, b.addr)
			for a.Dropped() < 5 && len(b.received()) == 0 { // or it would wait for ever when they talk
				a.Send(tt.as, packet(1))
				time.Sleep(time.Millisecond)
			}
			if n := len(b.received()); n != 0 {
				t.Fatalf("%d packets arrived", n)
			}
			for _, n := range []*testNode{a, b} {
				eventually(t, "node "+n.id.String()+" says why", func() bool { return n.log.count(tt.want) > 0 })
				if got := n.log.count("level=WARN"); got != 1 {
					t.Errorf("node %v has logged %d warnings; want 1", n.id, got)
				}
			}
		})
	}
}

func TestWhoHasNotJoinedYetMayTalk(t *testing.T) {
	l := newLAN()
	a := start(t, l, 1, "", nil)
	b := start(t, l, 2, "", func(c *Config) { c.Cluster = func() string { return "" } })
	a.reaches(t, b, 1)
	b.reaches(t, a, 2)
}

func TestGarbage(t *testing.T) {
	dial := func(t *testing.T, n *testNode, h *hello) net.Conn {
		conn, err := net.Dial("tcp", n.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closeConn(conn) })
		if h != nil {
			if err := h.write(conn); err != nil {
				t.Fatal(err)
			}
		}
		return conn
	}
	good := hello{protocol: protocol, node: 9, wanted: 1}
	newer := good
	newer.protocol++
	frame := codec.AppendFrame(nil, []replica.Packet{packet(1)})
	flipped := append([]byte(nil), frame...)
	flipped[len(flipped)-1] ^= 1
	tests := []struct {
		name  string
		hello *hello
		send  []byte
		want  string
		ends  bool // the stranger closes its half: one that is refused is given time to read why
	}{
		{"another protocol", nil, []byte("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"), "not a hello", false},
		{"another version", &newer, nil, "version 3 of the protocol", true},
		{"a bad checksum", &good, flipped, "makes no sense", false},
		{"an endless frame", &good, binary.LittleEndian.AppendUint32(nil, 1<<31), "makes no sense", false},
		{"silence", nil, nil, "", false},
	}
	tests[3].send = append(tests[3].send, 0, 0, 0, 0)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := start(t, newLAN(), 1, "", func(c *Config) {
				if tt.want == "" { // only then it is the wait that ends it
					c.HelloTimeout = 100 * time.Millisecond
				}
			})
			for range 3 {
				conn := dial(t, n, tt.hello)
				if len(tt.send) > 0 {
					if _, err := conn.Write(tt.send); err != nil {
						t.Fatal(err)
					}
				}
				if tt.ends {
					_ = conn.(*net.TCPConn).CloseWrite()
				}
				refused(t, conn)
			}
			if got := len(n.received()); got != 0 {
				t.Errorf("%d packets were delivered", got)
			}
			if want := min(1, len(tt.want)); tt.want != "" {
				eventually(t, "a warning", func() bool { return n.log.count("level=WARN") == want && n.log.count(tt.want) == want })
			} else if n.log.count("level=WARN") != 0 {
				t.Error("a warning about nothing")
			}
		})
	}
}

func TestACutLinkCarriesNothingAndComesBackAtOnce(t *testing.T) {
	l := newLAN()
	a, b := start(t, l, 1, "", nil), start(t, l, 2, "", nil)
	a.reaches(t, b, 1)
	b.reaches(t, a, 1)
	for round := range uint64(20) {
		l.setCut(a.id, b.id, true)
		a.Send(b.id, packet(1000))
		b.Send(a.id, packet(1000))
		l.setCut(a.id, b.id, false)
		n := round + 2
		a.Send(b.id, packet(n)) // once: the connection is still there
		b.Send(a.id, packet(n))
		eventually(t, "the packets arrive", func() bool { return a.has(n) && b.has(n) })
	}
	if a.has(1000) || b.has(1000) {
		t.Error("a packet has passed a cut link")
	}
	if n := a.log.count("connection accepted"); n != 1 {
		t.Errorf("%d connections; want 1", n)
	}
}

func TestACrashBehindACutIsNotNoticed(t *testing.T) {
	l := newLAN()
	a, b := start(t, l, 1, "", nil), start(t, l, 2, "", nil)
	a.reaches(t, b, 1)
	l.setCut(a.id, b.id, true)
	b.end()
	eventually(t, "the connection is lost", func() bool { return !a.Connected(b.id) })
	a.Send(b.id, packet(2))
	if a.losses() != 0 {
		t.Error("a crash was noticed through a cut")
	}
	l.setCut(a.id, b.id, false)
	a.Send(b.id, packet(3))
	eventually(t, "the crash is noticed", func() bool { return a.losses() == 1 })
}

func TestTheReceiverHonoursACutToo(t *testing.T) {
	l := newLAN()
	var asked atomic.Int64
	a := start(t, l, 1, "", func(c *Config) { c.Allowed = nil })
	b := start(t, l, 2, "", func(c *Config) {
		allowed := c.Allowed
		c.Allowed = func(peer synod.NodeID) bool {
			defer asked.Add(1)
			return allowed(peer)
		}
	})
	a.Send(b.id, packet(1))
	eventually(t, "the packet arrives", func() bool { return b.has(1) })
	l.setCut(a.id, b.id, true)
	before := asked.Load()
	a.Send(b.id, packet(1000))
	eventually(t, "the frame arrives", func() bool { return asked.Load() > before })
	l.setCut(a.id, b.id, false)
	a.Send(b.id, packet(2))
	eventually(t, "the packet arrives", func() bool { return b.has(2) })
	if b.has(1000) {
		t.Error("a packet has passed a cut link")
	}
}

func TestTheQueueIsBounded(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Config)
		size   int
	}{
		{"bytes", func(c *Config) { c.QueueBytes = 1 << 20 }, 64 << 10},
		{"packets", func(c *Config) { c.QueuePackets = 10 }, 64 << 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLAN()
			a := start(t, l, 1, "", func(c *Config) {
				c.UserTimeout = patience
				tt.change(c)
			})
			deaf(t, l, 2)
			payload := make([]byte, tt.size)
			link := a.peerFor(2).links[control]
			eventually(t, "something is dropped though it is connected", func() bool {
				up := link.up.Load()
				before := a.Dropped()
				a.Send(2, replica.Packet{Msg: replica.Forward{Payload: payload}})
				return up && a.Dropped() > before
			})
			q := &link.queue
			q.mu.Lock()
			defer q.mu.Unlock()
			if q.bytes > q.maxBytes || len(q.packets)+q.taken > q.maxPackets {
				t.Errorf("%d bytes and %d packets wait; allowed are %d and %d", q.bytes, len(q.packets)+q.taken, q.maxBytes, q.maxPackets)
			}
		})
	}
}

func TestTheQueueCountsWhatIsTaken(t *testing.T) {
	q := queue{maxBytes: 10, maxPackets: 3, ready: make(chan struct{}, 1)}
	push := func(want bool, p string) {
		t.Helper()
		if got := q.push([]byte(p), false); got != want {
			t.Errorf("push(%q) = %v; want %v", p, got, want)
		}
	}
	push(true, "aaaa")
	push(true, "bbbb")
	push(false, "ccc") // bytes
	a, b := q.take(5), q.take(5)
	if len(a.packets) != 1 || len(b.packets) != 1 || len(q.take(5).packets) != 0 {
		t.Fatalf("took %q, %q; want one packet each, then none", a.packets, b.packets)
	}
	push(false, "ccc")
	push(true, "c")
	push(false, "") // packets
	q.free(a)
	push(true, "dddd")
	q.free(b)
	if n := q.clear(); n != 2 || q.bytes != 0 || q.taken != 0 || !q.empty() {
		t.Errorf("after clear: %d dropped, %d bytes, %d taken", n, q.bytes, q.taken)
	}
}

func TestUrgentPacketsOvertake(t *testing.T) {
	q := queue{maxBytes: 8, maxPackets: 2, ready: make(chan struct{}, 1)}
	for _, p := range []string{"slow", "more"} {
		if !q.push([]byte(p), false) {
			t.Fatalf("no room for %q", p)
		}
	}
	if q.push([]byte("x"), false) {
		t.Error("the queue is full and took another packet")
	}
	for range maxUrgent {
		if !q.push([]byte("beat"), true) {
			t.Fatal("no room for a heartbeat")
		}
	}
	if q.push([]byte("beat"), true) {
		t.Error("heartbeats have no bound")
	}
	h := q.take(4 * maxUrgent)
	if h.urgent != maxUrgent || len(h.packets) != maxUrgent || string(h.packets[0]) != "beat" {
		t.Errorf("took %d packets, %d urgent, first %q; want the heartbeats alone", len(h.packets), h.urgent, h.packets[0])
	}
	q.free(h)
	if h = q.take(100); h.urgent != 0 || len(h.packets) != 2 || string(h.packets[0]) != "slow" {
		t.Errorf("took %q; want what waited, in order", h.packets)
	}
	q.free(h)
	if q.bytes != 0 || q.taken != 0 || !q.empty() {
		t.Errorf("at the end: %d bytes, %d taken", q.bytes, q.taken)
	}
}

// TestBulkDoesNotDelayControl blocks the bulk connection altogether: the
// receiver takes no bulk until a packet of the other kind has come.
func TestBulkDoesNotDelayControl(t *testing.T) {
	l := newLAN()
	a := start(t, l, 1, "", nil)
	reached, came := make(chan struct{}, 100), make(chan struct{})
	b := start(t, l, 2, "", func(c *Config) {
		c.Deliver = func(_ synod.NodeID, p replica.Packet) {
			if numberOf(p) == 1 {
				close(came)
				return
			}
			reached <- struct{}{}
			<-came
		}
	})
	for range 40 {
		a.Send(b.id, replica.Packet{Group: 1, Msg: paxos.SnapshotChunk{Slot: 1, Data: make([]byte, 1<<20)}})
		a.Send(b.id, replica.Packet{Group: 1, Msg: paxos.Learned{First: 1, Values: []synod.Value{synod.Value(make([]byte, 1<<17))}}})
	}
	wait(t, reached)
	a.Send(b.id, packet(1))
	wait(t, came)
}

func TestAHangingPeerIsGivenUp(t *testing.T) {
	l := newLAN()
	ln := listen(t, "127.0.0.1:0") // the kernel accepts, nobody answers
	t.Cleanup(func() { _ = ln.Close() })
	l.set(2, ln.Addr().String())
	a := start(t, l, 1, "", func(c *Config) { c.HelloTimeout = 20 * time.Millisecond })
	a.Send(2, packet(1))
	eventually(t, "the hello is given up", func() bool { return a.Dropped() == 1 })
}

func TestIncomingConnectionsAreBounded(t *testing.T) {
	n := start(t, newLAN(), 1, "", func(c *Config) { c.MaxInbound, c.HelloTimeout = 2, patience })
	var conns []net.Conn
	for i := range 3 {
		conn, err := net.Dial("tcp", n.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer closeConn(conn)
		conns = append(conns, conn)
		eventually(t, fmt.Sprintf("connection %d is counted", i), func() bool {
			n.Transport.mu.Lock()
			defer n.Transport.mu.Unlock()
			return n.accepts == min(i+1, 2)
		})
	}
	refused(t, conns[2])
	closeConn(conns[0])
	eventually(t, "there is room again", func() bool {
		n.Transport.mu.Lock()
		defer n.Transport.mu.Unlock()
		return n.accepts == 1
	})
}

func TestANewConnectionReplacesTheOld(t *testing.T) {
	n := start(t, newLAN(), 1, "", nil)
	var old net.Conn
	for range 3 {
		conn, err := net.Dial("tcp", n.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer closeConn(conn)
		if err := (hello{protocol: protocol, node: 9, wanted: 1}).write(conn); err != nil {
			t.Fatal(err)
		}
		if _, err := readHello(conn); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the connection is registered", func() bool {
			n.Transport.mu.Lock()
			defer n.Transport.mu.Unlock()
			in := n.inbound[arrival{9, control}]
			return in != nil && in.conn.RemoteAddr().String() == conn.LocalAddr().String()
		})
		if old != nil {
			refused(t, old)
		}
		old = conn
	}
}

func wait(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatal("did not happen")
	}
}

// TestACrashIsNoticedWhateverClosesFirst has a process whose connections end
// before its listener does, as the kernel may have it.
func TestACrashIsNoticedWhateverClosesFirst(t *testing.T) {
	l := newLAN()
	ln := listen(t, "127.0.0.1:0")
	defer func() { _ = ln.Close() }()
	l.set(2, ln.Addr().String())
	a := start(t, l, 1, "", nil)
	a.Send(2, packet(1)) // once: what follows must not need another
	if err := ln.(*net.TCPListener).SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		conn, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			h, err := readHello(conn)
			if err != nil {
				t.Fatal(err)
			}
			h.node, h.wanted = 2, 1
			if err := h.write(conn); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it is connected", func() bool { return a.Connected(2) })
		}
		closeConn(conn)
	}
	_ = ln.Close()
	eventually(t, "the crash is noticed", func() bool { return a.losses() == 1 })
}

// TestWhatCountsAsACrash walks through what a peer may look like.
func TestWhatCountsAsACrash(t *testing.T) {
	for _, tt := range []struct {
		events string // e: established, a: arrived, n: arrived from a new process, b: broke, r: refused
		want   int
	}{
		{"r", 0},      // was never there
		{"br", 0},     // so was this one
		{"er", 0},     // one connection is refused, the other still there
		{"ebr", 1},    // a crash
		{"ebrbr", 1},  // the second connection's end is the same crash
		{"eber", 0},   // it is back already
		{"ebrebr", 2}, // two
		{"abr", 1},
		{"ebrabr", 1},  // the second connection had waited since before the crash
		{"ebrnbr", 2},  // the second one is of the next process
		{"ebrnabr", 2}, // and that of the first one has waited
		{"ebreabr", 2}, // it was there after all
	} {
		told := 0
		p := newPeer(&Transport{cfg: Config{Log: slog.New(slog.DiscardHandler), Disconnected: func(synod.NodeID) { told++ }}}, 2)
		for _, e := range tt.events {
			switch e {
			case 'e':
				p.established(life{1, 10})
			case 'a':
				p.arrived(life{1, 10})
			case 'n':
				p.arrived(life{2, 20})
			case 'b':
				p.broke()
			case 'r':
				p.refused()
			}
		}
		if told != tt.want {
			t.Errorf("%s: told %d times; want %d", tt.events, told, tt.want)
		}
	}
}
