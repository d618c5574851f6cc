package leader

import "slices"

// A tcp is a network of TCP connections, one for each ordered pair of nodes, that
// loses segments and acknowledgements. What is lost holds up all that was written
// after it. A lost segment is sent again once the acknowledgement of a later one
// has come (RACK), else by a timeout that doubles, after which one segment at a
// time is in flight until something is acknowledged. A connection on which nothing
// was acknowledged for two seconds is given up; to dial again takes a second for
// each packet of the handshake that is lost.
//
// Left out: tail loss probes, delayed acknowledgements and the congestion window
// outside of a timeout.
type tcp struct {
	loss  int64 // percent
	conns [8][8]conn
}

type conn struct {
	waiting []event // written, not sent
	flight  []*segment
	next    uint64  // number of the next segment
	due     Instant // of the timeout
	armed   bool
	backoff uint
	slow    bool // one segment at a time
	moved   Instant
	dead    Instant // no connection before
	life    int     // which connection this is
}

type segment struct {
	number uint64
	events []event
	sent   Instant // the last time
	got    bool
	gotAt  Instant
	told   bool // delivered in order
	acked  bool
}

const (
	rto      = 204 * ms
	giveUp   = 2000 * ms
	roundway = 8 * ms
)

// send takes e, which its sender writes after a while.
func (n *tcp) send(w *world, e event, after Instant) {
	// What the world drew as the way of the packet is drawn again for each segment.
	if after > w.most { // it waits for the disk first
		w.at(e.at-w.most, func() { n.write(w, e) })
		return
	}
	n.write(w, e)
}

func (n *tcp) write(w *world, e event) {
	c := &n.conns[e.from][e.to]
	if w.now < c.dead {
		return
	}
	if len(c.flight) == 0 && len(c.waiting) == 0 {
		c.moved = w.now
	}
	c.waiting = append(c.waiting, e)
	n.pump(w, c, e.from, e.to)
}

func (n *tcp) way(w *world) Instant { return Instant(w.random.between(int64(w.least), int64(w.most))) }

func (n *tcp) loses(w *world) bool { return w.random.between(0, 100) < n.loss }

// pump sends what waits, unless a timeout allows one segment only.
func (n *tcp) pump(w *world, c *conn, from, to int) {
	if len(c.waiting) == 0 || c.slow && len(c.flight) > 0 {
		return
	}
	s := &segment{number: c.next, events: c.waiting}
	c.next++
	c.waiting = nil
	c.flight = append(c.flight, s)
	n.transmit(w, c, s, from, to)
}

func (n *tcp) transmit(w *world, c *conn, s *segment, from, to int) {
	s.sent = w.now
	if !c.armed {
		n.arm(w, c, from, to)
	}
	if n.loses(w) || !w.pass[from][to] {
		return
	}
	life := c.life
	w.at(w.now+n.way(w), func() {
		if c.life == life {
			n.arrive(w, c, s, from, to)
		}
	})
}

// arrive has the receiver take s, deliver what is in order and acknowledge.
func (n *tcp) arrive(w *world, c *conn, s *segment, from, to int) {
	if !s.got {
		s.got, s.gotAt = true, w.now
		for _, f := range c.flight {
			if !f.got {
				break
			}
			if !f.told {
				f.told = true
				for _, e := range f.events {
					e.at = w.now
					w.push(e)
				}
			}
		}
	}
	if n.loses(w) || !w.pass[to][from] {
		return
	}
	life, told := c.life, w.now
	w.at(w.now+n.way(w), func() {
		if c.life == life {
			n.acknowledge(w, c, told, from, to)
		}
	})
}

// acknowledge takes note of all that had arrived at told, and sends again what was
// sent before something that has.
func (n *tcp) acknowledge(w *world, c *conn, told Instant, from, to int) {
	newest, news := Instant(-1), false
	for _, s := range c.flight {
		if s.got && s.gotAt <= told {
			news = news || !s.acked
			s.acked = true
			newest = max(newest, s.sent)
		}
	}
	if !news {
		return
	}
	c.slow, c.moved = false, w.now
	if c.flight[0].acked {
		c.backoff = 0
	}
	c.flight = slices.DeleteFunc(c.flight, func(s *segment) bool { return s.acked && s.told })
	for _, s := range slices.Clone(c.flight) {
		if !s.acked && s.sent < newest {
			n.transmit(w, c, s, from, to)
		}
	}
	n.arm(w, c, from, to)
	n.pump(w, c, from, to)
}

// arm starts the timeout anew.
func (n *tcp) arm(w *world, c *conn, from, to int) {
	was := c.armed
	c.armed, c.due = len(c.flight) > 0, w.now+rto<<c.backoff
	if c.armed && !was {
		n.await(w, c, from, to)
	}
}

func (n *tcp) await(w *world, c *conn, from, to int) {
	life := c.life
	w.at(c.due, func() {
		switch {
		case c.life != life || !c.armed:
		case len(c.flight) == 0:
			c.armed = false
		case w.now < c.due:
			n.await(w, c, from, to)
		default:
			n.timeout(w, c, from, to)
		}
	})
}

// timeout sends the first segment again, or gives the connection up.
func (n *tcp) timeout(w *world, c *conn, from, to int) {
	if w.now-c.moved > giveUp {
		pause := roundway
		for range 4 {
			for n.loses(w) {
				pause += 1000 * ms
			}
		}
		*c = conn{life: c.life + 1, dead: w.now + pause}
		return
	}
	c.backoff, c.slow = min(c.backoff+1, 6), true
	for _, s := range c.flight {
		if !s.acked {
			n.transmit(w, c, s, from, to)
			break
		}
	}
	c.due = w.now + rto<<c.backoff
	n.await(w, c, from, to)
}
