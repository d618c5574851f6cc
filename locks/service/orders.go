package service

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/locks/internal/command"
)

// change proposes cmd, whose request r is, for the caller of op.
func (s *Service) change(ctx context.Context, op, name string, c Common, cmd locks.Command, r *locks.Request, checks ...error) (locks.Result, locks.Meta, error) {
	var err error
	*r, err = s.request(c)
	if err := cmp.Or(append([]error{err}, checks...)...); err != nil {
		return locks.Result{}, locks.Meta{}, fail(op, name, err)
	}
	res, meta, err := s.propose(ctx, cmd, r)
	if err != nil {
		return res, meta, fail(op, name, err)
	}
	return res, meta, nil
}

// AcquireAll acquires several locks in one command, or none of them.
func (s *Service) AcquireAll(ctx context.Context, r AcquireAll) ([]locks.Grant, locks.Meta, error) {
	l := s.cfg.Limits
	cmd := &locks.AcquireAllCommand{Session: r.Session, Locks: r.Names, Note: r.Note}
	start := time.Now()
	res, meta, err := s.change(ctx, "acquire all", "", r.Common, cmd, &cmd.Request,
		checkName("session", r.Session, l.MaxName), checkText("note", r.Note, l.MaxNote), checkNames(r.Names, l))
	if err != nil {
		return nil, meta, s.explainAll(ctx, err, res)
	}
	got, err := command.DecodeHeld(res.Body)
	if err != nil {
		return nil, meta, fail("acquire all", "", &locks.Error{Code: locks.OutcomeUnknown, Detail: "the answer of the state machine cannot be read", Err: err})
	}
	left, err := s.lease(ctx, res, start, false)
	if err != nil {
		return nil, meta, fail("acquire all", "", err)
	}
	grants := make([]locks.Grant, 0, len(got))
	for _, g := range got {
		grants = append(grants, locks.Grant{Name: g.Name, Session: res.Session, Fence: g.Holder.Fence, Slots: 1, ExpiresIn: left})
	}
	return grants, meta, nil
}

func checkNames(names []string, l locks.Limits) error {
	if len(names) == 0 || len(names) > l.MaxNames {
		return invalid("names", "from 1 to %d; these are %d", l.MaxNames, len(names))
	}
	for i, name := range names {
		if err := checkName("names", name, l.MaxName); err != nil {
			return err
		}
		if slices.Contains(names[:i], name) {
			return invalid("names", "%q is there twice", name)
		}
	}
	return nil
}

// explainAll completes the refusal of several locks with what only the leader's
// clock and this node's memory know.
func (s *Service) explainAll(ctx context.Context, err error, res locks.Result) error {
	e, ok := errors.AsType[*locks.Error](err)
	if !ok || e.Code != locks.LockHeld {
		return err
	}
	e.Held = nil
	held, failed := command.DecodeHeld(res.Body)
	if failed != nil {
		e.Err = failed
		return err
	}
	var q locks.Question
	for _, h := range held {
		info := heldInfo(h.Holder, h.Position, h.Delayed)
		if info.Holder != nil {
			s.machine.View(func(v locks.View) { info.Holder.Held = v.Held(h.Name, h.Holder.Fence, s.clock()) })
		}
		e.All = append(e.All, locks.HeldLock{Name: h.Name, HeldInfo: info})
		q.Sessions = append(q.Sessions, h.Holder.Session)
		q.Locks = append(q.Locks, h.Name)
	}
	a, failed := s.ask(ctx, q, quickly)
	if failed != nil {
		return err
	}
	for i := range e.All {
		switch h := &e.All[i]; {
		case h.Holder == nil && h.LockDelayRemaining != 0:
			h.LockDelayRemaining = a.Delays[i]
		case h.Holder != nil && a.Leases[i].State == locks.LeaseAlive:
			h.Holder.ExpiresIn = a.Leases[i].Remaining
		}
	}
	return err
}

