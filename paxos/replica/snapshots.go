package replica

import (
	"fmt"
	"maps"
	"slices"

	"github.com/prytany/prytany/internal/invariant"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica/internal/image"
)

// snapshot saves g's state if that is due. The group then forgets old votes; storage
// does, in later turns.
//
// The loop only fixes the state. To encode and write it takes many times as long as
// to write the log, and while the loop stands still peers hear nothing of this node:
// all take their snapshots after the same slot, and on slow machines took each other
// for silent at every one. Under a simulator all of it is part of the turn.
func (h *Host) snapshot(g *group) error {
	if !h.due(g) || h.waits(g) {
		return nil
	}
	encode := g.machine.Snapshot()
	s := paxos.Snapshot{Slot: g.applied, Membership: g.status.Membership}
	g.tail.Add(g.applied, g.logBytes)
	g.snapAt, g.logBytes = g.applied, 0
	h.cfg.Log.Debug("snapshot begun", "group", g.id, "slot", s.Slot)
	var size int
	var err error
	return h.beside(g, func() {
		size, err = image.Save(h.cfg.Storage, g.id, s, encode)
	}, func() error {
		if err != nil {
			return fmt.Errorf("snapshot of group %d: %w", g.id, err)
		}
		h.saved(g, s.Slot, size)
		h.cfg.Log.Debug("snapshot taken", "group", g.id, "slot", s.Slot, "bytes", size)
		return nil
	})
}

// due reports whether it is time for a snapshot of g. One that has arrived is later than
// any that would be taken, and may be written already.
func (h *Host) due(g *group) bool {
	if g.saving || g.arrived != nil {
		return false
	}
	s := image.Schedule{Slots: h.cfg.SnapshotSlots, Bytes: h.cfg.SnapshotBytes, Seat: g.status.Membership.Seat(h.cfg.Self)}
	return s.Due(int(g.applied-g.snapAt), g.logBytes, g.stateBytes, h.feeds(g))
}

// waits reports whether g must wait for beside; it then acts in the turn after.
func (h *Host) waits(g *group) bool {
	if h.busy && !slices.Contains(h.queue, g) {
		h.queue = append(h.queue, g)
	}
	return h.busy
}

// beside runs work on a goroutine of its own and then, on the loop, then; unless g
// has gone meanwhile. Nothing else of g, or of another group, is worked on or written
// in this way at the same time: of two snapshots of a group the later must be written
// last, and there is room for one large state beside the machines. The error of then
// ends the host.
func (h *Host) beside(g *group, work func(), then func() error) error {
	g.saving, h.busy = true, true
	done := func() error {
		g.saving, h.busy = false, false
		for _, w := range h.queue {
			h.touch(w)
		}
		h.queue = nil
		if h.groups[g.id] != g {
			return nil
		}
		return then()
	}
	if h.clock == nil {
		work()
		return done()
	}
	h.saves.Go(func() {
		work()
		h.tell(func() {
			if err := done(); err != nil && h.fatal == nil {
				h.fatal = fmt.Errorf("replica: group %d: %w", g.id, err)
			}
		})
	})
	return nil
}

// saved takes note that the snapshot of slot, up to which g has applied everything, is
// written. It has size bytes.
func (h *Host) saved(g *group, slot paxos.Slot, size int) {
	g.stateBytes = size
	g.core.Compact(slot, g.tail.First(slot, h.cfg.TailSlots, h.cfg.TailBytes), &g.out)
	h.touch(g)
}

// How many votes are dropped in one tick: so many, or so large a part of what is
// to go.
const (
	trimSlots = 200
	trimPart  = 20
)

// trim lets storage drop some of the votes that a durable header has given up. To
// drop the thousands that one snapshot makes superfluous in one go would hold up the
// loop for longer than anything else.
func (h *Host) trim(g *group) error {
	if g.trimTo <= g.trimmed {
		return nil
	}
	to := min(g.trimTo, g.trimmed+max(trimSlots, (g.trimTo-g.trimmed)/trimPart))
	if h.clock == nil {
		to = g.trimTo
	}
	if err := h.cfg.Storage.Trim(g.id, to); err != nil {
		return fmt.Errorf("trim: %w", err)
	}
	g.trimmed = to
	return nil
}

// install makes the snapshot that has arrived the state of g: read and durable
// first, beside the loop, then in the group, then in the machine.
func (h *Host) install(g *group) error {
	a := g.arrived
	switch {
	case a == nil || a.begun && !a.done:
		return nil
	case a.done:
		g.arrived = nil
		return h.become(g, a)
	case a.first.Slot <= g.applied:
		g.arrived = nil // caught up by other means
		return nil
	case h.waits(g):
		return nil
	}
	a.begun = true
	config := g.status.Membership.ID
	pieces := a.pieces
	a.pieces = nil // or they would be in memory beside what is made of them
	return h.beside(g, func() {
		a.snap, a.become, a.refused, a.failed = image.Open(a.first, pieces, config, g.machine.Restore)
		if a.refused == nil && a.failed == nil {
			a.failed = h.cfg.Storage.SaveSnapshot(g.id, a.snap)
		}
	}, func() error {
		if a.failed != nil { // at once: nothing is written after a failed write, of other groups neither
			return fmt.Errorf("snapshot of slot %d from %v: %w", a.first.Slot, a.from, a.failed)
		}
		a.done = true
		h.touch(g) // without effects outstanding, see carryOut
		return nil
	})
}

// become makes a, which is durable, the state of g.
func (h *Host) become(g *group, a *arrival) error {
	s := a.snap
	switch {
	case a.refused != nil:
		h.cfg.Log.Warn("snapshot from peer is refused", "group", g.id, "peer", a.from, "slot", a.first.Slot, "err", a.refused)
		return nil
	case s.Slot <= g.applied: // caught up meanwhile: it is as if this node had taken it
		g.snapAt = max(g.snapAt, s.Slot)
		h.saved(g, s.Slot, len(s.Data))
		return nil
	}
	ok := g.core.Install(s, &g.out)
	invariant.Check(ok, "group %d refuses the snapshot of slot %d after slot %d", g.id, s.Slot, g.applied)
	a.become()
	g.applied, g.snapAt, g.logBytes, g.stateBytes = s.Slot, s.Slot, 0, len(s.Data)
	g.machine.Applied(g.applied)
	h.touch(g)
	h.cfg.Log.Info("snapshot installed", "group", g.id, "slot", s.Slot, "bytes", len(s.Data))

	// What was proposed in the slots it covers may be among what it holds.
	for _, slot := range slices.Sorted(maps.Keys(g.waiting)) {
		if slot <= s.Slot {
			h.end(g, slot, paxos.ErrUnknownOutcome)
		}
	}
	if s.Membership.ID > g.status.Membership.ID {
		h.void(g)
	}
	h.serveReads(g)
	return nil
}
