package transport

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/codec"
	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

// A tap is where writes to connections stop while it is shut.
type tap struct {
	mu   sync.Mutex
	shut chan struct{} // closed when it opens; nil while open
}

func (p *tap) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shut = make(chan struct{})
}

func (p *tap) open() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.shut)
	p.shut = nil
}

// A tapConn is a connection of which the kernel knows nothing. Its hello passes
// always, and Close frees its writer.
type tapConn struct {
	net.Conn
	tap    *tap
	greets atomic.Bool
	closed chan struct{}
	once   sync.Once
}

func (c *tapConn) Write(b []byte) (int, error) {
	if c.greets.CompareAndSwap(false, true) {
		return c.Conn.Write(b)
	}
	c.tap.mu.Lock()
	shut := c.tap.shut
	c.tap.mu.Unlock()
	if shut != nil {
		select {
		case <-shut:
		case <-c.closed:
			return 0, net.ErrClosed
		}
	}
	return c.Conn.Write(b)
}

func (c *tapConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// tapped makes a node dial through p.
func tapped(t *testing.T, p *tap) func(*Config) {
	return func(c *Config) {
		withDatagrams(t)(c)
		c.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
			if err != nil {
				return nil, err
			}
			return &tapConn{Conn: conn, tap: p, closed: make(chan struct{})}, nil
		}
	}
}

// withDatagrams gives a node a socket beside its listener, whose port may have
// to be another one for that.
func withDatagrams(t testing.TB) func(*Config) {
	return func(c *Config) {
		eventually(t, "both kinds of one port are free", func() bool {
			at := c.Listener.Addr().(*net.TCPAddr)
			var err error
			if c.Datagrams, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at.AddrPort())); err == nil {
				return true
			}
			_ = c.Listener.Close()
			c.Listener = listen(t, "127.0.0.1:0")
			return false
		})
	}
}

// startBoth starts a tapped node and one that hears it, and connects them.
func startBoth(t *testing.T, p *tap) (l *lan, a, b *testNode) {
	l = newLAN()
	b = start(t, l, 2, "", withDatagrams(t))
	a = start(t, l, 1, "", tapped(t, p))
	a.Send(b.id, packet(1)) // once: a second one might see the first not written yet
	eventually(t, "the packet arrives", func() bool { return b.has(1) })
	return l, a, b
}

func TestDatagramsReplaceAConnectionThatStruggles(t *testing.T) {
	var p tap
	_, a, b := startBoth(t, &p)
	if got := a.Datagrams(); got.Sent != 0 {
		t.Fatalf("a connection that works had %d datagrams beside it", got.Sent)
	}
	p.close()
	a.reaches(t, b, 2) // repeated, as the protocol does
	if got := b.Datagrams(); got.Received == 0 {
		t.Errorf("received %+v; want some", got)
	}
	a.reaches(t, b, 3)
	p.open()
	eventually(t, "the detour ends", func() bool {
		a.Send(b.id, packet(3)) // as heartbeats are
		return !a.known(b.id).detour.open.Load()
	})
	numbered := func() uint64 { // each datagram is sent twice, the second time later
		d := &a.known(b.id).detour
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.seq
	}
	eventually(t, "all is written", func() bool { // or the next packet would see a write that lasts
		q := &a.known(b.id).links[control].queue
		q.mu.Lock()
		defer q.mu.Unlock()
		return len(q.packets) == 0 && q.taken == 0
	})
	before := numbered()
	a.Send(b.id, packet(4))
	eventually(t, "the packet arrives", func() bool { return b.has(4) })
	if got := numbered(); got != before {
		t.Errorf("%d datagrams after the connection has recovered", got-before)
	}
}

// TestTheKernelShowsAStall has a peer that reads no more: what it was sent
// stays in this node's kernel, and no write blocks yet.
func TestTheKernelShowsAStall(t *testing.T) {
	ln := listen(t, "127.0.0.1:0")
	defer func() { _ = ln.Close() }()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer closeConn(conn)
	if _, ok := progressOf(conn); !ok {
		t.Skip("this kernel does not tell")
	}
	eventually(t, "what fills the peer's window waits", func() bool {
		if err := conn.SetWriteDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write(make([]byte, 64<<10))
		p, ok := progressOf(conn)
		return ok && p.waits
	})
}

