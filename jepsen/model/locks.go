package model

import (
	"slices"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
)

// admits reports whether one more may hold l, those who wait aside.
func (l *Lock) admits(shared bool) bool {
	switch {
	case l.delay != 0:
		return false
	case len(l.Holders) == 0:
		return true
	case l.Slots > 1:
		return len(l.Holders) < l.Slots
	}
	return shared && l.Holders[0].Shared
}

// holder returns the grant of a session, nil if it has none.
func (l *Lock) holder(session string) *Grant {
	for i := range l.Holders {
		if l.Holders[i].Session == session {
			return &l.Holders[i]
		}
	}
	return nil
}

func (s *State) acquire(c *locks.AcquireCommand) Answer {
	x := s.Sessions[c.Session]
	if x == nil && (!c.Open || s.Dead[c.Session] != 0) {
		return s.noSession(c.Session)
	}
	slots := max(int(c.Slots), 1)
	if slots > 1 && (c.Shared || c.Campaign) || c.Shared && c.Campaign {
		return s.no(api.CodeInvalid)
	}
	l := s.Locks[c.Lock]
	switch {
	case l == nil:
		l = &Lock{Slots: slots}
	case l.Slots != slots:
		return s.no(api.CodeLimitMismatch)
	case l.holder(c.Session) != nil:
		return s.again(c, l)
	}
	free := len(l.queue) == 0 && l.admits(c.Shared)
	if !free && !c.Wait {
		return s.no(api.CodeLockHeld)
	}
	if x == nil {
		x = &Session{TTL: c.TTL, Bound: c.Lock}
		s.Sessions[c.Session] = x
	}
	s.Locks[c.Lock], s.known[c.Lock] = l, true
	s.Changed = append(s.Changed, c.Lock)
	p := place{session: c.Session, request: c.Request.ID, own: c.Request.Own, shared: c.Shared, campaign: c.Campaign}
	if c.Campaign {
		p.value = c.Value
	}
	if free {
		x.Renewals++
		return s.grant(l, p)
	}
	l.queue = append(l.queue, p)
	return Answer{Revision: s.Revision, Session: c.Session, TTL: x.TTL, Queued: true}
}

// grant gives l to p.
func (s *State) grant(l *Lock, p place) Answer {
	l.Holders = append(l.Holders, Grant{p.session, s.Revision, p.shared, p.campaign, p.value})
	return s.granted(l, p.session)
}

// granted is the answer to a holder.
func (s *State) granted(l *Lock, session string) Answer {
	a := Answer{Revision: s.Revision, Session: session, Fence: l.holder(session).Fence}
	if x := s.Sessions[session]; x != nil {
		a.TTL = x.TTL
	}
	return a
}

// again is an acquire by a holder: it is renewed, and may change its mode.
func (s *State) again(c *locks.AcquireCommand, l *Lock) Answer {
	g := l.holder(c.Session)
	switch {
	case !g.Shared && c.Shared && g.Elected:
		return s.no(api.CodeInvalid)
	case g.Shared && !c.Shared && (len(l.Holders) > 1 || l.delay != 0):
		return s.no(api.CodeUpgradeRefused)
	}
	s.Sessions[c.Session].Renewals++
	s.Changed = append(s.Changed, c.Lock)
	if g.Shared && !c.Shared {
		g.Fence = s.Revision
		l.Yield = Yield{} // this is another grant
	}
	shares := !g.Shared && c.Shared
	g.Shared = c.Shared
	if shares {
		s.serve(c.Lock)
		g = l.holder(c.Session)
	}
	if c.Campaign {
		g.Elected, g.Value = true, c.Value
	}
	return s.granted(l, c.Session)
}

// serve grants a lock to those who are next, as long as it admits them.
func (s *State) serve(name string) {
	l := s.Locks[name]
	s.Changed = append(s.Changed, name)
	for len(l.queue) > 0 {
		p := l.queue[0]
		if l.holder(p.session) == nil {
			if !l.admits(p.shared) {
				break
			}
			s.grant(l, p)
		}
		l.queue = l.queue[1:]
		s.placed(l, p)
	}
	s.leaveQueue(l)
	if len(l.Holders) == 0 && len(l.queue) == 0 && l.delay == 0 {
		delete(s.Locks, name)
	}
}

