package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/prytany/prytany/internal/sim/dice"
	"github.com/prytany/prytany/internal/sim/oracle"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

// A side is a group beside main, on some of the nodes. What happens in it is simple:
// numbers are put into a ledger, and reads ask how far it is. Its members come and go,
// and at last it may be dropped. An oracle of its own watches it.
type side struct {
	w      *World
	id     paxos.GroupID
	begun  paxos.Membership // its first configuration
	oracle *oracle.Oracle
	rng    *rand.Rand

	next    uint64          // the number put next
	applied map[uint64]bool // numbers that somebody has applied
	acked   []uint64        // numbers whose writers were told that they are in
	target  *node           // becomes a voter
	wanted  int             // voters
	over    bool            // dropped

	elections int
	told      map[synod.NodeID]bool // to give up its part, which it may do later
	served    map[int]bool          // nodes that have served since everything has healed
}

// sideEvery is the mean time between two requests to one group, and between two looks
// of a node at what part it should have in it.
const (
	sideEvery = 60 * time.Millisecond
	lookAfter = 150 * time.Millisecond
)

// sides makes the groups beside main. They have dice of their own.
func (w *World) beginSides() {
	r := rand.New(rand.NewPCG(w.opt.Seed, 0x73696465))
	for i := range w.opt.Sides {
		s := w.addSide(i, r)
		s.repeat(lookAfter, s.look)
		s.repeat(sideEvery, s.ask)
		if w.opt.SideMoves {
			s.repeat(lookAfter, s.move)
		}
	}
}

// addSide makes the group beside main with that index, on nodes that r draws.
func (w *World) addSide(i int, r *rand.Rand) *side {
	s := &side{w: w, id: paxos.Main + 1 + paxos.GroupID(i), applied: map[uint64]bool{}, told: map[synod.NodeID]bool{}, served: map[int]bool{}}
	s.rng = rand.New(rand.NewPCG(w.opt.Seed, uint64(s.id)))
	s.wanted = min(3, len(w.nodes))
	s.begun = paxos.Membership{ID: 1, Next: synod.Ordinal(s.wanted + 1)}
	for o, j := range r.Perm(len(w.nodes))[:s.wanted] {
		n := w.nodes[j]
		s.begun.Voters = append(s.begun.Voters, paxos.Member{Node: n.id, Ordinal: synod.Ordinal(o + 1), Name: n.name})
	}
	s.oracle = oracle.New(s.begun, len(w.nodes))
	w.sides = append(w.sides, s)
	return s
}

// repeat calls f again and again, at random moments.
func (s *side) repeat(mean time.Duration, f func()) {
	s.w.at(s.w.now+time.Duration(s.rng.ExpFloat64()*float64(s.w.opt.Every(mean))), func() {
		f()
		s.repeat(mean, f)
	})
}

// side returns the group beside main with that id, nil if there is none.
func (w *World) side(g paxos.GroupID) *side {
	if i := int(g - paxos.Main - 1); g > paxos.Main && i < len(w.sides) {
		return w.sides[i]
	}
	return nil
}

// oracleOf returns who watches group g.
func (w *World) oracleOf(g paxos.GroupID) *oracle.Oracle {
	if s := w.side(g); s != nil {
		return s.oracle
	}
	return w.oracle
}

// look has every node see to it that it has the part in s that it should have: what
// the controller of a real node does by the directory. A node that was a member and is
// none any more drops its part, and may be told again, by an old directory, that the
// group began with it.
func (s *side) look() {
	for _, n := range s.w.nodes {
		if n.host != nil {
			n.guard(func() error { s.see(n); return nil })
			n.pollBy(s.w.now)
		}
	}
}

