package sim

import (
	"bytes"
	"time"

	"github.com/prytany/prytany/internal/codec"
	"github.com/prytany/prytany/internal/sim/oracle"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
)

// A link is one direction of the path between two nodes.
type link struct {
	cuts   int // faults that cut it now
	drop   float64
	dup    float64
	delay  delay
	lastAt time.Duration // when the last packet arrives; later ones stay behind it if the network keeps order
}

// A delay is a distribution of one-way times: uniform between min and max,
// and with probability tail an exponential around mean on top.
type delay struct {
	min, max time.Duration
	tail     float64
	mean     time.Duration
}

func (w *World) sample(d delay) time.Duration {
	t := d.min
	if d.max > d.min {
		t += time.Duration(w.rng.Int64N(int64(d.max - d.min)))
	}
	if d.tail > 0 && w.rng.Float64() < d.tail {
		t += time.Duration(w.rng.ExpFloat64() * float64(d.mean))
	}
	return t
}

func (w *World) link(from, to int) *link { return &w.links[from*len(w.nodes)+to] }

// send puts a packet on the way. at is when it leaves.
func (w *World) send(from, to int, p replica.Packet, at time.Duration) {
	l := w.link(from, to)
	if l.cuts > 0 || l.drop > 0 && w.rng.Float64() < l.drop {
		w.stats.Dropped++
		return
	}
	if w.opt.Codec {
		q, ok := w.wire(p)
		if !ok {
			return
		}
		p = q
	}
	copies := 1
	if l.dup > 0 && w.rng.Float64() < l.dup {
		copies = 2
	}
	for range copies {
		arrive := at + w.sample(l.delay)
		if w.opt.Ordered {
			arrive = max(arrive, l.lastAt)
			l.lastAt = arrive
		}
		e := w.events.add(arrive)
		e.packet, e.from, e.to, e.pkt = true, int32(from), int32(to), p
	}
	w.stats.Packets++
}

// arrive hands a packet to its receiver, if that is running.
func (w *World) arrive(from, to int, p replica.Packet) {
	n := w.nodes[to]
	w.trace.mix(uint64(w.now), uint64(from), uint64(to))
	if n.host == nil {
		return
	}
	if w.link(from, to).cuts > 0 {
		return // cut while it was on the way
	}
	if m, ok := p.Msg.(paxos.Message); ok {
		w.trace.add(line{w.now, to, w.nodes[from].from, m})
	}
	n.host.Deliver(n.peer(from), p)
	n.pollBy(w.now + w.sample(w.opt.Loop))
}

// cut breaks the directed link, until the returned function is called.
func (w *World) cut(from, to int) (heal func()) {
	l := w.link(from, to)
	l.cuts++
	return func() { l.cuts-- }
}

// reset tells both ends of a path that their connection was reset. It says
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

// damage is how often a frame is damaged on its way, where packets pass
// through their bytes.
const damage = 1.0 / 2000

// wire carries p through its bytes. A damaged frame must be noticed; it ends
// the connection, so p is lost.
func (w *World) wire(p replica.Packet) (replica.Packet, bool) {
	if w.opt.Mode != Quiet && chance(w.rng, damage) {
		b := codec.AppendFrame(nil, []replica.Packet{p})
		b[w.rng.IntN(len(b))] ^= 1 << w.rng.IntN(8)
		if _, err := codec.NewReader(bytes.NewReader(b)).Next(); err == nil {
			oracle.Fail("codec", "a damaged frame with a %T is accepted", p.Msg)
		}
		return p, false
	}
	w.buf = codec.AppendPacket(w.buf[:0], p)
	q, err := codec.DecodePacket(w.buf)
	if err != nil {
		oracle.Fail("codec", "%+v cannot be read: %v", p, err)
	}
	return q, true
}
