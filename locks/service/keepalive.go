package service

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prytany/prytany/locks"
)

const (
	maxAsking   = 2       // questions about renewals under way at a time
	maxRenewals = 1000    // sessions in one
	maxWaiting  = 100_000 // renewals that wait for a question
)

// renewals gathers keepalives: those that come while others are under way go to
// the leader together, in one question.
type renewals struct {
	mu      sync.Mutex
	waiting list.List // of *renewal; whose caller has gone is not in it
	asking  int
}

// A renewal is one keepalive that waits for its answer.
type renewal struct {
	ctx  context.Context // whose end is that of the wait
	id   string
	done chan renewed // has room for the answer
}

type renewed struct {
	lease locks.Lease
	meta  locks.Meta
	err   error
}

// renew begins the lease of session id anew, later than it was called.
func (s *Service) renew(ctx context.Context, id string) (locks.Lease, locks.Meta, error) {
	for {
		got := s.renewOnce(ctx, id)
		switch {
		case got.err != nil:
			return locks.Lease{}, locks.Meta{}, got.err
		case got.lease.State != locks.LeaseEnding:
			return got.lease, got.meta, leaseError(got.lease)
		case !pause(ctx, nil): // its end is under way; nobody knows yet
			return locks.Lease{}, locks.Meta{}, noAnswer(ctx, nil)
		}
	}
}

// renewOnce is renew that takes the first answer.
func (s *Service) renewOnce(ctx context.Context, id string) renewed {
	if ctx.Err() != nil {
		return renewed{err: noAnswer(ctx, nil)}
	}
	r := &renewal{ctx, id, make(chan renewed, 1)}
	q := &s.renewals
	q.mu.Lock()
	if q.waiting.Len() >= maxWaiting {
		q.mu.Unlock()
		return renewed{err: &locks.Error{Code: locks.Overloaded, Detail: "too many keepalives wait on this node"}}
	}
	place := q.waiting.PushBack(r)
	if q.asking < maxAsking {
		q.asking++
		go s.askRenewals()
	}
	q.mu.Unlock()
	select {
	case got := <-r.done:
		return got
	case <-ctx.Done():
		q.mu.Lock()
		q.waiting.Remove(place) // if it is still there
		q.mu.Unlock()
		return renewed{err: noAnswer(ctx, nil)}
	}
}

// askRenewals asks the leader until nobody waits.
func (s *Service) askRenewals() {
	for batch := s.nextRenewals(); len(batch) > 0; batch = s.nextRenewals() {
		s.askFor(batch)
	}
}

// nextRenewals takes those who are next. If there are none, whoever calls has
// ceased to ask.
func (s *Service) nextRenewals() []*renewal {
	q := &s.renewals
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(q.waiting.Len(), maxRenewals)
	if n == 0 {
		q.asking--
	}
	batch := make([]*renewal, 0, n)
	for range n {
		batch = append(batch, q.waiting.Remove(q.waiting.Front()).(*renewal))
	}
	return batch
}

func (s *Service) askFor(batch []*renewal) {
	question := locks.Question{Extend: true, Sessions: make([]string, 0, len(batch))}
	for _, r := range batch {
		question.Sessions = append(question.Sessions, r.id)
	}
	ctx, done := untilAllHaveGone(batch)
	defer done()
	a, err := s.askOnce(ctx, question, s.cfg.RequestTimeout)
	for i, r := range batch {
		got := renewed{err: err}
		if e, ok := errors.AsType[*locks.Error](err); ok {
			each := *e // each caller completes its own
			got.err = &each
		} else if err == nil {
			got.lease, got.meta = a.Leases[i], locks.Meta{Revision: a.Revision, Slot: a.Slot}
		}
		r.done <- got
	}
}

// untilAllHaveGone returns a context that ends when nobody in the batch waits any
// more: one who has gone does not end it for the others. Call done in any case.
func untilAllHaveGone(batch []*renewal) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var left atomic.Int64
	left.Store(int64(len(batch)))
	stops := make([]func() bool, 0, len(batch))
	for _, r := range batch {
		stops = append(stops, context.AfterFunc(r.ctx, func() {
			if left.Add(-1) == 0 {
				cancel()
			}
		}))
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel()
	}
}

