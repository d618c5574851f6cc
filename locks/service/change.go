package service

import (
	"cmp"
	"context"
	"time"

	"github.com/prytany/prytany/locks"
)

// CreateSession makes a session.
func (s *Service) CreateSession(ctx context.Context, r CreateSession) (locks.Session, locks.Meta, error) {
	const op = "create session"
	ttl, err := checkTTL(s.cfg.Limits, r.TTL)
	err = cmp.Or(err,
		checkText("name", r.Name, s.cfg.Limits.MaxNote),
		checkUpTo("lock_delay", r.LockDelay, s.cfg.Limits.MaxLockDelay))
	if err != nil {
		return locks.Session{}, locks.Meta{}, fail(op, r.Name, err)
	}
	c := &locks.OpenCommand{Name: r.Name, TTL: ttl, LockDelay: r.LockDelay}
	if c.Request, err = s.request(r.Common); err != nil {
		return locks.Session{}, locks.Meta{}, fail(op, r.Name, err)
	}
	if c.ID, err = s.newID("s-"); err != nil {
		return locks.Session{}, locks.Meta{}, fail(op, r.Name, err)
	}
	start := time.Now()
	res, meta, err := s.propose(ctx, c, &c.Request)
	if err != nil {
		return locks.Session{}, meta, fail(op, r.Name, err)
	}
	left, err := s.lease(ctx, res, start, false)
	if err != nil {
		return locks.Session{}, meta, fail(op, res.Session, err)
	}
	return locks.Session{
		ID: res.Session, Name: r.Name, TTL: res.TTL, LockDelay: r.LockDelay,
		ExpiresIn: left, Created: res.Revision,
	}, meta, nil
}

// lease returns how long the session of res lives. If the command began the
// lease anew, that is the TTL counted from before the command was sent. Else
// the leader knows: -1 if it cannot be asked.
func (s *Service) lease(ctx context.Context, res locks.Result, start time.Time, extend bool) (time.Duration, error) {
	if !res.Repeated && !extend {
		return max(res.TTL-time.Since(start), 0), nil
	}
	a, err := s.ask(ctx, locks.Question{Extend: extend, Sessions: []string{res.Session}}, s.cfg.RequestTimeout)
	if err != nil {
		return -1, nil
	}
	if err := leaseError(a.Leases[0]); err != nil {
		return 0, err
	}
	return a.Leases[0].Remaining, nil
}

func leaseError(l locks.Lease) error {
	switch l.State {
	case locks.LeaseOver:
		return &locks.Error{Code: locks.SessionExpired, Detail: "the session is over"}
	case locks.LeaseUnknown:
		return &locks.Error{Code: locks.SessionUnknown, Detail: "no such session"}
	}
	return nil
}

// EndSession ends session id with everything that is its own.
func (s *Service) EndSession(ctx context.Context, id string, r Common) (locks.Meta, error) {
	const op = "end session"
	c := &locks.EndCommand{ID: id}
	var err error
	c.Request, err = s.request(r)
	if err := cmp.Or(err, checkName("id", id, s.cfg.Limits.MaxName)); err != nil {
		return locks.Meta{}, fail(op, id, err)
	}
	_, meta, err := s.propose(ctx, c, &c.Request)
	if err != nil {
		return meta, fail(op, id, err)
	}
	return meta, nil
}

// Release gives a lock back.
func (s *Service) Release(ctx context.Context, r Release) (locks.Meta, error) {
	const op = "release"
	c := &locks.ReleaseCommand{Lock: r.Name, Fence: r.Fence, Session: r.Session, Force: r.Force, Reason: r.Reason}
	var err error
	c.Request, err = s.request(r.Common)
	err = cmp.Or(err,
		checkName("name", r.Name, s.cfg.Limits.MaxName),
		checkText("session", r.Session, s.cfg.Limits.MaxName),
		checkText("reason", r.Reason, s.cfg.Limits.MaxNote))
	if err != nil {
		return locks.Meta{}, fail(op, r.Name, err)
	}
	_, meta, err := s.propose(ctx, c, &c.Request)
	if err != nil {
		return meta, fail(op, r.Name, err)
	}
	return meta, nil
}

// Put changes a config entry; created reports whether there was none.
func (s *Service) Put(ctx context.Context, r Put) (e locks.Entry, created bool, m locks.Meta, err error) {
	const op = "put"
	l := s.cfg.Limits
	err = cmp.Or(
		checkName("key", r.Key, l.MaxName),
		checkText("content_type", r.ContentType, maxContentType),
		checkText("session", r.Session, l.MaxName),
		checkGuard(r.Guard, l))
	if err == nil && len(r.Value) > l.MaxValue {
		tooLarge := invalid("value", "at most %d bytes; these are %d", l.MaxValue, len(r.Value))
		tooLarge.Code = locks.TooLarge
		err = tooLarge
	}
	if err != nil {
		return locks.Entry{}, false, locks.Meta{}, fail(op, r.Key, err)
	}
	c := &locks.PutCommand{
		Key: r.Key, Value: r.Value, ContentType: r.ContentType,
		IfRevision: r.IfRevision, IfPresent: r.IfPresent, Session: r.Session, Guard: r.Guard,
	}
	if c.Request, err = s.request(r.Common); err != nil {
		return locks.Entry{}, false, locks.Meta{}, fail(op, r.Key, err)
	}
	res, meta, err := s.propose(ctx, c, &c.Request)
	if err != nil {
		return locks.Entry{}, false, meta, fail(op, r.Key, err)
	}
	return locks.Entry{
		Key: r.Key, Value: r.Value, ContentType: r.ContentType, Session: r.Session,
		Revision: res.Revision, Created: res.Created, Version: res.Version,
	}, res.Version == 1, meta, nil
}

// Delete removes a config entry; it succeeds if there is none.
func (s *Service) Delete(ctx context.Context, r Delete) (locks.Meta, error) {
	const op = "delete"
	c := &locks.DeleteCommand{Key: r.Key, IfRevision: r.IfRevision, Guard: r.Guard}
	var err error
	c.Request, err = s.request(r.Common)
	if err := cmp.Or(err, checkName("key", r.Key, s.cfg.Limits.MaxName), checkGuard(r.Guard, s.cfg.Limits)); err != nil {
		return locks.Meta{}, fail(op, r.Key, err)
	}
	_, meta, err := s.propose(ctx, c, &c.Request)
	if err != nil {
		return meta, fail(op, r.Key, err)
	}
	return meta, nil
}

func checkGuard(g *locks.Guard, l locks.Limits) error {
	if g == nil {
		return nil
	}
	return checkName("guard", g.Lock, l.MaxName)
}
