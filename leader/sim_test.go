package leader

import (
	"flag"
	"slices"
	"testing"

	"github.com/prytany/prytany/synod"
)

var (
	netOff = flag.Bool("leader.nonet", false, "what sleeps is looked at only if something wakes it")
	sayAll = flag.Bool("leader.everything", false, "every heartbeat says everything, and nothing sleeps")
)

// ways sets what the flags want, and what the process is a mutant of.
func ways(off mutant) mutant {
	if off == (mutant{}) {
		off = switched()
	}
	off.noNet = off.noNet || *netOff
	off.everything = off.everything || *sayAll
	return off
}

// A world is a cluster of leader machines around the smallest acceptors and
// proposers that can show whether leadership works: a leader proposes one
// no-op each heartbeat and it is chosen if a quorum votes before the next. It
// is single-threaded, in virtual time, and a function of its seed.
type world struct {
	now    Instant
	queue  queue
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
	lab    *lab                    // what takes time beside the network; nil: nothing

	lease    Instant            // Config.Lease; 0: the default
	move     Instant            // Config.MoveAfter; 0: the default
	drift    int64              // the clocks' rates are off by up to this, in ppm
	clocks   random             // draws them
	extra    [8][8]Instant      // added to the one-way delay
	lose     func(e event) bool // what is lost beside
	patience Instant            // the leader repeats nothing sooner
	idle     bool               // a leader proposes once, and never again

	events   [17]int // of each kind, of all machines
	messages int     // of the machines
	reports  int     // in them
	*ledger          // of the group that is looked at, the first one mostly
	ledgers  []*ledger
}

// A ledger is what has happened in one group.
type ledger struct {
	config  uint32         // the newest configuration
	heads   map[uint32]int // who is designated to lead a configuration
	stale   int            // commits under somebody else's lease
	commits int
	sure    int // commits of a leader with a lease
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

	rate   int64          // ppm by which its clock is fast
	offset Instant        // of its clock
	stall  func() Instant // how long a turn that could begin now has to wait
	turn   Instant        // when the last one began
	free   Instant        // when the next may

	*role // of the group that is looked at
	roles []*role
}

// A role is what a host is in one group.
type role struct {
	group    uint64 // from 1
	config   uint32
	promised synod.Ballot // durable
	own      synod.Ballot
	leading  bool
	anew     bool      // its ballot is one more of the same leader
	heard    synod.Set // promises, or votes for slot
	slot     uint64
	facts    Facts

	proposed Instant
	vote     vote   // durable
	seen     vote   // the highest one that promises tell
	seal     int    // the node designated in a stop-sign it proposes, plus 1
	sealed   uint64 // the stop-sign's slot
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
	group    uint64
	config   uint32 // of what is not a leader's message
	msg      Message
	ballot   synod.Ballot
	slot     uint64
	vote     vote
	call     func()
}

// A vote is the last one of an acceptor in a configuration, as far as it matters
// here: whether it was for a stop-sign.
type vote struct {
	ballot synod.Ballot
	seal   int // see host
}

// or returns the later one of two votes.
func (v vote) or(o vote) vote {
	if v.ballot.Less(o.ballot) || v.ballot == o.ballot && o.seal != 0 {
		return o
	}
	return v
}

const ms = Instant(millisecond)

func newWorld(n int, seed uint64, off mutant) *world {
	w := &world{
		random: random(seed * 7919), clocks: random(seed * 104_729), off: ways(off), least: 300_000, most: 4 * ms,
	}
	for a := range n {
		for b := range n {
			w.pass[a][b] = a != b
		}
	}
	for i := range n {
		w.nodes = append(w.nodes, &host{id: i})
	}
	w.share(1)
	return w
}

// share has the nodes share so many groups, all as voters.
func (w *world) share(groups int) {
	for len(w.ledgers) < groups {
		w.ledgers = append(w.ledgers, &ledger{config: 1, heads: map[uint32]int{}})
		for _, h := range w.nodes {
			h.roles = append(h.roles, &role{group: uint64(len(w.ledgers)), config: 1})
		}
	}
	w.look(1)
}

// look has everything be about a group.
func (w *world) look(group uint64) {
	w.ledger = w.ledgers[group-1]
	for _, h := range w.nodes {
		h.role = h.roles[group-1]
	}
}

