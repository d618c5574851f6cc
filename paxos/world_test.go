package paxos

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/prytany/prytany/synod"
)

// A world is a handful of nodes, their disks and an unfriendly network, and an
// oracle that sees every disk and every message. Everything follows from one
// seed.
type world struct {
	rng    *rand.Rand
	cfg    Config
	nodes  []*node // by NodeID-1
	net    []packet
	cut    map[[2]synod.NodeID]bool
	loss   float64 // how unfriendly: drops, duplicates, reorders; 0 once healed
	frail  int     // one turn in so many ends in a crash
	serial int
	oracle oracle
}

// A node is a Group, what it has on disk, and what its machine has applied.
type node struct {
	id    synod.NodeID
	up    bool
	g     *Group
	disk  disk
	reads map[uint64]Slot // lowest index a pending read may be given
	last  Slot            // applied up to here
}

type disk struct {
	header   Header
	votes    map[Slot]SlotVote
	snapshot Slot
	members  Membership // as of snapshot
}

type packet struct {
	from, to synod.NodeID
	msg      any // Message or Snapshot
}

// An oracle knows what has been chosen, from the votes on the disks alone.
type oracle struct {
	votes    map[ballotSlot]map[synod.NodeID]bool
	proposed map[ballotSlot]synod.Value
	chosen   map[Slot]synod.Value
	configs  map[ConfigID]Membership
	applied  Slot // highest slot any node has applied
	stats    stats
}

type stats struct{ chosen, recovered, reconfigured, installed, restarts, reads int }

type ballotSlot struct {
	config ConfigID
	ballot synod.Ballot
	slot   Slot
}

func newWorld(seed uint64, nodes, voters int) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 1)), cut: map[[2]synod.NodeID]bool{}}
	w.cfg = Config{
		Group:           Main,
		MaxWindow:       1 + w.rng.IntN(8),
		MaxWindowBytes:  200 + w.rng.IntN(400),
		MaxMessageBytes: 20 + w.rng.IntN(200),
	}
	for i := range nodes {
		w.cfg.Peers = append(w.cfg.Peers, synod.NodeID(i+1))
	}
	w.loss = 0.01 + w.rng.Float64()*0.3
	w.frail = 50 << w.rng.IntN(6)
	m := Membership{ID: 1, Next: synod.Ordinal(voters + 1)}
	for i := range voters {
		m.Voters = append(m.Voters, Member{Node: synod.NodeID(i + 1), Ordinal: synod.Ordinal(i + 1)})
	}
	w.oracle = oracle{
		votes:    map[ballotSlot]map[synod.NodeID]bool{},
		proposed: map[ballotSlot]synod.Value{},
		chosen:   map[Slot]synod.Value{},
		configs:  map[ConfigID]Membership{1: m},
	}
	for i := range nodes {
		n := &node{id: synod.NodeID(i + 1), disk: disk{votes: map[Slot]SlotVote{}}}
		if i < voters {
			n.disk.header.Membership = m
		}
		w.nodes = append(w.nodes, n)
		w.start(n)
	}
	return w
}

// start brings up n with what is on its disk.
func (w *world) start(n *node) {
	d := Durable{Header: n.disk.header}
	for _, s := range slices.Sorted(maps.Keys(n.disk.votes)) {
		d.Votes = append(d.Votes, n.disk.votes[s])
	}
	cfg := w.cfg
	cfg.Self = n.id
	g, err := New(cfg, d)
	if err != nil {
		panic(fmt.Sprintf("node %d does not start: %v", n.id, err))
	}
	n.g, n.up, n.reads, n.last = g, true, map[uint64]Slot{}, n.disk.snapshot
	if s := n.disk.snapshot; s > n.disk.header.Snapshot {
		// Crashed between saving a snapshot and the header that names it.
		w.turn(n, func(out *Effects) { g.Install(Snapshot{Slot: s, Membership: n.disk.members}, out) })
	} else {
		w.turn(n, g.Recover)
	}
}

