package sim

import (
	"errors"
	"fmt"
	"time"

	"github.com/prytany/prytany/internal/sim/audit"
	"github.com/prytany/prytany/internal/sim/dice"
	"github.com/prytany/prytany/internal/sim/oracle"
	"github.com/prytany/prytany/internal/sim/workload"
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
	user  *workload.User
	index int
	count int
	op    *operation // the one under way
}

// An operation is what a client wants done once, however often it has to ask.
type operation struct {
	workload.Op
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
	c := &client{w: w, user: w.crowd.Add(), index: i}
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
			s += fmt.Sprintf(" %s %s (try %d);", c.op.ID, c.op.Kind, c.op.try)
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
	c.op = &operation{Op: c.user.Choose(fmt.Sprintf("%d.%d", c.index+1, c.count))}
	c.op.begun = w.now
	c.op.rec = w.history.Begin(c.index, &c.op.Op, w.now)
	c.attempt()
}

// attempt asks some node.
func (c *client) attempt() {
	w, o := c.w, c.op
	o.try++
	try := o.try
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	if w.healed {
		n = w.nodes[(c.index+try)%len(w.nodes)] // no dice send it to one that is out of reach again and again
	}
	w.at(w.now+w.sample(w.opt.Delay), func() { c.arrive(n, o, try) })
	c.astray(o, try)
	w.at(w.now+w.opt.Timeout, func() {
		if !o.over && o.try == try {
			c.again(0)
		}
	})
}

// astray has the same request come to another node too, at once or much later: whoever
// has sent it may have given up by then, or have its answer.
func (c *client) astray(o *operation, try int) {
	w := c.w
	if w.healed {
		return
	}
	also := func(count *int, after dice.Delay) {
		*count++
		n := dice.Pick(w.rng, w.nodes...)
		w.at(w.now+w.sample(after), func() { c.arrive(n, o, try) })
	}
	if w.nemesis.Clients.Twice > 0 {
		also(&w.stats.Struck.Twice, w.opt.Delay)
	}
	if w.nemesis.Clients.Late > 0 {
		also(&w.stats.Struck.Late, dice.Delay{Min: 200 * time.Millisecond, Max: latest})
	}
}

// latest is how much later a request comes astray, at most. It is less than the time for
// which clients go on after everything has healed.
const latest = 5 * time.Second

// again repeats the operation under way, or gives it up.
func (c *client) again(pause time.Duration) {
	w, o := c.w, c.op
	if o.try >= maxTries && !w.healed {
		c.end(noAnswer, false)
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
	if !n.hearsClients() {
		return
	}
	if o.Kind.Writes() {
		n.submit(replica.KindPropose, o.Encode(try), func(r replica.Result) { c.reply(n, o, try, r, workload.Answer{}) })
		return
	}
	if c.w.opt.Hooks.Read || c.w.opt.Hooks.Leads && n.machine != nil && n.machine.Leading {
		c.reply(n, o, try, replica.Result{Slot: n.machine.Slot}, n.see(&o.Op))
		c.w.oracle.Read(n.who(), n.machine.Slot, c.w.oracle.Acked())
		return
	}
	n.submit(replica.KindBarrier, nil, func(r replica.Result) {
		var a workload.Answer
		if r.Err == nil {
			a = n.see(&o.Op)
		}
		c.reply(n, o, try, r, a)
	})
}

// see lets o read n's machine.
func (n *node) see(o *workload.Op) (a workload.Answer) {
	n.machine.Locks.View(func(v locks.View) { a = o.See(v, n.w.audit, n.reader()) })
	return a
}

func (n *node) reader() audit.Reader { return audit.Reader{Name: n.name, Count: n.machine.Count} }

// hearsClients reports whether what a client sends to n arrives.
func (n *node) hearsClients() bool {
	if n.host != nil && n.Deaf > 0 {
		n.w.stats.Struck.ClientCut++
	}
	return n.host != nil && n.Deaf == 0 && n.Asleep <= n.w.now
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
			if n.machine.Slot < r.Slot {
				oracle.Fail("I8", "%s allows a read at slot %d; it has applied %d", n.name, r.Slot, n.machine.Slot)
			}
		}
		done(r)
	})
	n.pollBy(w.now + w.sample(w.opt.Loop))
}

// reply carries n's answer to the client.
func (c *client) reply(n *node, o *operation, try int, r replica.Result, a workload.Answer) {
	w := c.w
	if r.Err == nil && o.Kind.Writes() {
		a = o.Answer(r.Payload)
	}
	if n.Deaf > 0 || w.opt.Drop > 0 && !w.healed && dice.Chance(w.rng, w.opt.Drop) {
		return
	}
	w.at(w.now+n.spent+w.sample(w.opt.Delay), func() { c.told(o, try, r, a) })
}

// told takes an answer.
func (c *client) told(o *operation, try int, r replica.Result, a workload.Answer) {
	if o.over {
		return
	}
	switch {
	case r.Err == nil && a.Forgotten():
		c.end(noAnswer, false)
	case r.Err == nil:
		c.end(a, true)
	case errors.Is(r.Err, paxos.ErrUnknownOutcome):
		c.w.stats.Unknown++
		c.repeat(o, try)
	case paxos.Refused(r.Err):
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

// noAnswer is what a client has that has given up.
var noAnswer workload.Answer

// end takes note of how the operation under way has ended.
func (c *client) end(a workload.Answer, known bool) {
	w, o := c.w, c.op
	o.over = true
	c.op = nil
	w.history.End(o.rec, a, known, w.now)
	if known {
		w.stats.Done++
		w.stats.Kinds[o.Kind]++
		c.user.Learn(&o.Op, o.begun, a)
	} else if o.Kind == workload.Create || o.Kind == workload.End {
		c.user.Leave()
	}
	w.at(w.now+w.sample(w.opt.Think), c.begin)
}