func TestWhatCountsAsAStall(t *testing.T) {
	type look struct {
		after time.Duration
		p     progress
		want  bool
		wrote time.Duration // before the look; 0: nothing was written since the last one
	}
	waits := func(acked uint64) progress { return progress{waits: true, acked: acked} }
	far := progress{waits: true, rtt: 100 * time.Millisecond}
	for _, tt := range []struct {
		name  string
		looks []look
	}{
		{"idle", []look{{0, progress{}, false, 0}, {time.Hour, progress{}, false, 0}}},
		{"first sight", []look{{0, progress{}, false, 0}, {time.Hour, waits(0), false, 0}}},
		{"busy", []look{{0, waits(1), false, 0}, {stallTime, waits(2), false, 0}, {stallTime, waits(3), false, 0}}},
		{"stuck", []look{{0, waits(1), false, 0}, {stallTime, waits(1), true, 0}, {0, waits(2), false, 0}, {stallTime, waits(2), true, 0}}},
		{"emptied between", []look{{0, waits(1), false, 0}, {stallTime, progress{acked: 1}, false, 0}, {0, waits(1), false, 0}}},
		{"timed out", []look{{0, progress{waits: true, backoff: true}, true, 0}}},
		{"far away", []look{{0, far, false, 0}, {2 * stallTime, far, false, 0}, {200 * time.Millisecond, far, true, 0}}},
		{"at the second look", []look{{0, progress{}, false, 0}, {stallTime - 1, waits(0), false, stallTime - 2}, {2, waits(0), true, 0}}},
		{"written long ago", []look{{0, progress{}, false, 0}, {time.Hour, waits(0), true, stallTime}}},
		{"the last of many", []look{{0, progress{}, false, 0}, {time.Hour, waits(7), false, stallTime}}},
	} {
		var s staller
		now := time.Now()
		for i, l := range tt.looks {
			now = now.Add(l.after)
			var wrote time.Time
			if l.wrote > 0 {
				wrote = now.Add(-l.wrote)
			}
			if got := s.stalls(l.p, now, wrote); got != l.want {
				t.Errorf("%s: look %d says %v; want %v", tt.name, i, got, l.want)
			}
		}
	}
}

// TestTheLookout walks through looks at one connection and at the next.
func TestTheLookout(t *testing.T) {
	var p progress
	asked := 0
	o := lookout{ask: func(net.Conn) (progress, bool) { asked++; return p, true }, began: time.Now()}
	now := o.began.Add(time.Hour)
	check := func(what string, after time.Duration, wantStalled, wantOK bool) {
		t.Helper()
		now = now.Add(after)
		if stalled, ok := o.look(now); stalled != wantStalled || ok != wantOK {
			t.Errorf("%s: stalls %v, looked %v; want %v, %v", what, stalled, ok, wantStalled, wantOK)
		}
	}
	write := func(at time.Time) { o.wrote.CompareAndSwap(0, int64(at.Sub(o.began))) }
	check("no connection", 0, false, false)
	here, there := net.Pipe()
	defer func() { closeConn(here); closeConn(there) }()
	o.turn(here)
	check("nothing waits", 0, false, true)
	check("a moment later", stallEvery-1, false, false)
	write(now)
	p.waits = true
	check("written at once after a look", stallTime-stallEvery, false, true)
	check("for too long", stallEvery+1, true, true)
	p.acked = 5
	check("it moves", stallEvery, false, true)
	p.waits = false
	check("all is there", stallEvery, false, true)
	write(now.Add(stallEvery))
	p.waits = true
	check("written later", stallTime, false, true)
	check("and for too long", stallEvery, true, true)
	o.turn(there)
	check("another connection, which this is the first look at", stallEvery, false, true)
	check("of which nothing was written", stallTime-1, false, true)
	o.turn(nil)
	check("none any more", time.Hour, false, false)
	if asked != 9 {
		t.Errorf("asked %d times; want 9", asked)
	}

	p = progress{}
	o = lookout{ask: o.ask, began: time.Now().Add(-time.Minute)}
	o.turn(here)
	o.begins()
	now = o.began.Add(time.Duration(o.writing.Load()))
	if time.Since(now) < 0 || time.Since(now) > 30*time.Second || o.wrote.Load() != 0 {
		t.Errorf("a write of now began at %v, and ended %d ns after %v", now, o.wrote.Load(), o.began)
	}
	check("a write that has just begun", 0, false, true)
	check("a write that blocks", time.Hour, true, true)
	o.ends()
	if at := o.began.Add(time.Duration(o.wrote.Load())); time.Since(at) < 0 || time.Since(at) > 30*time.Second {
		t.Errorf("a write of now ended at %v", at)
	}
	check("a write that has ended", time.Hour, false, true)
}