// turn is one turn of n's driver, which may crash at every seam of it.
func (w *world) turn(n *node, steps ...func(out *Effects)) {
	var out Effects
	for _, step := range steps {
		step(&out)
	}
	n.g.Flush(&out)
	crash := 0
	if w.rng.IntN(w.frail) == 0 {
		crash = 1 + w.rng.IntN(4)
	}
	if crash == 1 {
		w.crash(n)
		return
	}
	w.sendAll(n, out.Early, true)
	if crash == 2 {
		w.crash(n)
		return
	}
	for _, e := range out.Apply[:out.Settled] {
		if was, ok := w.oracle.chosen[e.Slot]; !ok || was != e.Value {
			panic(fmt.Sprintf("node %d would apply slot %d before anybody could know that it is chosen", n.id, e.Slot))
		}
	}
	w.save(n, out.Save)
	if crash == 3 {
		w.crash(n)
		return
	}
	w.sendAll(n, out.Send, false)
	if crash == 4 {
		w.crash(n)
		return
	}
	w.apply(n, out.Apply)
	w.answer(n, out.Reads)
	for _, c := range out.Chunk {
		if n.disk.snapshot > 0 {
			w.post(n.id, c.To, Snapshot{Slot: n.disk.snapshot, Membership: n.disk.members})
		}
	}
	for _, e := range out.Trace {
		switch e.Kind {
		case EvLeading:
			w.oracle.stats.recovered++
		case EvReconfigured:
			w.oracle.stats.reconfigured++
		case EvInstalled:
			w.oracle.stats.installed++
		}
	}
}

// leader returns one of the nodes that lead or believe so, if any, else nil.
func (w *world) leader() *node {
	var leaders []*node
	for _, n := range w.nodes {
		if n.up && n.g.Status().Leading {
			leaders = append(leaders, n)
		}
	}
	if len(leaders) == 0 {
		return nil
	}
	return leaders[w.rng.IntN(len(leaders))]
}

func (w *world) crash(n *node) { n.up, n.g = false, nil }

// save makes u durable, and shows the votes in it to the oracle.
func (w *world) save(n *node, u Update) {
	if !u.Dirty {
		if len(u.Votes) > 0 {
			panic("votes in an update that is not dirty")
		}
		return
	}
	old := n.disk.header
	if u.Header.Membership.ID < old.Membership.ID ||
		u.Header.Membership.ID == old.Membership.ID && u.Header.Promised.Less(old.Promised) ||
		u.Header.Decided < old.Decided || u.Header.Snapshot < old.Snapshot || u.Header.Trimmed < old.Trimmed {
		panic(fmt.Sprintf("node %d: header went back from %+v to %+v", n.id, old, u.Header))
	}
	n.disk.header = u.Header
	for _, v := range u.Votes {
		n.disk.votes[v.Slot] = v
		if !v.Vote.Ballot.IsZero() {
			w.oracle.vote(n.id, v)
		}
	}
	if w.rng.IntN(4) == 0 { // trimming is lazy
		maps.DeleteFunc(n.disk.votes, func(s Slot, _ SlotVote) bool { return s < u.Header.Trimmed })
	}
}

// vote counts a durable vote, and checks that no two values are chosen in one
// slot and that nothing is chosen in a sealed configuration.
func (o *oracle) vote(n synod.NodeID, v SlotVote) {
	k := ballotSlot{v.Config, v.Vote.Ballot, v.Slot}
	o.propose(k, v.Vote.Value)
	m, ok := o.configs[v.Config]
	if !ok {
		panic(fmt.Sprintf("vote in configuration %d, which was never chosen", v.Config))
	}
	if m.Seat(n) < 0 {
		return // a learner keeps the ballot of a vote it cast as a voter
	}
	if o.votes[k] == nil {
		o.votes[k] = map[synod.NodeID]bool{}
	}
	o.votes[k][n] = true
	if len(o.votes[k]) >= m.Quorums().Q2 {
		o.choose(v)
	}
}

func (o *oracle) choose(v SlotVote) {
	if was, ok := o.chosen[v.Slot]; ok {
		if was != v.Vote.Value {
			panic(fmt.Sprintf("slot %d: chosen both %q and %q", v.Slot, was, v.Vote.Value))
		}
		return
	}
	if next, ok := o.configs[v.Config+1]; ok && v.Slot > next.Start {
		panic(fmt.Sprintf("slot %d chosen in configuration %d, sealed at %d", v.Slot, v.Config, next.Start))
	}
	o.chosen[v.Slot] = v.Vote.Value
	o.stats.chosen++
	if d, err := Decode(v.Vote.Value); err == nil && d.Kind == KindStop {
		for s := range o.chosen {
			if s > v.Slot {
				panic(fmt.Sprintf("stop-sign chosen in slot %d below %d", v.Slot, s))
			}
		}
		d.Next.Start = v.Slot
		o.configs[v.Config+1] = d.Next
	}
}

// propose checks that one ballot proposes one value per slot.
func (o *oracle) propose(k ballotSlot, v synod.Value) {
	if was, ok := o.proposed[k]; ok && was != v {
		panic(fmt.Sprintf("slot %d: ballot %v of configuration %d proposes %q and %q", k.slot, k.ballot, k.config, was, v))
	}
	o.proposed[k] = v
}

