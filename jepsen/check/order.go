package check

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/prytany/prytany/jepsen/internal/sabotage"
)

// A tick is one end of a call, for the sweep by time.
type tick struct {
	at  time.Duration
	end bool
	p   *point
}

// order sweeps by time and keeps the highest place of what was answered so far: what
// begins later has a higher one, or the same if it only reads. Equal times count as
// concurrent.
func (p *proof) order() {
	ticks := make([]tick, 0, 2*len(p.points))
	for i := range p.points {
		if sabotage.On(sabotage.IgnoreTime) {
			break
		}
		x := &p.points[i]
		ticks = append(ticks, tick{x.op.Call, false, x})
		if x.op.Answered() {
			ticks = append(ticks, tick{x.op.End, true, x})
		}
	}
	slices.SortStableFunc(ticks, func(a, b tick) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(rank(a.end), rank(b.end)))
	})
	var highest *point
	for _, t := range ticks {
		switch {
		case t.end && (highest == nil || t.p.lo > highest.lo):
			highest = t.p
		case t.end || highest == nil:
		case t.p.hi < highest.lo || t.p.change && t.p.hi == highest.lo:
			p.time.Fail(fmt.Sprintf("revision %d was answered before this began, which has revision %d", highest.lo, t.p.hi),
				about(highest.op), about(t.p.op))
		}
	}
	p.time.Counts["placed"] = int64(len(p.points))
}

// rank puts beginnings before ends.
func rank(end bool) int {
	if end {
		return 1
	}
	return 0
}
