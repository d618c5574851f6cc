package service

import (
	"context"
	"time"

	"github.com/prytany/prytany/locks"
)

// quickly bounds the wait for what an answer can do without.
const quickly = time.Second

// clock returns the machine's time, or -1 if nobody tells.
func (s *Service) clock() time.Duration {
	if s.cfg.Now == nil {
		return -1
	}
	return s.cfg.Now()
}

// sync makes the local machine new enough for rd.
func (s *Service) sync(ctx context.Context, rd Read) error {
	if err := checkUpTo("wait", rd.Wait, s.cfg.Limits.MaxWait); err != nil {
		return err
	}
	if rd.Stale && s.machine.Revision() >= rd.MinRevision {
		return nil // there is nothing to wait for
	}
	ctx, limit := within(ctx, s.cfg.RequestTimeout)
	defer limit.end()
	if !rd.Stale {
		if err := s.barrier(ctx); err != nil {
			return err
		}
		if rd.MinRevision == 0 {
			return nil
		}
	}
	reached, stop := s.machine.Reach(rd.MinRevision)
	defer stop()
	select {
	case <-reached:
		return nil
	case <-ctx.Done():
		return &locks.Error{
			Code:    locks.NotApplied,
			Detail:  "this node has not reached the revision that was asked for in time",
			Current: s.machine.Revision(),
			Err:     context.Cause(ctx),
		}
	}
}

// meta tells where a read belongs.
func (s *Service) meta(v locks.View, rd Read) locks.Meta {
	m := v.Meta()
	if rd.Stale {
		m.Age = s.cfg.Age()
	}
	return m
}

// poll looks once the ETag of something is news to rd, or time is up. tag returns
// that, and whether the thing exists; look, which may cost more, is called only
// then.
func poll[T any](s *Service, ctx context.Context, rd Read, t locks.Topic, tag func(locks.View) (uint64, bool), look func(locks.View) T) (T, bool, locks.Meta, error) {
	var zero T
	if err := s.sync(ctx, rd); err != nil {
		return zero, false, locks.Meta{}, err
	}
	var over <-chan time.Time
	if rd.Wait > 0 {
		limit := time.NewTimer(rd.Wait)
		defer limit.Stop()
		over = limit.C
	}
	for last := rd.Wait == 0; ; {
		var v T
		var ok, done bool
		var meta locks.Meta
		var rung locks.Ring
		var cancel func()
		s.machine.View(func(view locks.View) {
			var now uint64
			now, ok = tag(view)
			meta = s.meta(view, rd)
			done = last || rd.HasNot && now != rd.Not || !rd.HasNot && ok
			switch {
			case !done:
				rung, cancel = view.Subscribe(t)
			case ok:
				v = look(view)
			}
		})
		if done {
			return v, ok, meta, nil
		}
		select {
		case <-rung.C:
		case <-over:
			last = true
		case <-ctx.Done():
			last = true
		}
		cancel()
	}
}

// Get reads one config entry.
func (s *Service) Get(ctx context.Context, key string, rd Read) (locks.Entry, locks.Meta, error) {
	const op = "get"
	if err := checkName("key", key, s.cfg.Limits.MaxName); err != nil {
		return locks.Entry{}, locks.Meta{}, fail(op, key, err)
	}
	e, ok, meta, err := poll(s, ctx, rd, locks.KeyTopic(key), func(v locks.View) (uint64, bool) {
		if e := v.Entry(key); e != nil {
			return e.Revision, true
		}
		return 0, false
	}, func(v locks.View) locks.Entry { return *v.Entry(key) })
	if err == nil && !ok {
		err = &locks.Error{Code: locks.KeyNotFound, Detail: "no such entry"}
	}
	if err != nil {
		return locks.Entry{}, meta, fail(op, key, err)
	}
	return e, meta, nil
}

