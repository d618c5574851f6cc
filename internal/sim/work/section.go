package work

import (
	"fmt"
	"time"

	"github.com/prytany/prytany/internal/sim/dice"
	"github.com/prytany/prytany/internal/sim/effect"
	"github.com/prytany/prytany/locks"
)

// idle picks the next thing to do.
func (v *worker) idle() {
	r := v.rng
	c := locks.AcquireCommand{Session: v.session, Wait: v.cfg.Waiting && dice.Chance(r, 0.8)}
	c.Lock = dice.Pick(r, workLock, workLock, workShare, workShare, workSeat, workPool)
	if v.cfg.Breaks && dice.Chance(r, 0.05) {
		v.breakLock(c.Lock)
		return
	}
	switch c.Lock {
	case workShare:
		c.Shared = dice.Chance(r, 0.5)
	case workSeat:
		c.Campaign, c.Value = true, v.name
	case workPool:
		c.Slots = poolSlots
	}
	v.acquire(c, func(res locks.Result) {
		if res.Refused {
			v.rest()
			return
		}
		v.begin(v.believe(c, res))
	})
}

// rest does the next thing after a while.
func (v *worker) rest() { v.later(v.think(), v.idle) }

// acquire asks for a lock, and waits for it if c says so.
func (v *worker) acquire(c locks.AcquireCommand, done func(locks.Result)) {
	wait := time.Duration(0)
	if c.Wait {
		wait = 2 * time.Second
	}
	v.ask(func(r locks.Request) locks.Command {
		again := c
		again.Request = r
		return &again
	}, wait, done)
}

// breakLock makes holders let go, or asks them to.
func (v *worker) breakLock(lock string) {
	force := dice.Chance(v.rng, 0.5)
	within := dice.Delay{Max: time.Second}.Sample(v.rng)
	v.ask(func(r locks.Request) locks.Command {
		if force {
			return &locks.ReleaseCommand{Request: r, Lock: lock, Force: true}
		}
		return &locks.YieldCommand{Request: r, Lock: lock, Within: within}
	}, 0, func(locks.Result) { v.rest() })
}

// believe begins a belief: the worker has just heard that c was granted.
func (v *worker) believe(c locks.AcquireCommand, res locks.Result) *effect.Belief {
	b := &effect.Belief{
		Grant:  effect.Grant{Lock: c.Lock, Session: c.Session, Fence: res.Fence, Shared: c.Shared, Slots: int(c.Slots)},
		Client: v.name, Since: v.w.Now(), Until: v.When(v.deadline),
	}
	v.held = b
	v.w.Trace(v.name+" believes", b.Grant)
	v.beliefs.Begin(b)
	return b
}

// begin begins what the worker wants to do with what it was granted: if it is
// alone with that it changes a resource a few times.
func (v *worker) begin(b *effect.Belief) {
	if b.Shared || b.Slots > 1 {
		v.later(dice.Delay{Max: v.cfg.TTL / 2}.Sample(v.rng), func() { v.shared(b) })
		return
	}
	v.update(b, 1+v.rng.IntN(4))
}

// shared ends the time in which the worker shared a lock, or has it alone now.
func (v *worker) shared(b *effect.Belief) {
	if !b.Lasts(v.w.Now()) || b.Slots > 1 || dice.Chance(v.rng, 0.6) {
		v.release(b)
		return
	}
	c := locks.AcquireCommand{Session: b.Session, Lock: b.Lock}
	v.acquire(c, func(res locks.Result) {
		if res.Refused || !b.Lasts(v.w.Now()) {
			b.Fence = max(b.Fence, res.Fence)
			v.release(b)
			return
		}
		v.beliefs.End(b, v.w.Now())
		v.begin(v.believe(c, res))
	})
}

// downgrade shares with others what the worker has alone. From when it asks for
// that, it may not be alone.
func (v *worker) downgrade(b *effect.Belief) {
	v.beliefs.End(b, v.w.Now())
	c := locks.AcquireCommand{Session: b.Session, Lock: b.Lock, Shared: true}
	shared := v.believe(c, locks.Result{Fence: b.Fence})
	v.acquire(c, func(res locks.Result) {
		if res.Refused || res.Fence != b.Fence {
			shared.Fence = max(b.Fence, res.Fence)
			v.release(shared)
			return
		}
		v.begin(shared)
	})
}

// act does something if the worker still believes that it holds the lock. It may
// stand still after it has looked at its clock.
func (v *worker) act(b *effect.Belief, do func()) {
	if !b.Lasts(v.w.Now()) {
		v.drop(b)
		return
	}
	if v.stall > 0 {
		v.w.Trace(v.name+" stands still before it acts", v.stall)
		v.paused, v.stall = v.w.Now()+v.stall, 0
	}
	v.later(dice.Delay{Max: 200 * time.Microsecond}.Sample(v.rng), do)
}

// drop ends a belief whose lock is lost.
func (v *worker) drop(b *effect.Belief) {
	v.beliefs.End(b, v.w.Now())
	v.held = nil
	v.rest()
}

// release gives a lock back. Whether it is believed to be held or not: that of
// another grant has another fence.
func (v *worker) release(b *effect.Belief) {
	v.beliefs.End(b, v.w.Now())
	v.held = nil
	v.ask(func(r locks.Request) locks.Command {
		return &locks.ReleaseCommand{Request: r, Lock: b.Lock, Fence: b.Fence, Session: b.Session}
	}, 0, func(locks.Result) { v.rest() })
}

// update changes the resource of a lock so many times, each time by reading it,
// thinking, and writing it. The messages are on their way for some time, whatever
// becomes of the worker meanwhile; it waits for each answer before it goes on,
// since what comes late has the same fence.
func (v *worker) update(b *effect.Belief, times int) {
	if times == 0 && b.Lock == workShare && dice.Chance(v.rng, 0.3) && b.Lasts(v.w.Now()) {
		v.downgrade(b)
		return
	}
	if times == 0 {
		v.release(b)
		return
	}
	v.act(b, func() {
		w, life, g := v.w, v.life, b.Grant
		w.At(w.Now()+v.reach(), func() {
			read, ok := v.fenced[g.Lock].Read(g)
			plain, _ := v.plain[g.Lock].Read(g)
			v.in(life, v.reach(), func() {
				if !ok {
					v.drop(b)
					return
				}
				v.later(v.think(), func() { v.write(b, times, read, plain) })
			})
		})
	})
}

// write adds an element to what was read.
func (v *worker) write(b *effect.Belief, times int, read, plain []string) {
	v.act(b, func() {
		w, life, g := v.w, v.life, b.Grant
		v.count++
		element := fmt.Sprintf("%d.%d", v.index+1, v.count)
		inTime := v.beliefs.Sent(b, w.Now())
		w.At(w.Now()+v.reach(), func() {
			v.beliefs.Came(b, inTime, w.Now())
			ok := v.fenced[g.Lock].Write(g, read, element)
			v.plain[g.Lock].Write(g, plain, element)
			v.in(life, v.reach(), func() {
				if !ok {
					v.drop(b)
					return
				}
				v.update(b, times-1)
			})
		})
	})
}