// leaveQueue takes the places of those who hold l now out of its queue.
func (s *State) leaveQueue(l *Lock) {
	l.queue = slices.DeleteFunc(l.queue, func(p place) bool {
		holds := l.holder(p.session) != nil
		if holds {
			s.placed(l, p)
		}
		return holds
	})
}

// placed answers the request for a place whose session holds l now.
func (s *State) placed(l *Lock, p place) {
	g := l.holder(p.session)
	if g.Shared != p.shared {
		s.tell(p, s.no(api.CodeUpgradeRefused))
		return
	}
	if p.campaign {
		g.Elected, g.Value = true, p.value
	}
	s.tell(p, s.granted(l, p.session))
}

// cancel gives up a place. What was granted meanwhile stands.
func (s *State) cancel(c *locks.CancelCommand) Answer {
	k := request{c.Request.ID, c.Request.Own}
	l := s.Locks[c.Lock]
	if l != nil {
		i := slices.IndexFunc(l.queue, func(p place) bool {
			return p.session == c.Session && p.request == c.Request.ID && p.own == c.Request.Own
		})
		if i >= 0 {
			p := l.queue[i]
			l.queue = slices.Delete(l.queue, i, i+1)
			s.tell(p, s.no(api.CodeLockHeld))
			waits := slices.ContainsFunc(l.queue, func(o place) bool { return o.session == c.Session })
			if s.Sessions[c.Session].Bound == c.Lock && !waits {
				s.end(c.Session, false)
			}
			if s.Locks[c.Lock] != nil {
				s.serve(c.Lock)
			}
			return s.no(api.CodeLockHeld)
		}
	}
	had := s.answers[k]
	if n := len(had); n > 0 && had[n-1].Code != "" {
		return had[n-1]
	}
	if l != nil && l.holder(c.Session) != nil && s.Sessions[c.Session] != nil {
		return s.granted(l, c.Session)
	}
	a := s.no(api.CodeLockHeld)
	switch {
	case len(had) == 0 && c.Request.ID != "":
		s.answers[k] = append(had, a)
	case len(had) > 0 && s.Sessions[c.Session] == nil:
		return s.noSession(c.Session)
	}
	return a
}

func (s *State) release(c *locks.ReleaseCommand) Answer {
	l := s.Locks[c.Lock]
	if c.Force {
		return s.breakLock(c.Lock)
	}
	var found []Grant
	if l != nil {
		for _, g := range l.Holders {
			if g.Fence == c.Fence && (c.Session == "" || g.Session == c.Session) {
				found = append(found, g)
			}
		}
	}
	switch len(found) {
	case 0:
		a := s.no(api.CodeStaleFence)
		a.Current = s.newest(c.Lock)
		return a
	case 1:
		s.dismiss(c.Lock, found[0])
		s.serveIfAny(c.Lock)
		return Answer{Revision: s.Revision, Session: found[0].Session, Fence: found[0].Fence}
	}
	return s.no(api.CodeSessionNeeded)
}

func (s *State) breakLock(name string) Answer {
	l := s.Locks[name]
	switch {
	case l == nil || len(l.Holders) == 0 && l.delay == 0:
		return s.no(api.CodeStaleFence)
	case len(l.Holders) == 0:
		l.delay = 0
		s.serve(name)
		return s.yes()
	}
	a := Answer{Revision: s.Revision, Session: l.Holders[0].Session, Fence: l.Holders[0].Fence}
	for _, g := range slices.Clone(l.Holders) {
		s.dismiss(name, g)
	}
	s.serveIfAny(name)
	return a
}

// dismiss ends a grant, and a session that lived for it alone.
func (s *State) dismiss(name string, g Grant) {
	l := s.Locks[name]
	l.Holders = slices.DeleteFunc(l.Holders, func(o Grant) bool { return o.Session == g.Session })
	s.Changed = append(s.Changed, name)
	l.settled()
	s.endBound(name, g.Session)
}

// endBound ends a session that lived for a lock alone, which it holds no more.
func (s *State) endBound(name, session string) {
	waits := slices.ContainsFunc(s.Locks[name].queue, func(p place) bool { return p.session == session })
	if x := s.Sessions[session]; x != nil && x.Bound == name && !waits {
		s.end(session, false)
	}
}

func (s *State) serveIfAny(name string) {
	if s.Locks[name] != nil {
		s.serve(name)
	}
}
