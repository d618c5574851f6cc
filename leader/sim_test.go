package leader

import (
	"slices"
	"testing"

	"github.com/prytany/prytany/synod"
)

// A world is a cluster of leader machines around the smallest acceptors and
// proposers that can show whether leadership works: a leader proposes one
// no-op each heartbeat and it is chosen if a quorum votes before the next. It
// is single-threaded, in virtual time, and a function of its seed.
type world struct {
	now    Instant
	events queue
	order  uint64
	random random
	nodes  []*host
	pass   [8][8]bool // pass[a][b]: what a sends reaches b
	loss   int64      // percent
	least  Instant    // one-way delay, to most
	most   Instant
	disk   Instant // a promise or vote waits for up to this long for the disk
	delay  int64   // Config.ClaimDelay
	off    mutant
	on     func(h *host, a Advice) // told of advice before it is followed

	changes int // leaderships that completed phase 1
	last    Instant
	gap     Instant // longest time without a commit
	changed Instant
}

// A host is one node of a world.
type host struct {
	id          int // from 0; the NodeID and ordinal are one higher
	m           *Node
	incarnation uint64
	dead        bool
	frozen      bool
	held        []event
	wake        Instant
	health      Health
	out         Output

	config   uint32
	promised synod.Ballot // durable
	own      synod.Ballot
	leading  bool
	heard    synod.Set // promises, or votes for slot
	slot     uint64
	facts    Facts
}

type kind uint8

const (
	kLeader kind = iota
	kPrepare
	kPromise
	kAccept
	kAccepted
	kWake
	kPropose
	kCall
)

type event struct {
	at       Instant
	order    uint64
	kind     kind
	from, to int
	sender   uint64 // incarnations: neither messages nor timers survive a restart
	receiver uint64
	config   uint32 // of what is not a leader's message
	msg      Message
	ballot   synod.Ballot
	slot     uint64
	call     func()
}

const ms = Instant(millisecond)

func newWorld(n int, seed uint64, off mutant) *world {
	w := &world{random: random(seed * 7919), off: off, least: 300_000, most: 4 * ms}
	for a := range n {
		for b := range n {
			w.pass[a][b] = a != b
		}
	}
	for i := range n {
		w.nodes = append(w.nodes, &host{id: i, config: 1})
	}
	return w
}

// begin starts all nodes, unsynchronized.
func (w *world) begin() {
	for _, h := range w.nodes {
		start := Instant(w.random.between(0, int64(50*ms)))
		if w.off.noJitter {
			start = Instant(h.id) * 50 * ms / Instant(len(w.nodes))
		}
		w.start(h, start)
	}
}

func (w *world) start(h *host, after Instant) {
	h.incarnation++
	h.dead, h.frozen, h.held, h.wake = false, false, nil, -1
	h.own, h.leading, h.facts = synod.Ballot{}, false, Facts{}
	h.health = Health{Disk: true, Loop: true}
	h.m = NewNode(Config{Self: nid(h.id), Incarnation: h.incarnation, Seed: w.random.next(), ClaimDelay: w.delay}, w.now+after)
	h.m.off = w.off
	w.sync(h)
	w.step(h)
	w.timer(h, kPropose, w.now+after)
}

func nid(i int) synod.NodeID { return synod.NodeID(i + 1) }

func (w *world) voters() []Voter {
	v := make([]Voter, len(w.nodes))
	for i := range v {
		v[i] = Voter{nid(i), synod.Ordinal(i + 1)}
	}
	return v
}

func (w *world) timer(h *host, k kind, at Instant) {
	w.push(event{at: at, kind: k, to: h.id, receiver: h.incarnation})
}

func (w *world) push(e event) {
	w.order++
	e.order = w.order
	w.events.push(e)
}

// at has f called at an instant.
func (w *world) at(t Instant, f func()) { w.push(event{at: t, kind: kCall, call: f}) }

func (w *world) send(e event) {
	if !w.pass[e.from][e.to] || w.nodes[e.to].dead || w.loss > 0 && w.random.between(0, 100) < w.loss {
		return
	}
	e.at = w.now + Instant(w.random.between(int64(w.least), int64(w.most)))
	if e.kind != kLeader {
		e.at += Instant(w.random.between(0, int64(w.disk)))
	}
	e.config = w.nodes[e.from].config
	e.sender, e.receiver = w.nodes[e.from].incarnation, w.nodes[e.to].incarnation
	w.push(e)
}

// run goes on until an instant.
func (w *world) run(until Instant) {
	for len(w.events) > 0 && w.events[0].at <= until {
		e := w.events.pop()
		w.now = e.at
		w.handle(e)
	}
	w.now = until
}

