package forge

import (
	"fmt"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/locks"
)

// apiCodes are the names of the refusals that happen here.
var apiCodes = map[locks.Code]api.Code{
	locks.LockHeld: api.CodeLockHeld, locks.SessionExpired: api.CodeSessionExpired, locks.SessionUnknown: api.CodeSessionUnknown,
	locks.StaleFence: api.CodeStaleFence, locks.RevisionMismatch: api.CodeRevisionMismatch, locks.LimitMismatch: api.CodeLimitMismatch,
	locks.NotCandidate: api.CodeNotCandidate, locks.LockUnknown: api.CodeLockUnknown,
}

// A process makes one call at a time.
type process struct {
	w  *world
	id int
}

func (w *world) process() *process {
	w.procs++
	return &process{w, w.procs}
}

// An answer is how a call ends.
type answer struct {
	kind           history.Kind
	code           string
	slot, revision uint64
	session        string
	fence          uint64
	result         any
}

// call records a call. send makes the service answer by its argument; the answer may be
// lost, and so may the request. then gets what the caller is told.
func (p *process) call(e history.Event, send func(reply func(answer)), then func(answer)) {
	w := p.w
	w.calls++
	e.Kind, e.Op, e.Process, e.Node = history.Invoke, w.calls, p.id, fmt.Sprintf("n%d", w.rng.IntN(3)+1)
	w.record(e)
	lose := 0.003
	if w.lossy {
		lose = 0.08
	}
	over := false
	finish := func(a answer) {
		if over {
			return
		}
		over = true
		end := history.Event{
			Kind: a.kind, Op: e.Op, Process: p.id, F: e.F, Key: e.Key, Request: e.Request, Node: e.Node, Result: a.result,
			Code: a.code, Slot: a.slot, Revision: a.revision, Session: a.session, Fence: a.fence,
		}
		if end.Session == "" {
			end.Session = e.Session
		}
		w.record(end)
		if a.kind == history.Info {
			w.procs++
			p.id = w.procs
		}
		then(a)
	}
	if w.chance(lose) {
		w.after(300*time.Millisecond, func() { finish(answer{kind: history.Info}) })
		if w.chance(0.5) {
			return // it never arrives
		}
		w.after(w.upTo(600*time.Millisecond), func() { send(func(answer) {}) }) // it may arrive late
		return
	}
	w.after(w.upTo(6*time.Millisecond), func() {
		send(func(a answer) { w.after(w.upTo(6*time.Millisecond), func() { finish(a) }) })
	})
}

// change makes a call that is one command.
func (p *process) change(e history.Event, cmd locks.Command, req *locks.Request, tell func(r locks.Result, a *answer), then func(answer)) {
	w := p.w
	w.values++
	e.Request = fmt.Sprintf("r%d", w.values)
	*req = locks.Request{ID: e.Request, Hash: uint64(w.values), Since: w.machine.Revision()}
	p.call(e, func(reply func(answer)) {
		done := func(r locks.Result, slot uint64) {
			a := answer{kind: history.OK, slot: slot, revision: r.Revision}
			if r.Refused {
				a.kind, a.code = history.Fail, string(apiCodes[r.Code])
			}
			tell(r, &a)
			reply(w.mistold(e, a))
		}
		if w.dropped(e, done) {
			return
		}
		w.pending = append(w.pending, pending{cmd, done})
		if w.chance(0.05) { // sent again, since the first answer took too long
			w.pending = append(w.pending, pending{again(cmd), nil})
		}
	}, then)
}

// again is a command sent once more.
func again(cmd locks.Command) locks.Command {
	c, _ := locks.Decode(locks.Encode(cmd))
	return c
}

// A client opens sessions and does all kinds of things.
type client struct {
	w       *world
	p       *process
	keeper  *process
	session string
	gone    bool // its session is not kept alive any more
	lease   time.Duration
	held    *belief
}

// A belief is that of one who holds a lock.
type belief struct {
	lock  string
	fence uint64
	op    uint64
	proc  int
	over  bool
}