func TestDatagramsWhileTheConnectionIsRedialled(t *testing.T) {
	var gone sync.Mutex // held: dials hang
	l := newLAN()
	b := start(t, l, 2, "", withDatagrams(t))
	a := start(t, l, 1, "", func(c *Config) {
		withDatagrams(t)(c)
		c.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			for !gone.TryLock() {
				select {
				case <-ctx.Done():
					return nil, ctx.Err()
				case <-time.After(time.Millisecond):
				}
			}
			defer gone.Unlock()
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		}
	})
	a.reaches(t, b, 1)
	gone.Lock()
	b.closeInbound(a.id) // takes its pass as well
	b.issue(hello{node: a.id, incarnation: 1})
	b.Transport.mu.Lock()
	b.passes[a.id].cookie = a.known(b.id).detour.cookie
	b.Transport.mu.Unlock()
	eventually(t, "the connection is lost", func() bool { return !a.Connected(b.id) })
	a.reaches(t, b, 2)
	gone.Unlock()
	if b.Datagrams().Received == 0 {
		t.Error("it came in no datagram")
	}
	if a.losses() != 0 {
		t.Error("a peer that is there was lost")
	}
}

func TestACrashEndsTheDetour(t *testing.T) {
	var p tap
	_, a, b := startBoth(t, &p)
	p.close()
	a.reaches(t, b, 2)
	b.end()
	eventually(t, "the crash is noticed", func() bool { return a.losses() == 1 })
	d := &a.known(b.id).detour
	if d.open.Load() || d.stuck.Load() {
		t.Error("the detour goes on")
	}
	p.open()
}

func TestACutHoldsBackDatagrams(t *testing.T) {
	var p tap
	l, a, b := startBoth(t, &p)
	p.close()
	a.reaches(t, b, 2)
	l.setCut(a.id, b.id, true)
	a.Send(b.id, packet(1000))
	link := &a.known(b.id).detour
	link.queue.push(codec.AppendPacket(nil, packet(1000)), false) // as if it had waited
	eventually(t, "what waited is dropped", link.queue.empty)
	link.mu.Lock()
	d := datagram{a.id, 1, link.cookie, link.seq + windowSize/2}
	link.mu.Unlock()
	late, _ := appendDatagram(nil, d, [][]byte{codec.AppendPacket(nil, packet(1000))})
	b.hearDatagram(late) // as if it had been under way
	l.setCut(a.id, b.id, false)
	a.reaches(t, b, 3)
	if b.has(1000) {
		t.Error("a packet has passed a cut link")
	}
	p.open()
}

