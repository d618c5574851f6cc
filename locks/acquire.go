package locks

import (
	"cmp"
	"context"
	"errors"
	"time"
)

// Acquire asks for a lock. A request that waits in the queue keeps its place
// when its context ends before its time, as when a connection is lost: another
// with the same Idempotency-Key takes the place up. It ends with its session.
// A request without a session gives its place up instead.
func (s *Service) Acquire(ctx context.Context, r Acquire) (Grant, Meta, error) {
	g, meta, err := s.acquire(ctx, r)
	if err != nil {
		return Grant{}, meta, fail("acquire", r.Name, s.explain(ctx, r.Name, err))
	}
	return g, meta, nil
}

func (s *Service) acquire(ctx context.Context, r Acquire) (Grant, Meta, error) {
	l := s.cfg.Limits
	c := &AcquireCommand{Lock: r.Name, Session: r.Session, Note: r.Note, Wait: r.Wait > 0}
	var err error
	c.Request, err = s.request(r.Common)
	err = cmp.Or(err,
		checkName("name", r.Name, l.MaxName),
		checkText("session", r.Session, l.MaxName),
		checkText("note", r.Note, l.MaxNote),
		checkUpTo("wait", r.Wait, l.MaxWait))
	switch {
	case err != nil:
	case r.Session == "":
		c.Open = true
		if c.TTL, err = l.ttl(r.TTL); err == nil {
			c.Session, err = s.newID("s-")
		}
	case r.TTL != 0:
		err = invalid("ttl", "only without a session, which has its own")
	}
	if err != nil {
		return Grant{}, Meta{}, err
	}
	start := time.Now()
	res, meta, err := s.propose(ctx, c, &c.Request)
	if err != nil {
		if e, ok := errors.AsType[*Error](err); ok && e.Code == OutcomeUnknown && c.Open && c.Request.Own {
			s.abandon(c, c.Session) // nobody else knows the session that may hold it
		}
		return Grant{}, meta, err
	}
	if res.Queued {
		return s.await(ctx, c, res, start, r.Wait)
	}
	left, err := s.lease(ctx, res, start, false)
	if err != nil {
		return Grant{}, meta, err
	}
	return Grant{r.Name, res.Session, res.Fence, left, 0}, meta, nil
}

// await waits for the turn of the place that res gave, at most until wait
// after start.
func (s *Service) await(ctx context.Context, c *AcquireCommand, res Result, start time.Time, wait time.Duration) (Grant, Meta, error) {
	if c.Open {
		defer s.sustain(res.Session, res.TTL)()
	}
	limit := time.NewTimer(time.Until(start.Add(wait)))
	defer limit.Stop()
	// The place exists here once this node has applied what made it.
	news, cancel := s.machine.reach(res.Revision)
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
			return Grant{}, Meta{}, &Error{
				Code:   OutcomeUnknown,
				Detail: "the wait was broken off; the same idempotency key takes it up again",
				Err:    context.Cause(ctx),
			}
		}
		cancel()
		p := s.machine.place(c.Lock, res.Session, c.Request)
		switch {
		case p.fence != 0:
			return s.served(ctx, c, res, p.fence, start, p.meta)
		case p.news == nil:
			return Grant{}, p.meta, refusal(p.gone, false)
		}
		news, cancel = p.news, p.cancel
	}
}

// served answers for a grant that came after a wait, if the lease of its
// session still runs.
func (s *Service) served(ctx context.Context, c *AcquireCommand, res Result, fence uint64, start time.Time, m Meta) (Grant, Meta, error) {
	waited := time.Since(start)
	res.Repeated = true // the lease began earlier
	left, err := s.lease(ctx, res, start, c.Open)
	if err != nil {
		return Grant{}, m, err
	}
	return Grant{c.Lock, res.Session, fence, left, waited}, m, nil
}

// giveUp gives the place up because the time to wait is over. If the lock was
// granted meanwhile, that counts.
func (s *Service) giveUp(ctx context.Context, c *AcquireCommand, res Result, start time.Time) (Grant, Meta, error) {
	cancel := &CancelCommand{Request: c.Request, Lock: c.Lock, Session: res.Session}
	end, meta, err := s.propose(context.WithoutCancel(ctx), cancel, &Request{})
	if err == nil {
		return s.served(ctx, c, res, end.Fence, start, meta)
	}
	if e, ok := errors.AsType[*Error](err); ok && (e.Code == NoLeader || e.Code == Overloaded || e.Code == OutcomeUnknown) {
		if c.Open {
			s.abandon(c, res.Session)
		}
		e.Code, e.Detail = OutcomeUnknown, "the place in the queue could not be given up; the lock may still be granted"
	}
	return Grant{}, meta, err
}

// abandon takes back a request whose caller has gone, in the background: its
// place in the queue, or the grant. If too many are under way the session is
// left to run out.
func (s *Service) abandon(c *AcquireCommand, session string) {
	select {
	case s.abandoned <- struct{}{}:
	default:
		return
	}
	cancel := &CancelCommand{Request: c.Request, Lock: c.Lock, Session: session}
	go func() {
		defer func() { <-s.abandoned }()
		end, _, err := s.propose(context.Background(), cancel, &Request{})
		if err != nil || end.Fence == 0 {
			return
		}
		// Releasing twice does no harm: the fence is over then.
		_, _, _ = s.propose(context.Background(), &ReleaseCommand{Lock: c.Lock, Fence: end.Fence}, &Request{})
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
				_, _ = s.ask(ctx, Question{Extend: true, Sessions: []string{id}}, ttl/3)
			}
		}
	}()
	return cancel
}

// explain completes a refusal with what only the leader's clock and this
// node's memory know, if they can be asked quickly.
func (s *Service) explain(ctx context.Context, name string, err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Held == nil {
		return err
	}
	h := e.Held.Holder
	q := Question{Locks: []string{name}}
	if h != nil {
		h.Held = s.machine.held(name, h.Fence, s.clock())
		q = Question{Sessions: []string{h.Session}}
	}
	a, failed := s.ask(ctx, q, quickly)
	switch {
	case failed != nil:
	case h == nil:
		e.Held.LockDelayRemaining = a.Delays[0]
	case a.Leases[0].State == LeaseAlive:
		h.ExpiresIn = a.Leases[0].Remaining
	}
	return err
}