// sendAll checks that n's disk justifies what it says, and posts it.
func (w *world) sendAll(n *node, envelopes []Envelope, early bool) {
	for _, e := range envelopes {
		switch m := e.Msg.(type) {
		case Accept:
			h := n.disk.header
			if h.Membership.ID == m.Config && h.Promised.Less(m.Ballot) {
				panic(fmt.Sprintf("node %d: accept of %v, promise %v on disk", n.id, m.Ballot, h.Promised))
			}
			for i, v := range m.Values {
				w.oracle.propose(ballotSlot{m.Config, m.Ballot, m.First + Slot(i)}, v)
			}
			w.oracle.known(m.Decided)
		case Promise:
			w.oracle.known(m.Decided)
			if h := n.disk.header; h.Membership.ID == m.Config && h.Promised.Less(m.Ballot) {
				panic(fmt.Sprintf("node %d: promised %v, %v on disk", n.id, m.Ballot, h.Promised))
			}
		case Learned:
			w.oracle.known(m.Decided)
		}
		if early {
			if _, ok := e.Msg.(Accept); !ok {
				panic(fmt.Sprintf("early %T", e.Msg))
			}
		}
		w.post(n.id, e.To, e.Msg)
	}
}

// known checks that everything up to s is chosen.
func (o *oracle) known(s Slot) {
	for ; s > 0; s-- {
		if _, ok := o.chosen[s]; !ok {
			panic(fmt.Sprintf("slot %d called chosen, and is not", s))
		}
	}
}

func (w *world) post(from, to synod.NodeID, m any) {
	if w.cut[[2]synod.NodeID{from, to}] || w.rng.Float64() < w.loss/2 {
		return
	}
	w.net = append(w.net, packet{from, to, m})
	if w.rng.Float64() < w.loss/3 {
		w.net = append(w.net, packet{from, to, m})
	}
}

// apply checks that n applies what is chosen, without gaps.
func (w *world) apply(n *node, entries []Entry) {
	for _, e := range entries {
		if e.Slot != n.last+1 {
			panic(fmt.Sprintf("node %d applies %d after %d", n.id, e.Slot, n.last))
		}
		if v, ok := w.oracle.chosen[e.Slot]; !ok || v != e.Value {
			panic(fmt.Sprintf("node %d applies %q in slot %d; chosen: %q, %v", n.id, e.Value, e.Slot, v, ok))
		}
		n.last = e.Slot
		w.oracle.applied = max(w.oracle.applied, e.Slot)
	}
}

// answer checks that reads see whatever was applied anywhere before they began.
func (w *world) answer(n *node, reads []Read) {
	for _, r := range reads {
		atLeast, ok := n.reads[r.Seq]
		if !ok {
			panic(fmt.Sprintf("node %d answers read %d twice", n.id, r.Seq))
		}
		delete(n.reads, r.Seq)
		if r.Err != nil {
			continue
		}
		w.oracle.stats.reads++
		if r.Index < atLeast {
			panic(fmt.Sprintf("node %d: stale read: index %d, %d was applied before", n.id, r.Index, atLeast))
		}
	}
}

// deliver hands n a packet.
func (w *world) deliver(p packet) {
	n := w.nodes[p.to-1]
	if !n.up {
		return
	}
	switch m := p.msg.(type) {
	case Message:
		w.turn(n, func(out *Effects) { n.g.Receive(p.from, m, out) })
	case Snapshot:
		if m.Slot <= n.g.Status().Decided {
			return
		}
		n.disk.snapshot, n.disk.members = m.Slot, m.Membership
		if w.rng.IntN(w.frail/10) == 0 {
			w.crash(n)
			return
		}
		w.turn(n, func(out *Effects) {
			if !n.g.Install(m, out) {
				panic(fmt.Sprintf("node %d refuses snapshot %d", n.id, m.Slot))
			}
			n.last = m.Slot
		})
	}
}

// compact takes a snapshot on n, saving it and the header in either order of
// crash.
func (w *world) compact(n *node) {
	m := n.g.Status().Membership
	if n.last <= n.disk.snapshot || m.Start > n.last || m.ID == 0 {
		return
	}
	n.disk.snapshot, n.disk.members = n.last, m
	keep := n.last + 1 - Slot(w.rng.IntN(4))
	w.turn(n, func(out *Effects) { n.g.Compact(n.last, max(keep, 1), out) })
}
