package check

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/jepsen/ops"
	"github.com/prytany/prytany/jepsen/verdict"
)

// A touch is one call of the resource that was answered.
type touch struct {
	op   *ops.Op
	args history.ResourceArgs
	res  history.ResourceResult
}

// A resource is beside the service, and guarded by a lock.
type resource struct {
	lock   string
	fenced bool
}

// fenced is L3. What a resource loses that does not look at fences is only counted.
func (f *facts) fenced() *verdict.Check {
	c := verdict.New("L3-fenced-effect", "a resource that looks at fences loses no update, and each fence is used by the session it was granted to")
	all := map[resource][]touch{}
	open := map[resource]int{} // calls of which nobody knows
	for _, o := range f.h.Ops {
		if o.F != history.ResourceRead && o.F != history.ResourceWrite {
			continue
		}
		a, errA := history.Decode[history.ResourceArgs](o.Args)
		r, errR := history.Decode[history.ResourceResult](o.Result)
		at := resource{o.Key, a.Fenced}
		switch {
		case cmp.Or(errA, errR) != nil:
			c.Fail(cmp.Or(errA, errR).Error(), about(o))
		case o.Kind == history.Info:
			open[at]++
		case o.Kind == history.OK || o.Kind == history.Fail && r.Place > 0:
			all[at] = append(all[at], touch{o, a, r})
		}
	}
	for _, at := range slices.SortedFunc(maps.Keys(all), func(a, b resource) int { return cmp.Compare(a.lock, b.lock) }) {
		ts := all[at]
		slices.SortStableFunc(ts, func(a, b touch) int { return cmp.Compare(a.res.Place, b.res.Place) })
		lost := verdict.New("", "")
		sweep(lost, ts, open[at], at.fenced)
		if !at.fenced {
			c.Counts["lost without fences"] += int64(lost.Breaches)
			f.lost += int64(lost.Breaches)
			continue
		}
		c.Counts["touched with fences"] += int64(len(ts))
		if lost.Outcome == verdict.Failed {
			c.Outcome = verdict.Failed
			c.Breaches += lost.Breaches
			c.Offenders = append(c.Offenders, lost.Offenders...)
		}
		f.rightful(c, ts)
	}
	if len(all) == 0 {
		c.Nothing("no resource was touched")
	} else if f.lost > 0 {
		c.Say("without fences %d updates were lost", f.lost)
	}
	return c
}

// sweep goes through what a resource did, in its own order, and fails c for each
// update that was lost.
func sweep(c *verdict.Check, ts []touch, open int, fenced bool) {
	var last *touch // the newest write that was taken
	var highest uint64
	var kept []touch // writes that must be in what is read
	for i := range ts {
		t := &ts[i]
		if i > 0 && t.res.Place == ts[i-1].res.Place {
			c.Fail("two have the same place in the order of the resource", about(ts[i-1].op), about(t.op))
		}
		if t.op.F == history.ResourceRead {
			if fenced && t.op.Kind == history.OK {
				highest = max(highest, t.op.Fence)
			}
			for _, w := range kept {
				if !slices.Contains(t.res.Set, w.args.Value) {
					c.Fail(fmt.Sprintf("%d was written and acknowledged, and is not there any more", w.args.Value), about(w.op), about(t.op))
				}
			}
			kept = slices.DeleteFunc(kept, func(w touch) bool { return !slices.Contains(t.res.Set, w.args.Value) })
			continue
		}
		if fenced && t.op.Kind == history.Fail {
			if t.op.Fence >= highest && open == 0 {
				c.Fail(fmt.Sprintf("fence %d was refused, and the highest before is %d", t.op.Fence, highest), about(t.op))
			}
			continue
		}
		if t.op.Kind != history.OK {
			continue
		}
		if fenced && t.op.Fence < highest {
			c.Fail(fmt.Sprintf("fence %d was accepted after %d", t.op.Fence, highest), about(t.op))
		}
		highest = max(highest, t.op.Fence)
		if last != nil && t.args.Base < last.res.Counter {
			c.Fail(fmt.Sprintf("it was written by one who had read %d, over %d: what came between is lost", t.args.Base, last.res.Counter), about(last.op), about(t.op))
		}
		last = t
		kept = append(kept, *t)
	}
}

// rightful checks that each fence was granted to the session that used it.
func (f *facts) rightful(c *verdict.Check, ts []touch) {
	if f.log == nil {
		c.Doubt("there is no log that tells which session a fence was granted to")
		return
	}
	for i := range ts {
		o := ts[i].op
		if o.F == history.ResourceWrite && o.Kind == history.OK && f.grants[grant{o.Key, o.Fence, o.Session}] == nil {
			c.Fail(fmt.Sprintf("fence %d of %s was never granted to session %s", o.Fence, o.Key, o.Session), about(o))
		}
	}
}