func (c *client) begin() {
	w := c.w
	if w.now > w.end {
		return
	}
	c.p = w.process()
	w.values++
	cmd := &locks.OpenCommand{ID: fmt.Sprintf("s-%d", w.values), TTL: ttl}
	invoked := w.now
	c.p.change(history.Event{F: history.Open, Args: history.OpenArgs{TTL: int64(ttl)}}, cmd, &cmd.Request,
		func(r locks.Result, a *answer) {
			a.session, a.result = r.Session, history.OpenResult{TTL: int64(r.TTL)}
		},
		func(a answer) {
			if a.kind != history.OK {
				w.after(20*time.Millisecond, c.begin)
				return
			}
			next := &client{w: w, p: c.p, keeper: w.process(), session: a.session, lease: invoked}
			next.keep()
			next.work()
		})
}

// believes returns until when c may think that its session lives.
func (c *client) believes() time.Duration {
	return c.lease + time.Duration(float64(ttl)*(1-2*drift))
}

// keep renews the session, until the client dies.
func (c *client) keep() {
	w := c.w
	if c.gone || w.now > w.end {
		return
	}
	if w.chance(0.04) || w.now > w.end-200*time.Millisecond {
		c.gone = true // nobody keeps the session from here on
		for _, late := range []time.Duration{2 * ttl, 9 * ttl / 4, 10 * ttl / 4} {
			w.after(late, c.ask)
		}
		return
	}
	invoked := w.now
	e := history.Event{F: history.KeepAlive, Key: c.session, Session: c.session}
	c.keeper.call(e, func(reply func(answer)) {
		w.asks = append(w.asks, func() { w.renew(c.session, reply) })
	}, func(a answer) {
		if a.kind == history.OK {
			c.lease = max(c.lease, invoked)
		}
		c.gone = c.gone || a.kind == history.Fail && a.code != string(api.CodeNoLeader)
		w.after(ttl/4, c.keep)
	})
}

// ask asks for a session that should have ended by now.
func (c *client) ask() {
	w := c.w
	if w.now < w.end {
		e := history.Event{F: history.KeepAlive, Key: c.session, Session: c.session}
		w.process().call(e, func(reply func(answer)) {
			w.asks = append(w.asks, func() { w.renew(c.session, reply) })
		}, func(answer) {})
	}
}

// renew is what the leader does with a keepalive.
func (w *world) renew(session string, reply func(answer)) {
	q := locks.Question{Extend: true, Sessions: []string{session}}
	x, err := locks.DecodeAnswer(w.machine.Ask(q.Encode(), w.now))
	switch {
	case err != nil || x.NotYet:
		reply(answer{kind: history.Fail, code: string(api.CodeNoLeader)})
	case x.Leases[0].State == locks.LeaseEnding:
		w.asks = append(w.asks, func() { w.renew(session, reply) })
	case x.Leases[0].State == locks.LeaseAlive || w.strike(DeadRenewed, 0.6):
		reply(answer{kind: history.OK, slot: x.Slot, revision: x.Revision, result: history.KeepAliveResult{TTL: int64(ttl)}})
	case x.Leases[0].State == locks.LeaseOver:
		reply(answer{kind: history.Fail, code: string(api.CodeSessionExpired)})
	default:
		reply(answer{kind: history.Fail, code: string(api.CodeSessionUnknown)})
	}
}

// work does the next thing.
func (c *client) work() {
	w := c.w
	if w.now > w.end {
		return
	}
	if c.gone && w.chance(0.2) { // somebody else begins in its place
		(&client{w: w}).begin()
		return
	}
	next := func(answer) { w.after(w.upTo(25*time.Millisecond), c.work) }
	switch n := w.rng.IntN(100); {
	case n < 22:
		c.put(next)
	case n < 48:
		c.get(next)
	case n < 53:
		c.delete(next)
	case n < 63:
		c.txn(next)
	case n < 70:
		c.holder(next)
	case n < 71:
		c.close(next)
	case n < 82:
		c.order(next)
	default:
		c.acquire(next)
	}
}

func (c *client) key(prefix string, n int) string {
	return fmt.Sprintf("%s%d-%d", prefix, c.w.rng.IntN(n), c.w.now/(3*time.Second))
}

func (c *client) revision(key string) *uint64 {
	var n uint64
	c.w.machine.View(func(v locks.View) {
		if e := v.Entry(key); e != nil {
			n = e.Revision
		}
	})
	if c.w.chance(0.2) {
		n++
	}
	return &n
}

