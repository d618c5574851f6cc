package replica

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/prytany/prytany/internal/invariant"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica/internal/alarm"
	"github.com/prytany/prytany/paxos/replica/internal/gather"
	"github.com/prytany/prytany/paxos/replica/internal/image"
	"github.com/prytany/prytany/synod"
)

// A group is this node's member of one group, its machine, and all that waits
// for it. Owned by the loop.
type group struct {
	id      paxos.GroupID
	core    *paxos.Group
	machine Machine
	out     paxos.Effects
	status  paxos.Status        // as of the last turn
	touched bool                // is in Host.touched
	awake   bool                // is in Host.awake
	stale   bool                // is in Host.stale
	gone    bool                // was dropped: nothing may be made of it any more
	alarm   alarm.Alarm[*group] // of Host.alarms
	place   int                 // in what Status shows; -1: it does not yet
	applied paxos.Slot          // the machine's state is that after this slot
	ahead   int                 // entries of out.Apply that are applied
	open    int                 // requests without an answer

	told facts  // to the leader machine
	led  tenure // the leadership that machine was told of; zero: none

	// Requests that nothing has been done about yet, in order of arrival.
	proposals []*request
	own       int         // of proposals, the machine's own
	blocked   bool        // the window was full: wait until something is applied
	slots     gather.Gate // of proposals
	reads     []*request
	rounds    gather.Gate // of reads
	asked     *request    // the last question of this node to the leader, for barriers
	changes   []*request

	waiting map[paxos.Slot][]proposal // proposed here in that slot
	reading []reading                 // leadership is being confirmed
	leasing []reading                 // the lease holds: to be answered when the turn is durable
	indexed []indexed                 // to be served once applied

	parting   *handOver    // nil if the lead is not being handed over
	way       synod.NodeID // who was thought to lead
	round     uint64       // grows with every tick and every change of way
	campaigns int          // ticks that phase 1 has lasted

	logBytes int           // applied since snapAt
	snapAt   paxos.Slot    // the latest snapshot
	tail     image.Tail    // of the log below it
	saving   bool          // it, or one that has arrived, is being written
	trimTo   paxos.Slot    // a durable header says that votes below are gone
	trimmed  paxos.Slot    // they are
	trimming bool          // is in Host.trims
	fed      time.Duration // with feeding: when a peer was last sent a piece of it
	feeding  bool
	coming   *image.Incoming // a snapshot on its way here
	ticked   paxos.Slot      // applied at the last tick
	arrived  *arrival        // and one that is here

	stateBytes int // of the last snapshot
}

// A proposal is a value given a slot, and who waits for its commands, in their
// order.
type proposal struct {
	value    synod.Value
	requests []*request
}

type reading struct {
	seq      uint64     // of the confirmation
	index    paxos.Slot // leasing: what must be applied
	requests []*request
}

type indexed struct {
	index   paxos.Slot
	request *request
}

// queued returns the number of requests nothing has been done about.
func (g *group) queued() int { return len(g.proposals) + len(g.reads) + len(g.changes) }

// dropOwn forgets what the machine wanted to propose as leader.
func (g *group) dropOwn() {
	g.proposals = slices.DeleteFunc(g.proposals, func(r *request) bool { return r.own })
	g.own = 0
}

// load makes g from what storage has of it.
func (h *Host) load(id paxos.GroupID) error {
	wrap := func(err error) error { return fmt.Errorf("replica: load group %d: %w", id, err) }
	durable, err := h.cfg.Storage.Load(id)
	if err != nil {
		return wrap(err)
	}
	snap, ok, err := h.cfg.Storage.LoadSnapshot(id)
	if err != nil {
		return wrap(err)
	}
	if want := durable.Header.Snapshot; snap.Slot < want {
		return wrap(fmt.Errorf("snapshot is of slot %d; want at least %d", snap.Slot, want))
	}
	g, err := h.add(id, nil, durable)
	if err != nil {
		return err
	}
	if g.trimTo = durable.Header.Trimmed; g.trimTo > 0 {
		g.trimmed = g.trimTo - 1 // what the process before has left goes in a later tick
		h.toTrim(g)
	}
	if ok {
		restored, err := g.machine.Restore(snap.Data)
		if err != nil {
			return wrap(fmt.Errorf("restore snapshot of slot %d: %w", snap.Slot, err))
		}
		restored()
		g.applied, g.snapAt, g.stateBytes = snap.Slot, snap.Slot, len(snap.Data)
		g.machine.Applied(g.applied)
	}
	// The process may have ended after a snapshot was saved and before its
	// header was.
	if snap.Slot > durable.Header.Snapshot && !g.core.Install(snap, &g.out) {
		return wrap(fmt.Errorf("snapshot of slot %d does not fit the log", snap.Slot))
	}
	g.core.Recover(&g.out)
	g.status = g.core.Brief()
	h.cfg.Log.Debug("group loaded", "group", id, "applied", g.applied, "decided", g.status.Decided, "config", g.status.Membership.ID)
	return nil
}

