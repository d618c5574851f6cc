package audit

import (
	"slices"

	"github.com/prytany/prytany/locks"
)

// A Reader is a node that is read from, after it has applied so many commands.
type Reader struct {
	Name  string
	Count int
}

func (a *Account) misread(r Reader, name string, got, want any) {
	a.fail("I8", "%s, after %d commands, shows %s as %+v; want %+v", r.Name, r.Count, name, got, want)
}

// SeesLock checks what a read of a lock saw.
func (a *Account) SeesLock(r Reader, name string, got LockState) {
	want := LockState{}
	if l := a.locks[name]; l != nil {
		want = after(l.past, r.Count, func(s LockState) int { return s.count })
	}
	if got.Slots != want.Slots || got.Changed != want.Changed || got.Yield != want.Yield || got.Delayed != want.Delayed ||
		!slices.Equal(got.Holders, want.Holders) || !slices.Equal(got.Waiters, want.Waiters) {
		a.misread(r, name, got, want)
	}
}

// SeesPlace checks what becomes of an acquire that got a place in a queue, if the
// node is not behind.
func (a *Account) SeesPlace(r Reader, c *locks.AcquireCommand, got locks.Place) {
	if r.Count != a.count {
		return
	}
	l := a.lock(c.Lock)
	s, no := a.alive(c.Session)
	h := l.holdOf(c.Session)
	waits := slices.ContainsFunc(l.queue, func(p place) bool { return p.session == s && p.request == c.Request.ID })
	var fence uint64
	switch g := a.known(c.Request); {
	case waits, s == nil:
	case g != nil && g.Refused:
		no = *g
	case h == nil:
		no = l.notHad()
	case g == nil && h.shared != c.Shared: // what became of the place is forgotten
		no = refuse(locks.UpgradeRefused)
	default:
		fence = h.fence
	}
	if (got.Changed != nil) != waits || got.Fence != fence || got.Gone.Refused != no.Refused || got.Gone.Code != no.Code {
		a.fail("I10", "%s: the place of %s in the queue of %s is %+v; want fence %d, %+v; it waits: %v", r.Name, c.Request.ID, c.Lock, got, fence, no, waits)
	}
}

// SeesKey checks what a read of a config key saw.
func (a *Account) SeesKey(r Reader, name string, got Value) {
	want := Value{}
	if k := a.keys[name]; k != nil {
		want = after(k.past, r.Count, func(v Value) int { return v.count })
	}
	if want.count = 0; got != want {
		a.misread(r, name, got, want)
	}
}

// SeesFence checks what a read of a fence register saw.
func (a *Account) SeesFence(r Reader, name string, got Reading) {
	want := after(a.readings[name], r.Count, func(r Reading) int { return r.count })
	if want.count = 0; got != want {
		a.misread(r, name, got, want)
	}
}

// Timed returns the locks that have a lock-delay, or holders who are to yield.
func (a *Account) Timed() (names []string) {
	for name, l := range a.locks {
		if l.delay != 0 || l.within != 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Names calls f with each lock that there ever was, in no order.
func (a *Account) Names(f func(lock string)) {
	for name := range a.locks {
		f(name)
	}
}

// Free reports whether nobody holds or waits for any lock, and no lock-delay
// runs.
func (a *Account) Free() bool {
	for _, l := range a.locks {
		if l.inUse() {
			return false
		}
	}
	return true
}

// ValueOf reads a config key.
func ValueOf(v locks.View, key string) Value {
	if e := v.Entry(key); e != nil {
		return Value{Value: string(e.Value), Revision: e.Revision, Created: e.Created, Version: e.Version, Session: e.Session}
	}
	return Value{}
}

// LockOf reads a lock.
func LockOf(v locks.View, name string) (s LockState) {
	l, ok := v.Lock(name, 0)
	if !ok {
		return s
	}
	s = LockState{Slots: l.Slots, Changed: l.Changed, Delayed: l.LockDelayRemaining != 0}
	for _, h := range l.Holders {
		s.Holders = append(s.Holders, Hold{
			Session: h.Session, Fence: h.Fence, Shared: h.Mode == locks.Shared, Elected: h.Elected, Value: h.Value,
		})
	}
	for _, w := range l.Waiters {
		s.Waiters = append(s.Waiters, w.Session)
	}
	if l.Yield != nil {
		s.Yield = l.Yield.Since
	}
	return s
}
