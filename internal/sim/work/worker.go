package work

import (
	"fmt"
	"hash/fnv"
	"time"

	"github.com/prytany/prytany/internal/sim/dice"
	"github.com/prytany/prytany/internal/sim/effect"
	"github.com/prytany/prytany/locks"
)

// A worker is a process that uses the cluster as package client does: it keeps
// one session alive, reckons by its own clock how long that lasts, and acts on
// resources beyond the cluster while it believes that it holds a lock.
type worker struct {
	*Yard
	index int
	name  string

	dice.Pace               // its clock
	life      int           // goes up with each session; what belongs to an earlier one is over
	paused    time.Duration // until then it stands still
	stall     time.Duration // so long it will stand still between its next check and act
	count     int           // requests
	session   string

	deadline time.Duration // by its clock the session lasts until then
	news     uint64        // revision up to which it has heard of its session
	revision uint64        // the highest one heard of
	held     *effect.Belief
}

// A request is what a worker wants of the cluster, however often it asks.
type request struct {
	locks.Request
	command func(locks.Request) locks.Command
	wait    time.Duration // for its turn
	done    func(locks.Result)
	life    int
	tries   int
	over    bool
}

// later has the worker do something after d, unless its present life is over
// then. Whoever stands still does it when he moves again.
func (v *worker) later(d time.Duration, f func()) { v.in(v.life, d, f) }

func (v *worker) in(life int, d time.Duration, f func()) {
	w := v.w
	var happen func()
	happen = func() {
		switch {
		case v.life != life || w.Over():
		case w.Now() < v.paused:
			w.At(v.paused, happen)
		default:
			f()
		}
	}
	w.At(w.Now()+d, happen)
}

// restart begins anew with another session, after a while.
func (v *worker) restart(after time.Duration) {
	if v.held != nil {
		v.beliefs.End(v.held, v.w.Now())
	}
	v.held, v.session, v.deadline, v.news = nil, "", 0, 0
	v.life++
	v.later(after, v.open)
}

// crash ends the process, and begins another with another clock.
func (v *worker) crash() {
	v.w.Trace(v.name+" crashes", nil)
	v.paused, v.stall = 0, 0
	v.restart(dice.Delay{Min: 10 * time.Millisecond, Max: time.Second}.Sample(v.rng))
	v.setClock()
}

// setClock gives a new process a clock within the bound that holds for all.
func (v *worker) setClock() {
	v.Offset = time.Duration(v.rng.Int64N(int64(time.Hour)))
	if d := v.cfg.MaxDrift; d > 0 {
		v.Drift = int64(dice.Pick(v.rng, v.rng.IntN(2*d+1)-d, -d, d))
	}
	v.Drift += v.cfg.Hooks.Drift
}

// open opens a session.
func (v *worker) open() {
	w := v.w
	id := fmt.Sprintf("worker-%d-%d", v.index+1, v.life)
	begun, sent := w.Now(), v.Clock(w.Now())
	open := func(r locks.Request) locks.Command {
		return &locks.OpenCommand{Request: r, ID: id, TTL: v.cfg.TTL, LockDelay: v.cfg.LockDelay}
	}
	v.ask(open, 0, func(r locks.Result) {
		if r.Refused {
			v.restart(v.think())
			return
		}
		v.session, v.news = id, r.Revision
		v.account.Kept(id, begun)
		if v.renewed(sent, v.cfg.TTL); v.remaining() <= 0 {
			v.restart(v.think()) // it took too long to learn of it
			return
		}
		v.keep()
		v.listen()
		v.idle()
	})
}

// ask asks the cluster for something until there is a definite answer.
func (v *worker) ask(command func(locks.Request) locks.Command, wait time.Duration, done func(locks.Result)) {
	v.count++
	r := &request{command: command, wait: wait, done: done, life: v.life}
	r.ID = fmt.Sprintf("work-%d.%d", v.index+1, v.count)
	r.Hash, r.Since = hash(r.ID), v.revision
	v.try(r)
}