func (s *side) see(n *node) {
	now := s.oracle.Config()
	st, here := n.host.Group(s.id)
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // nobody waits: what becomes of it shows
	if !here {
		delete(s.told, n.id)
	}
	switch {
	case !here && s.begun.Seat(n.id) >= 0 && (now.ID == 1 && !s.over || dice.Chance(s.rng, 0.1)):
		_ = n.host.Create(ctx, s.id, s.begun)
	case here && s.over:
		s.w.stats.SideDrops++
		_ = n.host.Drop(ctx, s.id)
	case here && s.parted(n, now):
		s.w.stats.SideDrops++
		s.told[n.id] = true
		s.w.trace.add(line{s.w.now, n.index, "gives up its part in group", s.id})
		_ = n.host.Leave(ctx, s.id)
	case !s.over && (s.target == n || now.Seat(n.id) >= 0) && (!here || !st.Content && dice.Chance(s.rng, 0.1)):
		var from []synod.NodeID
		for _, v := range now.Voters {
			if v.Node != n.id {
				from = append(from, v.Node)
			}
		}
		n.host.Learn(s.id, from)
	}
}

// parted reports whether n has no part in s any more, and nobody needs what it knows:
// a quorum of the voters has begun to vote without it. It has one still if somebody has
// voted for a configuration that it may be in.
func (s *side) parted(n *node, now paxos.Membership) bool {
	return now.ID > 1 && now.Seat(n.id) < 0 && s.target != n && s.oracle.Chosen() > now.Start && !s.w.changing(s.id)
}

// first takes note that somebody has put in number before all others.
func (s *side) first(number uint64) {
	if s.applied[number] {
		oracle.Fail("E1", "group %d: number %d is put in twice", s.id, number)
	}
	s.applied[number] = true
}

// ask puts a number in by any node that has a part in s, or reads there.
func (s *side) ask() {
	w := s.w
	n := w.nodes[s.rng.IntN(len(w.nodes))]
	if n.host == nil || w.stopping && s.served[n.index] {
		return
	}
	led, here := n.ledgers[s.id]
	if !here {
		return
	}
	inc, acked := n.incarnation, s.oracle.Acked()
	if dice.Chance(s.rng, 0.3) {
		n.host.Submit(s.id, replica.KindBarrier, nil, func(r replica.Result) {
			if r.Err != nil || n.incarnation != inc || n.ledgers[s.id] != led {
				return
			}
			s.oracle.Read(n.who(), r.Slot, acked)
			if led.Slot < r.Slot {
				oracle.Fail("I8", "%s allows a read of group %d at slot %d; it has applied %d", n.name, s.id, r.Slot, led.Slot)
			}
		})
	} else {
		s.next++
		number := s.next
		cmd := binary.BigEndian.AppendUint64(nil, number)
		n.host.Submit(s.id, replica.KindPropose, append(cmd, make([]byte, w.opt.SideBytes)...), func(r replica.Result) {
			switch {
			case r.Err == nil:
				s.oracle.Answered(r.Slot, r.Payload)
				s.acked = append(s.acked, number)
				s.served[n.index] = s.served[n.index] || w.healed
				w.stats.SideDone++
			case errors.Is(r.Err, paxos.ErrUnknownOutcome), paxos.Refused(r.Err):
			default:
				oracle.Fail("panic", "a request to group %d ends with %v", s.id, r.Err)
			}
		})
	}
	n.pollBy(w.now + w.sample(w.opt.Loop))
}

// move has whoever leads s take the next step to other members, as a real leader does
// by its plan: a new one catches up, then votes, then an old one goes. The dead go
// first.
func (s *side) move() {
	if s.over {
		return
	}
	if !s.w.healed && len(s.w.sides) > 1 && dice.Chance(s.rng, 0.002) {
		s.drop()
		return
	}
	now := s.oracle.Config()
	s.choose(now)
	for _, n := range s.w.nodes {
		if l := n.ledgers[s.id]; n.host != nil && l != nil && l.Leading {
			s.step(n, now)
			return
		}
	}
}

