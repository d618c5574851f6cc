package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prytany/prytany/client/internal/link"
)

// errRequest marks what can never be sent, wherever to.
var errRequest = link.ErrRequest

// do sends r until it has an answer, a refusal that will not go away, or no
// time left.
func (c *Client) do(ctx context.Context, r link.Request) (link.Reply, error) {
	rep, err := c.link.Do(ctx, r)
	return rep, translate(err)
}

// once sends r to one endpoint, which gets try beside the time that r waits.
func (c *Client) once(ctx context.Context, r link.Request, try time.Duration) (link.Reply, error) {
	rep, _, err := c.link.Once(ctx, r, try)
	return rep, translate(err)
}

// translate says in this package's errors what link met.
func translate(err error) error {
	if o, ok := errors.AsType[*link.Outcome](err); ok {
		kind := ErrUnavailable
		if o.Unknown {
			kind = ErrUnknownOutcome
		}
		return &outcomeError{kind, translate(o.Last), o.Cause}
	}
	if r, ok := errors.AsType[*link.Refusal](err); ok {
		p := problemError(r.Problem, r.RetryAfter)
		p.Revision = r.Revision
		return p
	}
	return err
}

// An outcomeError says what is known when time was over. It is no plain chain:
// what the last attempt met must not pass for the outcome of all of them.
type outcomeError struct {
	kind  error // ErrUnavailable or ErrUnknownOutcome
	last  error // the most telling that an attempt met
	cause error // why there is no time left; may be nil
}

func (e *outcomeError) Error() string {
	if e.cause == nil || errors.Is(e.last, e.cause) {
		return fmt.Sprintf("%v: %v", e.kind, e.last)
	}
	return fmt.Sprintf("%v: %v (%v)", e.kind, e.last, e.cause)
}

func (e *outcomeError) Is(target error) bool {
	if target == ErrUnavailable || target == ErrUnknownOutcome {
		return target == e.kind
	}
	return errors.Is(e.last, target) || errors.Is(e.cause, target)
}

// As finds the last refusal.
func (e *outcomeError) As(target any) bool { return errors.As(e.last, target) }
