package locks

import (
	"slices"

	"github.com/prytany/prytany/internal/mutant"
	"github.com/prytany/prytany/locks/internal/command"
)

// admits reports whether one more may hold l now, its queue aside.
func (l *lock) admits(shared bool) bool {
	switch {
	case l.delay != 0:
		return false
	case len(l.holders) == 0:
		return true
	case l.slots > 1:
		return uint64(len(l.holders)) < l.slots
	}
	return shared && l.holders[0].shared
}

// applyAcquire grants a lock that admits the session and that nobody waits for,
// renews or changes the grant of a holder, or gives a place at the end of the
// queue.
func (m *Machine) applyAcquire(c *AcquireCommand) Result {
	s, no := m.alive(c.Session)
	if s == nil && !c.Open {
		return no
	}
	slots := max(c.Slots, 1)
	switch {
	case c.Lock == "":
		return refused(Invalid, "a lock needs a name")
	case slots > uint64(m.bounds.holders):
		return refused(Invalid, "a lock cannot have so many slots")
	case slots > 1 && (c.Shared || c.Campaign), c.Shared && c.Campaign:
		return refused(Invalid, "only an exclusive lock can have slots or be an election")
	}
	l, known := m.locks.Get(c.Lock)
	inUse := known && l.idle == 0
	if inUse && l.slots != slots {
		no := refused(LimitMismatch, "the lock is in use with another number of slots")
		no.Slots = l.slots
		return no
	}
	if s != nil && s.holds[c.Lock] != nil && (slots == 1 || !mutant.On(mutant.GrantsTwice)) {
		return m.reacquire(s.holds[c.Lock], c)
	}
	free := !inUse || len(l.waiters) == 0 && l.admits(c.Shared)
	if !free && !c.Wait {
		return m.heldBy(l)
	}
	if no, ok := m.mayQueue(l, s, c, free); ok {
		return no
	}
	if s == nil {
		s, no = m.open(&session{id: c.Session, ttl: c.TTL, bound: c.Lock})
		if s == nil {
			return no
		}
	}
	l = m.lock(c.Lock)
	if l.idle != 0 {
		m.keep(l)
		l.slots = slots
	}
	w := waiter{session: s, request: c.Request, shared: c.Shared, campaign: c.Campaign, note: c.Note, since: m.revision}
	if c.Campaign {
		w.value = c.Value
	}
	if free {
		m.renew(s)
		g := m.grant(l, &w)
		m.settle(l)
		return granted(g)
	}
	i := l.place(s, c.Request)
	if i < 0 {
		i = len(l.waiters)
		m.queue(l, w)
		m.settle(l)
	}
	return Result{Queued: true, Session: s.id, TTL: s.ttl, Position: i + 1}
}

// place returns where in l's queue s stands with r, -1 if it does not.
func (l *lock) place(s *session, r Request) int {
	if s.waits[l.name] == 0 {
		return -1
	}
	return slices.IndexFunc(l.waiters, func(w waiter) bool { return w.is(s.id, r) })
}

// mayQueue refuses an acquire by c that would break a bound. l and s are nil
// if they do not exist; free tells that no place in the queue is needed.
func (m *Machine) mayQueue(l *lock, s *session, c *AcquireCommand, free bool) (Result, bool) {
	switch {
	case l != nil && free && len(l.holders) >= m.bounds.holders:
		return refused(Overloaded, "the lock has as many holders as it may"), true
	case l != nil && !free && len(l.waiters) >= m.bounds.waiters:
		return refused(Overloaded, "the lock has as many waiters as it may"), true
	case s != nil && s.load() >= m.bounds.perSession:
		return refused(Overloaded, "the session has as many locks and entries as it may"), true
	}
	if l == nil || l.idle != 0 {
		if no, ok := m.crowded(1); ok {
			return no, true
		}
	}
	return m.full(len(c.Lock) + len(c.Note) + len(c.Value) + len(c.Request.ID))
}

