package leader

// A lab adds to a world what takes time in a real process: the one event loop
// that a node has, the disk it waits for, the processor it does not get, and TCP
// that delivers in order. A nil lab adds nothing.
type lab struct {
	times   Config                          // of each node: Heartbeat, Silence, Lease, ClaimDelay
	period  Instant                         // between two proposals of the leader
	disk    bool                            // a promise or vote costs a durable write
	stall   func(w *world, h *host) Instant // how long a turn of h that could begin now has to wait for the processor
	cost    Instant                         // of processor time, for each event
	slow    func(w *world, h *host) Instant // what a durable write takes beside what it usually takes
	tcp     *tcp
	stretch Instant // percent of stall and slow; 0 means 100
	late    Instant // three ticks in a row that come later than this make the loop unwell; 0: never
	loops   [8]loop
}

// A loop is the state of a node's event loop. All events that have arrived by the
// beginning of a turn are handled in it, with one durable write.
type loop struct {
	turn  Instant // when the last turn began
	free  Instant // when the next may begin
	saved Instant // when the durable write of the last turn ends
	lates int
}

// config gives c the lab's times.
func (l *lab) config(c Config) Config {
	if l == nil {
		return c
	}
	c.Heartbeat, c.Silence, c.Lease, c.ClaimDelay = l.times.Heartbeat, l.times.Silence, l.times.Lease, l.times.ClaimDelay
	return c
}

func (l *lab) every() Instant {
	if l == nil || l.period == 0 {
		return 50 * ms
	}
	return l.period
}

// holds puts e off if the loop of h cannot take it now, and reports whether.
func (l *lab) holds(w *world, h *host, e event) bool {
	if l == nil {
		return false
	}
	o := &l.loops[h.id]
	if w.now != o.turn {
		at := max(o.free, w.now)
		if at == w.now && l.stall != nil {
			at += l.stretched(l.stall(w, h))
			o.turn = at
		}
		if at > w.now {
			o.free, e.at = at, at
			w.push(e)
			return true
		}
		o.turn = w.now
	}
	if e.kind == kWake && e.slot == 0 { // packets first
		e.at, e.slot = w.now, 1
		w.push(e)
		return true
	}
	o.free = max(o.free, w.now) + l.cost
	if e.kind == kWake && l.late > 0 {
		if o.lates++; w.now-h.wake <= l.late {
			o.lates = 0
		}
		h.health.Loop = o.lates < 3
	}
	return false
}

// stretched makes a wait longer or shorter than its row says.
func (l *lab) stretched(d Instant) Instant {
	if l.stretch == 0 {
		return d
	}
	return d / 100 * l.stretch
}

// carries charges the sender of e for what must be durable before, and reports
// whether e goes by TCP, which will deliver it.
func (l *lab) carries(w *world, e *event) bool {
	if l == nil {
		return false
	}
	switch {
	case !l.disk:
	case e.kind == kPrepare, e.kind == kPromise, e.kind == kAccepted:
		e.at += l.save(w, e.from) - w.now
	case e.kind == kAccept: // leaves before the leader's own vote is durable
		l.save(w, e.from)
	}
	if l.tcp == nil {
		return false
	}
	l.tcp.send(w, *e, e.at-w.now)
	return true
}

// save makes the loop of node i wait for the disk, once in a turn, and returns
// when that ends.
func (l *lab) save(w *world, i int) Instant {
	o := &l.loops[i]
	if o.saved > w.now {
		return o.saved
	}
	d := w.random.between(int64(ms)/2, int64(5*ms))
	if w.random.between(0, 100) == 0 { // shared with others' writes
		u := w.random.between(0, 1000)
		d += int64(45*ms) * u * u / 1_000_000
	}
	if l.slow != nil {
		d += int64(l.stretched(l.slow(w, w.nodes[i])))
	}
	o.saved = w.now + Instant(d)
	o.free = max(o.free, o.saved)
	return o.saved
}

// crash is that of the world, seen by a loop that may have to finish something
// first.
func (l *lab) crash(w *world, i int) {
	w.crash(i, false)
	for _, p := range w.nodes {
		if p.id == i || !w.pass[i][p.id] {
			continue
		}
		var tell func()
		tell = func() {
			if free := l.loops[p.id].free; free > w.now {
				w.at(free, tell)
				return
			}
			p.m.Disconnected(nid(i), w.clock(p), &p.out)
			w.step(p)
		}
		w.at(w.now+Instant(w.random.between(600_000, int64(8*ms))), tell)
	}
}

// establish starts the world with one node as leader, all well, and forgets the
// figures. It reports whether that worked.
func (l *lab) establish(w *world, leader int) bool {
	stall, slow, tcp := l.stall, l.slow, l.tcp
	l.stall, l.slow, l.tcp, w.lab, w.patience = nil, nil, nil, l, 100*ms
	w.begin()
	for _, h := range w.nodes {
		h.health.Draining = h.id != leader
	}
	for w.now < 5000*ms && w.changes == 0 {
		w.run(w.now + 5*ms)
	}
	for _, h := range w.nodes {
		h.health.Draining = false
	}
	w.run(w.now + 200*ms + 4*Instant(l.times.Heartbeat) + Instant(w.random.between(0, l.times.Heartbeat)))
	ok := w.nodes[leader].leading && w.changes == 1
	w.forget()
	l.stall, l.slow, l.tcp = stall, slow, tcp
	return ok
}

// leased reports whether the leader could answer a read by its lease.
func (w *world) leased() bool {
	for _, h := range w.nodes {
		if h.leading && !h.dead && !h.frozen && h.m.Leased(1, w.clock(h)) {
			return true
		}
	}
	return false
}

// What the processor does.

// starved waits for up to 200 ms before each turn.
func starved(w *world) Instant { return Instant(w.random.between(0, int64(200*ms))) }

// sliced runs for 5 ms of each 100 ms.
func sliced(w *world) Instant {
	if at := w.now % (100 * ms); at >= 5*ms {
		return 100*ms - at
	}
	return 0
}

// crowded is how a processor behaves that has more to do than it can: mostly the
// wait for a turn is short, often it is tens of milliseconds, and of 200 waits one is
// up to 150 ms.
func crowded(w *world) Instant {
	if w.random.between(0, 200) == 0 {
		return Instant(w.random.between(int64(60*ms), int64(150*ms)))
	}
	u := w.random.between(0, 1000)
	return Instant(int64(60*ms) * u / 1000 * u / 1000 * u / 1000)
}
