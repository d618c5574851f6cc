package sim

import (
	"fmt"
	"time"

	"github.com/prytany/prytany/internal/sim/dice"
	"github.com/prytany/prytany/internal/sim/machine"
	"github.com/prytany/prytany/internal/sim/oracle"
	"github.com/prytany/prytany/internal/sim/work"
	"github.com/prytany/prytany/internal/sim/workload"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos/replica"
)

// maxAsking is how many questions about renewals a node asks at a time.
const maxAsking = 2

// lookEvery is how often a node looks whether a ring has rung.
const lookEvery = 20 * time.Millisecond

// A gate gathers the renewals that a process is asked for: those that come while
// others are under way go to the leader together, in one question.
type gate struct {
	waiting []renewal
	asking  int
}

// A renewal is told the leader's answer about a session, if there is one.
type renewal struct {
	session string
	tell    func(l locks.Lease, revision uint64)
}

// renew begins the lease of a session anew, later than it was called.
func (n *node) renew(session string, tell func(locks.Lease, uint64)) {
	g := n.gate
	g.waiting = append(g.waiting, renewal{session, tell})
	if g.asking < maxAsking {
		g.asking++
		n.askRenewals()
	}
}

// askRenewals asks until nobody waits.
func (n *node) askRenewals() {
	g := n.gate
	batch := g.waiting
	if g.waiting = nil; len(batch) == 0 {
		g.asking--
		return
	}
	q := locks.Question{Extend: true}
	for _, r := range batch {
		q.Sessions = append(q.Sessions, r.session)
	}
	n.submit(replica.KindAsk, q.Encode(), func(r replica.Result) {
		if a, ok := leases(r, len(batch)); ok {
			for i, b := range batch {
				n.w.stats.Renewed++
				b.tell(a.Leases[i], a.Revision)
			}
		}
		if n.gate == g && n.host != nil {
			n.askRenewals()
		}
	})
}

// leases reads the leader's answer about so many sessions, if it has one.
func leases(r replica.Result, sessions int) (a locks.Answer, ok bool) {
	if r.Err != nil {
		return a, false
	}
	a, err := locks.DecodeAnswer(r.Payload)
	if err != nil {
		oracle.Fail("I6", "the answer to a keepalive is not readable: %v", err)
	}
	if !a.NotYet && len(a.Leases) != sessions {
		oracle.Fail("I6", "%d sessions were asked about, %d leases are told of", sessions, len(a.Leases))
	}
	return a, !a.NotYet
}

// ask asks now and then how much is left of leases, lock-delays and times to
// yield. Nothing may end before what is told has passed.
func (w *World) ask() {
	if w.quiesced {
		return
	}
	w.at(w.now+w.opt.Every(200*time.Millisecond), w.ask)
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	if n.host == nil {
		return
	}
	asked := w.now
	q := locks.Question{Locks: w.audit.Timed()}
	for _, c := range w.clients {
		q.Sessions = append(q.Sessions, c.user.Session)
	}
	n.submit(replica.KindAsk, q.Encode(), func(r replica.Result) {
		a, ok := leases(r, len(q.Sessions))
		if !ok {
			return
		}
		for i, l := range a.Leases {
			if l.State == locks.LeaseAlive {
				w.audit.Remaining(q.Sessions[i], asked, l.Remaining)
			}
		}
		for i, name := range q.Locks {
			w.audit.RemainingOf(name, a.Revision, asked, a.Delays[i], a.Yields[i])
		}
	})
}

// keepAlive renews a session at n, and if hold is not 0 does it once more when
// there is news of it after revision since, or hold is over.
func (n *node) keepAlive(session string, since uint64, hold time.Duration, tell func(work.Kept)) {
	inc := n.incarnation
	asked := n.w.now
	n.renew(session, func(l locks.Lease, revision uint64) {
		if hold == 0 || l.State != locks.LeaseAlive {
			tell(work.Kept{State: l.State, Asked: asked, Left: l.Remaining})
			return
		}
		if since == 0 {
			since = revision
		}
		t := machine.NewTail(fmt.Sprintf("a keepalive of %s held at %s", session, n.name), since,
			func(e *locks.Event) bool { return e.Session == session },
			func(v locks.View) (locks.Ring, func()) { return v.Subscribe(locks.SessionTopic(session)) })
		n.await(inc, t, n.w.now+hold, func(news []locks.Change) {
			n.w.stats.Held++
			again := n.w.now
			held := n.Clock(again) - n.Clock(asked)
			n.renew(session, func(l locks.Lease, _ uint64) {
				tell(work.Kept{State: l.State, Asked: again, Left: l.Remaining, Held: held, News: news, UpTo: t.Told})
			})
		})
	})
}

// await calls done with news of t once there is any, or it is late. A process
// that ends calls nobody.
func (n *node) await(inc uint64, t *machine.Tail, late time.Duration, done func([]locks.Change)) {
	if n.host == nil || n.incarnation != inc {
		return
	}
	news, missed := t.Read(n.machine)
	if len(news) > 0 || missed || n.w.now >= late {
		t.Stop()
		done(news)
		return
	}
	n.w.at(min(n.w.now+n.w.opt.Every(lookEvery), late), func() { n.await(inc, t, late, done) })
}

// renew keeps the client's sessions alive, three times in each TTL.
func (c *client) renew() {
	w := c.w
	if w.quiesced {
		return
	}
	if w.opt.Features == 0 {
		w.at(w.now+w.opt.TTL/3, c.renew)
		c.renewOne()
		return
	}
	hold := time.Duration(0)
	if w.opt.Features.Has(workload.WithHold) && dice.Chance(w.rng, 0.7) {
		hold = time.Duration(w.rng.Int64N(int64(w.opt.TTL * 2 / 3)))
	}
	w.at(w.now+w.opt.TTL/4, c.renew)
	if c.user.Session != "" {
		c.renewAt(c.user.Session, hold)
	}
	for _, session := range c.user.Loans() {
		c.renewAt(session, 0)
	}
}

// renewOne asks for the renewal of the client's session alone.
func (c *client) renewOne() {
	w := c.w
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	session, asked := c.user.Session, w.now
	if session == "" || !n.hearsClients() {
		return
	}
	q := locks.Question{Extend: true, Sessions: []string{session}}
	n.submit(replica.KindAsk, q.Encode(), func(r replica.Result) {
		if r.Err != nil || n.Deaf > 0 {
			return
		}
		k := work.Kept{State: locks.LeaseEnding, Asked: asked}
		if a, ok := leases(r, 1); ok {
			k.State = a.Leases[0].State
		}
		c.kept(session, k)
	})
}

// renewAt asks some node to keep a session alive.
func (c *client) renewAt(session string, hold time.Duration) {
	w := c.w
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	since := c.user.News
	w.at(w.now+w.sample(w.opt.Delay), func() {
		if !n.hearsClients() {
			return
		}
		n.keepAlive(session, since, hold, func(k work.Kept) {
			if n.Deaf == 0 {
				c.kept(session, k)
			}
		})
	})
}

// kept carries the answer to a keepalive to the client.
func (c *client) kept(session string, k work.Kept) {
	w := c.w
	w.at(w.now+w.sample(w.opt.Delay), func() {
		switch k.State {
		case locks.LeaseAlive:
			w.audit.Kept(session, k.Asked)
			if c.user.Session == session && k.UpTo > c.user.News {
				c.user.News = k.UpTo
				c.user.Hear(k.News)
			}
		case locks.LeaseUnknown, locks.LeaseOver:
			c.user.Over(session)
			if c.user.Session == session && c.op == nil {
				c.user.Leave()
			}
		}
	})
}