func (c *client) put(then func(answer)) {
	key := c.key("k", 3)
	c.w.values++
	args := history.PutArgs{Value: fmt.Sprintf("v%d", c.w.values)}
	if c.w.chance(0.3) {
		args.IfRevision = c.revision(key)
	}
	cmd := &locks.PutCommand{Key: key, Value: []byte(args.Value), IfRevision: args.IfRevision}
	c.p.change(history.Event{F: history.Put, Key: key, Args: args}, cmd, &cmd.Request, func(r locks.Result, a *answer) {
		if r.Refused {
			a.result = history.PutResult{Current: r.Current}
		} else {
			a.result = history.PutResult{Revision: r.Revision}
		}
	}, then)
}

func (c *client) delete(then func(answer)) {
	key := c.key("k", 3)
	var args history.DeleteArgs
	if c.w.chance(0.3) {
		args.IfRevision = c.revision(key)
	}
	cmd := &locks.DeleteCommand{Key: key, IfRevision: args.IfRevision}
	c.p.change(history.Event{F: history.Delete, Key: key, Args: args}, cmd, &cmd.Request,
		func(r locks.Result, a *answer) { a.result = history.DeleteResult{Current: r.Current} }, then)
}

func (c *client) get(then func(answer)) {
	w, key := c.w, c.key("k", 3)
	c.p.call(history.Event{F: history.Get, Key: key}, func(reply func(answer)) {
		w.asks = append(w.asks, func() { reply(w.read(key)) })
	}, then)
}

// read reads a register.
func (w *world) read(key string) (a answer) {
	a.kind = history.OK
	w.machine.View(func(v locks.View) {
		m := v.Meta()
		a.slot, a.revision, a.result = m.Slot, m.Revision, history.GetResult{}
		if e := v.Entry(key); e != nil {
			a.result = history.GetResult{Found: true, Value: string(e.Value), Revision: e.Revision}
		}
	})
	return w.stale(key, a)
}

// txn moves something between two of three keys that belong together.
func (c *client) txn(then func(answer)) {
	w, era := c.w, c.w.now/(3*time.Second)
	key := func(i int) string { return fmt.Sprintf("t%d-%d", i, era) }
	from, to := w.rng.IntN(3), w.rng.IntN(3)
	w.values++
	args := history.TxnArgs{
		Guards: map[string]uint64{key(from): *c.revision(key(from))},
		Puts:   map[string]string{key(to): fmt.Sprintf("v%d", w.values)}, Reads: []string{key(0), key(1), key(2)},
	}
	cmd := &locks.TxnCommand{}
	for k, r := range args.Guards {
		cmd.If = append(cmd.If, locks.If{Kind: locks.IfRevision, Name: k, Revision: r})
	}
	for k, v := range args.Puts {
		cmd.Then = append(cmd.Then, locks.Op{Kind: locks.OpPut, Key: k, Value: []byte(v)})
	}
	for _, k := range args.Reads {
		cmd.Then = append(cmd.Then, locks.Op{Kind: locks.OpGet, Key: k})
		cmd.Else = append(cmd.Else, locks.Op{Kind: locks.OpGet, Key: k})
	}
	c.p.change(history.Event{F: history.Txn, Key: "t", Args: args}, cmd, &cmd.Request, func(r locks.Result, a *answer) {
		t, _ := locks.DecodeTxn(r.Body)
		out := history.TxnResult{Done: t.Succeeded, Read: map[string]history.GetResult{}}
		if t.Succeeded {
			out.Revision = r.Revision
		}
		for _, d := range t.Steps {
			if d.Kind == locks.OpGet {
				out.Read[d.Key] = history.GetResult{Found: d.Found, Value: string(d.Value), Revision: d.Revision}
			}
		}
		a.result = out
	}, then)
}

func (c *client) close(then func(answer)) {
	c.endBelief()
	c.gone = true
	cmd := &locks.EndCommand{ID: c.session}
	c.p.change(history.Event{F: history.CloseS, Key: c.session, Session: c.session}, cmd, &cmd.Request, func(locks.Result, *answer) {}, func(a answer) {
		if a.kind == history.Info { // it may still be closed: nothing is to be built on it
			c.abandon()
			return
		}
		then(a)
	})
}

// lockNames are the locks, and how they are used.
var lockNames = []struct {
	name  string
	slots int
	value bool
}{{"lock-a", 1, false}, {"lock-b", 1, false}, {"sem", 2, false}, {"seat", 1, true}, {"asked", 1, false}}