// try asks some node.
func (v *worker) try(r *request) {
	w := v.w
	r.Retry = r.tries > 0
	r.tries++
	try, c := r.tries, r.command(r.Request)
	again := func(after time.Duration) {
		v.in(r.life, after, func() {
			if !r.over && r.tries == try {
				v.try(r)
			}
		})
	}
	n := v.rng.IntN(v.cfg.Nodes)
	w.At(w.Now()+v.delay(), func() {
		w.Serve(n, c, r.wait, func(res locks.Result, err error) {
			v.in(r.life, v.delay(), func() {
				switch {
				case r.over:
				case err != nil, res.Queued:
					again(20 * time.Millisecond)
				default:
					r.over = true
					v.told(r, res)
				}
			})
		})
	})
	again(r.wait + v.cfg.Timeout)
}

// told takes the answer to r.
func (v *worker) told(r *request, res locks.Result) {
	v.revision = max(v.revision, res.Revision)
	if res.Refused && (res.Code == locks.SessionExpired || res.Code == locks.SessionUnknown) && v.session != "" {
		v.account.ToldDead(v.session)
		v.restart(v.think())
		return
	}
	r.done(res)
}

// margin is what package client gives away of a TTL.
func margin(ttl time.Duration) time.Duration { return max(ttl/50, 100*time.Millisecond) }

// remaining returns how long the session certainly lasts, by the worker's clock.
func (v *worker) remaining() time.Duration { return v.deadline - v.Clock(v.w.Now()) }

// renewed moves the deadline after a renewal that was sent at sent. What is over
// stays over.
func (v *worker) renewed(sent, ttl time.Duration) {
	if v.deadline != 0 && v.remaining() <= 0 {
		return
	}
	v.deadline = max(v.deadline, sent+ttl-margin(ttl))
	if v.held != nil {
		v.held.Until = v.When(v.deadline)
	}
}

// keep renews the session, first when a third of its time has passed, and then
// does not wait long for an answer before it asks again.
func (v *worker) keep() {
	ttl := v.cfg.TTL
	if v.remaining() <= 0 {
		v.restart(v.think())
		return
	}
	v.later(max(ttl/12, 50*time.Millisecond), v.keep)
	if v.remaining() <= ttl*2/3-margin(ttl) {
		v.renew(0)
	}
}

// listen hears of news while the worker holds a lock, and renews the session
// with that.
func (v *worker) listen() {
	hold := time.Duration(0)
	if v.cfg.Hold && v.held != nil {
		hold = dice.Delay{Max: v.cfg.TTL * 2 / 3}.Sample(v.rng)
		v.renew(hold)
	}
	v.later(hold+v.cfg.TTL/16, v.listen)
}

// renew asks some node to renew the session.
func (v *worker) renew(hold time.Duration) {
	w := v.w
	life, session, since, sent := v.life, v.session, v.news, v.Clock(w.Now())
	n := v.rng.IntN(v.cfg.Nodes)
	w.At(w.Now()+v.delay(), func() {
		w.KeepAlive(n, session, since, hold, func(k Kept) {
			v.in(life, v.delay(), func() { v.kept(sent, k) })
		})
	})
}

// kept takes the answer to a renewal that was sent at sent.
func (v *worker) kept(sent time.Duration, k Kept) {
	w := v.w
	switch k.State {
	case locks.LeaseAlive:
		v.account.Kept(v.session, k.Asked)
		from := sent + min(k.Held, v.Clock(w.Now())-sent)
		if v.cfg.Hooks.Receipt {
			from = v.Clock(w.Now())
		}
		v.renewed(from, min(v.cfg.TTL, k.Left))
		if k.UpTo > v.news {
			v.news = k.UpTo
			v.hear(k.News)
		}
	case locks.LeaseUnknown, locks.LeaseOver:
		v.account.ToldDead(v.session)
		v.restart(v.think())
	}
}

// hear takes news of the session: a lock may have been taken from it.
func (v *worker) hear(changes []locks.Change) {
	for _, ch := range changes {
		for i := range ch.Events {
			e := &ch.Events[i]
			if b := v.held; b != nil && e.Type == locks.EventUnlock && e.Name == b.Lock && e.Fence == b.Fence {
				v.beliefs.End(b, v.w.Now())
			}
		}
	}
}

func hash(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	return h.Sum64()
}
