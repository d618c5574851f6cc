package audit

import (
	"strings"

	"github.com/prytany/prytany/locks"
)

// A grantID names one grant of all that ever were.
type grantID struct {
	lock    string
	session string
	fence   uint64
}

func (h *hold) id(l *lock) grantID { return grantID{l.name, h.session.id, h.fence} }

// Grant returns whether a lock was ever granted to a session with a fence, and
// why that has ended, "" if it has not.
func (a *Account) Grant(lock, session string, fence uint64) (granted bool, ended string) {
	ended, granted = a.grants[grantID{lock, session, fence}]
	return granted, ended
}

// Taken reports whether a grant ended because somebody else wanted it to: its
// holder may not have heard of that.
func (a *Account) Taken(lock, session string, fence uint64) bool {
	_, why := a.Grant(lock, session, fence)
	if why == locks.ReasonUpgraded { // then it is about the grant that took its place
		for g := range a.grants {
			if g.lock == lock && g.session == session && g.fence > fence && a.Taken(lock, session, g.fence) {
				return true
			}
		}
	}
	return strings.HasPrefix(why, locks.ReasonForced) || strings.HasPrefix(why, locks.ReasonYielded) || why == locks.ReasonTransferred
}
