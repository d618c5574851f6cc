package leader

// The guard of the leases: what they assume of clocks is checked, as far as
// heartbeats show it. A clock's rate is compared, never its reading.

// window is the shortest time over which two clocks are compared, in ns.
const window = 10_000 * millisecond

// A clock is how fast a peer's clock runs beside ours.
type clock struct {
	begun      bool
	sent, came Instant // our clock around the reading that the window begins with
	read       Instant // that reading
	skewed     bool
}

// compare takes the reading of p's clock that came with a reply to what we sent
// at sent. Between two readings p's clock has gone on by what they say; ours by
// something between the shortest and the longest time that the round trips leave
// possible. While these are too far apart to tell, the window stays open.
func (n *Node) compare(p *peer, sent, read, now Instant, out *Output) {
	c := &p.clock
	if read == 0 || n.off.noGuard {
		return // it does not tell
	}
	if !c.begun || read < c.read {
		c.begin(sent, read, now)
		return
	}
	least, most := int64(sent-c.came), int64(now-c.sent)
	if least < window {
		return
	}
	gone := int64(read - c.read)
	skewed := gone > most+part(most, n.cfg.Drift/2) || gone < least-part(least, n.cfg.Drift/2)
	if !skewed && most-least > part(least, n.cfg.Drift/4) {
		return
	}
	c.begin(sent, read, now)
	if skewed == c.skewed {
		return
	}
	c.skewed = skewed
	n.wakeAll(p)
	e := Event{Kind: EvClock, Node: p.id, Reason: reasonRate}
	if skewed {
		e.Reason = reasonSkewed
	}
	out.Events = append(out.Events, e)
}

// begin begins a window.
func (c *clock) begin(sent, read, now Instant) {
	c.begun, c.sent, c.came, c.read = true, sent, now, read
}

// part returns ppm parts of a million of ns.
func part(ns, ppm int64) int64 { return ns/1_000_000*ppm + ns%1_000_000*ppm/1_000_000 }

// resume begins all windows anew if this process has stood still: what it has
// missed lies about the time that passed.
func (n *Node) resume(now Instant) {
	if int64(now-n.told) <= n.cfg.Silence+n.cfg.Heartbeat {
		return
	}
	for _, p := range n.peers {
		p.clock.begun = false
	}
}
