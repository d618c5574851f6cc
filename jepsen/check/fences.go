package check

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/jepsen/ops"
	"github.com/prytany/prytany/jepsen/verdict"
)

// exclusion is L1.
func (f *facts) exclusion() *verdict.Check {
	c := verdict.New("L1-exclusion", "at each revision of the log a lock has no more holders than it may, and all of them live")
	if f.log == nil {
		c.Doubt("there is no log")
		return c
	}
	for _, b := range f.breach {
		c.Fail(fmt.Sprintf("revision %d: %s", b.revision, b.text))
	}
	if c.Counts["grants"] = int64(len(f.grants)); len(f.grants) == 0 {
		c.Nothing("no lock was granted")
	}
	return c
}

// mode returns how a lock is used: by how many at a time, and whether it is shared.
func mode(h *ops.History) (slots map[string]int, shared map[string]bool) {
	slots, shared = map[string]int{}, map[string]bool{}
	for _, o := range h.Ops {
		if o.F == history.Acquire {
			a, _ := history.Decode[history.AcquireArgs](o.Args)
			slots[o.Key] = max(slots[o.Key], a.Slots, 1)
			shared[o.Key] = shared[o.Key] || a.Shared
		}
	}
	return slots, shared
}

// tokens is L2.
func (f *facts) tokens() *verdict.Check {
	c := verdict.New("L2-fences", "a later grant of a lock has a higher fence, and no two grants have the same")
	slots, shared := mode(f.h)
	byLock := map[string][]*ops.Op{}
	released := map[grant]*ops.Op{}
	for _, o := range f.h.Ops {
		switch {
		case o.F == history.Acquire && o.Kind == history.OK:
			byLock[o.Key] = append(byLock[o.Key], o)
			c.Counts["grants"]++
			if o.Fence == 0 {
				c.Fail("a grant without a fence", about(o))
			}
		case (o.F == history.AcquireAll || o.F == history.Transfer) && o.Kind == history.OK:
			for _, g := range grantedBy(o) {
				byLock[g.Key] = append(byLock[g.Key], g)
				c.Counts["grants"]++
			}
		case o.F == history.Release && o.Kind == history.OK:
			a, _ := history.Decode[history.ReleaseArgs](o.Args)
			g := grant{o.Key, cmp.Or(a.Fence, o.Fence), o.Session}
			if before := released[g]; before == nil || o.End < before.End {
				released[g] = o
			}
		}
	}
	for _, lock := range slices.Sorted(maps.Keys(byLock)) {
		got := byLock[lock]
		owner := map[uint64]*ops.Op{}
		for _, o := range got {
			if other := owner[o.Fence]; other != nil && other.Session != o.Session && slots[lock] == 1 && !shared[lock] {
				c.Fail("two sessions have the same fence", about(other), about(o))
			}
			owner[o.Fence] = o
			if r := released[grant{lock, o.Fence, o.Session}]; r != nil && o.Call > r.End {
				c.Fail("a grant comes back that was released", about(r), about(o))
			}
		}
		perhaps := map[string]bool{} // sessions that may have it, and nobody was told of the fence
		for _, o := range f.h.Ops {
			if o.F == history.Acquire && o.Key == lock && o.Kind != history.OK && (slots[lock] > 1 || shared[lock]) {
				perhaps[o.Session] = true
			}
		}
		rise(c, got, perhaps)
	}
	if c.Counts["grants"] == 0 {
		c.Nothing("no lock was granted")
	}
	return c
}

// grantedBy are the grants that a call for several locks, or of a leader, brought about,
// as calls for one lock each.
func grantedBy(o *ops.Op) (out []*ops.Op) {
	fences := map[string]uint64{o.Key: o.Fence}
	if o.F == history.AcquireAll {
		r, _ := history.Decode[history.AcquireAllResult](o.Result)
		fences = r.Fences
	}
	for lock, fence := range fences {
		one := *o
		one.F, one.Key, one.Fence = history.Acquire, lock, fence
		out = append(out, &one)
	}
	return out
}

// rise sweeps the grants of one lock by time: each has a higher fence than all that
// were answered before it was asked for, unless its session had it already, or perhaps.
func rise(c *verdict.Check, got []*ops.Op, perhaps map[string]bool) {
	byEnd := slices.SortedFunc(slices.Values(got), func(a, b *ops.Op) int { return cmp.Compare(a.End, b.End) })
	seen := map[grant]bool{}
	var highest *ops.Op
	i := 0
	for _, o := range got {
		for ; i < len(byEnd) && byEnd[i].End < o.Call; i++ {
			if highest == nil || byEnd[i].Fence > highest.Fence {
				highest = byEnd[i]
			}
			seen[grant{"", byEnd[i].Fence, byEnd[i].Session}] = true
		}
		if highest != nil && o.Fence <= highest.Fence && !seen[grant{"", o.Fence, o.Session}] && !perhaps[o.Session] {
			c.Fail(fmt.Sprintf("fence %d was granted before this was asked for", highest.Fence), about(highest), about(o))
		}
	}
}

// beliefs is L5.
func (f *facts) beliefs() *verdict.Check {
	c := verdict.New("L5-belief", "no two clients believe at a time that they hold a lock that one may hold")
	slots, shared := mode(f.h)
	byLock := map[string][]*ops.Op{}
	for _, o := range f.h.Ops {
		if o.F == history.Belief && o.Kind != history.Fail && !shared[o.Key] {
			byLock[o.Key] = append(byLock[o.Key], o)
			c.Counts["beliefs"]++
		}
	}
	excused := f.paused || f.wild
	for _, lock := range slices.Sorted(maps.Keys(byLock)) {
		bs := byLock[lock]
		var now []*ops.Op // who believes, of those that began before
		for _, o := range bs {
			now = slices.DeleteFunc(now, func(b *ops.Op) bool { return b.Ended <= o.Call })
			now = append(now, o)
			sessions := map[string]bool{}
			other := o
			for _, b := range now {
				if sessions[b.Session] = true; b.Session != o.Session {
					other = b
				}
			}
			if len(sessions) <= max(slots[lock], 1) || other == o {
				continue
			}
			c.Counts["overlaps"]++
			c.Counts["overlap ms"] += (min(o.Ended, other.Ended) - o.Call).Round(time.Millisecond).Milliseconds()
			if !excused {
				c.Fail(fmt.Sprintf("two hold %s, each by its own clock", lock), about(other), about(o))
			}
		}
	}
	if n := c.Counts["beliefs"]; n == 0 {
		return c.Nothing("nobody has said what it believes")
	} else if excused {
		c.Say("processes were paused, or clocks made to misbehave, so this is only counted: %d of %d beliefs began beside another: what fences are for",
			c.Counts["overlaps"], n)
	}
	return c
}