func TestOnlyWhoHasAPassIsHeard(t *testing.T) {
	n := start(t, newLAN(), 1, "", withDatagrams(t))
	cookie := n.issue(hello{node: 9, incarnation: 5})
	if again := n.issue(hello{node: 9, incarnation: 5}); again != cookie || cookie == 0 {
		t.Fatalf("the cookies of one process: %d, then %d", cookie, again)
	}
	if old := n.issue(hello{node: 9, incarnation: 4}); old != 0 {
		t.Error("a process that is gone got a cookie")
	}
	good := datagram{node: 9, incarnation: 5, cookie: cookie, seq: 7}
	light := [][]byte{codec.AppendPacket(nil, packet(1))}
	made := func(change func(*datagram)) []byte {
		d := good
		change(&d)
		b, _ := appendDatagram(nil, d, light)
		return b
	}
	whole := made(func(*datagram) {})
	flipped := bytes.Clone(whole)
	flipped[len(flipped)-1] ^= 1
	chunk, _ := appendDatagram(nil, datagram{9, 5, cookie, 8}, [][]byte{codec.AppendPacket(nil, replica.Packet{Group: 1, Msg: paxos.SnapshotChunk{Slot: 1}})})
	junk, _ := appendDatagram(nil, datagram{9, 5, cookie, 9}, [][]byte{light[0], []byte("junk")})
	for _, tt := range []struct {
		name string
		b    []byte
	}{
		{"nothing", nil},
		{"another protocol", []byte("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n and more than a head")},
		{"a damaged one", flipped},
		{"a part of one", whole[:len(whole)-1]},
		{"one that is too long", append(bytes.Clone(whole), make([]byte, maxDatagram)...)},
		{"a wrong cookie", made(func(d *datagram) { d.cookie++ })},
		{"no cookie", made(func(d *datagram) { d.cookie = 0 })},
		{"an old process", made(func(d *datagram) { d.incarnation-- })},
		{"another node", made(func(d *datagram) { d.node++ })},
		{"no number", made(func(d *datagram) { d.seq = 0 })},
		{"bulk", chunk},
		{"a packet that makes no sense", junk},
	} {
		before := n.Datagrams().Refused
		n.hearDatagram(tt.b)
		if n.Datagrams().Refused != before+1 || len(n.received()) != 0 {
			t.Errorf("%s was not refused", tt.name)
		}
	}
	n.hearDatagram(whole)
	n.hearDatagram(whole) // a second time
	if got := n.received(); len(got) != 1 || !reflect.DeepEqual(got[0], packet(1)) {
		t.Errorf("received %v; want the packet, once", got)
	}
	n.closeInbound(9) // its process is gone
	n.hearDatagram(made(func(d *datagram) { d.seq++ }))
	if len(n.received()) != 1 {
		t.Error("a process that is gone was heard")
	}
}

func TestPassesAreBounded(t *testing.T) {
	n := start(t, newLAN(), 1, "", withDatagrams(t))
	for i := range uint64(maxPasses) {
		if n.issue(hello{node: synod.NodeID(i + 2)}) == 0 {
			t.Fatalf("peer %d got none", i)
		}
	}
	if n.issue(hello{node: 1 << 20}) != 0 {
		t.Error("one more than allowed")
	}
}