func (w *world) handle(e event) {
	if e.kind == kCall {
		e.call()
		return
	}
	h := w.nodes[e.to]
	if h.dead || e.receiver != h.incarnation || e.kind < kWake && e.sender != w.nodes[e.from].incarnation {
		return
	}
	if h.frozen {
		h.held = append(h.held, e)
		return
	}
	if kLeader < e.kind && e.kind < kWake && e.config != h.config {
		return
	}
	switch e.kind {
	case kLeader:
		h.m.Receive(nid(e.from), e.msg, w.now, &h.out)
	case kPrepare:
		w.onPrepare(h, e)
	case kPromise:
		w.onPromise(h, e)
	case kAccept:
		w.onAccept(h, e)
	case kAccepted:
		w.onAccepted(h, e)
	case kWake:
		if e.at == h.wake || w.now >= h.m.Next() {
			h.m.Tick(w.now, h.health, &h.out)
		}
	case kPropose:
		w.propose(h)
		t := int64(50 * ms)
		w.timer(h, kPropose, w.now+Instant(w.random.between(t-t/20, t+t/20)))
	}
	w.step(h)
}

// step carries out what the machine of h wants.
func (w *world) step(h *host) {
	for len(h.out.Advice) > 0 || len(h.out.Send) > 0 {
		out := h.out
		h.out = Output{}
		for _, e := range out.Send {
			w.send(event{kind: kLeader, from: h.id, to: int(e.To) - 1, msg: e.Msg})
		}
		for _, a := range out.Advice {
			if w.on != nil {
				w.on(h, a)
			}
			w.campaign(h, a.Campaign)
		}
	}
	h.out.Reset()
	if next := h.m.Next(); next != h.wake {
		h.wake = max(next, w.now)
		w.timer(h, kWake, h.wake)
	}
}

// sync tells the machine the facts if they have changed.
func (w *world) sync(h *host) {
	f := Facts{Config: h.config, Promised: h.promised, Own: h.own, Leading: h.leading}
	if old := h.facts; old.Config == f.Config && old.Promised == f.Promised && old.Own == f.Own && old.Leading == f.Leading {
		return
	}
	f.Voters = h.facts.Voters
	if f.Voters == nil {
		f.Voters = w.voters()
	}
	h.facts = f
	h.m.SetGroup(1, f, w.now, &h.out)
}

func (w *world) quorum() int { return len(w.nodes)/2 + 1 }

func (w *world) campaign(h *host, b synod.Ballot) {
	if !h.promised.Less(b) || !h.m.MayPromise(1, nid(h.id), w.now) {
		return
	}
	h.promised, h.own, h.leading = b, b, false
	h.heard = synod.Set(0).With(h.id)
	w.sync(h)
	w.propose(h)
	w.check(h)
}

func (w *world) check(h *host) {
	if h.heard.Len() < w.quorum() || h.own.IsZero() {
		return
	}
	if h.leading {
		if w.last < w.now {
			w.gap = max(w.gap, w.now-w.last)
			w.last = w.now
		}
		return
	}
	h.leading = true
	w.changes++
	w.changed = w.now
	w.sync(h)
	w.propose(h)
}

// propose repeats phase 1, or proposes the next no-op.
func (w *world) propose(h *host) {
	if h.own.IsZero() {
		return
	}
	k := kPrepare
	if h.leading {
		k = kAccept
		h.slot++
		h.heard = synod.Set(0).With(h.id)
	}
	for i := range w.nodes {
		if i != h.id && !(k == kPrepare && h.heard.Has(i)) {
			w.send(event{kind: k, from: h.id, to: i, ballot: h.own, slot: h.slot})
		}
	}
	if h.leading && len(w.nodes) == 1 {
		w.check(h)
	}
}

func (w *world) adopt(h *host, b synod.Ballot) {
	if h.promised == b {
		return
	}
	h.promised = b
	if h.own.Less(b) {
		h.own, h.leading = synod.Ballot{}, false
	}
	w.sync(h)
}

func (w *world) onPrepare(h *host, e event) {
	if e.ballot.Less(h.promised) || !h.m.MayPromise(1, nid(e.from), w.now) {
		return
	}
	w.adopt(h, e.ballot)
	w.send(event{kind: kPromise, from: h.id, to: e.from, ballot: e.ballot})
}

func (w *world) onPromise(h *host, e event) {
	if e.ballot == h.own && !h.leading {
		h.heard = h.heard.With(e.from)
		w.check(h)
	}
}

func (w *world) onAccept(h *host, e event) {
	if e.ballot.Less(h.promised) {
		return
	}
	w.adopt(h, e.ballot)
	w.send(event{kind: kAccepted, from: h.id, to: e.from, ballot: e.ballot, slot: e.slot})
}

func (w *world) onAccepted(h *host, e event) {
	if e.ballot == h.own && h.leading && e.slot == h.slot && h.heard.Len() < w.quorum() {
		h.heard = h.heard.With(e.from)
		w.check(h)
	}
}