// each calls f with everything about each group in turn.
func (w *world) each(f func(group uint64)) {
	for g := range uint64(len(w.ledgers)) {
		w.look(g + 1)
		f(g + 1)
	}
	w.look(1)
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
	h.health = Health{Disk: true, Loop: true}
	h.m = NewNode(w.lab.config(w.times(h)), w.clockAt(h, w.now+after))
	h.m.off = w.off
	w.each(func(uint64) {
		h.own, h.leading, h.facts, h.seal = synod.Ballot{}, false, Facts{}, 0
		w.sync(h)
	})
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
	w.queue.push(e)
}

// at has f called at an instant.
func (w *world) at(t Instant, f func()) { w.push(event{at: t, kind: kCall, call: f}) }

func (w *world) send(e event) {
	if !w.pass[e.from][e.to] || w.nodes[e.to].dead || w.loss > 0 && w.random.between(0, 100) < w.loss {
		return
	}
	e.at = w.now + Instant(w.random.between(int64(w.least), int64(w.most)))
	e.at += w.extra[e.from][e.to]
	if e.kind != kLeader {
		e.at += Instant(w.random.between(0, int64(w.disk)))
	}
	e.config, e.group = w.nodes[e.from].config, w.nodes[e.from].group
	if e.kind == kLeader {
		e.config, e.group = w.nodes[e.from].roles[0].config, 1
	}
	e.sender, e.receiver = w.nodes[e.from].incarnation, w.nodes[e.to].incarnation
	if w.lose != nil && w.lose(e) {
		return
	}
	if !w.lab.carries(w, &e) {
		w.push(e)
	}
}

