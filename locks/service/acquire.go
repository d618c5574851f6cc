package service

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/prytany/prytany/locks"
)

// Acquire asks for a lock. A request that waits in the queue keeps its place
// when its context ends before its time, as when a connection is lost: another
// with the same Idempotency-Key takes the place up. It ends with its session.
// A request without a session gives its place up instead.
func (s *Service) Acquire(ctx context.Context, r Acquire) (locks.Grant, locks.Meta, error) {
	g, meta, err := s.acquire(ctx, r)
	if err != nil {
		return locks.Grant{}, meta, fail("acquire", r.Name, s.explain(ctx, r.Name, err))
	}
	return g, meta, nil
}

func (s *Service) acquire(ctx context.Context, r Acquire) (locks.Grant, locks.Meta, error) {
	l := s.cfg.Limits
	c := &locks.AcquireCommand{
		Lock: r.Name, Session: r.Session, Note: r.Note, Wait: r.Wait > 0,
		Shared: r.Mode == locks.Shared, Slots: uint64(max(r.Slots, 1)), Campaign: r.Campaign, Value: r.Value,
	}
	var err error
	c.Request, err = s.request(r.Common)
	err = cmp.Or(err,
		checkName("name", r.Name, l.MaxName),
		checkText("session", r.Session, l.MaxName),
		checkText("note", r.Note, l.MaxNote),
		checkText("value", r.Value, l.MaxPublished),
		checkMode(r, l),
		checkUpTo("wait", r.Wait, l.MaxWait))
	switch {
	case err != nil:
	case r.Session == "":
		c.Open = true
		if c.TTL, err = checkTTL(l, r.TTL); err == nil {
			c.Session, err = s.newID("s-")
		}
	case r.TTL != 0:
		err = invalid("ttl", "only without a session, which has its own")
	}
	if err != nil {
		return locks.Grant{}, locks.Meta{}, err
	}
	start := time.Now()
	res, meta, err := s.propose(ctx, c, &c.Request)
	if err != nil {
		if e, ok := errors.AsType[*locks.Error](err); ok && e.Code == locks.OutcomeUnknown && c.Open && c.Request.Own {
			s.abandon(c, c.Session) // nobody else knows the session that may hold it
		}
		return locks.Grant{}, meta, err
	}
	if res.Queued {
		return s.await(ctx, c, res, start, r.Wait)
	}
	left, err := s.lease(ctx, res, start, false)
	if err != nil {
		return locks.Grant{}, meta, err
	}
	return grantOf(c, res, res.Fence, left, 0), meta, nil
}

func checkMode(r Acquire, l locks.Limits) error {
	switch {
	case r.Mode > locks.Shared:
		return invalid("mode", "there is no mode %d", r.Mode)
	case r.Slots < 0 || r.Slots > l.MaxHolders:
		return invalid("slots", "from 1 to %d; these are %d", l.MaxHolders, r.Slots)
	case r.Slots > 1 && r.Mode == locks.Shared:
		return invalid("slots", "only in exclusive mode")
	case r.Campaign && (r.Slots > 1 || r.Mode == locks.Shared):
		return invalid("mode", "an election is exclusive and has one slot")
	case !r.Campaign && r.Value != "":
		return invalid("value", "only for a campaign")
	}
	return nil
}

func grantOf(c *locks.AcquireCommand, res locks.Result, fence uint64, left, waited time.Duration) locks.Grant {
	g := locks.Grant{Name: c.Lock, Session: res.Session, Fence: fence, Slots: int(c.Slots), ExpiresIn: left, Waited: waited}
	if c.Shared {
		g.Mode = locks.Shared
	}
	return g
}

// await waits for the turn of the place that res gave, at most until wait
// after start.
func (s *Service) await(ctx context.Context, c *locks.AcquireCommand, res locks.Result, start time.Time, wait time.Duration) (locks.Grant, locks.Meta, error) {
	if c.Open {
		defer s.sustain(res.Session, res.TTL)()
	}
	limit := time.NewTimer(time.Until(start.Add(wait)))
	defer limit.Stop()
	// The place exists here once this node has applied what made it.
	news, cancel := s.machine.Reach(res.Revision)
	own := *c
	own.Session = res.Session
	for {
		select {
		case <-news:
		case <-limit.C:
			cancel()
			return s.giveUp(ctx, c, res, start)
		case <-ctx.Done():
			cancel()
			if c.Open {
				s.abandon(c, res.Session)
			}
			return locks.Grant{}, locks.Meta{}, &locks.Error{
				Code:   locks.OutcomeUnknown,
				Detail: "the wait was broken off; the same idempotency key takes it up again",
				Err:    context.Cause(ctx),
			}
		}
		cancel()
		var p locks.Place
		var meta locks.Meta
		s.machine.View(func(v locks.View) { p, meta = v.Place(&own), v.Meta() })
		switch {
		case p.Fence != 0:
			meta.Revision = p.Fence
			return s.served(ctx, c, res, p.Fence, start, meta)
		case p.Changed == nil:
			return locks.Grant{}, meta, refusal(p.Gone, false)
		}
		news, cancel = p.Changed, p.Cancel
	}
}