// reconfigure has the nodes enter the next configuration one by one, the
// designated leader first unless it is dead.
func (w *world) reconfigure(leader int) {
	for i := range w.nodes {
		h := w.nodes[(leader+i)%len(w.nodes)]
		w.at(w.now+Instant(i)*15*ms, func() {
			if h.dead {
				return
			}
			h.config++
			h.promised, h.own, h.leading = synod.Ballot{}, synod.Ballot{}, false
			if h.id == leader {
				h.promised = synod.Ballot{Round: 1, Member: synod.Ordinal(leader + 1)}
				h.own, h.leading = h.promised, true
			}
			w.sync(h)
			w.step(h)
		})
	}
}

// Faults.

// cut breaks the link between a and b, join mends it.
func (w *world) cut(a, b int)  { w.pass[a][b], w.pass[b][a] = false, false }
func (w *world) join(a, b int) { w.pass[a][b], w.pass[b][a] = true, true }

// only leaves exactly these links.
func (w *world) only(links ...[2]int) {
	w.pass = [8][8]bool{}
	for _, l := range links {
		w.join(l[0], l[1])
	}
}

// crash ends a process. If it is seen, its peers are told within some
// milliseconds that the connection is gone and a redial refused.
func (w *world) crash(i int, seen bool) {
	h := w.nodes[i]
	h.dead = true
	gone := h.incarnation
	for _, p := range w.nodes {
		if p == h || !seen || !w.pass[i][p.id] || !w.pass[p.id][i] {
			continue
		}
		inc := p.incarnation
		w.at(w.now+Instant(w.random.between(600_000, 8_000_000)), func() {
			if !p.dead && !p.frozen && p.incarnation == inc && h.incarnation == gone {
				p.m.Disconnected(nid(i), w.now, &p.out)
				w.step(p)
			}
		})
	}
}

// restart brings a process back with its promise and nothing else.
func (w *world) restart(i int) { w.start(w.nodes[i], Instant(w.random.between(0, int64(50*ms)))) }

func (w *world) freeze(i int) { w.nodes[i].frozen = true }

// thaw has a process go on: all that has arrived meanwhile comes at once.
func (w *world) thaw(i int) {
	h := w.nodes[i]
	h.frozen = false
	for _, e := range h.held {
		e.at = w.now
		w.push(e)
	}
	h.held = nil
}

// establish starts the world with one node as leader and forgets the figures.
func (w *world) establish(t testing.TB, leader int) {
	t.Helper()
	w.begin()
	for _, h := range w.nodes {
		h.health.Draining = h.id != leader
	}
	for w.now < 400*ms && w.changes == 0 {
		w.run(w.now + 5*ms)
	}
	for _, h := range w.nodes {
		h.health.Draining = false
	}
	w.run(w.now + 250*ms)
	if h := w.nodes[leader]; !h.leading || w.changes != 1 {
		t.Fatalf("node %d does not lead after %d ms: %d changes", leader, w.now/ms, w.changes)
	}
	w.forget()
}

func (w *world) forget() { w.changes, w.gap = 0, 0 }

// worst returns the longest time without a commit, the last one included.
func (w *world) worst() Instant { return max(w.gap, w.now-w.last) }

// connected reports whether some live node has two-way links to a quorum.
func (w *world) connected() bool {
	for _, h := range w.nodes {
		n := 0
		for _, p := range w.nodes {
			if !h.dead && !p.dead && !h.frozen && !p.frozen && (p == h || w.pass[h.id][p.id] && w.pass[p.id][h.id]) {
				n++
			}
		}
		if n >= w.quorum() {
			return true
		}
	}
	return false
}

// A queue is a heap of events by instant, then by order of arrival.
type queue []event

func (e *event) before(o *event) bool { return e.at < o.at || e.at == o.at && e.order < o.order }

func (q *queue) push(e event) {
	*q = append(*q, e)
	s := *q
	for i := len(s) - 1; i > 0; {
		up := (i - 1) / 2
		if !s[i].before(&s[up]) {
			break
		}
		s[i], s[up] = s[up], s[i]
		i = up
	}
}

func (q *queue) pop() event {
	s := *q
	top := s[0]
	last := len(s) - 1
	s[0], s[last] = s[last], event{}
	s = s[:last]
	for i := 0; ; {
		c := 2*i + 1
		if c >= len(s) {
			break
		}
		if c+1 < len(s) && s[c+1].before(&s[c]) {
			c++
		}
		if !s[c].before(&s[i]) {
			break
		}
		s[i], s[c] = s[c], s[i]
		i = c
	}
	*q = s
	return top
}

// percentile returns the p-th percentile of v, which it sorts.
func percentile(v []Instant, p int) Instant {
	slices.Sort(v)
	return v[(len(v)-1)*p/100]
}
