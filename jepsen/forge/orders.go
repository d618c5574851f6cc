package forge

import (
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/locks"
)

// order asks something of several locks, of holders, of leaders, or of a register of
// fences.
func (c *client) order(then func(answer)) {
	switch c.w.rng.IntN(10) {
	case 0, 1:
		c.acquireAll(then)
	case 2, 3:
		c.yield(then)
	case 4, 5:
		c.transfer(then)
	case 6:
		c.proclaim(then)
	case 7:
		c.forgetFence(then)
	case 8:
		c.getFence(then)
	default:
		c.advance(then)
	}
}

// acquireAll asks for two locks at once, and lets them go.
func (c *client) acquireAll(then func(answer)) {
	w := c.w
	names := []string{c.lockName("asked"), c.lockName("other")}
	cmd := &locks.AcquireAllCommand{Session: c.session, Locks: names}
	e := history.Event{F: history.AcquireAll, Key: "both", Session: c.session, Args: history.AcquireAllArgs{Locks: names}}
	c.p.change(e, cmd, &cmd.Request, func(r locks.Result, a *answer) {
		items, _ := locks.DecodeHeld(r.Body)
		out := history.AcquireAllResult{Fences: map[string]uint64{}}
		if r.Refused {
			out = history.AcquireAllResult{HeldBy: map[string]history.Hold{}}
		}
		for _, h := range items {
			if r.Refused {
				out.HeldBy[h.Name] = history.Hold{Session: h.Holder.Session, Fence: h.Holder.Fence}
			} else {
				out.Fences[h.Name] = h.Holder.Fence
			}
		}
		a.result = out
	}, func(a answer) {
		r, _ := a.result.(history.AcquireAllResult)
		if a.kind != history.OK {
			then(a)
			return
		}
		w.after(w.upTo(40*time.Millisecond), func() {
			c.release(names[0], r.Fences[names[0]], func(answer) { c.release(names[1], r.Fences[names[1]], then) })
		})
	})
}

// release ends a grant, and goes on with another session if nobody knows whether it did.
func (c *client) release(name string, fence uint64, then func(answer)) {
	cmd := &locks.ReleaseCommand{Lock: name, Fence: fence, Session: c.session}
	c.p.change(history.Event{F: history.Release, Key: name, Session: c.session, Fence: fence, Args: history.ReleaseArgs{Fence: fence}},
		cmd, &cmd.Request, func(locks.Result, *answer) {}, func(a answer) {
			if a.kind == history.Info {
				// The release may still come, and end what the session gets by asking
				// again meanwhile: it would be the same grant.
				c.abandon()
				return
			}
			then(a)
		})
}

// yield asks whoever holds a lock to let go.
func (c *client) yield(then func(answer)) {
	w, name := c.w, c.lockName("asked")
	within := time.Duration(w.rng.IntN(3)) * 60 * time.Millisecond
	cmd := &locks.YieldCommand{Lock: name, Within: within}
	c.p.change(history.Event{F: history.Yield, Key: name, Args: history.YieldArgs{Within: int64(within)}}, cmd, &cmd.Request,
		func(r locks.Result, _ *answer) {
			if within > 0 && !r.Refused && w.strike(YieldTooSoon, 1) {
				w.pending = append(w.pending, pending{cmd: &locks.EndYieldCommand{Lock: name, Since: r.Revision, Ballot: w.ballot}})
			}
			if !r.Refused && w.strike(YieldEndsLater, 1) {
				for range 8 { // at some of these times somebody else holds it
					w.after(within+w.upTo(800*time.Millisecond), func() { w.force(name, r.Fence) })
				}
			}
		}, then)
}

// force ends a later grant of a lock than the one with a fence.
func (w *world) force(name string, fence uint64) {
	w.machine.View(func(v locks.View) {
		if l, _ := v.Lock(name, 0); len(l.Holders) > 0 && l.Holders[0].Fence > fence && l.Yield == nil {
			w.pending = append(w.pending, pending{cmd: &locks.ReleaseCommand{Lock: name, Force: true}})
		}
	})
}

