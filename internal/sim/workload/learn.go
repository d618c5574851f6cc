package workload

import (
	"maps"
	"slices"
	"time"

	"github.com/prytany/prytany/locks"
)

// Learn takes a definite answer to heart, to an operation that was begun then.
func (u *User) Learn(o *Op, begun time.Duration, a Answer) {
	if a.dead {
		u.account.ToldDead(o.Session)
	}
	u.revision = max(u.revision, a.Revision)
	switch {
	case o.Kind == Create && a.ok():
		u.Leave()
		u.Session, u.News = o.Session, a.Revision
		u.account.Kept(o.Session, begun)
	case o.Kind == Borrow:
		u.borrowed(o, begun, a)
	case o.Kind == Look:
		u.looked(o, a)
	case o.Session != u.Session:
		u.settled(o, a)
	case a.dead, o.Kind == End:
		u.Leave()
	case a.Result.Queued:
		u.waits[o.Name] = o.ID
	case (o.Kind == Acquire || o.Kind == Campaign || o.Kind == Cancel) && a.ok():
		u.holds[o.Name] = a.Result.Fence
		delete(u.waits, o.Name)
		if o.Kind != Cancel && !a.Result.Repeated {
			u.account.Kept(o.Session, begun)
		}
	case o.Kind == Cancel:
		delete(u.waits, o.Name)
	case o.Kind == Release:
		u.released(o, a)
	case o.Kind == All && a.ok():
		u.gotAll(a)
	}
}

// released takes note that a grant is over. If it is not, because several have
// its fence, the lock is still held.
func (u *User) released(o *Op, a Answer) {
	fence := o.Command.(*locks.ReleaseCommand).Fence
	if fence == u.holds[o.Name] && (a.ok() || a.Result.Code != locks.SessionNeeded) {
		delete(u.holds, o.Name)
	}
}

// gotAll takes note of several grants at once.
func (u *User) gotAll(a Answer) {
	items, err := locks.DecodeHeld(a.Result.Body)
	if err != nil {
		return // the account has seen that it is what it must be
	}
	for _, i := range items {
		u.holds[i.Name] = i.Holder.Fence
	}
}

// looked takes note of what was seen of a lock: a place in the queue may have
// become a grant.
func (u *User) looked(o *Op, a Answer) {
	l, lent := u.loans[o.Name]
	for _, h := range a.Seen.Lock.Holders {
		if o.Session == u.Session && h.Session == u.Session {
			u.holds[o.Name] = h.Fence
			delete(u.waits, o.Name)
		}
		if lent && h.Session == l.session {
			l.fence = h.Fence
			u.loans[o.Name] = l
		}
	}
}

// borrowed takes note of what became of an acquire without a session.
func (u *User) borrowed(o *Op, begun time.Duration, a Answer) {
	switch {
	case a.ok():
		u.loans[o.Name] = loan{o.Session, o.ID, a.Result.Fence}
		u.account.Kept(o.Session, begun)
	default:
		delete(u.loans, o.Name)
	}
}

// settled takes note of what became of an operation on a borrowed lock.
func (u *User) settled(o *Op, a Answer) {
	l, lent := u.loans[o.Name]
	if !lent || l.session != o.Session {
		return
	}
	if o.Kind == Release || !a.ok() {
		delete(u.loans, o.Name)
	} else if a.Result.Fence != 0 {
		l.fence = a.Result.Fence
		u.loans[o.Name] = l
	}
}

// Hear takes news of the user's session.
func (u *User) Hear(changes []locks.Change) {
	for _, ch := range changes {
		for i := range ch.Events {
			switch e := &ch.Events[i]; e.Type {
			case locks.EventLock, locks.EventLeader:
				u.holds[e.Name] = e.Fence
				delete(u.waits, e.Name)
			case locks.EventUnlock:
				if u.holds[e.Name] == e.Fence {
					delete(u.holds, e.Name)
				}
			}
		}
	}
}

// Leave takes leave of the user's session.
func (u *User) Leave() {
	if u.Session != "" {
		u.last = u.Session
	}
	u.Session = ""
	clear(u.holds)
	clear(u.waits)
}

// Over takes note that a session is over.
func (u *User) Over(session string) {
	u.account.ToldDead(session)
	maps.DeleteFunc(u.loans, func(_ string, l loan) bool { return l.session == session })
}

// Loans returns the sessions of the locks that were asked for without one.
func (u *User) Loans() (sessions []string) {
	for _, l := range u.loans {
		sessions = append(sessions, l.session)
	}
	slices.Sort(sessions)
	return sessions
}
