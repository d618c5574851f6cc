package paxos

import "github.com/prytany/prytany/internal/invariant"

// Compact says that a snapshot at slot s is durable and that votes below
// keep may be forgotten. The caller saves the Header that out then holds.
// s must have been applied; keep is at most s+1.
func (g *Group) Compact(s, keep Slot, out *Effects) {
	invariant.Check(s <= g.applied, "snapshot at %d, applied %d", s, g.applied)
	g.snapshot = max(g.snapshot, s)
	g.log.dropBelow(min(keep, g.snapshot+1))
	g.save(out)
}

// Install replaces everything up to s.Slot by the snapshot s, which is durable
// already. The caller restores the machine before it applies anything else.
//
// It returns false, and nothing has happened, if everything up to s.Slot is
// applied already or s makes no sense here: then the machine must not be
// restored.
//
// A crash between saving a snapshot and the Header that names it leaves a
// snapshot above Header.Snapshot. It is installed after New, before Recover.
func (g *Group) Install(s Snapshot, out *Effects) bool {
	switch {
	case s.Slot <= g.applied || s.Membership.Start > s.Slot:
		return false
	case s.Slot <= g.decided: // all of it is in the log as well
		g.applied, g.snapshot = s.Slot, s.Slot
		g.save(out)
		return true
	case s.Membership.ID < g.m.ID || s.Membership.ID != 0 && s.Membership.Check() != nil:
		return false
	}
	g.replace(s, out)
	g.tryLead(out)
	return true
}

// replace makes s, which is ahead of the log, the beginning of the log.
func (g *Group) replace(s Snapshot, out *Effects) {
	if g.lead != nil {
		g.StepDown(out) // overtaken: see learn
	}
	if s.Membership.ID > g.m.ID {
		g.StepDown(out)
		voted := g.seat >= 0 || g.removed
		g.enter(s.Membership)
		g.removed = voted && g.seat < 0
		g.log.dropAbove(0)
	}
	// Whatever was voted up to s.Slot goes, chosen or not: a left-over entry
	// below the snapshot must never be mistaken for part of the log.
	g.log.dropBelow(s.Slot + 1)
	g.decided, g.applied, g.snapshot = s.Slot, s.Slot, s.Slot
	g.catch.asked = false
	g.save(out)
	g.trace(out, Event{Kind: EvInstalled, Slot: s.Slot})
}
