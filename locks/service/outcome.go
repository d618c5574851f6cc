package service

import (
	"context"
	"errors"
	"time"

	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/locks/internal/command"
	"github.com/prytany/prytany/paxos"
)

// propose has cmd applied, under r, which is cmd's own request. It repeats
// until the outcome is known or time is up: the machine knows a repetition by
// its id. What is refused because there is too much to do is not repeated, unless
// an earlier attempt may have been taken: to wait here would be a second queue in
// front of the one that is full.
func (s *Service) propose(ctx context.Context, cmd locks.Command, r *locks.Request) (locks.Result, locks.Meta, error) {
	return s.repeat(ctx, cmd, r, false)
}

// insist is propose for what nobody else will ask for again: that something be
// taken back.
func (s *Service) insist(ctx context.Context, cmd locks.Command) (locks.Result, locks.Meta, error) {
	return s.repeat(ctx, cmd, &locks.Request{}, true)
}

func (s *Service) repeat(ctx context.Context, cmd locks.Command, r *locks.Request, insist bool) (locks.Result, locks.Meta, error) {
	ctx, limit := within(ctx, s.cfg.RequestTimeout)
	defer limit.end()
	r.Since = s.machine.Revision()
	for {
		data, slot, err := s.cfg.Log.Propose(ctx, locks.Encode(cmd))
		if err == nil {
			res, err := locks.DecodeResult(data)
			if err != nil {
				return locks.Result{}, locks.Meta{}, &locks.Error{Code: locks.OutcomeUnknown, Detail: "the answer of the state machine cannot be read", Err: err}
			}
			meta := locks.Meta{Revision: res.Revision, Slot: slot}
			if res.Refused {
				return res, meta, refusal(res, r.Retry)
			}
			return res, meta, nil
		}
		switch code := classify(err); {
		case code == locks.OutcomeUnknown:
			r.Retry = true
		case code == locks.Overloaded && !r.Retry && !insist:
			return locks.Result{}, locks.Meta{}, gaveUp(ctx, err, false)
		}
		if !pause(ctx, err) {
			return locks.Result{}, locks.Meta{}, gaveUp(ctx, err, r.Retry)
		}
	}
}

// classify says what an error of the log means. What it does not know may have
// taken effect.
func classify(err error) locks.Code {
	if _, ok := errors.AsType[*paxos.NotLeaderError](err); ok || errors.Is(err, paxos.ErrStopped) {
		return locks.NoLeader
	}
	if errors.Is(err, paxos.ErrOverloaded) {
		return locks.Overloaded
	}
	return locks.OutcomeUnknown
}

// gaveUp is the error after the last attempt, which ended with err.
func gaveUp(ctx context.Context, err error, unknown bool) *locks.Error {
	e := &locks.Error{Code: classify(err), Err: errors.Join(context.Cause(ctx), err)}
	if unknown {
		e.Code = locks.OutcomeUnknown
	}
	switch {
	case e.Code == locks.NoLeader && errors.Is(err, paxos.ErrStopped):
		e.Detail = "this node has stopped; nothing happened"
	case e.Code == locks.NoLeader:
		e.Detail = "the group had no leader in time; nothing happened"
	case e.Code == locks.Overloaded:
		e.Detail = "the group was overloaded; nothing happened"
	default:
		e.Detail = "the answer did not come in time; the change may still take effect"
	}
	return e
}

// refusal is the error that a result says. unknown tells that an earlier
// attempt may still be under way: a refusal that is not remembered does not
// bind that one.
func refusal(r locks.Result, unknown bool) *locks.Error {
	e := &locks.Error{Code: r.Code, Detail: r.Detail, Current: r.Current, Slots: int(r.Slots), Step: r.Step}
	switch r.Code {
	case locks.LockHeld:
		info := heldInfo(r.Holder, r.Position, r.Delayed)
		e.Held = &info
	case locks.Overloaded, locks.TooLarge, locks.Internal:
		if unknown {
			e.Code, e.Detail = locks.OutcomeUnknown, "refused, but an earlier attempt may still take effect: "+r.Detail
		}
	}
	return e
}

// heldInfo says why a lock was not granted.
func heldInfo(h command.Holder, position int, delayed bool) locks.HeldInfo {
	info := locks.HeldInfo{QueuePosition: position}
	switch {
	case h.Session != "":
		info.Holder = &locks.Holder{
			Session: h.Session, Owner: h.Owner, Fence: h.Fence, Note: h.Note,
			Elected: h.Elected, Value: h.Value, Since: h.Fence, Held: -1, ExpiresIn: -1,
		}
		if h.Shared {
			info.Holder.Mode = locks.Shared
		}
	case delayed:
		info.LockDelayRemaining = -1
	}
	return info
}

// fail completes an error for the caller of op.
func fail(op, name string, err error) error {
	e, ok := errors.AsType[*locks.Error](err)
	if !ok {
		e = &locks.Error{Code: locks.Internal, Err: err}
	}
	e.Op, e.Name = op, name
	return e
}

// ask has the leader answer q, repeating until it does or time is up. Asking
// again does no harm, so nothing is left unknown. About a single session it asks
// until its fate is known.
func (s *Service) ask(ctx context.Context, q locks.Question, timeout time.Duration) (locks.Answer, error) {
	ctx, limit := within(ctx, timeout)
	defer limit.end()
	for {
		a, err := s.askOnce(ctx, q, timeout)
		if err != nil || !ending(a.Leases) {
			return a, err
		}
		if !pause(ctx, nil) {
			return locks.Answer{}, noAnswer(ctx, nil)
		}
	}
}

// askOnce is ask that takes the first answer.
func (s *Service) askOnce(ctx context.Context, q locks.Question, timeout time.Duration) (locks.Answer, error) {
	ctx, limit := within(ctx, timeout)
	defer limit.end()
	req := q.Encode()
	for {
		data, err := s.cfg.Log.Ask(ctx, req)
		if err == nil {
			a, err := locks.DecodeAnswer(data)
			switch {
			case err != nil || !a.NotYet && (len(a.Leases) != len(q.Sessions) || len(a.Delays) != len(q.Locks) || len(a.Yields) != len(q.Locks)):
				return locks.Answer{}, &locks.Error{Code: locks.Internal, Detail: "the leader's answer cannot be read", Err: err}
			case !a.NotYet:
				return a, nil
			}
		}
		if !pause(ctx, err) {
			return locks.Answer{}, noAnswer(ctx, err)
		}
	}
}

// ending reports whether the fate of a lease will be known only later. For a
// list that does not matter.
func ending(ls []locks.Lease) bool { return len(ls) == 1 && ls[0].State == locks.LeaseEnding }

// barrier makes what follows a linearizable read of the local machine. As a change,
// it is refused at once where there is too much to do.
func (s *Service) barrier(ctx context.Context) error {
	for {
		err := s.cfg.Log.Barrier(ctx)
		if err == nil {
			return nil
		}
		if errors.Is(err, paxos.ErrOverloaded) || !pause(ctx, err) {
			return noAnswer(ctx, err)
		}
	}
}

// noAnswer is the error of a request that changes nothing.
func noAnswer(ctx context.Context, err error) *locks.Error {
	e := &locks.Error{Code: locks.NoLeader, Detail: "the group's leader did not answer in time", Err: errors.Join(context.Cause(ctx), err)}
	switch {
	case errors.Is(err, paxos.ErrOverloaded):
		e.Code, e.Detail = locks.Overloaded, "the group was overloaded"
	case errors.Is(err, paxos.ErrStopped):
		e.Detail = "this node has stopped"
	}
	return e
}