// GetLock reads one lock. Its ETag for [Read] is Lock.Changed.
func (s *Service) GetLock(ctx context.Context, name string, rd Read) (locks.Lock, locks.Meta, error) {
	const op = "get lock"
	if err := checkName("name", name, s.cfg.Limits.MaxName); err != nil {
		return locks.Lock{}, locks.Meta{}, fail(op, name, err)
	}
	v, ok, meta, err := poll(s, ctx, rd, locks.LockTopic(name), func(v locks.View) (uint64, bool) {
		return v.LockTag(name)
	}, func(v locks.View) locks.Lock {
		l, _ := v.Lock(name, s.clock())
		return l
	})
	if err == nil && !ok {
		err = &locks.Error{Code: locks.LockUnknown, Detail: "nobody holds or waits for the lock, and nothing is remembered"}
	}
	if err != nil {
		return locks.Lock{}, meta, fail(op, name, err)
	}
	one := []locks.Lock{v}
	s.fillLocks(ctx, one, rd)
	return one[0], meta, nil
}

// CheckFence succeeds while a grant of fence on the lock is current.
func (s *Service) CheckFence(ctx context.Context, name string, fence uint64, rd Read) (locks.Meta, error) {
	const op = "check fence"
	err := checkName("name", name, s.cfg.Limits.MaxName)
	if err == nil {
		err = s.sync(ctx, rd)
	}
	if err != nil {
		return locks.Meta{}, fail(op, name, err)
	}
	var current uint64
	var ok bool
	var meta locks.Meta
	s.machine.View(func(v locks.View) {
		current, ok = v.Current(name, fence)
		meta = s.meta(v, rd)
	})
	if !ok {
		return meta, fail(op, name, &locks.Error{Code: locks.StaleFence, Detail: "the grant is over", Current: current})
	}
	return meta, nil
}

// GetSession reads one session with what it holds and waits for.
func (s *Service) GetSession(ctx context.Context, id string, rd Read) (locks.Session, locks.Meta, error) {
	const op = "get session"
	err := checkName("id", id, s.cfg.Limits.MaxName)
	if err == nil {
		err = s.sync(ctx, rd)
	}
	if err != nil {
		return locks.Session{}, locks.Meta{}, fail(op, id, err)
	}
	one := make([]locks.Session, 1)
	var no locks.Result
	var meta locks.Meta
	s.machine.View(func(v locks.View) {
		one[0], no = v.Session(id, true)
		meta = s.meta(v, rd)
	})
	if no.Refused {
		return locks.Session{}, meta, fail(op, id, refusal(no, false))
	}
	s.fillSessions(ctx, one, rd)
	for i := range one[0].Holds {
		one[0].Holds[i].ExpiresIn = one[0].ExpiresIn
	}
	return one[0], meta, nil
}

// fillSessions adds what the leader's clock knows, unless rd is stale or the
// leader cannot be asked quickly.
func (s *Service) fillSessions(ctx context.Context, vs []locks.Session, rd Read) {
	if rd.Stale || len(vs) == 0 {
		return
	}
	var q locks.Question
	for i := range vs {
		q.Sessions = append(q.Sessions, vs[i].ID)
	}
	a, err := s.ask(ctx, q, quickly)
	if err != nil {
		return
	}
	for i, l := range a.Leases {
		if l.State == locks.LeaseAlive {
			vs[i].ExpiresIn = l.Remaining
		}
	}
}

// fillLocks is the same for holders, lock-delays and times to yield.
func (s *Service) fillLocks(ctx context.Context, vs []locks.Lock, rd Read) {
	if rd.Stale {
		return
	}
	var q locks.Question
	var holders []*locks.Holder
	var timed []*locks.Lock
	for i := range vs {
		v := &vs[i]
		for j := range v.Holders {
			q.Sessions, holders = append(q.Sessions, v.Holders[j].Session), append(holders, &v.Holders[j])
		}
		if v.LockDelayRemaining != 0 || v.Yield != nil && v.Yield.Within > 0 {
			q.Locks, timed = append(q.Locks, v.Name), append(timed, v)
		}
	}
	if len(q.Sessions)+len(q.Locks) == 0 {
		return
	}
	a, err := s.ask(ctx, q, quickly)
	if err != nil {
		return
	}
	for i, l := range a.Leases {
		if l.State == locks.LeaseAlive {
			holders[i].ExpiresIn = l.Remaining
		}
	}
	for i, v := range timed {
		if v.LockDelayRemaining != 0 {
			v.LockDelayRemaining = a.Delays[i]
		}
		if v.Yield != nil && v.Yield.Within > 0 {
			v.Yield.Remaining = a.Yields[i]
		}
	}
}
