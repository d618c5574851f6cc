package sim

import (
	"errors"
	"time"

	"github.com/prytany/prytany/internal/sim/oracle"
	"github.com/prytany/prytany/internal/sim/work"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
)

// A site is a world as workers see it. It implements [work.Cluster].
type site World

// workers begins the workers.
func (w *World) workers() {
	o := &w.opt
	w.yard = work.Begin((*site)(w), work.Config{
		Plan: o.Work, Hooks: o.Hooks.Work, Seed: o.Seed, Nodes: o.Nodes, Wild: w.wild, MaxDrift: o.MaxDrift, Timeout: o.Timeout,
	}, w.audit, &w.stats.Work)
}

// Now implements [work.Cluster].
func (s *site) Now() time.Duration { return s.now }

// At implements [work.Cluster].
func (s *site) At(t time.Duration, f func()) { (*World)(s).at(t, f) }

// Over implements [work.Cluster].
func (s *site) Over() bool { return s.stopping }

// Trace implements [work.Cluster].
func (s *site) Trace(what string, arg any) { s.trace.add(line{s.now, -1, what, arg}) }

// Serve implements [work.Cluster].
func (s *site) Serve(node int, c locks.Command, wait time.Duration, tell func(locks.Result, error)) {
	s.nodes[node].serve(c, wait, tell)
}

// KeepAlive implements [work.Cluster].
func (s *site) KeepAlive(node int, session string, since uint64, hold time.Duration, tell func(work.Kept)) {
	n := s.nodes[node]
	if !n.hearsClients() {
		return
	}
	n.keepAlive(session, since, hold, func(k work.Kept) {
		if n.Deaf == 0 {
			tell(k)
		}
	})
}

// serve does what a worker asks for. If that has to wait for its turn the node
// looks at its own state, until then or for as long as wait.
func (n *node) serve(c locks.Command, wait time.Duration, tell func(locks.Result, error)) {
	if !n.hearsClients() {
		return
	}
	inc, late := n.incarnation, n.w.now+wait
	n.submit(replica.KindPropose, locks.Encode(c), func(r replica.Result) {
		switch {
		case n.Deaf > 0:
			return
		case errors.Is(r.Err, paxos.ErrUnknownOutcome), paxos.Refused(r.Err):
			tell(locks.Result{}, r.Err)
			return
		case r.Err != nil:
			oracle.Fail("panic", "a request ends with %v", r.Err)
		}
		res, err := locks.DecodeResult(r.Payload)
		if err != nil {
			oracle.Fail("I6", "the result of a request is not readable: %v", err)
		}
		if a, ok := c.(*locks.AcquireCommand); ok && res.Queued {
			n.awaitTurn(inc, a, res, late, func(r locks.Result) { tell(r, nil) })
			return
		}
		tell(res, nil)
	})
}

// awaitTurn tells what became of the place that queued gave.
func (n *node) awaitTurn(inc uint64, c *locks.AcquireCommand, queued locks.Result, late time.Duration, tell func(locks.Result)) {
	w := n.w
	if n.incarnation != inc || !n.hearsClients() {
		return
	}
	var p locks.Place
	here := false
	n.machine.Locks.View(func(v locks.View) {
		if here = v.Meta().Revision >= queued.Revision; here {
			p = v.Place(c)
			w.audit.SeesPlace(n.reader(), c, p)
		}
	})
	if p.Cancel != nil {
		p.Cancel()
	}
	switch {
	case p.Fence != 0:
		tell(locks.Result{Revision: p.Fence, Session: c.Session, Fence: p.Fence, Shared: c.Shared})
	case here && p.Changed == nil:
		tell(p.Gone)
	case w.now >= late:
		tell(queued)
	default:
		w.at(min(w.now+w.opt.Every(lookEvery), late), func() { n.awaitTurn(inc, c, queued, late, tell) })
	}
}
