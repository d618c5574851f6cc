package forge

import (
	"slices"
	"time"

	"github.com/prytany/prytany/jepsen/history"
)

// A resourceID names a resource.
type resourceID struct {
	lock   string
	fenced bool
}

// A resource is what a lock guards.
type resource struct {
	place, counter, highest uint64
	set                     []uint64
	seen                    map[uint64][]uint64 // the set, as it was at a value of the counter
}

// touch reads both resources, waits, and writes to both.
func (c *client) touch(name string, fence uint64, then func(answer)) {
	w := c.w
	var base [2]uint64 // as read from each
	pick := func(i int) (*resource, history.Event) {
		e := history.Event{Key: name, Session: c.session, Fence: fence, Args: history.ResourceArgs{Fenced: i == 1}}
		id := resourceID{name, i == 1}
		if w.resources[id] == nil {
			w.resources[id] = &resource{}
		}
		return w.resources[id], e
	}
	var step func(i int)
	step = func(i int) {
		if i == 4 {
			then(answer{})
			return
		}
		r, e := pick(i % 2)
		next := func(a answer) {
			if i < 2 && a.kind == history.OK {
				base[i] = a.result.(history.ResourceResult).Counter
			}
			if a.kind == history.Info {
				// Its own write may come late, and under the same fence as its next one.
				c.abandon()
				return
			}
			if i%2 == 1 && a.kind != history.OK { // refused, or unknown: it may not write
				then(a)
				return
			}
			pause := w.upTo(10 * time.Millisecond)
			if i == 1 && w.chance(0.02) {
				pause, c.gone = 2*ttl, true // as of a process that is stopped: its session is gone then
			}
			w.after(pause, func() { step(i + 1) })
		}
		if i < 2 {
			e.F = history.ResourceRead
			c.p.call(e, func(reply func(answer)) { reply(r.read(w, fence, i == 1)) }, next)
			return
		}
		w.values++
		args := history.ResourceArgs{Fenced: i == 3, Base: base[i-2], Value: uint64(w.values)}
		e.F, e.Args = history.ResourceWrite, args
		c.p.call(e, func(reply func(answer)) { reply(r.write(w, fence, args)) }, next)
	}
	step(0)
}

func (r *resource) read(w *world, fence uint64, fenced bool) answer {
	r.place++
	if fenced && fence < r.highest {
		return answer{kind: history.Fail, fence: fence, result: history.ResourceResult{Place: r.place, Highest: r.highest}}
	}
	if fenced {
		r.highest = max(r.highest, fence)
	}
	return answer{kind: history.OK, fence: fence, result: history.ResourceResult{Place: r.place, Counter: r.counter, Set: slices.Clone(r.set), Highest: r.highest}}
}

func (r *resource) write(w *world, fence uint64, a history.ResourceArgs) answer {
	r.place++
	if a.Fenced && fence < r.highest && !w.strike(LowFenceTaken, 1) {
		return answer{kind: history.Fail, fence: fence, result: history.ResourceResult{Place: r.place, Highest: r.highest}}
	}
	if r.seen == nil {
		r.seen = map[uint64][]uint64{}
	}
	r.seen[r.counter] = r.set
	r.counter, r.set = a.Base+1, append(slices.Clone(r.seen[a.Base]), a.Value)
	if a.Fenced {
		r.highest = max(r.highest, fence)
	}
	return answer{kind: history.OK, fence: fence, result: history.ResourceResult{Place: r.place, Counter: r.counter, Highest: r.highest}}
}

// watchBelief ends b when the lease may be over.
func (c *client) watchBelief(b *belief) {
	c.w.after(max(c.believes()-c.w.now, 0), func() {
		switch {
		case b.over:
		case c.w.now >= c.believes():
			c.end(b)
		default:
			c.watchBelief(b)
		}
	})
}

func (c *client) endBelief() {
	if c.held != nil {
		c.end(c.held)
		c.held = nil
	}
}

func (c *client) end(b *belief) {
	if !b.over {
		b.over = true
		c.w.record(history.Event{Kind: history.OK, F: history.Belief, Op: b.op, Process: b.proc, Key: b.lock, Session: c.session, Fence: b.fence})
	}
}