// choose picks who is to become a voter, now and then, or in the place of a lost one.
func (s *side) choose(now paxos.Membership) {
	w := s.w
	if s.target != nil && (s.target.host == nil || now.Seat(s.target.id) >= 0) {
		s.target = nil
	}
	short := w.lost(now) != 0 || len(now.Voters) < s.wanted
	if s.target != nil || !short && (w.healed || !dice.Chance(s.rng, 0.1)) || len(now.Voters) > s.wanted {
		return
	}
	n := w.nodes[s.rng.IntN(len(w.nodes))]
	if n.host != nil && now.Seat(n.id) < 0 && !s.told[n.id] {
		s.target = n
	}
}

// step asks n, which leads, for the next configuration.
func (s *side) step(n *node, now paxos.Membership) {
	if t := s.target; t != nil {
		if l := t.ledgers[s.id]; l != nil && l.Slot > 1 && l.Slot+50 > s.oracle.Chosen() {
			s.reconfigure(n, now, func(m paxos.Membership) (paxos.Membership, error) {
				if s.target != t { // given up while it waited for its turn
					return m, errOther
				}
				return m.With(paxos.Member{Node: t.id, Name: t.name}, m.Ordinal(n.id)), nil
			})
		}
		return
	}
	gone := s.w.lost(now)
	if gone == 0 && len(now.Voters) > s.wanted {
		gone = now.Voters[s.rng.IntN(len(now.Voters))].Node
	}
	if gone == 0 || len(now.Voters) <= 2 {
		return
	}
	next := n.id
	for next == gone { // the leader itself goes
		next = now.Voters[s.rng.IntN(len(now.Voters))].Node
	}
	s.reconfigure(n, now, func(m paxos.Membership) (paxos.Membership, error) {
		return m.Without(gone, m.Ordinal(next)), nil
	})
}

func (s *side) reconfigure(n *node, now paxos.Membership, next func(paxos.Membership) (paxos.Membership, error)) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = n.host.Reconfigure(ctx, s.id, s.w.counted(func(m paxos.Membership) (paxos.Membership, error) {
		if m.ID != now.ID || m.Ordinal(n.id) == 0 {
			return m, errOther
		}
		return next(m)
	}))
	n.pollBy(s.w.now)
}

// drop ends s for good, if nothing hinders.
func (s *side) drop() {
	s.w.trace.add(line{s.w.now, -1, "drops group", s.id})
	s.over = true
}

// settled reports whether every running member of s has applied all that is chosen,
// and has served since everything has healed; or, if s was dropped, whether nobody
// has a part in it.
func (s *side) settled() bool {
	w := s.w
	now := s.oracle.Config()
	for _, n := range w.nodes {
		if n.host == nil || w.nemesis.Keeps(n.index) {
			continue
		}
		l := n.ledgers[s.id]
		switch {
		case s.over:
			if l != nil {
				return false
			}
		case now.Seat(n.id) >= 0:
			if l == nil || l.Slot != s.oracle.Chosen() || !s.served[n.index] {
				return false
			}
		}
	}
	return s.over || w.lost(now) == 0
}

// position describes where every member is.
func (s *side) position() string {
	now := s.oracle.Config()
	out := fmt.Sprintf(" group %d (dropped %v), configuration %d of %d voters, chosen up to %d:", s.id, s.over, now.ID, len(now.Voters), s.oracle.Chosen())
	for _, n := range s.w.nodes {
		if l := n.ledgers[s.id]; l != nil {
			out += fmt.Sprintf(" %s (voter %v) applied %d, served %v;", n.name, now.Seat(n.id) >= 0, l.Slot, s.served[n.index])
		}
	}
	return out
}

// sidesSettled reports whether all groups beside main are settled.
func (w *World) sidesSettled() bool {
	return !slices.ContainsFunc(w.sides, func(s *side) bool { return !s.settled() })
}

// compare checks that no number was lost that its writer was told of.
func (s *side) compare() {
	s.w.stats.SideMoves += int(s.oracle.Config().ID) - 1
	s.w.stats.SideElections += s.elections
	for _, number := range s.acked {
		if !s.applied[number] {
			oracle.Fail("E1", "group %d: number %d was acknowledged and is not there", s.id, number)
		}
	}
}