// reacquire is an acquire by who holds g already: a renewal, or a change of
// mode. A writer may always begin to share; a reader may stop only if it is the
// only one, and then gets a new fence, since others may have had higher ones
// than its own meanwhile.
func (m *Machine) reacquire(g *grant, c *AcquireCommand) Result {
	l, s := g.lock, g.session
	switch {
	case !g.shared && c.Shared && g.elected:
		return refused(Invalid, "who leads cannot share")
	case g.shared && !c.Shared && len(l.holders) > 1:
		return refused(UpgradeRefused, "others share the lock; release it and ask for it anew")
	case g.shared && !c.Shared && l.delay != 0:
		return refused(UpgradeRefused, "one who shared the lock expired, and its lock-delay still runs")
	case c.Campaign && g.value != c.Value:
		if no, ok := m.full(len(c.Value)); ok {
			return no
		}
	}
	m.renew(s)
	m.keep(l)
	switch {
	case !g.shared && c.Shared:
		g.shared = true
		l.changed = m.revision
		m.event(g.event(EventLock))
		m.serve(l)
	case g.shared && !c.Shared:
		m.noteEnd(l, g, ReasonUpgraded)
		g.fence, g.shared, g.seen = m.revision, false, m.now
		l.changed = m.revision
		m.unyield(l) // whoever was asked to let go has: this is another grant
		m.event(g.event(EventLock))
		m.settle(l)
	}
	if c.Campaign && (!g.elected || g.value != c.Value) {
		m.publish(g, c.Value)
	}
	return granted(g)
}

// granted is the answer to whoever holds g.
func granted(g *grant) Result {
	return Result{Session: g.session.id, TTL: g.session.ttl, Fence: g.fence, Shared: g.shared, Slots: g.lock.slots}
}

// heldBy is the answer to whoever does not get l.
func (m *Machine) heldBy(l *lock) Result {
	r := refused(LockHeld, "")
	r.Position = len(l.waiters) + 1
	r.Holder = holderOf(l)
	r.Delayed = r.Holder.Session == "" && l.delay != 0
	return r
}

// holderOf tells about one of l's holders, if it has any.
func holderOf(l *lock) command.Holder {
	if len(l.holders) == 0 {
		return command.Holder{}
	}
	g := l.holders[0]
	return command.Holder{
		Session: g.session.id, Owner: g.session.owner(), Fence: g.fence, Note: g.note,
		Shared: g.shared, Elected: g.elected, Value: g.value,
	}
}

// applyAcquireAll grants all of c's locks in this one command, or none.
func (m *Machine) applyAcquireAll(c *AcquireAllCommand) Result {
	s, no := m.alive(c.Session)
	if s == nil {
		return no
	}
	var held []command.HeldLock
	fresh, size := 0, 0
	asked := map[string]bool{"": true}
	for _, name := range c.Locks {
		if asked[name] {
			return refused(Invalid, "there must be names, and they must differ")
		}
		asked[name] = true
		l, known := m.locks.Get(name)
		if g := s.holds[name]; known && l.idle == 0 && (g == nil || g.shared || l.slots > 1) {
			r := m.heldBy(l)
			held = append(held, command.HeldLock{Name: name, Holder: r.Holder, Position: r.Position, Delayed: r.Delayed})
		} else if g == nil {
			fresh, size = fresh+1, size+len(name)+len(c.Note)
		}
	}
	if len(held) > 0 {
		no := refused(LockHeld, "")
		no.Body = command.EncodeHeld(held)
		return no
	}
	if no, ok := m.mayHave(s, fresh, size); ok && fresh > 0 {
		return no
	}
	m.renew(s)
	var got []command.HeldLock
	for _, name := range c.Locks {
		g := s.holds[name]
		if g == nil {
			l := m.lock(name)
			m.keep(l)
			l.slots = 1
			g = m.grant(l, &waiter{session: s, note: c.Note})
			m.settle(l)
		}
		got = append(got, command.HeldLock{Name: name, Holder: command.Holder{Session: s.id, Fence: g.fence}})
	}
	return Result{Session: s.id, TTL: s.ttl, Body: command.EncodeHeld(got)}
}

// mayHave refuses to give s so many locks more, with so many bytes.
func (m *Machine) mayHave(s *session, locks, bytes int) (Result, bool) {
	if s.load()+locks > m.bounds.perSession {
		return refused(Overloaded, "the session would have more locks and entries than it may"), true
	}
	if no, ok := m.crowded(locks); ok {
		return no, true
	}
	return m.full(bytes)
}
