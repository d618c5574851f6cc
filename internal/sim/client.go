package sim

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prytany/prytany/internal/sim/oracle"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
)

// maxTries bounds how often a client repeats an operation while faults come
// and go. Once everything has healed it repeats until it has a definite answer.
const maxTries = 6

// A client does one operation after another, and beside them keeps its session
// alive.
type client struct {
	w     *World
	index int
	count int

	session  string // "" if it has none
	created  int
	op       *operation        // the one under way
	holds    map[string]uint64 // fences
	waits    map[string]string // acquires with a place in a queue
	revision uint64            // the highest one heard of
}

// An operation is what a client wants done once, however often it has to ask.
type operation struct {
	op
	try   int
	over  bool
	begun time.Duration
	rec   int // index in the history
}

// A call is one request handed to a node.
type call struct {
	asked time.Duration
	acked paxos.Slot // the highest slot known to anybody when it was asked
	lost  bool       // the process has ended
	node  *node
}

func (w *World) addClient(i int) {
	c := &client{w: w, index: i, holds: make(map[string]uint64), waits: make(map[string]string)}
	w.clients = append(w.clients, c)
	w.at(w.sample(w.opt.Think), c.begin)
	w.at(w.opt.TTL/3, c.renew)
}

// busyClients counts the clients with an operation under way.
func (w *World) busyClients() int {
	n := 0
	for _, c := range w.clients {
		if c.op != nil {
			n++
		}
	}
	return n
}

// stuck describes the operations that should have ended.
func (w *World) stuck() string {
	s := "requests without an answer after everything has healed:"
	for _, c := range w.clients {
		if c.op != nil {
			s += fmt.Sprintf(" %s %s (try %d);", c.op.id, c.op.kind, c.op.try)
		}
	}
	return s + " " + w.positions()
}

// begin begins the next operation.
func (c *client) begin() {
	w := c.w
	if w.stopping || c.op != nil {
		return
	}
	c.count++
	c.op = &operation{op: c.choose(fmt.Sprintf("%d.%d", c.index+1, c.count))}
	c.op.begun = w.now
	c.op.rec = w.history.begin(c.index, &c.op.op, w.now)
	c.attempt()
}

// choose picks what to do next.
func (c *client) choose(id string) op {
	w := c.w
	r := w.rng
	o := op{id: id, ttl: w.opt.TTL, session: c.session, own: c.index%2 == 1, since: c.revision}
	if c.session == "" {
		c.created++
		o.kind, o.session = opCreate, fmt.Sprintf("session-%d-%d", c.index+1, c.created)
		return o
	}
	if chance(r, w.opt.KeyShare) {
		c.chooseKey(&o)
		return o
	}
	o.name = w.history.lock(r.IntN(w.opt.Locks))
	if fence, ok := c.holds[o.name]; ok {
		o.kind, o.fence = opRelease, fence
		if chance(r, 0.1) {
			o.fence-- // an old fence must not release anything
		}
		return o
	}
	if acquire, ok := c.waits[o.name]; ok && chance(r, 0.9) {
		o.kind, o.cancels = pick(r, opLook, opLook, opCancel), acquire
		return o
	}
	switch x := r.IntN(20); {
	case x == 0:
		o.kind = opEnd
	case x < 4:
		o.kind = opLook
	default:
		o.kind = opAcquire
		o.wait = w.opt.Waiting && chance(r, 0.6)
	}
	return o
}

// chooseKey picks an operation on a key.
func (c *client) chooseKey(o *op) {
	w := c.w
	r := w.rng
	o.value = o.id + strings.Repeat(".", w.opt.Bulk)
	if chance(r, 0.1) {
		o.kind, o.attached = pick(r, opPut, opPut, opGet), true
		o.name = fmt.Sprintf("attached-%d", r.IntN(w.opt.Keys))
		return
	}
	o.name = w.history.key(r.IntN(w.opt.Keys))
	o.kind = pick(r, opGet, opGet, opPut, opCAS, opCAS, opDelete)
	lock := w.history.lock(r.IntN(w.opt.Locks))
	switch {
	case o.kind == opCAS:
		o.revision = w.history.guess(o.name)
	case o.kind == opPut && c.holds[lock] != 0:
		o.guard = &locks.Guard{Lock: lock, Fence: c.holds[lock]}
	}
}

// attempt asks some node.
func (c *client) attempt() {
	w, o := c.w, c.op
	o.try++
	try := o.try
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	w.at(w.now+w.sample(w.opt.Delay), func() { c.arrive(n, o, try) })
	w.at(w.now+w.opt.Timeout, func() {
		if !o.over && o.try == try {
			c.again(0)
		}
	})
}

// again repeats the operation under way, or gives it up.
func (c *client) again(pause time.Duration) {
	w, o := c.w, c.op
	if o.try >= maxTries && !w.healed {
		c.end(answer{}, false)
		return
	}
	try := o.try
	w.at(w.now+pause, func() {
		if !o.over && o.try == try {
			c.attempt()
		}
	})
}

