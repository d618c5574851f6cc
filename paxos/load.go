package paxos

import (
	"fmt"

	"github.com/prytany/prytany/internal/mutant"
	"github.com/prytany/prytany/synod"
)

// maxLoadGap bounds how far above the watermark a saved vote may be, so that a
// corrupt slot is an error and not an allocation.
const maxLoadGap = 1 << 22

// New returns a member with the state it had when d was saved. A Group that is
// not a voter of d.Header.Membership, or must not be one up to d.Header.Floor, is a
// learner. It returns an error if d is
// nothing that a Group can have saved: the disk is not to be trusted then.
func New(cfg Config, d Durable) (*Group, error) {
	h := d.Header
	if cfg.Group == 0 || cfg.Self == 0 {
		return nil, fmt.Errorf("paxos: group %d of node %v: both must be set", cfg.Group, cfg.Self)
	}
	if err := checkHeader(h); err != nil {
		return nil, fmt.Errorf("paxos: group %d: %w", cfg.Group, err)
	}
	g := &Group{
		cfg:      cfg.withDefaults(),
		m:        h.Membership,
		promised: h.Promised,
		log:      ledger{first: max(h.Trimmed, 1)},
		snapshot: h.Snapshot,
		floor:    h.Floor,
		decided:  max(h.Decided, h.Snapshot),
		applied:  h.Snapshot,
		seen:     h.Snapshot,
		durable:  durable{ballot: h.Promised},
	}
	g.seat = g.seatIn(g.m)
	if mutant.On(mutant.ForgetsOwnBallot) && h.Promised.Member == g.m.Ordinal(cfg.Self) {
		g.promised = synod.Ballot{}
		for _, v := range d.Votes {
			if v.Config == g.m.ID {
				g.promised = synod.MaxBallot(g.promised, v.Vote.Ballot)
			}
		}
	}
	for _, v := range d.Votes {
		g.removed = g.removed || g.seat < 0 && v.Config < g.m.ID && !v.Vote.Ballot.IsZero()
	}
	if err := g.load(d.Votes); err != nil {
		return nil, fmt.Errorf("paxos: group %d: %w", cfg.Group, err)
	}
	return g, nil
}

func checkHeader(h Header) error {
	m := h.Membership
	if m.ID == 0 && (len(m.Voters) > 0 || !h.Promised.IsZero()) {
		return fmt.Errorf("saved state has voters or a promise but no configuration")
	}
	if m.ID != 0 {
		if err := m.Check(); err != nil {
			return err
		}
	}
	switch {
	case m.Start > max(h.Decided, h.Snapshot):
		return fmt.Errorf("configuration %d starts at %d, above watermark %d", m.ID, m.Start, h.Decided)
	case h.Trimmed > h.Snapshot+1:
		return fmt.Errorf("trimmed below %d, but the snapshot is at %d", h.Trimmed, h.Snapshot)
	case m.ID <= h.Floor && !h.Promised.IsZero():
		return fmt.Errorf("promise in configuration %d, which this node has forgotten", m.ID)
	case h.Floor == Forever:
		return fmt.Errorf("this node may have no part in the group")
	case h.Promised.Round > synod.MaxRound:
		return fmt.Errorf("promise %v out of range", h.Promised)
	}
	return nil
}

// load puts the saved votes in the log. Votes of an older configuration above
// the stop-sign that sealed it are void: nothing can have been chosen there.
func (g *Group) load(votes []SlotVote) error {
	last := Slot(0)
	for _, v := range votes {
		if v.Slot <= last {
			return fmt.Errorf("saved votes out of order: slot %d after %d", v.Slot, last)
		}
		last = v.Slot
		switch {
		case v.Config <= g.floor && g.floor > 0 && !v.Vote.Ballot.IsZero():
			return fmt.Errorf("slot %d: vote of configuration %d, which this node has forgotten", v.Slot, v.Config)
		case v.Config > g.m.ID:
			return fmt.Errorf("slot %d: vote of configuration %d in %d", v.Slot, v.Config, g.m.ID)
		case v.Slot < g.log.first:
			continue // trimmed, and not deleted yet
		case v.Slot > g.m.Start && v.Config < g.m.ID:
			continue
		case v.Slot > g.decided+maxLoadGap:
			return fmt.Errorf("slot %d is far above watermark %d", v.Slot, g.decided)
		case !v.Chosen && v.Vote.Ballot.IsZero():
			return fmt.Errorf("slot %d: empty vote", v.Slot)
		case v.Slot > g.m.Start && g.promised.Less(v.Vote.Ballot):
			return fmt.Errorf("slot %d: vote %v above promise %v", v.Slot, v.Vote.Ballot, g.promised)
		}
		g.log.set(v.Slot, entry{config: v.Config, chosen: v.Chosen || v.Slot <= g.decided, vote: v.Vote})
	}
	for s := g.decided; s > g.snapshot; s-- {
		if !g.log.at(s).held() {
			return fmt.Errorf("slot %d is missing below watermark %d", s, g.decided)
		}
	}
	// The tail below the snapshot only saves others a snapshot transfer: keep
	// what is there without a gap.
	for s := g.snapshot; s >= g.log.first; s-- {
		if !g.log.at(s).held() {
			g.log.dropBelow(s + 1)
		}
	}
	return nil
}
