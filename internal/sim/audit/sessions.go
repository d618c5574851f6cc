package audit

import (
	"maps"
	"slices"
	"time"

	"github.com/prytany/prytany/locks"
)

type session struct {
	id        string
	name      string
	alive     bool
	ttl       time.Duration
	lockDelay time.Duration
	bound     string // the one lock it was made for
	renewals  uint64
	until     time.Duration // it was told that it lives as long as that
}

func (s *session) owner() string {
	if s.name != "" {
		return s.name
	}
	return s.id
}

// alive returns the session, or the refusal if it is not alive.
func (a *Account) alive(id string) (*session, locks.Result) {
	switch s := a.sessions[id]; {
	case s == nil:
		return nil, refuse(locks.SessionUnknown)
	case !s.alive:
		return nil, refuse(locks.SessionExpired)
	default:
		return s, locks.Result{}
	}
}

func (a *Account) open(c *locks.OpenCommand) locks.Result {
	s := a.sessions[c.ID]
	if s == nil {
		s = a.begin(&session{id: c.ID, name: c.Name, ttl: c.TTL, lockDelay: c.LockDelay})
	}
	if !s.alive {
		return refuse(locks.SessionExpired)
	}
	return locks.Result{Session: s.id, TTL: s.ttl}
}

func (a *Account) begin(s *session) *session {
	s.alive = true
	a.sessions[s.id] = s
	a.event(locks.Event{Type: locks.EventSession, Name: s.id, Session: s.id, Owner: s.owner(), Reason: "opened"})
	return s
}

func (a *Account) end(c *locks.EndCommand) locks.Result {
	s, no := a.alive(c.ID)
	if s == nil {
		return no
	}
	a.over(s, locks.ReasonEnded)
	return locks.Result{Session: s.id}
}

// expire ends a session if the command is not void. It must not come before
// the lease that its client knows of has run out (L4).
func (a *Account) expire(c *locks.ExpireCommand) {
	s := a.sessions[c.Session]
	if s == nil || !s.alive || c.Ballot.Pack() != a.lead || c.Renewals != s.renewals {
		return
	}
	if a.now() < s.until {
		a.early("session %s, with a TTL of %v, expires at %v; it was to live until %v", c.Session, s.ttl, a.now(), s.until)
	}
	a.Ends.Expired++
	a.Expired(s.id)
	a.over(s, locks.ReasonExpired)
}

// over ends a session with all that is its own, in this one command.
func (a *Account) over(s *session, reason string) {
	s.alive = false
	a.event(locks.Event{Type: locks.EventSession, Name: s.id, Session: s.id, Owner: s.owner(), Reason: reason})
	for name, k := range a.keys {
		if k.exists() && k.Session == s.id {
			a.clear(name, locks.EventExpire)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.locks)) {
		l := a.locks[name]
		queued := l.leave(s.id, func(p place) { a.amend(p.request, refuse(locks.SessionExpired)) })
		h := l.holdOf(s.id)
		if h != nil {
			a.endGrant(l, h, reason)
			if reason == locks.ReasonExpired && s.lockDelay > 0 {
				l.delay, l.delayFor = uint64(a.count), max(l.delayFor, s.lockDelay)
				l.delayUntil = a.now() + a.least(l.delayFor)
			}
		}
		if queued || h != nil {
			a.serve(l)
		}
	}
}

// Kept notes that a client was told that its lease begins anew; it asked at.
func (a *Account) Kept(session string, at time.Duration) {
	if s := a.sessions[session]; s != nil {
		a.Remaining(session, at, s.ttl)
	}
}

// Remaining notes that somebody was told how much is left of a lease; he asked
// at.
func (a *Account) Remaining(session string, at, left time.Duration) {
	if s := a.sessions[session]; s != nil {
		s.until = max(s.until, at+a.least(left))
	}
}

// RemainingOf notes that somebody was told, at a revision, how much is left of a
// lock-delay and of the time to yield; he asked at.
func (a *Account) RemainingOf(name string, revision uint64, at, delay, yield time.Duration) {
	l := a.locks[name]
	if l == nil {
		if delay != 0 || yield != 0 {
			a.fail("L4", "time is left of lock %s, which nobody has ever used", name)
		}
		return
	}
	then := after(l.past, int(revision), func(s LockState) int { return s.count })
	if delay > 0 && !then.Delayed || yield > 0 && then.Yield == 0 {
		a.fail("L4", "lock %s has %v left of a lock-delay and %v to yield at revision %d; it was %+v", name, delay, yield, revision, then)
	}
	if delay > 0 && l.delay == then.delay {
		l.delayUntil = max(l.delayUntil, at+a.least(delay))
	}
	if yield > 0 && l.since == then.Yield {
		l.yieldUntil = max(l.yieldUntil, at+a.least(yield))
	}
}

// ToldDead checks that a session that a client is told is over is over (L7).
func (a *Account) ToldDead(session string) {
	if s := a.sessions[session]; s != nil && s.alive {
		a.fail("L7", "a client is told that its session %s is over; it is not", session)
	}
}

// Alive returns how many sessions are alive.
func (a *Account) Alive() (n int) {
	for _, s := range a.sessions {
		if s.alive {
			n++
		}
	}
	return n
}
