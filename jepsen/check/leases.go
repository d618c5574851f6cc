package check

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/jepsen/ops"
	"github.com/prytany/prytany/jepsen/verdict"
	"github.com/prytany/prytany/locks"
)

// early is L4.
func (f *facts) early() *verdict.Check {
	c := verdict.New("L4-no-early-expiry", "no lease ends before the time that its last acknowledged renewal gave it")
	all := ops.Lives(f.h, f.h.Run.Drift)
	breaches := 0
	for _, id := range slices.Sorted(maps.Keys(all)) {
		l := all[id]
		if l.Renewed == nil || l.Closed != nil && !f.expired[id] {
			continue
		}
		at, known := time.Duration(0), false
		if l.Told != nil && l.Told.F != history.CloseS {
			at, known = l.Told.End, true
		}
		if f.expired[id] {
			if seen, ok := f.knownBy(f.dead[id]); ok && (!known || seen < at) {
				at, known = seen, true
			}
		}
		if !known {
			continue
		}
		c.Counts["leases"]++
		if at >= l.AtLeast {
			continue
		}
		breaches++
		who := []verdict.About{about(l.Renewed)}
		if l.Told != nil {
			who = append(who, about(l.Told))
		}
		if !f.wild {
			c.Fail(fmt.Sprintf("session %s had ended by %v, and its lease lasts until %v at least", id, at, l.AtLeast), who...)
		}
	}
	f.yielded(c)
	if f.wild {
		c.Say("clocks were made to misbehave, so nothing is promised: %d of %d leases ended early", breaches, c.Counts["leases"])
	} else if c.Counts["leases"]+c.Counts["yielded"] == 0 {
		c.Nothing("no session was seen to end by its lease")
	}
	return c
}

// unheardOf adds to all the sessions that nobody was told of: they were renewed when
// they were made, and what makes one may arrive a while after its caller gave up.
func (f *facts) unheardOf(all map[string]*ops.Life) {
	byRequest := map[string]*ops.Op{}
	for _, o := range f.h.Ops {
		if o.Request != "" {
			byRequest[o.Request] = o
		}
	}
	for _, c := range f.log.Commands {
		open, ok := c.Command.(*locks.OpenCommand)
		o := byRequest[c.Request]
		if ok && all[open.ID] == nil && o != nil {
			all[open.ID] = &ops.Life{ID: open.ID, TTL: open.TTL, Last: o.Ended}
		}
	}
}

// released is L6.
func (f *facts) released() *verdict.Check {
	c := verdict.New("L6-eventual-release", "after the last fault a session that nobody renews ends in time, and its locks are free")
	if f.log == nil {
		c.Doubt("there is no log")
		return c
	}
	heal, rho := f.heal(), f.h.Run.Drift
	all := ops.Lives(f.h, rho)
	f.unheardOf(all)
	for _, id := range slices.Sorted(maps.Keys(all)) {
		l := all[id]
		due := max(l.Last, heal) + time.Duration(float64(l.TTL)*(1+rho)) + f.opts.Failover
		if f.opened[id] == 0 || l.TTL == 0 {
			continue
		}
		if due > f.h.Until {
			c.Counts["due after the run"]++
			continue
		}
		c.Counts["ended in time"]++
		end := f.dead[id]
		if end == 0 {
			end = f.log.Last() + 1
		}
		if seen, ok := f.notYet(end); ok && seen >= due {
			c.Counts["ended in time"]--
			c.Fail(fmt.Sprintf("session %s was last renewed by %v, all faults were over at %v, and at %v it had not ended; it was due at %v",
				id, l.Last, heal, seen, due))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.free)) {
		c.Fail(fmt.Sprintf("lock %s is free in the end, and %d wait for it", name, f.free[name]))
	}
	if c.Counts["ended in time"] == 0 {
		c.Nothing("no session was left alone for long enough")
	}
	return c
}

// definite is L7.
func (f *facts) definite() *verdict.Check {
	c := verdict.New("L7-definite", "who was told that a session is over never succeeds with it again")
	over := map[string]*ops.Op{}
	for _, o := range f.h.Ops {
		if o.IsOver() {
			id := o.About()
			if before := over[id]; before == nil || o.End < before.End {
				over[id] = o
			}
		}
	}
	c.Counts["sessions"] = int64(len(over))
	for _, o := range f.h.Ops {
		id := o.About()
		uses := o.F == history.KeepAlive || o.F == history.CloseS || o.F == history.Acquire || o.F == history.AcquireAll || o.F == history.Release
		if e := over[id]; e != nil && uses && o.Kind == history.OK && o.Call > e.End {
			c.Fail(fmt.Sprintf("session %s succeeds after its end was told", id), about(e), about(o))
		}
	}
	if len(over) == 0 {
		c.Nothing("nobody was told of the end of a session")
	}
	return c
}

// waiting returns the locks of a state that have room and a queue: how many wait.
func waiting(m Machine) map[string]int {
	out := map[string]int{}
	m.View(func(v locks.View) {
		for l := range v.Locks("", 0) {
			if len(l.Holders) == 0 && len(l.Waiters) > 0 && l.LockDelayRemaining == 0 {
				out[l.Name] = len(l.Waiters)
			}
		}
	})
	return out
}
