package transport

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prytany/prytany/internal/codec"
	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

const (
	// calm is how long a connection must deliver for the detour to end.
	calm = time.Second
	// orphan is how long after the loss of its connection a detour stays, when
	// nothing is heard of the peer.
	orphan = 10 * time.Second
	// proof is how long a datagram of the peer shows that datagrams get through.
	proof = 2 * time.Second
	// detourPause is how long packets are collected after some were sent.
	detourPause = 5 * time.Millisecond
	// What waits for a detour, and so what it sends in two pauses.
	detourBytes, detourPackets = 32 << 10, 512
	// maxSplit bounds a packet of values that is sent in pieces, in bytes.
	maxSplit = 16 << 10
)

// A detour carries small packets to a peer as datagrams while the control
// connection struggles: one lost segment holds up all that was sent after it,
// and each attempt to send it again waits twice as long as the one before. The
// protocol needs none of that order. It tolerates packets that are lost,
// repeated and reordered, and what is left unanswered it repeats.
//
// Proposals and votes take the detour together with heartbeats. If only
// heartbeats did, a leader would be followed that can get nothing chosen.
type detour struct {
	t     *Transport
	peer  *peer
	queue queue

	open  atomic.Bool // send takes packets
	stuck atomic.Bool // the connection delivers nothing, but datagrams do get through

	mu     sync.Mutex
	addr   netip.AddrPort // of the peer's end of the last connection
	cookie uint64         // 0: there is no way
	up     bool           // the connection is established
	until  time.Time      // open until then
	last   time.Time      // when a datagram of the peer came
	seq    uint64         // of the last datagram; never reset
}

// light reports whether p is of a kind that a datagram may carry.
func light(p replica.Packet) bool {
	_, chunk := p.Msg.(paxos.SnapshotChunk)
	return !chunk
}

// repeats reports whether the protocol sends again what m says as long as it
// matters. Requests of clients and their answers it does not, nor the token by
// which a leader lets go.
func repeats(m any) bool {
	switch m.(type) {
	case replica.Forward, replica.Answer, leader.Release:
		return false
	}
	return true
}

// send takes p, encoded, if the detour is open. It reports whether the
// connection needs no copy: it delivers nothing at present, and would have the
// more to say when it does again. If nothing shows that datagrams get through,
// which somebody may have forbidden, it needs one.
func (d *detour) send(p replica.Packet, encoded []byte, urgent bool) bool {
	if !light(p) {
		return false
	}
	pieces := [][]byte{encoded}
	if len(encoded) > maxLight {
		if pieces = split(p, len(encoded)); pieces == nil {
			return false
		}
	}
	for _, b := range pieces {
		if !d.queue.push(b, urgent) {
			return false
		}
	}
	return d.stuck.Load() && repeats(p.Msg)
}

// split returns p, size bytes long, as packets that each fit a datagram; nil if
// there is no such way. To propose values in one message or in several is the
// same. Of chosen values the first that fit are an answer: who has them asks for
// the rest, and would ask once for each of several.
func split(p replica.Packet, size int) (pieces [][]byte) {
	var values []synod.Value
	var part func(from, to int) any
	switch m := p.Msg.(type) {
	case paxos.Accept:
		values = m.Values
		part = func(from, to int) any {
			m := m
			m.First, m.Values = m.First+paxos.Slot(from), values[from:to]
			return m
		}
	case paxos.Learned:
		values = m.Values
		part = func(from, to int) any {
			m := m
			m.First, m.Values = m.First+paxos.Slot(from), values[from:to]
			return m
		}
	}
	if size > maxSplit {
		return nil
	}
	for from := 0; from < len(values); {
		var fits []byte
		to := from
		for to < len(values) {
			b := codec.AppendPacket(nil, replica.Packet{Group: p.Group, Msg: part(from, to+1)})
			if len(b) > maxLight {
				break
			}
			fits = b
			to++
		}
		if fits == nil {
			return nil
		}
		pieces, from = append(pieces, fits), to
		if _, learned := p.Msg.(paxos.Learned); learned {
			break
		}
	}
	return pieces
}

// run sends what is queued until ctx ends. Each datagram is sent twice, the
// second time after a pause; the receiver takes one of them.
func (d *detour) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.queue.ready:
		}
		addr, sent := d.haul()
		for _, b := range sent {
			d.write(b, addr)
		}
		timer.Reset(detourPause)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		for _, b := range sent {
			d.write(b, addr)
		}
	}
}

// haul returns the datagrams that carry what is queued, and where they go. They are
// written without the lock, which Send takes and may not wait for.
func (d *detour) haul() (addr netip.AddrPort, out [][]byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cookie == 0 || !time.Now().Before(d.until) {
		d.open.Store(false)
	}
	if !d.open.Load() || !d.t.cfg.Allowed(d.peer.id) || d.t.registry.rolledBack.Load() {
		d.queue.clear()
		return d.addr, nil
	}
	h := d.queue.take(detourBytes)
	defer d.queue.free(h)
	rest := h.packets
	if at := d.t.position(); at > 0 && len(rest) > 0 {
		rest = append([][]byte{codec.AppendSaved(at)}, rest...)
	}
	for len(rest) > 0 {
		d.seq++
		b, n := appendDatagram(nil, datagram{d.t.cfg.Self, d.t.cfg.Incarnation, d.cookie, d.seq}, rest)
		d.t.datagrams.meter.sentPackets.Add(uint64(2 * n)) // see run
		out, rest = append(out, b), rest[n:]
	}
	return d.addr, out
}

func (d *detour) write(b []byte, to netip.AddrPort) {
	if !d.t.cfg.Allowed(d.peer.id) || d.t.registry.rolledBack.Load() {
		return
	}
	if _, err := d.t.cfg.Datagrams.WriteToUDPAddrPort(b, to); err == nil { // else it is lost like any other
		d.t.datagrams.sent.Add(1)
		d.t.datagrams.meter.sentBytes.Add(uint64(len(b)))
	}
}

// established notes a control connection to addr and the cookie that its hello
// has brought.
func (d *detour) established(addr netip.AddrPort, cookie uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.addr, d.cookie, d.up = addr, cookie, true
	if !addr.IsValid() {
		d.cookie = 0
	}
	d.until = time.Now().Add(calm)
	d.stuck.Store(false)
}

// judged notes whether the established connection is stalled at present. It does not wait
// for long: Send calls it.
func (d *detour) judged(stalled bool) {
	if !stalled && !d.open.Load() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cookie == 0 || !d.up { // the look was at a connection that has gone since
		return
	}
	now := time.Now()
	if stalled {
		d.until = now.Add(calm)
	}
	d.stuck.Store(stalled && now.Sub(d.last) < proof)
	open := now.Before(d.until)
	if d.open.Swap(open) != open {
		d.t.cfg.Log.Debug("connection stalls or has recovered", "peer", d.peer.id, "datagrams", open)
	}
}

// broke notes that the connection was lost.
func (d *detour) broke() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.up = false
	d.until = time.Now().Add(orphan)
	d.stuck.Store(false) // what the link queues makes it dial
	d.open.Store(d.cookie != 0)
}

// heard notes that a datagram of the peer has come: it is there.
func (d *detour) heard() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = time.Now()
	if !d.up && d.cookie != 0 && d.open.Load() {
		d.until = d.last.Add(orphan)
	}
}

// close notes that the peer's process is gone.
func (d *detour) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cookie, d.up = 0, false
	d.stuck.Store(false)
	d.open.Store(false)
}
