package model

import (
	"slices"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
)

// A Yield is a request to the holders of a lock to let go.
type Yield struct {
	Since  uint64 // revision; 0: there is none
	within int64  // ns, 0: they are only asked
}

// order does what is asked of several locks, of holders, of leaders and of the
// registers of fences. known is false if c is none of that.
func (s *State) order(cmd locks.Command) (a Answer, known bool) {
	switch c := cmd.(type) {
	case *locks.AcquireAllCommand:
		return s.once(c.Request, func() Answer { return s.acquireAll(c) }), true
	case *locks.YieldCommand:
		return s.once(c.Request, func() Answer { return s.yield(c) }), true
	case *locks.EndYieldCommand:
		s.endYield(c)
		return s.yes(), true
	case *locks.ProclaimCommand:
		return s.once(c.Request, func() Answer { return s.proclaim(c) }), true
	case *locks.TransferCommand:
		return s.once(c.Request, func() Answer { return s.transfer(c) }), true
	case *locks.AdvanceCommand:
		return s.once(c.Request, func() Answer { return s.advance(c) }), true
	case *locks.ForgetFenceCommand:
		return s.once(c.Request, func() Answer { return s.forgetFence(c) }), true
	}
	return Answer{}, false
}

// acquireAll grants all locks in this one command, or none.
func (s *State) acquireAll(c *locks.AcquireAllCommand) Answer {
	x := s.Sessions[c.Session]
	if x == nil {
		return s.noSession(c.Session)
	}
	no := s.no(api.CodeLockHeld)
	no.All = map[string]Grant{}
	asked := map[string]bool{"": true}
	for _, name := range c.Locks {
		if asked[name] {
			return s.no(api.CodeInvalid)
		}
		asked[name] = true
		l := s.Locks[name]
		if l == nil {
			continue
		}
		if g := l.holder(c.Session); g != nil && !g.Shared && l.Slots == 1 {
			continue
		}
		no.All[name] = Grant{} // only waited for, or delayed
		if len(l.Holders) > 0 {
			no.All[name] = l.Holders[0]
		}
	}
	if len(no.All) > 0 {
		return no
	}
	x.Renewals++
	a := Answer{Revision: s.Revision, Session: c.Session, TTL: x.TTL, All: map[string]Grant{}}
	for _, name := range c.Locks {
		l := s.Locks[name]
		if l == nil {
			l = &Lock{Slots: 1}
			s.Locks[name], s.known[name] = l, true
			s.Changed = append(s.Changed, name)
			s.grant(l, place{session: c.Session})
		}
		a.All[name] = *l.holder(c.Session)
	}
	return a
}

// yield asks the holders of a lock to let go. Who asks again gives nobody more time.
func (s *State) yield(c *locks.YieldCommand) Answer {
	l := s.Locks[c.Lock]
	if l == nil || len(l.Holders) == 0 {
		return s.no(api.CodeLockUnknown)
	}
	within := int64(c.Within)
	newer := s.newest(c.Lock) > l.Yield.Since // one who is asked for the first time
	if is := l.Yield; is.within == 0 || within > 0 && (within < is.within || newer) {
		l.Yield = Yield{s.Revision, within}
	}
	s.Changed = append(s.Changed, c.Lock)
	return Answer{Revision: s.Revision, Session: l.Holders[0].Session, Fence: l.Holders[0].Fence}
}

// endYield ends the grants that a request to yield was about.
func (s *State) endYield(c *locks.EndYieldCommand) {
	l := s.Locks[c.Lock]
	if l == nil || l.Yield.Since == 0 || l.Yield.Since != c.Since || l.Yield.within == 0 || c.Ballot.Pack() != s.lead {
		return
	}
	for _, g := range slices.Clone(l.Holders) {
		if g.Fence < c.Since {
			s.dismiss(c.Lock, g)
		}
	}
	s.serveIfAny(c.Lock)
}

// settled forgets a request to yield once all have let go whom it was about.
func (l *Lock) settled() {
	if !slices.ContainsFunc(l.Holders, func(g Grant) bool { return g.Fence < l.Yield.Since }) {
		l.Yield = Yield{}
	}
}

// leader returns the grant of the leader of an election, nil if nobody leads.
func (l *Lock) leader() *Grant {
	if l == nil || len(l.Holders) == 0 || !l.Holders[0].Elected {
		return nil
	}
	return &l.Holders[0]
}

// notInTerm refuses what only the leader of a term may do.
func (s *State) notInTerm(lock string) Answer {
	a := s.no(api.CodeStaleFence)
	a.Current = s.newest(lock)
	return a
}

func (s *State) proclaim(c *locks.ProclaimCommand) Answer {
	l := s.Locks[c.Lock]
	g := l.leader()
	if g == nil || g.Fence != c.Fence {
		return s.notInTerm(c.Lock)
	}
	g.Value = c.Value
	s.Changed = append(s.Changed, c.Lock)
	return s.granted(l, g.Session)
}

// transfer hands a lead over, out of turn.
func (s *State) transfer(c *locks.TransferCommand) Answer {
	if !s.known[c.Lock] {
		return s.no(api.CodeNotCandidate)
	}
	l := s.Locks[c.Lock]
	old := l.leader()
	switch {
	case c.Fence != 0 && (old == nil || old.Fence != c.Fence):
		return s.notInTerm(c.Lock)
	case l == nil:
		return s.no(api.CodeNotCandidate)
	case old != nil && old.Session == c.To:
		return s.granted(l, c.To)
	}
	i := slices.IndexFunc(l.queue, func(p place) bool { return p.campaign && p.session == c.To })
	switch {
	case i < 0:
		return s.no(api.CodeNotCandidate)
	case old == nil && len(l.Holders) > 0:
		no := s.no(api.CodeNotCandidate)
		no.Current = s.newest(c.Lock)
		return no
	case l.delay != 0:
		return s.no(api.CodeLockHeld)
	}
	p, gone := l.queue[i], ""
	if old != nil {
		gone = old.Session
		l.Holders = nil
		l.settled()
	}
	s.Changed = append(s.Changed, c.Lock)
	s.grant(l, p)
	s.leaveQueue(l)
	if gone != "" {
		s.endBound(c.Lock, gone)
	}
	return s.granted(l, c.To)
}

func (s *State) advance(c *locks.AdvanceCommand) Answer {
	if highest := s.Fences[c.Resource]; c.Fence < highest {
		no := s.no(api.CodeStaleFence)
		no.Current = highest
		return no
	}
	s.Fences[c.Resource] = c.Fence
	return Answer{Revision: s.Revision, Fence: c.Fence}
}

func (s *State) forgetFence(c *locks.ForgetFenceCommand) Answer {
	highest, ok := s.Fences[c.Resource]
	if !ok || highest != c.Fence {
		no := s.no(api.CodeStaleFence)
		no.Current = highest
		return no
	}
	delete(s.Fences, c.Resource)
	return Answer{Revision: s.Revision, Fence: highest}
}
