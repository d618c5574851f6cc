package effect

import (
	"maps"
	"slices"
	"time"

	"github.com/prytany/prytany/internal/sim/oracle"
	"github.com/prytany/prytany/locks"
)

// A Belief is the time in which a client believes that it has what it was
// granted.
type Belief struct {
	Grant
	Client string
	Since  time.Duration // true time
	Until  time.Duration // true time at which its clock shows the end; renewals move it
	ended  bool          // before Until: it has let go, or does not live any more
}

// Lasts reports whether the client believes so at now.
func (b *Belief) Lasts(now time.Duration) bool { return !b.ended && now < b.Until }

// Beliefs are those of all clients.
type Beliefs struct {
	Wild   bool // clocks may break their promise: beliefs that overlap are counted
	judge  Judge
	counts *Counts
	held   map[string][]*Belief // by lock
}

// NewBeliefs returns the beliefs of nobody.
func NewBeliefs(j Judge, c *Counts) *Beliefs {
	return &Beliefs{judge: j, counts: c, held: map[string][]*Belief{}}
}

// Begin notes that a client begins to believe (L5). A belief that is over is
// never begun again, so two that overlap do so when the later one begins.
func (bs *Beliefs) Begin(b *Belief) {
	bs.counts.Sections++
	now := b.Since
	held := slices.DeleteFunc(bs.held[b.Lock], func(o *Belief) bool { return !o.Lasts(now) })
	if b.Lasts(now) {
		if _, ended := bs.judge.Grant(b.Lock, b.Session, b.Fence); ended == locks.ReasonExpired {
			bs.outlasted(b)
		}
		bs.check(b, held)
		held = append(held, b)
	}
	bs.held[b.Lock] = held
}

// check fails if b cannot be true together with the others. Whoever lost a lock
// by force may not have heard of it.
func (bs *Beliefs) check(b *Belief, others []*Belief) {
	var rivals []*Belief
	for _, o := range others {
		if b.Shared && o.Shared {
			continue
		}
		if bs.taken(b) || bs.taken(o) {
			bs.counts.Taken++
			continue
		}
		rivals = append(rivals, o)
	}
	switch {
	case len(rivals) < max(b.Slots, 1):
	case bs.Wild:
		bs.counts.Wild++
	default:
		o := rivals[0]
		oracle.Fail("L5", "lock %s: %s (session %s, fence %d) believes to hold it from now on, with %d slots; so do %d others: %s (session %s, fence %d) from %v until %v",
			b.Lock, b.Client, b.Session, b.Fence, max(b.Slots, 1), len(rivals), o.Client, o.Session, o.Fence, o.Since, o.Until)
	}
}

func (bs *Beliefs) taken(b *Belief) bool { return bs.judge.Taken(b.Lock, b.Session, b.Fence) }

// Expired notes that a session has expired. What it held may be granted to
// others from now on, so its client must have given up before.
func (bs *Beliefs) Expired(session string, now time.Duration) {
	for _, lock := range slices.Sorted(maps.Keys(bs.held)) {
		for _, b := range bs.held[lock] {
			if b.Session == session && b.Lasts(now) {
				bs.outlasted(b)
			}
		}
	}
}

func (bs *Beliefs) outlasted(b *Belief) {
	if bs.Wild {
		bs.counts.Wild++
		return
	}
	oracle.Fail("L5", "lock %s: %s believes until %v to hold it by session %s with fence %d, which has expired", b.Lock, b.Client, b.Until, b.Session, b.Fence)
}

// End notes that the client lets go, at now.
func (bs *Beliefs) End(b *Belief, now time.Duration) {
	if !b.ended && now >= b.Until {
		bs.counts.Expired++
	}
	b.ended = true
}

// Sent notes that b's client sends an update.
func (bs *Beliefs) Sent(b *Belief, now time.Duration) (inTime bool) {
	if !b.Lasts(now) {
		bs.counts.Outside++
		return false
	}
	return true
}

// Came notes that an update which b's client sent, in time or not, arrives.
func (bs *Beliefs) Came(b *Belief, inTime bool, now time.Duration) {
	if b.Lasts(now) {
		return
	}
	if inTime {
		bs.counts.Late++
	}
	if slices.ContainsFunc(bs.held[b.Lock], func(o *Belief) bool { return o != b && o.Lasts(now) }) {
		bs.counts.Meeting++
	}
}
