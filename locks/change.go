package locks

import (
	"cmp"
	"context"
	"time"
)

// CreateSession makes a session.
func (s *Service) CreateSession(ctx context.Context, r CreateSession) (Session, Meta, error) {
	const op = "create session"
	ttl, err := s.cfg.Limits.ttl(r.TTL)
	err = cmp.Or(err,
		checkText("name", r.Name, s.cfg.Limits.MaxNote),
		checkUpTo("lock_delay", r.LockDelay, s.cfg.Limits.MaxLockDelay))
	if err != nil {
		return Session{}, Meta{}, fail(op, r.Name, err)
	}
	c := &OpenCommand{Name: r.Name, TTL: ttl, LockDelay: r.LockDelay}
	if c.Request, err = s.request(r.Common); err != nil {
		return Session{}, Meta{}, fail(op, r.Name, err)
	}
	if c.ID, err = s.newID("s-"); err != nil {
		return Session{}, Meta{}, fail(op, r.Name, err)
	}
	start := time.Now()
	res, meta, err := s.propose(ctx, c, &c.Request)
	if err != nil {
		return Session{}, meta, fail(op, r.Name, err)
	}
	left, err := s.lease(ctx, res, start, false)
	if err != nil {
		return Session{}, meta, fail(op, res.Session, err)
	}
	return Session{
		ID: res.Session, Name: r.Name, TTL: res.TTL, LockDelay: r.LockDelay,
		ExpiresIn: left, Created: res.Revision,
	}, meta, nil
}

// lease returns how long the session of res lives. If the command began the
// lease anew, that is the TTL counted from before the command was sent. Else
// the leader knows: -1 if it cannot be asked.
func (s *Service) lease(ctx context.Context, res Result, start time.Time, extend bool) (time.Duration, error) {
	if !res.Repeated && !extend {
		return max(res.TTL-time.Since(start), 0), nil
	}
	a, err := s.ask(ctx, Question{Extend: extend, Sessions: []string{res.Session}}, s.cfg.RequestTimeout)
	if err != nil {
		return -1, nil
	}
	if err := leaseError(a.Leases[0]); err != nil {
		return 0, err
	}
	return a.Leases[0].Remaining, nil
}

func leaseError(l Lease) error {
	switch l.State {
	case LeaseOver:
		return &Error{Code: SessionExpired, Detail: "the session is over"}
	case LeaseUnknown:
		return &Error{Code: SessionUnknown, Detail: "no such session"}
	}
	return nil
}

// KeepAlive begins the lease of session id anew. What the session holds is not
// in the answer.
func (s *Service) KeepAlive(ctx context.Context, id string) (Session, Meta, error) {
	const op = "keep session alive"
	if err := checkName("id", id, s.cfg.Limits.MaxName); err != nil {
		return Session{}, Meta{}, fail(op, id, err)
	}
	a, err := s.ask(ctx, Question{Extend: true, Sessions: []string{id}}, s.cfg.RequestTimeout)
	if err != nil {
		return Session{}, Meta{}, fail(op, id, err)
	}
	meta := Meta{Revision: a.Revision, Slot: a.Slot}
	if err := leaseError(a.Leases[0]); err != nil {
		return Session{}, meta, fail(op, id, err)
	}
	l := a.Leases[0]
	return Session{
		ID: l.ID, Name: l.Name, TTL: l.TTL, LockDelay: l.LockDelay,
		ExpiresIn: l.Remaining, Created: l.Created, Bound: l.Bound,
	}, meta, nil
}

// EndSession ends session id with everything that is its own.
func (s *Service) EndSession(ctx context.Context, id string, r Common) (Meta, error) {
	const op = "end session"
	c := &EndCommand{ID: id}
	var err error
	c.Request, err = s.request(r)
	if err := cmp.Or(err, checkName("id", id, s.cfg.Limits.MaxName)); err != nil {
		return Meta{}, fail(op, id, err)
	}
	_, meta, err := s.propose(ctx, c, &c.Request)
	if err != nil {
		return meta, fail(op, id, err)
	}
	return meta, nil
}

// Release gives a lock back.
func (s *Service) Release(ctx context.Context, r Release) (Meta, error) {
	const op = "release"
	c := &ReleaseCommand{Lock: r.Name, Fence: r.Fence, Force: r.Force, Reason: r.Reason}
	var err error
	c.Request, err = s.request(r.Common)
	err = cmp.Or(err,
		checkName("name", r.Name, s.cfg.Limits.MaxName),
		checkText("reason", r.Reason, s.cfg.Limits.MaxNote))
	if err != nil {
		return Meta{}, fail(op, r.Name, err)
	}
	_, meta, err := s.propose(ctx, c, &c.Request)
	if err != nil {
		return meta, fail(op, r.Name, err)
	}
	return meta, nil
}

// Put changes a config entry; created reports whether there was none.
func (s *Service) Put(ctx context.Context, r Put) (e Entry, created bool, m Meta, err error) {
	const op = "put"
	l := s.cfg.Limits
	err = cmp.Or(
		checkName("key", r.Key, l.MaxName),
		checkText("content_type", r.ContentType, maxContentType),
		checkText("session", r.Session, l.MaxName),
		checkGuard(r.Guard, l))
	if err == nil && len(r.Value) > l.MaxValue {
		tooLarge := invalid("value", "at most %d bytes; these are %d", l.MaxValue, len(r.Value))
		tooLarge.Code = TooLarge
		err = tooLarge
	}
	if err != nil {
		return Entry{}, false, Meta{}, fail(op, r.Key, err)
	}
	c := &PutCommand{
		Key: r.Key, Value: r.Value, ContentType: r.ContentType,
		IfRevision: r.IfRevision, IfPresent: r.IfPresent, Session: r.Session, Guard: r.Guard,
	}
	if c.Request, err = s.request(r.Common); err != nil {
		return Entry{}, false, Meta{}, fail(op, r.Key, err)
	}
	res, meta, err := s.propose(ctx, c, &c.Request)
	if err != nil {
		return Entry{}, false, meta, fail(op, r.Key, err)
	}
	return Entry{
		Key: r.Key, Value: r.Value, ContentType: r.ContentType, Session: r.Session,
		Revision: res.Revision, Created: res.Created, Version: res.Version,
	}, res.Version == 1, meta, nil
}

// Delete removes a config entry; it succeeds if there is none.
func (s *Service) Delete(ctx context.Context, r Delete) (Meta, error) {
	const op = "delete"
	c := &DeleteCommand{Key: r.Key, IfRevision: r.IfRevision, Guard: r.Guard}
	var err error
	c.Request, err = s.request(r.Common)
	if err := cmp.Or(err, checkName("key", r.Key, s.cfg.Limits.MaxName), checkGuard(r.Guard, s.cfg.Limits)); err != nil {
		return Meta{}, fail(op, r.Key, err)
	}
	_, meta, err := s.propose(ctx, c, &c.Request)
	if err != nil {
		return meta, fail(op, r.Key, err)
	}
	return meta, nil
}

func checkGuard(g *Guard, l Limits) error {
	if g == nil {
		return nil
	}
	return checkName("guard", g.Lock, l.MaxName)
}
