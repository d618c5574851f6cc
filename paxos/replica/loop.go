package replica

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

const (
	maxPackets = 1024 // packets handled in one turn
	maxTurns   = 64   // turns in one Poll

	showEvery = 20                     // ticks between two updates of Status without news
	tickSlack = 5                      // Run lets a tick be late by so large a part of TickEvery: something else wakes it before
	soonest   = 100 * time.Microsecond // the soonest that Poll asks to be called again with nothing to do
)

// Poll handles everything that has arrived and is due at now, carries out the
// effects in their only safe order, and returns when it wants to be called
// again at the latest. Run calls it; so does the simulator, which has no Run.
// now never goes back. After an error nothing more is done or said, and every
// later Poll returns it too.
func (h *Host) Poll(now time.Duration) (next time.Duration, err error) {
	if h.fatal != nil {
		return 0, h.fatal
	}
	h.now = max(h.now, now)
	more := h.gather()
	for _, step := range []func() error{h.bury, h.bear, h.tick, h.turns} {
		if h.fatal == nil {
			h.fatal = step()
		}
	}
	if h.fatal != nil {
		h.cfg.Log.Error("host stops", "err", h.fatal)
		return 0, h.fatal
	}
	if h.wanted.Swap(false) {
		h.publish()
	}
	if more || len(h.births)+len(h.touched) > 0 {
		return h.now, nil
	}
	return max(min(h.tickAt+h.slack, h.leadAt), h.now+soonest), nil
}

// turns lets groups act for as long as one wants to, within bounds.
func (h *Host) turns() error {
	for range maxTurns {
		h.stepHandOvers()
		h.lead()
		if len(h.touched) == 0 {
			return nil
		}
		if err := h.turn(); err != nil {
			return err
		}
	}
	return nil
}

