package locks

import (
	"context"
	"time"
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
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	if !rd.Stale {
		if err := s.barrier(ctx); err != nil {
			return err
		}
	}
	reached, stop := s.machine.reach(rd.MinRevision)
	defer stop()
	select {
	case <-reached:
		return nil
	case <-ctx.Done():
		return &Error{
			Code:    NotApplied,
			Detail:  "this node has not reached min_revision in time",
			Current: s.machine.Revision(),
			Err:     context.Cause(ctx),
		}
	}
}

// meta tells where a read belongs. The caller holds the machine's lock.
func (s *Service) meta(rd Read) Meta {
	m := Meta{Revision: s.machine.revision, Slot: uint64(s.machine.applied)}
	if rd.Stale {
		m.Age = s.cfg.Age()
	}
	return m
}

// poll reads until what look returns is news to rd, or time is up. look
// returns a value, its ETag and whether it exists, under the machine's lock.
func poll[T any](s *Service, ctx context.Context, rd Read, t topic, look func() (T, uint64, bool)) (T, bool, Meta, error) {
	var zero T
	if err := s.sync(ctx, rd); err != nil {
		return zero, false, Meta{}, err
	}
	limit := time.NewTimer(rd.Wait)
	defer limit.Stop()
	for last := rd.Wait == 0; ; {
		s.machine.mu.RLock()
		v, tag, ok := look()
		meta := s.meta(rd)
		if last || rd.HasNot && tag != rd.Not || !rd.HasNot && ok {
			s.machine.mu.RUnlock()
			return v, ok, meta, nil
		}
		rung, cancel := s.machine.news.Subscribe(t)
		s.machine.mu.RUnlock()
		select {
		case <-rung:
		case <-limit.C:
			last = true
		case <-ctx.Done():
			last = true
		}
		cancel()
	}
}

// Get reads one config entry.
func (s *Service) Get(ctx context.Context, key string, rd Read) (Entry, Meta, error) {
	const op = "get"
	if err := checkName("key", key, s.cfg.Limits.MaxName); err != nil {
		return Entry{}, Meta{}, fail(op, key, err)
	}
	e, ok, meta, err := poll(s, ctx, rd, keyTopic(key), func() (Entry, uint64, bool) {
		e, ok := s.machine.entries.Get(key)
		if !ok {
			return Entry{}, 0, false
		}
		return *e, e.Revision, true
	})
	if err == nil && !ok {
		err = &Error{Code: KeyNotFound, Detail: "no such entry"}
	}
	if err != nil {
		return Entry{}, meta, fail(op, key, err)
	}
	return e, meta, nil
}

// GetLock reads one lock. Its ETag for [Read] is Lock.Changed, which is the
// fence while it is held.
func (s *Service) GetLock(ctx context.Context, name string, rd Read) (Lock, Meta, error) {
	const op = "get lock"
	if err := checkName("name", name, s.cfg.Limits.MaxName); err != nil {
		return Lock{}, Meta{}, fail(op, name, err)
	}
	v, ok, meta, err := poll(s, ctx, rd, lockTopic(name), func() (Lock, uint64, bool) {
		l, ok := s.machine.locks.Get(name)
		if !ok {
			return Lock{}, 0, false
		}
		return s.machine.viewLock(l, s.clock()), l.changed, true
	})
	if err == nil && !ok {
		err = &Error{Code: LockUnknown, Detail: "nobody holds or waits for the lock, and nothing is remembered"}
	}
	if err != nil {
		return Lock{}, meta, fail(op, name, err)
	}
	one := []Lock{v}
	s.fillLocks(ctx, one, rd)
	return one[0], meta, nil
}

// CheckFence succeeds while the grant of fence on the lock is current.
func (s *Service) CheckFence(ctx context.Context, name string, fence uint64, rd Read) (Meta, error) {
	const op = "check fence"
	err := checkName("name", name, s.cfg.Limits.MaxName)
	if err == nil {
		err = s.sync(ctx, rd)
	}
	if err != nil {
		return Meta{}, fail(op, name, err)
	}
	s.machine.mu.RLock()
	var current uint64
	if l, ok := s.machine.locks.Get(name); ok {
		current = l.holder.fence
	}
	meta := s.meta(rd)
	s.machine.mu.RUnlock()
	if current == 0 || current != fence {
		return meta, fail(op, name, &Error{Code: StaleFence, Detail: "the grant is over", Current: current})
	}
	return meta, nil
}

// GetSession reads one session with what it holds and waits for.
func (s *Service) GetSession(ctx context.Context, id string, rd Read) (Session, Meta, error) {
	const op = "get session"
	err := checkName("id", id, s.cfg.Limits.MaxName)
	if err == nil {
		err = s.sync(ctx, rd)
	}
	if err != nil {
		return Session{}, Meta{}, fail(op, id, err)
	}
	s.machine.mu.RLock()
	x, no := s.machine.alive(id)
	meta := s.meta(rd)
	if x == nil {
		s.machine.mu.RUnlock()
		return Session{}, meta, fail(op, id, refusal(no, false))
	}
	v := s.machine.viewSession(x)
	for _, name := range sortedKeys(x.holds) {
		v.Holds = append(v.Holds, Grant{Name: name, Session: id, Fence: x.holds[name].holder.fence, ExpiresIn: -1})
	}
	v.Waits, v.Keys = sortedKeys(x.waits), sortedKeys(x.keys)
	s.machine.mu.RUnlock()
	one := []Session{v}
	s.fillSessions(ctx, one, rd)
	for i := range v.Holds {
		v.Holds[i].ExpiresIn = one[0].ExpiresIn
	}
	return one[0], meta, nil
}

// fillSessions adds what the leader's clock knows, unless rd is stale or the
// leader cannot be asked quickly.
func (s *Service) fillSessions(ctx context.Context, vs []Session, rd Read) {
	if rd.Stale || len(vs) == 0 {
		return
	}
	var q Question
	for i := range vs {
		q.Sessions = append(q.Sessions, vs[i].ID)
	}
	a, err := s.ask(ctx, q, quickly)
	if err != nil {
		return
	}
	for i, l := range a.Leases {
		if l.State == LeaseAlive {
			vs[i].ExpiresIn = l.Remaining
		}
	}
}

// fillLocks is the same for holders and lock-delays.
func (s *Service) fillLocks(ctx context.Context, vs []Lock, rd Read) {
	var q Question
	var leases, delays []int
	for i := range vs {
		switch {
		case vs[i].Holder != nil:
			q.Sessions, leases = append(q.Sessions, vs[i].Holder.Session), append(leases, i)
		case vs[i].LockDelayRemaining != 0:
			q.Locks, delays = append(q.Locks, vs[i].Name), append(delays, i)
		}
	}
	if rd.Stale || len(q.Sessions)+len(q.Locks) == 0 {
		return
	}
	a, err := s.ask(ctx, q, quickly)
	if err != nil {
		return
	}
	for n, l := range a.Leases {
		if l.State == LeaseAlive {
			vs[leases[n]].Holder.ExpiresIn = l.Remaining
		}
	}
	for n, d := range a.Delays {
		vs[delays[n]].LockDelayRemaining = d
	}
}