// seat is what is known of an election: its leader, and the last of its candidates.
func (c *client) seat() (name string, leader history.Hold, heir string) {
	name = c.lockName("seat")
	c.w.machine.View(func(v locks.View) {
		l, _ := v.Lock(name, 0)
		for _, h := range l.Holders {
			leader = history.Hold{Session: h.Session, Fence: h.Fence}
		}
		for _, x := range l.Waiters {
			heir = x.Session
		}
	})
	return name, leader, heir
}

// transfer hands a lead over to who waits last.
func (c *client) transfer(then func(answer)) {
	w := c.w
	name, leader, heir := c.seat()
	if heir == "" {
		heir = c.session
	}
	args := history.TransferArgs{To: heir}
	if w.chance(0.7) {
		args.Fence = leader.Fence
	}
	cmd := &locks.TransferCommand{Lock: name, Fence: args.Fence, To: heir}
	c.p.change(history.Event{F: history.Transfer, Key: name, Args: args}, cmd, &cmd.Request, func(r locks.Result, a *answer) {
		if r.Refused {
			return
		}
		a.session, a.fence = r.Session, r.Fence
		if leader.Fence != 0 && leader.Fence < r.Fence && w.strike(TransferKeepsTerm, 0.7) {
			a.fence = leader.Fence
		}
	}, then)
}

// proclaim changes what is published in a term that may be over.
func (c *client) proclaim(then func(answer)) {
	w := c.w
	name, leader, _ := c.seat()
	if leader.Fence == 0 {
		then(answer{})
		return
	}
	if w.chance(0.3) {
		leader.Fence--
	}
	w.values++
	args := history.ProclaimArgs{Fence: leader.Fence, Value: "said-" + c.session + "-" + time.Duration(w.values).String()}
	cmd := &locks.ProclaimCommand{Lock: name, Fence: args.Fence, Value: args.Value}
	e := history.Event{F: history.Proclaim, Key: name, Fence: args.Fence, Args: args}
	c.p.change(e, cmd, &cmd.Request, func(r locks.Result, a *answer) {
		a.fence = args.Fence
		if a.code == string(api.CodeStaleFence) && w.strike(ProclaimAfterTerm, 0.5) {
			a.kind, a.code = history.OK, ""
		}
	}, then)
}

// thing is the resource whose register of fences is used now.
func (c *client) thing() (name string, highest uint64) {
	name = c.lockName("thing")
	c.w.machine.View(func(v locks.View) { highest, _ = v.Fence(name) })
	return name, highest
}

func (c *client) advance(then func(answer)) {
	w := c.w
	name, highest := c.thing()
	args := history.FenceArgs{Fence: highest + uint64(w.rng.IntN(6))}
	if w.chance(0.4) {
		args.Fence = max(1, highest-min(highest, 2))
	}
	args.Fence = max(args.Fence, 1)
	cmd := &locks.AdvanceCommand{Resource: name, Fence: args.Fence}
	c.p.change(history.Event{F: history.Advance, Key: name, Args: args}, cmd, &cmd.Request, func(r locks.Result, a *answer) {
		a.result = history.FenceResult{Highest: max(r.Fence, r.Current)}
		if r.Refused && w.strike(FenceFalls, 0.5) {
			a.kind, a.code, a.result = history.OK, "", history.FenceResult{Highest: args.Fence}
		}
	}, then)
}

func (c *client) forgetFence(then func(answer)) {
	name, highest := c.thing()
	args := history.FenceArgs{Fence: highest + uint64(c.w.rng.IntN(2))}
	cmd := &locks.ForgetFenceCommand{Resource: name, Fence: args.Fence}
	c.p.change(history.Event{F: history.ForgetFence, Key: name, Args: args}, cmd, &cmd.Request, func(r locks.Result, a *answer) {
		a.result = history.FenceResult{Highest: max(r.Fence, r.Current)}
	}, then)
}

func (c *client) getFence(then func(answer)) {
	w := c.w
	name, _ := c.thing()
	c.p.call(history.Event{F: history.GetFence, Key: name}, func(reply func(answer)) {
		w.asks = append(w.asks, func() {
			a := answer{kind: history.OK}
			w.machine.View(func(v locks.View) {
				highest, _ := v.Fence(name)
				if highest > 1 && w.strike(FenceFalls, 0.3) {
					highest--
				}
				a.slot, a.revision, a.result = v.Meta().Slot, v.Meta().Revision, history.FenceResult{Highest: highest}
			})
			reply(a)
		})
	}, then)
}
