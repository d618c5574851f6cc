package locks

import (
	"context"
	"errors"
	"time"

	"github.com/prytany/prytany/paxos"
)

// propose has cmd applied, under r, which is cmd's own request. It repeats
// until the outcome is known or time is up: the machine knows a repetition by
// its id.
func (s *Service) propose(ctx context.Context, cmd Command, r *Request) (Result, Meta, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	r.Since = s.machine.Revision()
	for {
		data, slot, err := s.cfg.Log.Propose(ctx, Encode(cmd))
		if err == nil {
			res, err := DecodeResult(data)
			if err != nil {
				return Result{}, Meta{}, &Error{Code: OutcomeUnknown, Detail: "the answer of the state machine cannot be read", Err: err}
			}
			meta := Meta{Revision: res.Revision, Slot: slot}
			if res.Refused {
				return res, meta, refusal(res, r.Retry)
			}
			return res, meta, nil
		}
		if code := classify(err); code == OutcomeUnknown {
			r.Retry = true
		}
		if !pause(ctx) {
			return Result{}, Meta{}, gaveUp(ctx, err, r.Retry)
		}
	}
}

// classify says what an error of the log means. What it does not know may have
// taken effect.
func classify(err error) Code {
	if _, ok := errors.AsType[*paxos.NotLeaderError](err); ok {
		return NoLeader
	}
	if errors.Is(err, paxos.ErrOverloaded) {
		return Overloaded
	}
	return OutcomeUnknown
}

// gaveUp is the error after the last attempt, which ended with err.
func gaveUp(ctx context.Context, err error, unknown bool) *Error {
	e := &Error{Code: classify(err), Err: errors.Join(context.Cause(ctx), err)}
	if unknown {
		e.Code = OutcomeUnknown
	}
	switch e.Code {
	case NoLeader:
		e.Detail = "the group had no leader in time; nothing happened"
	case Overloaded:
		e.Detail = "the group was overloaded; nothing happened"
	default:
		e.Detail = "the answer did not come in time; the change may still take effect"
	}
	return e
}

// refusal is the error that a result says. unknown tells that an earlier
// attempt may still be under way: a refusal that is not remembered does not
// bind that one.
func refusal(r Result, unknown bool) *Error {
	e := &Error{Code: r.Code, Detail: r.Detail, Current: r.Current}
	switch r.Code {
	case LockHeld:
		e.Held = &HeldInfo{QueuePosition: r.Position}
		if h := r.Holder; h.Session != "" {
			e.Held.Holder = &Holder{
				Session: h.Session, Owner: h.Owner, Fence: h.Fence, Note: h.Note,
				Since: h.Fence, Held: -1, ExpiresIn: -1,
			}
		} else if r.Delayed {
			e.Held.LockDelayRemaining = -1
		}
	case Overloaded, TooLarge, Internal:
		if unknown {
			e.Code, e.Detail = OutcomeUnknown, "refused, but an earlier attempt may still take effect: "+r.Detail
		}
	}
	return e
}

// fail completes an error for the caller of op.
func fail(op, name string, err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		e = &Error{Code: Internal, Err: err}
	}
	e.Op, e.Name = op, name
	return e
}

// ask has the leader answer q, repeating until it does or time is up. Asking
// again does no harm, so nothing is left unknown.
func (s *Service) ask(ctx context.Context, q Question, timeout time.Duration) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req := q.Encode()
	for {
		data, err := s.cfg.Log.Ask(ctx, req)
		if err == nil {
			a, err := DecodeAnswer(data)
			switch {
			case err != nil || !a.NotYet && (len(a.Leases) != len(q.Sessions) || len(a.Delays) != len(q.Locks)):
				return Answer{}, &Error{Code: Internal, Detail: "the leader's answer cannot be read", Err: err}
			case !a.NotYet && !ending(a.Leases):
				return a, nil
			}
		}
		if !pause(ctx) {
			return Answer{}, noAnswer(ctx, err)
		}
	}
}

// ending reports whether the fate of a lease will be known only later. For a
// list that does not matter.
func ending(ls []Lease) bool { return len(ls) == 1 && ls[0].State == LeaseEnding }

// barrier makes what follows a linearizable read of the local machine.
func (s *Service) barrier(ctx context.Context) error {
	for {
		err := s.cfg.Log.Barrier(ctx)
		if err == nil {
			return nil
		}
		if !pause(ctx) {
			return noAnswer(ctx, err)
		}
	}
}

// noAnswer is the error of a request that changes nothing.
func noAnswer(ctx context.Context, err error) *Error {
	e := &Error{Code: NoLeader, Detail: "the group's leader did not answer in time", Err: errors.Join(context.Cause(ctx), err)}
	if errors.Is(err, paxos.ErrOverloaded) {
		e.Code, e.Detail = Overloaded, "the group was overloaded"
	}
	return e
}
