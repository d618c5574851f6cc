package sim

import (
	"bytes"
	"slices"
	"time"

	"github.com/prytany/prytany/internal/codec"
	"github.com/prytany/prytany/internal/sim/dice"
	"github.com/prytany/prytany/internal/sim/network"
	"github.com/prytany/prytany/internal/sim/oracle"
	"github.com/prytany/prytany/internal/sim/plan"
	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

// A packet is a message on its way.
type packet struct {
	from, to int32        // indices of the nodes
	fromID   synod.NodeID // who the sending node was
	toID     synod.NodeID // whom it wanted
	process  uint64       // number of the sending process on its machine
	position uint64       // durable writes of the sender by then
	epoch    uint64       // of the connection
	replica.Packet
}

func (w *World) sample(d dice.Delay) time.Duration { return d.Sample(w.rng) }

// send puts a packet on the way. at is when it leaves.
func (w *World) send(from, to int, p replica.Packet, at time.Duration) {
	l := w.net.Link(from, to)
	if l.Loses(plane(p.Msg), w.rng) {
		w.stats.Dropped++
		return
	}
	if l.Damages(w.rng) {
		w.damage(p)
		l.Epoch++ // whoever reads it ends the connection
		return
	}
	if w.opt.Codec {
		q, ok := w.wire(p)
		if !ok {
			return
		}
		p = q
	}
	sender := w.nodes[from]
	e := packet{int32(from), int32(to), sender.id, w.nodes[to].id, sender.incarnation, sender.soul.position, l.Epoch, p}
	w.stats.Packets++
	if l.Waits() {
		w.held = append(w.held, e)
		return
	}
	for range l.Copies(w.rng) {
		w.carry(l, e, at)
	}
	if d := l.Echoes(w.rng); d > 0 {
		w.carry(l, e, at+d)
	}
}

// carry puts a packet that leaves at that moment on the link.
func (w *World) carry(l *network.Link, e packet, at time.Duration) {
	size := 0
	if l.Rate > 0 {
		w.buf = codec.AppendPacket(w.buf[:0], e.Packet)
		size = len(w.buf)
	}
	if at, ok := l.Arrival(at, size, w.opt.Ordered, w.rng); ok {
		w.events.Add(at).Packet = e
	}
}

// plane returns of which kind a packet with m is.
func plane(m any) network.Plane {
	if _, ok := m.(leader.Message); ok {
		return network.Beats
	}
	return network.Paxos
}

// arrive hands a packet to its receiver, if that is running.
func (w *World) arrive(e *packet) {
	from, to, p := int(e.from), int(e.to), e.Packet
	n := w.nodes[to]
	w.trace.mix(uint64(w.now), uint64(from), uint64(to))
	if n.host == nil || n.id != e.toID {
		return
	}
	if w.net.Link(from, to).Ends(plane(p.Msg), e.epoch) {
		return // while it was on the way
	}
	if n.Asleep > w.now {
		w.stats.Struck.Unheard++
		return
	}
	if sender := w.nodes[from]; sender.host != nil && sender.incarnation == e.process {
		if !w.meets(sender, n) {
			return
		}
		n.hears(sender, e.position)
	} else if n.met[sender] != e.process && !w.opt.Hooks.Gullible {
		return // of a process that is gone, and has never said hello
	}
	if m, ok := p.Msg.(paxos.Message); ok {
		w.trace.add(line{w.now, to, w.nodes[from].from, m})
	}
	n.host.Deliver(e.fromID, p)
	n.pollBy(w.now + w.sample(w.opt.Loop))
}

// disconnected tells both ends of a path that their connection was reset. It says
// nothing about the process at the other end unless that is gone.
func (w *World) disconnected(at, gone int) {
	n := w.nodes[at]
	if n.host == nil || w.nodes[gone].host != nil {
		return
	}
	w.trace.add(line{w.now, at, "connection refused by " + w.nodes[gone].name, nil})
	n.host.Disconnected(n.peer(gone))
	n.pollBy(w.now)
}

// damaged is how often a frame is damaged on its way, where packets pass
// through their bytes.
const damaged = 1.0 / 2000

// damage makes a frame of p, turns a few bits of it or cuts it short, and wants whoever
// reads it to notice.
func (w *World) damage(p replica.Packet) {
	b := codec.AppendFrame(nil, []replica.Packet{p})
	sent := slices.Clone(b)
	if dice.Chance(w.rng, 0.2) {
		b = b[:w.rng.IntN(len(b))]
	} else {
		for range dice.Pick(w.rng, 1, 1, 1, 2, 8) {
			b[w.rng.IntN(len(b))] ^= 1 << w.rng.IntN(8)
		}
	}
	if _, err := codec.NewReader(bytes.NewReader(b)).Next(); err == nil && !bytes.Equal(b, sent) {
		oracle.Fail("codec", "a damaged frame with a %T is accepted", p.Msg)
	}
}

// wire carries p through its bytes. A damaged frame must be noticed; it ends
// the connection, so p is lost.
func (w *World) wire(p replica.Packet) (replica.Packet, bool) {
	if w.opt.Mode != plan.Quiet && dice.Chance(w.rng, damaged) {
		w.damage(p)
		return p, false
	}
	w.buf = codec.AppendPacket(w.buf[:0], p)
	q, err := codec.DecodePacket(w.buf)
	if err != nil {
		oracle.Fail("codec", "%+v cannot be read: %v", p, err)
	}
	return q, true
}