func (c *client) holder(then func(answer)) {
	w, l := c.w, lockNames[c.w.rng.IntN(len(lockNames))]
	name := c.lockName(l.name)
	c.p.call(history.Event{F: history.Holder, Key: name}, func(reply func(answer)) {
		w.asks = append(w.asks, func() {
			a := answer{kind: history.OK}
			w.machine.View(func(v locks.View) {
				got, known := v.Lock(name, 0)
				var out history.HolderResult
				for _, h := range got.Holders {
					out.Holders = append(out.Holders, history.Hold{Session: h.Session, Fence: h.Fence, Value: h.Value})
				}
				a.slot, a.revision, a.result = v.Meta().Slot, v.Meta().Revision, out
				if !known {
					a.kind, a.code = history.Fail, string(api.CodeLockUnknown)
				}
			})
			reply(a)
		})
	}, then)
}

func (c *client) lockName(name string) string {
	return fmt.Sprintf("%s-%d", name, c.w.now/(4*time.Second))
}

// acquire asks for a lock, and uses it.
func (c *client) acquire(then func(answer)) {
	w, l := c.w, lockNames[c.w.rng.IntN(len(lockNames))]
	name := c.lockName(l.name)
	args := history.AcquireArgs{Slots: l.slots}
	if l.value {
		w.values++
		args.Value = fmt.Sprintf("at-%d", w.values) // who campaigns again publishes another
	}
	if w.chance(0.6) {
		args.Wait = int64(w.upTo(400 * time.Millisecond))
	}
	cmd := &locks.AcquireCommand{Lock: name, Session: c.session, Wait: args.Wait > 0, Slots: uint64(l.slots), Campaign: l.value, Value: args.Value}
	w.values++
	e := history.Event{F: history.Acquire, Key: name, Session: c.session, Args: args, Request: fmt.Sprintf("r%d", w.values)}
	cmd.Request = locks.Request{ID: e.Request, Hash: uint64(w.values), Since: w.machine.Revision()}
	c.p.call(e, func(reply func(answer)) {
		arrived := w.now
		tell := func(r locks.Result, slot, revision uint64) {
			a := answer{kind: history.OK, slot: slot, revision: revision, session: r.Session, fence: r.Fence}
			if r.Refused {
				a.kind, a.code = history.Fail, string(apiCodes[r.Code])
				if r.Holder.Session != "" {
					a.result = history.AcquireResult{HeldBy: []history.Hold{{Session: r.Holder.Session, Fence: r.Holder.Fence}}}
				}
			} else {
				w.fences[name] = append(w.fences[name], r.Fence)
			}
			reply(w.misgranted(e, a))
		}
		w.pending = append(w.pending, pending{cmd, func(r locks.Result, slot uint64) {
			if r.Queued {
				w.waiters = append(w.waiters, &waiter{cmd, r, arrived + time.Duration(args.Wait), tell})
				return
			}
			tell(r, slot, r.Revision)
		}})
	}, func(a answer) {
		if a.kind != history.OK {
			then(a)
			return
		}
		c.use(l.name, name, a.fence, then)
	})
}

// use touches the resources under the lock, and gives it back, if nothing happens.
func (c *client) use(kind, name string, fence uint64, then func(answer)) {
	w := c.w
	c.endBelief()
	if w.now < c.believes() && kind != "asked" && kind != "seat" { // those are taken away from who holds them
		w.calls++
		c.held = &belief{name, fence, w.calls, c.p.id, false}
		w.record(history.Event{Kind: history.Invoke, F: history.Belief, Op: w.calls, Process: c.p.id, Key: name, Session: c.session, Fence: fence})
		c.watchBelief(c.held)
	}
	release := func(answer) {
		w.after(w.upTo(40*time.Millisecond), func() {
			if w.chance(0.1) {
				then(answer{}) // it forgets to
				return
			}
			c.endBelief()
			c.release(name, fence, then)
		})
	}
	if kind != "lock-a" {
		release(answer{})
		return
	}
	c.touch(name, fence, release)
}

// abandon goes on with another session.
func (c *client) abandon() {
	c.gone = true
	c.endBelief()
	(&client{w: c.w}).begin()
}