// learn makes this node a learner of a group it knows nothing of, but for a floor.
func (h *Host) learn(id paxos.GroupID, from []synod.NodeID, floor paxos.ConfigID) {
	_, err := h.add(id, from, paxos.Durable{Header: paxos.Header{Floor: floor}})
	invariant.Check(err == nil, "a fresh member of group %d is refused: %v", id, err)
	h.cfg.Log.Info("group joined as learner", "group", id, "floor", floor)
}

// add makes the member of group id whose state is durable. A fresh one catches
// up from peers.
func (h *Host) add(id paxos.GroupID, peers []synod.NodeID, durable paxos.Durable) (*group, error) {
	core, err := paxos.New(paxos.Config{Group: id, Self: h.cfg.Self, Peers: peers}, durable)
	if err != nil {
		return nil, fmt.Errorf("replica: load group %d: %w", id, err)
	}
	g := &group{
		id:      id,
		core:    core,
		machine: h.cfg.NewMachine(id),
		waiting: map[paxos.Slot][]proposal{},
		round:   1,
		status:  core.Brief(),
		place:   -1,
	}
	g.alarm = alarm.Alarm[*group]{ID: uint64(id), Wakes: g}
	h.groups[id] = g
	at, _ := slices.BinarySearchFunc(h.order, id, func(g *group, id paxos.GroupID) int { return cmp.Compare(g.id, id) })
	h.order = slices.Insert(h.order, at, g)
	h.regrouped = true
	h.touch(g)
	return g, nil
}

// tickGroup does what is due every TickEvery. A group without anything to do takes no
// part in the turn.
func (h *Host) tickGroup(g *group) {
	g.blocked = false
	g.tickGates()
	g.round++
	g.campaigns++
	if !g.status.Campaign {
		g.campaigns = 0
	}
	g.core.Tick(&g.out)
	h.leadMachine(g)
	h.tickTransfers(g)
	h.tickCatchUp(g)
	if g.queued() > 0 || !g.out.Empty() {
		h.touch(g)
	}
}

// tickGates tells what gathers which slot, round or question is the oldest under way.
func (g *group) tickGates() {
	var oldest, newest uint64
	if n := len(g.reading); n > 0 {
		oldest, newest = g.reading[0].seq, g.reading[n-1].seq
	} else if g.asks() {
		oldest, newest = g.asked.sentID, g.asked.sentID
	}
	first, last := g.core.Undecided()
	g.slots.Tick(uint64(first), uint64(last))
	g.rounds.Tick(oldest, newest)
}

// serve gives g's core what waits for it, or sends it on to the leader.
func (h *Host) serve(g *group) {
	if g.queued() == 0 {
		return
	}
	st := g.core.Status()
	if !st.Leading {
		h.route(g, st.Campaign)
		return
	}
	if !g.holds() {
		h.change(g, st)
		h.propose(g, st.Ballot)
	}
	h.read(g)
}

