package locks

import (
	"iter"
	"time"

	"github.com/prytany/prytany/locks/internal/ordered"
)

// A View reads a [Machine]. It is valid within the function that [Machine.View]
// gives it to, which must be brief: nothing is applied meanwhile. Values and
// changes are shared: they never change.
type View struct{ m *Machine }

// View calls f with a view of one state.
func (m *Machine) View(f func(v View)) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	f(View{m})
}

// Meta returns where the state is in the group's history.
func (v View) Meta() Meta { return Meta{Revision: v.m.revision, Slot: uint64(v.m.applied)} }

// Subscribe returns a ring that rings when t next changes. Call cancel when
// done.
func (v View) Subscribe(t Topic) (r Ring, cancel func()) {
	return v.m.news.Subscribe(t)
}

// SubscribePrefix is Subscribe for the next event whose name begins with prefix.
func (v View) SubscribePrefix(prefix string) (r Ring, cancel func()) {
	return v.m.news.prefixes.Subscribe(prefix)
}

// SubscribeName is Subscribe for the next event of exactly this name.
func (v View) SubscribeName(name string) (r Ring, cancel func()) {
	return v.m.news.Subscribe(nameTopic(name))
}

// Entry returns a config entry, nil if there is none.
func (v View) Entry(key string) *Entry {
	e, _ := v.m.entries.Get(key)
	return e
}

// Entries returns all config entries; the map stays as it is after the view.
// changed is the revision of the last change of any.
func (v View) Entries() (all ordered.Map[*Entry], changed uint64) {
	return v.m.entries, v.m.changed
}

// Fence returns the highest fence that a resource has seen.
func (v View) Fence(resource string) (highest uint64, ok bool) { return v.m.fences.Get(resource) }

// Changes returns what commands after revision did, in order, and the oldest
// revision of which that is known.
func (v View) Changes(revision uint64) (changes []*Change, oldest uint64) {
	return v.m.history.Since(revision), v.m.history.Dropped() + 1
}

// Session returns a session, without what it holds and waits for unless whole;
// or why there is none.
func (v View) Session(id string, whole bool) (Session, Result) {
	s, no := v.m.alive(id)
	if s == nil {
		return Session{}, no
	}
	out := viewSession(s)
	if !whole {
		return out, Result{}
	}
	for _, name := range sortedKeys(s.holds) {
		g := s.holds[name]
		out.Holds = append(out.Holds, Grant{
			Name: name, Session: id, Fence: g.fence, Mode: g.mode(), Slots: int(g.lock.slots), ExpiresIn: -1,
		})
	}
	out.Waits, out.Keys = sortedKeys(s.waits), sortedKeys(s.keys)
	return out, Result{}
}

// Sessions yields sessions in the order of their ids, not below from.
func (v View) Sessions(from string) iter.Seq[Session] {
	return func(yield func(Session) bool) {
		for _, s := range v.m.sessions.From(from) {
			if !yield(viewSession(s)) {
				return
			}
		}
	}
}

func viewSession(s *session) Session {
	return Session{
		ID: s.id, Name: s.name, TTL: s.ttl, LockDelay: s.lockDelay,
		ExpiresIn: -1, Created: s.created, Bound: s.bound,
	}
}

// Lock returns a lock; now is the clock that Apply was given.
func (v View) Lock(name string, now time.Duration) (Lock, bool) {
	l, ok := v.m.locks.Get(name)
	if !ok {
		return Lock{}, false
	}
	return viewLock(l, now), true
}

// LockTag returns Lock.Changed of a lock, without looking at all of it.
func (v View) LockTag(name string) (changed uint64, ok bool) {
	if l, ok := v.m.locks.Get(name); ok {
		return l.changed, true
	}
	return 0, false
}

// Locks yields locks in the order of their names, not below from.
func (v View) Locks(from string, now time.Duration) iter.Seq[Lock] {
	return func(yield func(Lock) bool) {
		for _, l := range v.m.locks.From(from) {
			if !yield(viewLock(l, now)) {
				return
			}
		}
	}
}

func (g *grant) mode() Mode {
	if g.shared {
		return Shared
	}
	return Exclusive
}

func viewLock(l *lock, now time.Duration) Lock {
	v := Lock{Name: l.name, Slots: int(l.slots), Changed: l.changed}
	for _, g := range l.holders {
		v.Holders = append(v.Holders, Holder{
			Session: g.session.id, Owner: g.session.owner(), Fence: g.fence, Mode: g.mode(), Note: g.note,
			Elected: g.elected, Value: g.value, Since: g.fence, Held: g.timeSince(now), ExpiresIn: -1,
		})
	}
	for _, w := range l.waiters {
		mode := Exclusive
		if w.shared {
			mode = Shared
		}
		v.Waiters = append(v.Waiters, Waiter{
			Session: w.session.id, Owner: w.session.owner(), Mode: mode, Campaign: w.campaign, Value: w.value,
			Note: w.note, Since: w.since,
		})
	}
	v.Past = append(v.Past, l.past...)
	if y := l.yield; y.since != 0 {
		v.Yield = &Yield{Since: y.since, Within: y.within, Reason: y.reason}
		if y.within > 0 {
			v.Yield.Remaining = -1
		}
	}
	if l.delay != 0 {
		v.LockDelayRemaining = -1
	}
	return v
}

// Held returns how long this node has seen the grant of fence, -1 if unknown.
func (v View) Held(lock string, fence uint64, now time.Duration) time.Duration {
	if l, ok := v.m.locks.Get(lock); ok {
		for _, g := range l.holders {
			if g.fence == fence {
				return g.timeSince(now)
			}
		}
	}
	return -1
}

// Current reports whether a grant of fence is current, and if not which is: the
// newest.
func (v View) Current(lock string, fence uint64) (current uint64, ok bool) {
	l, known := v.m.locks.Get(lock)
	switch {
	case !known || len(l.holders) == 0:
		return 0, false
	case l.current(fence):
		return fence, true
	}
	return l.newest(), false
}

// Reach returns a channel that is closed once revision is applied here. Call
// cancel when done.
func (m *Machine) Reach(revision uint64) (reached <-chan struct{}, cancel func()) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.revision >= revision {
		done := make(chan struct{})
		close(done)
		return done, func() {}
	}
	return m.news.Await(revision)
}

// A Place is what became of a request in a lock's queue.
type Place struct {
	Fence   uint64          // it was granted, and still is
	Changed <-chan struct{} // it still waits: closed when that ends
	Cancel  func()          // with Changed
	Gone    Result          // else: why it ended
}

// Place looks up the place that the acquire c got.
func (v View) Place(c *AcquireCommand) Place {
	m := v.m
	l, ok := m.locks.Get(c.Lock)
	if !ok {
		l = &lock{name: c.Lock}
	}
	s, no := m.alive(c.Session)
	if s == nil {
		return Place{Gone: no}
	}
	if l.place(s, c.Request) >= 0 {
		r, cancel := m.news.Subscribe(placeTopic(c.Lock, c.Session, c.Request))
		return Place{Changed: r.C, Cancel: cancel}
	}
	a := m.table(c.Request).Get(c.Request.ID)
	switch g := s.holds[c.Lock]; {
	case a != nil && a.Result.Refused:
		return Place{Gone: a.Result}
	case g == nil:
		return Place{Gone: m.heldBy(l)}
	case a == nil && g.shared != c.Shared: // else it changed the mode since
		return Place{Gone: refused(UpgradeRefused, "the session got the lock in another mode meanwhile")}
	default:
		return Place{Fence: g.fence}
	}
}