// TestEarlierVersionsHearNoCookie keeps the hello what it was for a node that
// does not say that it can send datagrams.
func TestEarlierVersionsHearNoCookie(t *testing.T) {
	n := start(t, newLAN(), 1, "", withDatagrams(t))
	for _, able := range []bool{false, true} {
		conn, err := net.Dial("tcp", n.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer closeConn(conn)
		if err := (hello{protocol: protocol, node: 9, wanted: 1, able: able}).write(conn); err != nil {
			t.Fatal(err)
		}
		h, err := readHello(conn)
		if err != nil || h.refused || (h.cookie != 0) != able {
			t.Errorf("able %v: the answer is %+v, %v", able, h, err)
		}
	}
}

func TestAWindowTakesEachNumberOnce(t *testing.T) {
	var w window
	for _, tt := range []struct {
		n    uint64
		want bool
	}{
		{0, false}, {1, true}, {1, false}, {3, true}, {2, true}, {2, false}, {3, false},
		{windowSize + 2, true}, {3, false}, {4, true}, {2, false},
		{10 * windowSize, true}, {10*windowSize - 1, true}, {10*windowSize - 1, false}, {9 * windowSize, false},
		{9*windowSize + 1, true}, {11*windowSize - 1, true}, {10 * windowSize, false}, {10*windowSize + 1, true},
	} {
		if got := w.fresh(tt.n); got != tt.want {
			t.Errorf("fresh(%d) = %v; want %v", tt.n, got, tt.want)
		}
	}
}

func TestValuesAreSplitAndNothingElse(t *testing.T) {
	value := func(n int) synod.Value { return synod.Value(strings.Repeat("v", n)) }
	many := []synod.Value{value(500), value(700), value(400), value(400), value(10)}
	accept := paxos.Accept{Config: 1, Ballot: synod.Ballot{Round: 7, Member: 2}, Base: 3, First: 4, Values: many, Decided: 3}
	for _, tt := range []struct {
		name string
		msg  any
		want int
	}{
		{"Accept", accept, 3},
		{"Learned", paxos.Learned{First: 4, Values: many, Decided: 9}, 1},
		{"one large value", paxos.Accept{First: 4, Values: []synod.Value{"v", value(maxLight)}}, 0},
		{"too many", paxos.Learned{First: 4, Values: slices.Repeat([]synod.Value{value(1000)}, 20)}, 0},
		{"Promise", paxos.Promise{Votes: []paxos.SlotVote{{Slot: 4, Vote: synod.Vote{Value: value(maxLight)}}}}, 0},
		{"Forward", replica.Forward{Payload: []byte(value(maxLight))}, 0},
	} {
		p := replica.Packet{Group: 3, Msg: tt.msg}
		pieces := split(p, len(codec.AppendPacket(nil, p)))
		if len(pieces) != tt.want {
			t.Errorf("%s: %d pieces; want %d", tt.name, len(pieces), tt.want)
		}
		next, values := paxos.Slot(4), []synod.Value(nil)
		for _, b := range pieces {
			if len(b) > maxLight {
				t.Errorf("%s: a piece of %d bytes", tt.name, len(b))
			}
			got, err := codec.DecodePacket(b)
			if err != nil || got.Group != 3 {
				t.Fatalf("%s: %v, %v", tt.name, got, err)
			}
			switch m := got.Msg.(type) {
			case paxos.Accept:
				if m.First != next || m.Base != accept.Base || m.Ballot != accept.Ballot || m.Config != 1 || m.Decided != 3 {
					t.Errorf("a piece is %+v", m)
				}
				next, values = next+paxos.Slot(len(m.Values)), append(values, m.Values...)
			case paxos.Learned:
				if m.First != next || m.Decided != 9 {
					t.Errorf("a piece is %+v", m)
				}
				next, values = next+paxos.Slot(len(m.Values)), append(values, m.Values...)
			}
		}
		if n := len(values); tt.want > 0 && (!reflect.DeepEqual(values, many[:n]) || n < len(many) && tt.want > 1 || n == 0) {
			t.Errorf("%s: the pieces hold %d values, or others", tt.name, n)
		}
	}
}

// TestTheConnectionIsRelievedOnlyByDatagramsThatArrive has a network that lets
// no datagram pass: the connection is all there is then.
func TestTheConnectionIsRelievedOnlyByDatagramsThatArrive(t *testing.T) {
	d := &newPeer(&Transport{cfg: Config{Log: slog.New(slog.DiscardHandler)}}, 2).detour
	d.cookie, d.up = 1, true
	d.judged(true)
	if !d.open.Load() || d.stuck.Load() {
		t.Errorf("open %v, relieved %v; want datagrams as copies only", d.open.Load(), d.stuck.Load())
	}
	d.heard()
	d.last = d.last.Add(time.Hour) // slow machines
	d.judged(true)
	if !d.stuck.Load() {
		t.Error("not relieved, though datagrams come")
	}
	d.until = d.until.Add(time.Hour) // as before
	d.judged(false)
	if d.stuck.Load() || !d.open.Load() {
		t.Error("relieved for longer than the stall, or not calm for long enough")
	}
}

// TestWhatTheConnectionMustCarryToo walks through what a detour takes off the
// connection while that delivers nothing.
func TestWhatTheConnectionMustCarryToo(t *testing.T) {
	for _, tt := range []struct {
		msg         any
		alone, sent bool
	}{
		{leader.Heartbeat{Seq: 1}, true, true},
		{paxos.Accept{Values: []synod.Value{"v"}}, true, true},
		{paxos.Accept{Values: []synod.Value{synod.Value(make([]byte, maxLight))}}, false, false},
		{paxos.SnapshotChunk{}, false, false},
		{leader.Release{}, false, true},
		{replica.Forward{}, false, true},
		{replica.Answer{}, false, true},
	} {
		d := detour{queue: queue{maxBytes: detourBytes, maxPackets: detourPackets, ready: make(chan struct{}, 1)}}
		p := replica.Packet{Group: 1, Msg: tt.msg}
		b := codec.AppendPacket(nil, p)
		if d.send(p, b, false) || d.queue.empty() == tt.sent {
			t.Errorf("%T: a connection that delivers needs no copy, or the detour has taken the wrong ones", tt.msg)
		}
		d.stuck.Store(true)
		if got := d.send(p, b, false); got != tt.alone {
			t.Errorf("%T: without a copy is %v; want %v", tt.msg, got, tt.alone)
		}
		for d.queue.push(b, false) {
		}
		if d.send(p, b, false) {
			t.Errorf("%T: lost, though the connection could take it", tt.msg)
		}
	}
}

func FuzzDatagram(f *testing.F) {
	b, _ := appendDatagram(nil, datagram{1, 2, 3, 4}, [][]byte{
		codec.AppendPacket(nil, packet(1)),
		codec.AppendPacket(nil, replica.Packet{Msg: leader.Heartbeat{Seq: 1}}),
	})
	f.Add(b[4:])
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, rest []byte) {
		sealed := append(make([]byte, 4), rest...)
		binary.LittleEndian.PutUint32(sealed, codec.Checksum(rest)) // or nothing would get past it
		d, body, err := openDatagram(sealed)
		if err != nil {
			return
		}
		ps, err := decodeLight(body)
		if err != nil {
			return
		}
		var encoded [][]byte
		for _, p := range ps {
			encoded = append(encoded, codec.AppendPacket(nil, p))
		}
		again, n := appendDatagram(nil, d, encoded)
		if n != len(ps) {
			t.Fatalf("%d of %d packets fit again", n, len(ps))
		}
		d2, body, err := openDatagram(again)
		if err != nil || d2 != d {
			t.Fatalf("written again: %+v, %v; want %+v", d2, err, d)
		}
		if ps2, err := decodeLight(body); err != nil || !reflect.DeepEqual(ps2, ps) {
			t.Fatalf("written again: %v, %v; want %v", ps2, err, ps)
		}
	})
}

// BenchmarkSend is what a packet costs that goes to a peer and back.
func BenchmarkSend(b *testing.B) {
	b.Run("connections", func(b *testing.B) { benchmarkSend(b, func(*Config) {}) })
	b.Run("datagrams", func(b *testing.B) { benchmarkSend(b, withDatagrams(b)) })
}

func benchmarkSend(b *testing.B, with func(*Config)) {
	l := newLAN()
	back := make(chan struct{}, 1)
	nodes := [2]*testNode{}
	for i := range nodes {
		nodes[i] = start(b, l, synod.NodeID(i+1), "", func(c *Config) {
			with(c)
			c.Deliver = func(from synod.NodeID, p replica.Packet) {
				if i == 1 {
					nodes[1].Send(from, p)
					return
				}
				back <- struct{}{}
			}
		})
	}
	p := packet(1)
	for b.Loop() {
		nodes[0].Send(2, p)
		<-back
	}
	b.ReportMetric(float64(nodes[0].Datagrams().Sent+nodes[1].Datagrams().Sent), "datagrams")
}
