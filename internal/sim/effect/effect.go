// Package effect is the world beyond a simulated cluster, on which clients act
// while they believe that they hold a lock; and what must be true of it.
//
// Fenced effect (L3), whatever the clocks and however long clients stand still:
// the fences that a resource accepts never fall, each is used by the session
// alone that it was granted to, who has a lock is not refused, and no update
// that was accepted is lost.
//
// Belief exclusion (L5), as long as the clocks keep to their bound: the times in
// which two clients believe that they hold a lock which only one of them can hold
// never overlap, and nobody believes in what has expired. Whose lock is broken by
// force may not have heard of it: that is counted. What a client does between looking at its clock and being
// heard is not in it. How often that falls outside is counted: it is why there
// are fences.
package effect

// A Grant is what a client was granted.
type Grant struct {
	Lock    string
	Session string
	Fence   uint64
	Shared  bool
	Slots   int // 0 or 1: an exclusive lock, unless Shared
}

// A Judge knows what the log says of grants.
type Judge interface {
	// Grant returns whether a lock was ever granted like that, and why the grant
	// has ended, "" if it has not.
	Grant(lock, session string, fence uint64) (granted bool, ended string)
	// Taken reports whether a grant ended because somebody else wanted it to.
	Taken(lock, session string, fence uint64) bool
}

// Counts say how much happened.
type Counts struct {
	Sections int // grants under which clients believed that they could act
	Accepted int // updates of fenced resources
	Refused  int // uses of them with a fence that was too low
	Outside  int // updates that were sent when the belief was over: a client stood still between check and act
	Late     int // updates that were sent in time, and came when it was over
	Meeting  int // updates outside or late that came while somebody else believed that he holds the lock
	Lost     int // updates that the resources lost that do not look at fences
	Taken    int // overlaps of beliefs after a lock was taken by force
	Expired  int // beliefs that ended by the client's clock
	Wild     int // beliefs that overlapped or outlasted their lease, while clocks of nodes broke their promise
}

// Add adds o to c.
func (c *Counts) Add(o *Counts) {
	c.Sections += o.Sections
	c.Accepted += o.Accepted
	c.Refused += o.Refused
	c.Outside += o.Outside
	c.Late += o.Late
	c.Meeting += o.Meeting
	c.Lost += o.Lost
	c.Taken += o.Taken
	c.Expired += o.Expired
	c.Wild += o.Wild
}
