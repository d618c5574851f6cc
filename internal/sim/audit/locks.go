package audit

import (
	"cmp"
	"slices"
	"time"

	"github.com/prytany/prytany/locks"
)

// A lock is also a semaphore, if it has slots, and an election, if who holds it
// campaigned.
type lock struct {
	name    string
	slots   uint64
	holders []*hold
	queue   []place
	last    uint64 // the highest fence ever
	changed uint64 // revision of the last change of holders

	delay      uint64 // revision since when a lock-delay runs
	delayFor   time.Duration
	delayUntil time.Duration // it lasts as long as that

	since      uint64 // of the request to yield; 0: nobody is asked
	within     time.Duration
	yieldUntil time.Duration // they have as long as that
	why        string

	past []LockState
}

type hold struct {
	session *session
	fence   uint64
	shared  bool
	elected bool
	value   string
	note    string
}

// A place in a queue.
type place struct {
	session  *session
	request  string
	shared   bool
	campaign bool
	value    string
	note     string
}

// A LockState is what a read of a lock sees.
type LockState struct {
	count   int
	Slots   int
	Holders []Hold
	Waiters []string // sessions
	Changed uint64
	Yield   uint64 // revision of the request to yield
	Delayed bool
	delay   uint64
}

// A Hold is one grant.
type Hold struct {
	Session string
	Fence   uint64
	Shared  bool
	Elected bool
	Value   string
}

func (a *Account) lock(name string) *lock {
	l := a.locks[name]
	if l == nil {
		l = &lock{name: name}
		a.locks[name] = l
	}
	return l
}

func (l *lock) inUse() bool { return len(l.holders)+len(l.queue) > 0 || l.delay != 0 }

// admits reports whether one more may hold l now.
func (l *lock) admits(shared bool) bool {
	if l.delay != 0 {
		return false
	}
	if l.slots > 1 || len(l.holders) == 0 {
		return uint64(len(l.holders)) < max(l.slots, 1)
	}
	return shared && l.holders[0].shared
}

func (l *lock) holdOf(session string) *hold {
	for _, h := range l.holders {
		if h.session.id == session {
			return h
		}
	}
	return nil
}

// held returns the one grant that a fence and, unless it is "", a session mean.
func (l *lock) held(fence uint64, session string) (*hold, locks.Result) {
	var found []*hold
	for _, h := range l.holders {
		if h.fence == fence && (session == "" || h.session.id == session) {
			found = append(found, h)
		}
	}
	if len(found) == 1 {
		return found[0], locks.Result{}
	}
	if len(found) > 1 {
		return nil, refuse(locks.SessionNeeded)
	}
	no := refuse(locks.StaleFence)
	no.Current = l.newest()
	return nil, no
}

// newest returns the highest fence of a holder, 0 if there is none.
func (l *lock) newest() (fence uint64) {
	for _, h := range l.holders {
		fence = max(fence, h.fence)
	}
	return fence
}

// current reports whether a grant of fence is current, and if not the newest.
func (l *lock) current(fence uint64) (newest uint64, ok bool) {
	if slices.ContainsFunc(l.holders, func(h *hold) bool { return h.fence == fence }) {
		return fence, true
	}
	return l.newest(), false
}

// leave takes a session's places out of the queue; each is called with them.
func (l *lock) leave(session string, each func(place)) (any bool) {
	n := len(l.queue)
	l.queue = slices.DeleteFunc(l.queue, func(p place) bool {
		if p.session.id == session {
			each(p)
			return true
		}
		return false
	})
	return len(l.queue) < n
}

// grant gives l to p.
func (a *Account) grant(l *lock, p place) *hold {
	fence := uint64(a.count)
	alone := !p.shared && l.slots <= 1
	switch {
	case !p.session.alive:
		a.fail("I10", "lock %s is granted to session %s, which is over", l.name, p.session.id)
	case l.holdOf(p.session.id) != nil:
		a.fail("I10", "lock %s is granted to session %s twice", l.name, p.session.id)
	case fence < l.last, alone && fence == l.last:
		a.fail("I10", "lock %s: fence %d follows %d", l.name, fence, l.last)
	}
	h := &hold{session: p.session, fence: fence, shared: p.shared, elected: p.campaign, note: p.note}
	if p.campaign {
		h.value = p.value
	}
	l.holders = append(l.holders, h)
	l.last, l.changed = fence, fence
	a.grants[h.id(l)] = ""
	a.changed[l] = true
	if h.elected {
		a.about(l, h, locks.EventLeader)
	} else {
		a.about(l, h, locks.EventLock)
	}
	return h
}

// about tells of something that happened to a grant.
func (a *Account) about(l *lock, h *hold, t locks.EventType) {
	a.event(h.event(l, t))
}