// run goes on until an instant.
func (w *world) run(until Instant) {
	for len(w.queue) > 0 && w.queue[0].at <= until {
		e := w.queue.pop()
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
	w.look(max(e.group, 1))
	defer w.look(1)
	h := w.nodes[e.to]
	if h.dead || e.receiver != h.incarnation || e.kind < kWake && e.sender != w.nodes[e.from].incarnation {
		return
	}
	if h.frozen {
		h.held = append(h.held, e)
		return
	}
	if w.stalls(h, e) || w.lab.holds(w, h, e) {
		return
	}
	if e.kind < kWake && e.config > h.config {
		w.enter(h, e.config)
	}
	if kLeader < e.kind && e.kind < kWake && e.config != h.config {
		return
	}
	switch e.kind {
	case kLeader:
		h.m.Receive(nid(e.from), e.msg, w.clock(h), &h.out)
	case kPrepare:
		w.onPrepare(h, e)
	case kPromise:
		w.onPromise(h, e)
	case kAccept:
		w.onAccept(h, e)
	case kAccepted:
		w.onAccepted(h, e)
	case kWake:
		if e.at == h.wake || w.clock(h) >= h.m.Next() {
			h.m.Tick(w.clock(h), h.health, &h.out)
		}
	case kPropose:
		w.each(func(uint64) { w.propose(h) })
		t := int64(w.lab.every())
		w.timer(h, kPropose, w.now+Instant(w.random.between(t-t/20, t+t/20)))
	}
	w.step(h)
}

// step carries out what the machine of h wants.
func (w *world) step(h *host) {
	for len(h.out.Advice) > 0 || len(h.out.Send) > 0 || len(h.out.Events) > 0 {
		out := h.out
		h.out = Output{}
		for _, e := range out.Events {
			w.events[e.Kind]++
		}
		for _, e := range out.Send {
			w.messages++
			if m, ok := e.Msg.(Heartbeat); ok {
				w.reports += len(m.Groups)
			}
			w.send(event{kind: kLeader, from: h.id, to: int(e.To) - 1, msg: e.Msg})
		}
		for _, a := range out.Advice {
			if w.on != nil {
				w.on(h, a)
			}
			w.look(a.Group)
			switch {
			case a.HandOver != 0:
				w.handOver(h.id, int(a.HandOver)-1)
			case !a.Withdraw.IsZero():
				w.withdraw(h, a.Withdraw)
			default:
				h.anew = slices.ContainsFunc(out.Events, func(e Event) bool { return e.Kind == EvMend && e.Ballot == a.Campaign })
				w.campaign(h, a.Campaign)
			}
		}
		w.look(1)
	}
	h.out.Reset()
	if next := w.when(h, h.m.Next()); next != h.wake {
		h.wake = max(next, w.now)
		w.timer(h, kWake, h.wake)
	}
}

// sync tells the machine the facts if they have changed.
func (w *world) sync(h *host) {
	f := Facts{Config: h.config, Promised: h.promised, Own: h.own, Leading: h.leading, Sealed: h.seal != 0}
	if old := h.facts; old.Config == f.Config && old.Promised == f.Promised && old.Own == f.Own && old.Leading == f.Leading && old.Sealed == f.Sealed {
		return
	}
	f.Voters = h.facts.Voters
	if f.Voters == nil {
		f.Voters = w.voters()
	}
	h.facts = f
	h.m.SetGroup(h.group, f, w.clock(h), &h.out)
}

func (w *world) quorum() int { return len(w.nodes)/2 + 1 }

func (w *world) campaign(h *host, b synod.Ballot) {
	if !h.promised.Less(b) || !h.m.MayPromise(h.group, nid(h.id), w.clock(h)) {
		return
	}
	h.promised, h.own, h.leading, h.seal = b, b, false, 0
	h.heard, h.seen = synod.Set(0).With(h.id), h.vote
	w.sync(h)
	w.propose(h)
	w.check(h)
}

func (w *world) withdraw(h *host, b synod.Ballot) {
	if h.own == b && !h.leading {
		h.own = synod.Ballot{}
		w.sync(h)
	}
}

func (w *world) check(h *host) {
	if h.heard.Len() < w.quorum() || h.own.IsZero() {
		return
	}
	w.audit(h)
	if h.leading {
		if w.last < w.now {
			w.gap = max(w.gap, w.now-w.last)
			w.last = w.now
		}
		w.stopped(h)
		return
	}
	h.leading = true
	if h.seen.seal != 0 { // inherited
		h.seal, h.sealed = h.seen.seal, h.slot+1
	}
	if !h.anew { // of leaders, not of ballots
		w.changes++
		w.changed = w.now
	}
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
		if h.heard.Len() < w.quorum() && w.now-h.proposed < w.patience || w.idle && h.heard.Len() >= w.quorum() && h.proposed > w.changed {
			return
		}
		h.slot++
		h.proposed, h.vote = w.now, vote{h.own, h.seal}
		h.heard = synod.Set(0).With(h.id)
	}
	for i := range w.nodes {
		if i != h.id && !(k == kPrepare && h.heard.Has(i)) {
			w.send(event{kind: k, from: h.id, to: i, ballot: h.own, slot: h.slot, vote: h.vote})
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
		h.own, h.leading, h.seal = synod.Ballot{}, false, 0
	}
	h.m.Promised(h.group, b)
	w.sync(h)
}

func (w *world) onPrepare(h *host, e event) {
	if e.ballot.Less(h.promised) || !h.m.MayPromise(h.group, nid(e.from), w.clock(h)) {
		return
	}
	w.adopt(h, e.ballot)
	w.send(event{kind: kPromise, from: h.id, to: e.from, ballot: e.ballot, vote: h.vote})
}

func (w *world) onPromise(h *host, e event) {
	if e.ballot == h.own && !h.leading {
		h.heard = h.heard.With(e.from)
		h.seen = h.seen.or(e.vote)
		w.check(h)
	}
}

func (w *world) onAccept(h *host, e event) {
	if e.ballot.Less(h.promised) {
		return
	}
	w.adopt(h, e.ballot)
	h.vote = h.vote.or(e.vote)
	w.send(event{kind: kAccepted, from: h.id, to: e.from, ballot: e.ballot, slot: e.slot})
}

func (w *world) onAccepted(h *host, e event) {
	if e.ballot == h.own && h.leading && e.slot == h.slot && h.heard.Len() < w.quorum() {
		h.heard = h.heard.With(e.from)
		w.check(h)
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
				p.m.Disconnected(nid(i), w.clock(p), &p.out)
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

func (w *world) forget() {
	w.each(func(uint64) { w.changes, w.gap, w.commits, w.sure = 0, 0, 0, 0 })
	w.events, w.messages, w.reports = [17]int{}, 0, 0
}

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