// served answers for a grant that came after a wait, if the lease of its
// session still runs.
func (s *Service) served(ctx context.Context, c *locks.AcquireCommand, res locks.Result, fence uint64, start time.Time, m locks.Meta) (locks.Grant, locks.Meta, error) {
	waited := time.Since(start)
	res.Repeated = true // the lease began earlier
	left, err := s.lease(ctx, res, start, c.Open)
	if err != nil {
		return locks.Grant{}, m, err
	}
	return grantOf(c, res, fence, left, waited), m, nil
}

// giveUp gives the place up because the time to wait is over. If the lock was
// granted meanwhile, that counts.
func (s *Service) giveUp(ctx context.Context, c *locks.AcquireCommand, res locks.Result, start time.Time) (locks.Grant, locks.Meta, error) {
	cancel := &locks.CancelCommand{Request: c.Request, Lock: c.Lock, Session: res.Session}
	end, meta, err := s.insist(context.WithoutCancel(ctx), cancel)
	if err == nil {
		return s.served(ctx, c, res, end.Fence, start, meta)
	}
	if e, ok := errors.AsType[*locks.Error](err); ok && (e.Code == locks.NoLeader || e.Code == locks.Overloaded || e.Code == locks.OutcomeUnknown) {
		if c.Open {
			s.abandon(c, res.Session)
		}
		e.Code, e.Detail = locks.OutcomeUnknown, "the place in the queue could not be given up; the lock may still be granted"
	}
	return locks.Grant{}, meta, err
}

// abandon takes back a request without a session whose caller has gone, in the
// background: its place in the queue, or the grant, which is that of the session
// made for it. If too many are under way the session is left to run out. So is
// a grant that another request with the same Idempotency-Key may have been told
// of.
func (s *Service) abandon(c *locks.AcquireCommand, session string) {
	select {
	case s.abandoned <- struct{}{}:
	default:
		return
	}
	cancel := &locks.CancelCommand{Request: c.Request, Lock: c.Lock, Session: session}
	go func() {
		defer func() { <-s.abandoned }()
		end, _, err := s.insist(context.Background(), cancel)
		if err != nil || end.Fence == 0 || !c.Request.Own {
			return
		}
		// Releasing twice does no harm: the fence is over then.
		_, _, _ = s.insist(context.Background(), &locks.ReleaseCommand{Lock: c.Lock, Fence: end.Fence, Session: session})
	}()
}

// sustain keeps the session of a waiting request alive until stop.
func (s *Service) sustain(id string, ttl time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		t := time.NewTicker(max(ttl/3, time.Millisecond))
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				// If it fails the next may succeed; the queue tells if it is over.
				once, done := context.WithTimeout(ctx, ttl/3)
				_, _, _ = s.renew(once, id)
				done()
			}
		}
	}()
	return cancel
}

// explain completes a refusal with what only the leader's clock and this
// node's memory know, if they can be asked quickly.
func (s *Service) explain(ctx context.Context, name string, err error) error {
	e, ok := errors.AsType[*locks.Error](err)
	if !ok || e.Held == nil {
		return err
	}
	h := e.Held.Holder
	q := locks.Question{Locks: []string{name}}
	if h != nil {
		s.machine.View(func(v locks.View) { h.Held = v.Held(name, h.Fence, s.clock()) })
		q = locks.Question{Sessions: []string{h.Session}}
	}
	a, failed := s.ask(ctx, q, quickly)
	switch {
	case failed != nil:
	case h == nil && e.Held.LockDelayRemaining != 0:
		e.Held.LockDelayRemaining = a.Delays[0]
	case h == nil:
	case a.Leases[0].State == locks.LeaseAlive:
		h.ExpiresIn = a.Leases[0].Remaining
	}
	return err
}