// gather takes what others have left for the loop, and reports whether it
// left some of it for the next turn.
func (h *Host) gather() bool {
	h.mu.Lock()
	packets, more := h.inbox.Take(maxPackets)
	taken, _ := h.taken.Take(h.taken.Len())
	calls := h.calls
	h.calls, h.well = nil, h.health
	h.mu.Unlock()
	// What has arrived must not be handled as of a moment before it was sent, or
	// a lease that it extends would be counted from too early on. The process
	// may have stood still since Poll was given its time.
	if h.clock != nil {
		h.now = max(h.now, h.clock())
	}

	h.well.Disk = h.well.Disk && h.pulse.Disk(h.now)
	h.well.Loop = h.well.Loop && h.pulse.Loop()
	h.node.SetHealth(h.well, &h.advice)
	h.leadAt = min(h.leadAt, time.Duration(h.node.Next()))
	for _, in := range packets {
		h.receive(in.from, in.p)
	}
	for _, call := range calls {
		call()
	}
	for _, r := range taken {
		h.accept(r)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.inbox.Back(packets)
	h.taken.Back(taken)
	return more
}

// receive hands one packet to whom it is for. What this node has no use for is
// dropped.
func (h *Host) receive(from synod.NodeID, p Packet) {
	switch m := p.Msg.(type) {
	case leader.Message:
		h.node.Receive(from, m, leader.Instant(h.now), &h.advice)
		h.stirred = true
		if beat, ok := m.(leader.Heartbeat); ok {
			h.compare(from, beat)
		}
		return
	case Answer:
		h.onAnswer(from, m)
		return
	case Forward:
		h.onForward(from, p.Group, m)
		return
	}
	m, ok := p.Msg.(paxos.Message)
	g := h.groups[p.Group]
	if !ok || g == nil {
		return
	}
	switch m := m.(type) {
	case paxos.SnapshotChunk:
		h.onChunk(g, from, m)
		return
	case paxos.Prepare:
		// An acceptor that hears its leader promises to nobody else. The
		// candidate repeats the question.
		if !h.node.MayPromise(uint64(g.id), from, leader.Instant(h.now)) {
			return
		}
	}
	g.core.Receive(from, m, &g.out)
	h.tellPromise(g)
	h.touch(g)
}

// touch makes g take part in this turn.
func (h *Host) touch(g *group) {
	if !g.touched && !g.gone {
		g.touched = true
		h.touched = append(h.touched, g)
		h.rouse(g)
	}
}

// tick does what is due every TickEvery, for all groups.
func (h *Host) tick() error {
	if h.now < h.tickAt {
		return nil
	}
	h.tickAt = h.now + h.cfg.TickEvery
	h.expire()
	h.tickGroups()
	if err := h.giveBack(); err != nil {
		return err
	}
	if h.ticks++; h.news || h.ticks%showEvery == 0 {
		h.wanted.Store(true)
	}
	return nil
}

// turn lets every touched group act once: all they want saved in one write,
// before any of it is spoken of.
func (h *Host) turn() error {
	groups := h.touched
	h.touched, h.news = nil, true
	slices.SortFunc(groups, func(a, b *group) int { return cmp.Compare(a.id, b.id) })
	for _, g := range groups {
		g.touched = false
		h.serve(g)
		g.core.Flush(&g.out)
		g.status = g.core.Brief()
		h.stain(g)
		h.sendAll(g, g.out.Early)
		// Who waits for what is settled does not wait for the disk once more. Where nobody
		// does, voting comes first.
		if err := h.apply(g, g.out.Settled*min(len(g.waiting), 1)); err != nil {
			return fmt.Errorf("replica: group %d: %w", g.id, err)
		}
	}
	if err := h.save(groups); err != nil {
		return fmt.Errorf("replica: save: %w", err)
	}
	for _, g := range groups {
		h.sendAll(g, g.out.Send)
	}
	for _, g := range groups {
		if err := h.carryOut(g); err != nil {
			return fmt.Errorf("replica: group %d: %w", g.id, err)
		}
	}
	return nil
}

// save makes one durable write of all that groups want to be durable.
func (h *Host) save(groups []*group) error {
	h.updates = h.updates[:0]
	for _, g := range groups {
		if g.out.Save.Dirty {
			if to := g.out.Save.Header.Trimmed; to > g.trimTo {
				g.trimTo = to
				h.toTrim(g)
			}
			h.updates = append(h.updates, g.out.Save)
		}
	}
	if len(h.updates) == 0 {
		return nil
	}
	if h.clock == nil {
		return h.cfg.Storage.Save(h.updates)
	}
	start := h.clock()
	err := h.cfg.Storage.Save(h.updates)
	h.pulse.Saved(start, h.clock())
	return err
}

// carryOut does what remains of g's effects once they are durable and sent.
func (h *Host) carryOut(g *group) error {
	applied, confirmed := len(g.out.Apply) > 0, len(g.out.Reads) > 0
	if err := h.apply(g, len(g.out.Apply)); err != nil {
		return err
	}
	g.ahead = 0
	h.follow(g)
	for _, r := range g.out.Reads {
		h.confirmed(g, r)
	}
	h.serveLeased(g)
	h.serveReads(g)
	for _, c := range g.out.Chunk {
		if err := h.sendChunk(g, c); err != nil {
			return err
		}
	}
	for _, e := range g.out.Trace {
		h.cfg.Observe(g.id, e)
	}
	g.out.Reset()

	// The group has no effects outstanding now, so it may be given new input.
	if (applied || confirmed) && g.queued() > 0 {
		h.touch(g) // there is room in the window, and for a round
	}
	if err := h.install(g); err != nil {
		return err
	}
	h.tellFacts(g)
	return h.snapshot(g)
}

// sendAll sends what g has to say.
func (h *Host) sendAll(g *group, es []paxos.Envelope) {
	for _, e := range es {
		h.cfg.Transport.Send(e.To, Packet{g.id, e.Msg})
	}
}