// KeepAlive begins the lease of a session anew. With Hold it does so when it is
// called and again when it answers: as soon as there is news of the session, or
// Hold is over, which is cut to two thirds of the TTL. If ctx ends meanwhile,
// nobody hears the answer, and the lease does not begin anew a second time.
// Meta.Revision is for the Since of the next: up to it all news is told.
func (s *Service) KeepAlive(ctx context.Context, r KeepAlive) (locks.Kept, locks.Meta, error) {
	k, meta, err := s.keepAlive(ctx, r)
	if err != nil {
		return locks.Kept{}, meta, fail("keep session alive", r.ID, err)
	}
	return k, meta, nil
}

func (s *Service) keepAlive(ctx context.Context, r KeepAlive) (locks.Kept, locks.Meta, error) {
	began := time.Now()
	err := checkName("id", r.ID, s.cfg.Limits.MaxName)
	if err == nil {
		err = checkUpTo("hold", r.Hold, s.cfg.Limits.MaxHold)
	}
	if err != nil {
		return locks.Kept{}, locks.Meta{}, err
	}
	l, meta, err := s.renewIn(ctx, r.ID)
	if err != nil || r.Hold == 0 && r.Since == 0 {
		return locks.Kept{Session: sessionOf(l)}, meta, err
	}
	since := cmp.Or(r.Since, meta.Revision)
	if since > max(meta.Revision, s.machine.Revision()) {
		// The group has not got there: whoever waited for news after that would hear
		// of nothing until it has.
		return locks.Kept{Session: sessionOf(l), Missed: true}, meta, nil
	}
	// The lease has begun after began: counted from there, a third of it is left
	// for the second renewal, however long the first answer was on its way.
	until := began.Add(min(r.Hold, l.TTL*2/3))
	k := locks.Kept{}
	k.News, k.Missed, since = s.awaitNews(ctx, r.ID, since, until)
	if r.Hold > 0 {
		// The lease begins anew after this moment, so whoever adds Held to the
		// time at which it asked, before this node was asked, counts from too early.
		k.Held = time.Since(began)
		if l, meta, err = s.renewIn(ctx, r.ID); err != nil {
			return locks.Kept{}, meta, err
		}
	}
	k.Session = sessionOf(l)
	meta.Revision = since
	return k, meta, nil
}

// renewIn is renew with the time that a request may take.
func (s *Service) renewIn(ctx context.Context, id string) (locks.Lease, locks.Meta, error) {
	ctx, limit := within(ctx, s.cfg.RequestTimeout)
	defer limit.end()
	return s.renew(ctx, id)
}

func sessionOf(l locks.Lease) locks.Session {
	return locks.Session{
		ID: l.ID, Name: l.Name, TTL: l.TTL, LockDelay: l.LockDelay,
		ExpiresIn: l.Remaining, Created: l.Created, Bound: l.Bound,
	}
}

// newsTypes are the events that a held keepalive ends with. What a session does
// to its entries is no news to it.
var newsTypes = locks.EventSet(0).With(locks.EventLock).With(locks.EventUnlock).
	With(locks.EventLeader).With(locks.EventYield).With(locks.EventSession)

// awaitNews waits for news of session id after revision since, at most until
// that time. upTo is the revision up to which the news is told; missed says that
// what came soon after since is no longer kept.
func (s *Service) awaitNews(ctx context.Context, id string, since uint64, until time.Time) (news []locks.Change, missed bool, upTo uint64) {
	limit := time.NewTimer(time.Until(until))
	defer limit.Stop()
	topic := locks.SessionTopic(id)
	t := tail{
		told:      since,
		matches:   func(e *locks.Event) bool { return e.Session == id && newsTypes.Has(e.Type) },
		subscribe: func(v locks.View) (locks.Ring, func()) { return v.Subscribe(topic) },
	}
	defer func() { t.close() }()
	for last := false; ; {
		news, oldest := t.read(s.machine)
		if len(news) > 0 || oldest > 0 || last {
			return news, oldest > 0, t.told
		}
		select {
		case <-t.ring.C:
		case <-limit.C:
			last = true
		case <-ctx.Done():
			last = true
		}
	}
}