// propose puts all proposals that have arrived into as few slots as possible.
// What finds the window full stays, and so does what does not fill a slot while
// others are under way.
func (h *Host) propose(g *group, b synod.Ballot) {
	for len(g.proposals) > 0 && !g.blocked {
		n, requests := gather.Batch(g.proposals, (*request).size, h.cfg.MaxBatch, h.cfg.MaxBatchBytes)
		if n == len(g.proposals) && len(requests) < h.cfg.MaxBatch && g.slots.Shut(g.core.Proposed() >= h.cfg.Pipeline) {
			return // what is chosen touches g
		}
		cmds := make([][]byte, len(requests))
		for i, r := range requests {
			cmds[i] = r.payload
		}
		if len(cmds) > 0 {
			value := paxos.EncodeBatch(b, cmds)
			slot, err := g.core.Propose(value, &g.out)
			if err != nil {
				g.blocked = true
				return
			}
			g.wait(slot, proposal{value, requests})
		}
		g.proposals = g.proposals[n:]
	}
	if len(g.proposals) == 0 {
		g.proposals = nil
	}
}

// wait makes p's requests wait until slot is decided.
func (g *group) wait(slot paxos.Slot, p proposal) {
	for _, r := range p.requests {
		r.given = true
		if r.own {
			g.own--
		}
	}
	g.waiting[slot] = append(g.waiting[slot], p)
}

// change proposes the configurations that are asked for. Those that the group
// cannot take yet stay.
func (h *Host) change(g *group, st paxos.Status) {
	changes := g.changes
	g.changes = nil
	for _, r := range changes {
		if r.finished {
			continue
		}
		next, err := r.change(st.Membership)
		if err != nil {
			h.finish(r, Result{Err: err})
			continue
		}
		switch slot, err := g.core.Reconfigure(next, &g.out); {
		case err == nil:
			g.wait(slot, proposal{paxos.EncodeStop(next), []*request{r}})
		case errors.Is(err, paxos.ErrOverloaded):
			g.changes = append(g.changes, r)
		default:
			h.finish(r, Result{Err: err})
		}
	}
}

// apply runs what was chosen on the machine, up to so many entries of this turn, and
// answers who waited for it.
func (h *Host) apply(g *group, upTo int) error {
	before := g.applied
	for ; g.ahead < upTo; g.ahead++ {
		e := g.out.Apply[g.ahead]
		invariant.Check(e.Slot == g.applied+1, "group %d applies slot %d after %d", g.id, e.Slot, g.applied)
		d, err := paxos.Decode(e.Value)
		if err != nil {
			return fmt.Errorf("the value chosen in slot %d is corrupt: %w", e.Slot, err)
		}
		var results [][]byte
		for _, cmd := range d.Commands {
			results = append(results, g.machine.Apply(e.Slot, cmd, h.now))
		}
		g.applied = e.Slot
		g.logBytes += len(e.Value)
		h.answer(g, e, results)
		if d.Kind == paxos.KindStop {
			h.void(g)
		}
	}
	if g.applied > before {
		g.blocked = false
		g.machine.Applied(g.applied)
	}
	return nil
}

// void takes back all that is proposed above what is applied, a stop-sign: nothing
// proposed in the configuration that it seals is chosen there.
func (h *Host) void(g *group) {
	for _, slot := range slices.Sorted(maps.Keys(g.waiting)) {
		if slot <= g.applied {
			continue
		}
		waiting := g.waiting[slot]
		delete(g.waiting, slot)
		for _, p := range waiting {
			h.againAll(p.requests)
		}
	}
}

// end ends all that is proposed in slot with err.
func (h *Host) end(g *group, slot paxos.Slot, err error) {
	for _, p := range g.waiting[slot] {
		for _, r := range p.requests {
			h.finish(r, Result{Err: err})
		}
	}
	delete(g.waiting, slot)
}

// answer ends the requests proposed in e's slot whose value was chosen. The
// others have not happened, for they were proposed there only.
func (h *Host) answer(g *group, e paxos.Entry, results [][]byte) {
	waiting, ok := g.waiting[e.Slot]
	if !ok {
		return
	}
	delete(g.waiting, e.Slot)
	for _, p := range waiting {
		for i, r := range p.requests {
			switch {
			case p.value != e.Value:
				h.again(r)
			case i < len(results):
				h.finish(r, Result{Payload: results[i], Slot: e.Slot})
			default:
				h.finish(r, Result{Slot: e.Slot})
			}
		}
	}
}