// AskYield asks the holders of a lock to let go. Errors: LockUnknown if nobody
// holds it.
func (s *Service) AskYield(ctx context.Context, r AskYield) (locks.Meta, error) {
	l := s.cfg.Limits
	cmd := &locks.YieldCommand{Lock: r.Name, Within: r.Within, Reason: r.Reason}
	_, meta, err := s.change(ctx, "ask to yield", r.Name, r.Common, cmd, &cmd.Request,
		checkName("name", r.Name, l.MaxName), checkUpTo("within", r.Within, l.MaxYield), checkText("reason", r.Reason, l.MaxNote))
	return meta, err
}

// Proclaim changes what the leader of an election publishes. Errors: StaleFence
// if the term is over.
func (s *Service) Proclaim(ctx context.Context, r Proclaim) (locks.Meta, error) {
	l := s.cfg.Limits
	cmd := &locks.ProclaimCommand{Lock: r.Name, Fence: r.Fence, Value: r.Value}
	_, meta, err := s.change(ctx, "proclaim", r.Name, r.Common, cmd, &cmd.Request,
		checkName("name", r.Name, l.MaxName), checkText("value", r.Value, l.MaxPublished))
	return meta, err
}

// Transfer hands the leadership of an election to one of its candidates. Errors:
// StaleFence if the term is over, NotCandidate.
func (s *Service) Transfer(ctx context.Context, r Transfer) (locks.Grant, locks.Meta, error) {
	l := s.cfg.Limits
	cmd := &locks.TransferCommand{Lock: r.Name, Fence: r.Fence, To: r.To}
	res, meta, err := s.change(ctx, "transfer", r.Name, r.Common, cmd, &cmd.Request,
		checkName("name", r.Name, l.MaxName), checkName("to", r.To, l.MaxName))
	if err != nil {
		return locks.Grant{}, meta, err
	}
	g := locks.Grant{Name: r.Name, Session: res.Session, Fence: res.Fence, Slots: 1, ExpiresIn: -1}
	if a, err := s.ask(ctx, locks.Question{Sessions: []string{res.Session}}, quickly); err == nil && a.Leases[0].State == locks.LeaseAlive {
		g.ExpiresIn = a.Leases[0].Remaining
	}
	return g, meta, nil
}

// AdvanceFence raises the highest fence that a resource has seen. Errors:
// StaleFence if it has seen a higher one.
func (s *Service) AdvanceFence(ctx context.Context, r AdvanceFence) (highest uint64, m locks.Meta, err error) {
	cmd := &locks.AdvanceCommand{Resource: r.Resource, Fence: r.Fence}
	res, meta, err := s.change(ctx, "advance fence", r.Resource, r.Common, cmd, &cmd.Request,
		checkName("resource", r.Resource, s.cfg.Limits.MaxName), checkFence(r.Fence))
	return res.Fence, meta, err
}

// ForgetFence removes the register of a resource. Errors: StaleFence if another
// fence is the highest.
func (s *Service) ForgetFence(ctx context.Context, r ForgetFence) (locks.Meta, error) {
	cmd := &locks.ForgetFenceCommand{Resource: r.Resource, Fence: r.Fence}
	_, meta, err := s.change(ctx, "forget fence", r.Resource, r.Common, cmd, &cmd.Request,
		checkName("resource", r.Resource, s.cfg.Limits.MaxName), checkFence(r.Fence))
	return meta, err
}

func checkFence(n uint64) error {
	if n == 0 {
		return invalid("fence", "from 1; this is 0")
	}
	return nil
}

// GetFence returns the highest fence that a resource has seen. Errors:
// KeyNotFound if it has seen none.
func (s *Service) GetFence(ctx context.Context, resource string, rd Read) (highest uint64, m locks.Meta, err error) {
	const op = "get fence"
	err = checkName("resource", resource, s.cfg.Limits.MaxName)
	if err == nil {
		err = s.sync(ctx, rd)
	}
	if err != nil {
		return 0, locks.Meta{}, fail(op, resource, err)
	}
	var ok bool
	s.machine.View(func(v locks.View) {
		highest, ok = v.Fence(resource)
		m = s.meta(v, rd)
	})
	if !ok {
		return 0, m, fail(op, resource, &locks.Error{Code: locks.KeyNotFound, Detail: "the resource has seen no fence"})
	}
	return highest, m, nil
}