// arrive hands the operation to n.
func (c *client) arrive(n *node, o *operation, try int) {
	if n.host == nil || n.deaf > 0 {
		return
	}
	if o.kind.writes() {
		n.submit(replica.KindPropose, o.command(try), func(r replica.Result) { c.reply(n, o, try, r, answer{}) })
		return
	}
	if c.w.opt.Hooks.Read {
		c.reply(n, o, try, replica.Result{Slot: n.machine.applied}, c.w.audit.look(&o.op, n.machine.count))
		c.w.oracle.Read(n.who(), n.machine.applied, c.w.oracle.Acked())
		return
	}
	n.submit(replica.KindBarrier, nil, func(r replica.Result) {
		var a answer
		if r.Err == nil {
			a = c.w.audit.look(&o.op, n.machine.count)
		}
		c.reply(n, o, try, r, a)
	})
}

// submit hands a request to the process, which must answer it exactly once,
// and in time if it lives.
func (n *node) submit(k replica.RequestKind, payload []byte, done func(replica.Result)) {
	w := n.w
	cl := &call{asked: w.now, acked: w.oracle.Acked(), node: n}
	n.open[cl] = struct{}{}
	n.host.Submit(paxos.Main, k, payload, func(r replica.Result) {
		if _, ok := n.open[cl]; !ok && !cl.lost {
			oracle.Fail("liveness", "%s answers a request twice", n.name)
		}
		delete(n.open, cl)
		switch {
		case r.Err != nil:
		case k == replica.KindPropose:
			w.oracle.Answered(r.Slot, r.Payload)
		case k == replica.KindBarrier:
			w.oracle.Read(n.who(), r.Slot, cl.acked)
			if n.machine.applied < r.Slot {
				oracle.Fail("I8", "%s allows a read at slot %d; it has applied %d", n.name, r.Slot, n.machine.applied)
			}
		}
		done(r)
	})
	n.pollBy(w.now + w.sample(w.opt.Loop))
}

// reply carries n's answer to the client.
func (c *client) reply(n *node, o *operation, try int, r replica.Result, a answer) {
	w := c.w
	if r.Err == nil && o.kind.writes() {
		a = o.result(r.Payload)
	}
	if n.deaf > 0 || w.opt.Drop > 0 && !w.healed && chance(w.rng, w.opt.Drop) {
		return
	}
	w.at(w.now+n.spent+w.sample(w.opt.Delay), func() { c.told(o, try, r, a) })
}

// told takes an answer.
func (c *client) told(o *operation, try int, r replica.Result, a answer) {
	if o.over {
		return
	}
	var notLeader *paxos.NotLeaderError
	switch {
	case r.Err == nil:
		c.end(a, true)
	case errors.Is(r.Err, paxos.ErrUnknownOutcome):
		c.w.stats.Unknown++
		c.repeat(o, try)
	case errors.As(r.Err, &notLeader), errors.Is(r.Err, paxos.ErrOverloaded):
		c.repeat(o, try)
	default:
		oracle.Fail("panic", "a request ends with %v", r.Err)
	}
}

// repeat tries again if try is the latest try.
func (c *client) repeat(o *operation, try int) {
	if o.try == try {
		c.again(20*time.Millisecond + c.w.sample(c.w.opt.Think))
	}
}

// end takes note of how the operation under way has ended.
func (c *client) end(a answer, known bool) {
	w, o := c.w, c.op
	o.over = true
	c.op = nil
	w.history.end(o.rec, a, known, w.now)
	if known {
		w.stats.Done++
		c.learn(o, a)
	} else if o.kind == opCreate || o.kind == opEnd {
		c.forget()
	}
	w.at(w.now+w.sample(w.opt.Think), c.begin)
}

// learn takes a definite answer to heart.
func (c *client) learn(o *operation, a answer) {
	w := c.w
	if a.dead {
		w.audit.toldDead(o.session)
	}
	c.revision = max(c.revision, a.revision)
	switch {
	case o.kind == opCreate && a.ok:
		c.forget()
		c.session = o.session
		w.audit.kept(o.session, o.begun)
	case o.session != c.session:
	case a.dead, o.kind == opEnd:
		c.forget()
	case a.queued:
		c.waits[o.name] = o.id
	case (o.kind == opAcquire || o.kind == opCancel) && a.ok:
		c.holds[o.name] = a.fence
		delete(c.waits, o.name)
	case o.kind == opCancel:
		delete(c.waits, o.name)
	case o.kind == opRelease && o.fence == c.holds[o.name]:
		delete(c.holds, o.name)
	case o.kind == opLook && a.session == c.session:
		c.holds[o.name] = a.fence // a place in the queue has become a grant
		delete(c.waits, o.name)
	}
}

// forget takes leave of the client's session.
func (c *client) forget() {
	c.session = ""
	clear(c.holds)
	clear(c.waits)
}

// renew keeps the session alive, three times in each TTL.
func (c *client) renew() {
	w := c.w
	if w.quiesced {
		return
	}
	w.at(w.now+w.opt.TTL/3, c.renew)
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	session, asked := c.session, w.now
	if session == "" || n.host == nil || n.deaf > 0 {
		return
	}
	n.submit(replica.KindAsk, keepAlive(session), func(r replica.Result) {
		if r.Err != nil || n.deaf > 0 {
			return
		}
		alive, dead := kept(r.Payload)
		w.at(w.now+w.sample(w.opt.Delay), func() {
			if alive {
				w.audit.kept(session, asked)
			}
			if dead {
				w.audit.toldDead(session)
				if c.session == session && c.op == nil {
					c.forget()
				}
			}
		})
	})
}