func (h *hold) event(l *lock, t locks.EventType) locks.Event {
	e := locks.Event{Type: t, Name: l.name, Session: h.session.id, Owner: h.session.owner(), Fence: h.fence}
	if h.shared {
		e.Mode = locks.Shared
	}
	if t == locks.EventLeader {
		e.Value = h.value
	}
	return e
}

// endGrant takes l from a holder. Whoever asked those to yield who held it
// before has got what he wanted when the last of them is gone.
func (a *Account) endGrant(l *lock, h *hold, reason string) {
	l.holders = slices.DeleteFunc(l.holders, func(o *hold) bool { return o == h })
	l.changed = uint64(a.count)
	a.changed[l] = true
	a.grants[h.id(l)] = reason
	e := h.event(l, locks.EventUnlock)
	e.Reason = reason
	a.event(e)
	l.answered()
}

// answered drops the request to yield if nobody is left whom it was about.
func (l *lock) answered() {
	if !slices.ContainsFunc(l.holders, func(h *hold) bool { return h.fence < l.since }) {
		l.since, l.within, l.why = 0, 0, ""
	}
}

// dismiss ends a grant, and with it a session that lived for this lock alone.
func (a *Account) dismiss(l *lock, h *hold, reason string) {
	a.endGrant(l, h, reason)
	a.endBound(l, h.session, reason)
}

func (a *Account) endBound(l *lock, s *session, reason string) {
	waits := slices.ContainsFunc(l.queue, func(p place) bool { return p.session == s })
	if s.bound == l.name && !waits {
		a.over(s, reason)
	}
}

// serve grants l to the first in its queue, and to the next, as long as it
// admits them.
func (a *Account) serve(l *lock) {
	a.changed[l] = true
	for len(l.queue) > 0 && l.admits(l.queue[0].shared) {
		a.serveAt(l, 0)
	}
}

// serveAt grants l to the i-th in its queue. It then has what it asked for with
// other requests, too, unless that was another mode; what it wanted to publish
// with them it publishes.
func (a *Account) serveAt(l *lock, i int) *hold {
	p := l.queue[i]
	h := a.grant(l, p)
	l.leave(p.session.id, func(o place) {
		if o.shared != p.shared {
			a.amend(o.request, refuse(locks.UpgradeRefused))
			return
		}
		if o.campaign && (!h.elected || h.value != o.value) {
			a.publish(l, h, o.value)
		}
		a.amend(o.request, granted(l, h))
	})
	return h
}

// granted is the answer to whoever holds h.
func granted(l *lock, h *hold) locks.Result {
	return locks.Result{Session: h.session.id, TTL: h.session.ttl, Fence: h.fence, Shared: h.shared, Slots: l.slots}
}

// notHad is the answer to whoever does not get l.
func (l *lock) notHad() locks.Result {
	r := refuse(locks.LockHeld)
	r.Position = len(l.queue) + 1
	if len(l.holders) == 0 {
		r.Delayed = l.delay != 0
		return r
	}
	h := l.holders[0]
	r.Holder.Session, r.Holder.Owner, r.Holder.Fence, r.Holder.Note = h.session.id, h.session.owner(), h.fence, h.note
	r.Holder.Shared, r.Holder.Elected, r.Holder.Value = h.shared, h.elected, h.value
	return r
}

// settle checks every lock that the command has changed (I10), and remembers
// how it is now.
func (a *Account) settle() {
	for l := range a.changed {
		a.check(l)
		s := LockState{count: a.count, Slots: int(l.slots), Changed: l.changed, Yield: l.since, Delayed: l.delay != 0, delay: l.delay}
		for _, h := range l.holders {
			s.Holders = append(s.Holders, Hold{h.session.id, h.fence, h.shared, h.elected, h.value})
		}
		for _, p := range l.queue {
			s.Waiters = append(s.Waiters, p.session.id)
		}
		l.past = append(l.past, s)
	}
	clear(a.changed)
}

// check fails if more hold l than may, or nobody who could.
func (a *Account) check(l *lock) {
	readers := 0
	for _, h := range l.holders {
		if h.shared {
			readers++
		}
		if !h.session.alive {
			a.fail("I10", "lock %s is held by session %s, which is over", l.name, h.session.id)
		}
	}
	writers := len(l.holders) - readers
	switch {
	case readers > 0 && writers > 0:
		a.fail("I10", "lock %s has %d readers and %d writers", l.name, readers, writers)
	case writers > int(cmp.Or(l.slots, 1)):
		a.fail("I10", "lock %s with %d slots has %d holders", l.name, l.slots, writers)
	case len(l.queue) > 0 && l.admits(l.queue[0].shared):
		a.fail("I10", "lock %s is not granted to the first in its queue", l.name)
	}
}

// after returns the newest of past that was made by one of the first count
// commands.
func after[T any](past []T, count int, made func(T) int) (none T) {
	for i := len(past) - 1; i >= 0; i-- {
		if made(past[i]) <= count {
			return past[i]
		}
	}
	return none
}
