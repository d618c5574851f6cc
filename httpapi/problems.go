package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/prytany/prytany/httpapi/internal/problems"
	"github.com/prytany/prytany/httpapi/internal/reply"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
)

const internalDetail = "something is wrong with this node; its log says more under the request id"

// fail replies with err.
func (c *call) fail(err error) {
	p := c.problemOf(err)
	h := c.w.Header()
	switch e, ok := errors.AsType[*locks.Error](err); {
	case p.Code == api.CodeLockHeld && ok:
		h.Set("Retry-After", seconds(problems.HeldFor(e), 30))
	case p.Status == http.StatusConflict && p.Retryable, p.Status == http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
	}
	for _, name := range []string{"Etag", "Location", "Content-Security-Policy", "Vary", api.HeaderFence} {
		delete(h, name)
	}
	h["Cache-Control"] = noStore // a read may have said otherwise already
	c.drain()
	_ = c.send(p.Status, api.TypeProblem, reply.AppendProblem(c.buf[:0], p))
}

// maxDrain bounds what is read of a body that nobody wants.
const maxDrain = 1 << 20

// drain reads the rest of the body over HTTP/2, as net/http does by itself over
// HTTP/1: else it resets the stream right behind the reply, and clients that have
// not sent everything yet, curl among them, lose the reply.
func (c *call) drain() {
	if c.r.ProtoMajor == 2 && c.r.Body != nil {
		_, _ = io.CopyN(io.Discard, c.r.Body, maxDrain)
	}
}

// problemOf says err in the words of the API.
func (c *call) problemOf(err error) *api.Problem {
	if p, ok := errors.AsType[*api.Problem](err); ok {
		return c.complete(problems.For(p.Code), p)
	}
	// A keepalive does no harm when it is sent again, wherever it ended.
	if c.stopping() && (c.method == nil || !c.method.change || c.method.class == classKeepalive) {
		return c.complete(problems.For(api.CodeStopping), problems.New(api.CodeStopping, "", "", "", "ask another node"))
	}
	e, ok := errors.AsType[*locks.Error](err)
	switch {
	case ok:
	case !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled):
		e = &locks.Error{Code: locks.Internal, Err: err}
	case c.method.change:
		e = &locks.Error{Code: locks.OutcomeUnknown, Detail: "the time for this request is over"}
	default:
		e = &locks.Error{Code: locks.NoLeader, Detail: "the time for this request is over"}
	}
	if e.Code >= locks.NumCodes {
		e = &locks.Error{Code: locks.Internal, Err: fmt.Errorf("code %d has no answer: %w", e.Code, err)}
	}
	return c.complete(problems.Service[e.Code], c.translate(e))
}

// translate says e in the words of the API.
func (c *call) translate(e *locks.Error) *api.Problem {
	p := &api.Problem{Code: problems.Service[e.Code].Code, Detail: e.Detail, Name: e.Name, Field: e.Field}
	switch e.Code {
	case locks.Internal:
		p.Detail = internalDetail
		c.s.cfg.Log.Error("a request failed", "request_id", c.id, "route", c.route, "method", c.r.Method, "err", e)
	case locks.StaleFence:
		p.CurrentFence = &e.Current
	case locks.RevisionMismatch:
		p.CurrentRevision = &e.Current
	case locks.LockHeld:
		if e.Held != nil {
			h := reply.HeldBy("", e.Held)
			p.Holder, p.QueuePosition, p.LockDelayRemainingMS = h.Holder, h.QueuePosition, h.LockDelayRemainingMS
		}
		for i := range e.All {
			p.Held = append(p.Held, reply.HeldBy(e.All[i].Name, &e.All[i].HeldInfo))
		}
	case locks.LimitMismatch:
		p.Slots, p.RequestedSlots = e.Slots, c.slots
	case locks.Compacted:
		p.OldestRevision = e.Current
	}
	if e.Step > 0 {
		n := e.Step - 1
		p.Operation = &n
	}
	return p
}

// complete adds what all problems of a kind have in common.
func (c *call) complete(a problems.Answer, p *api.Problem) *api.Problem {
	p.Type, p.Title, p.Status, p.Applied = api.ProblemType(a.Code), a.Title, a.Status, a.Applied
	p.Retryable, p.RequestID = a.Retryable, c.id
	switch {
	case a.Code != api.CodeOutcomeUnknown:
	case c.repeatable != nil:
		p.Retryable = *c.repeatable
	default: // with a key, the retry gets the answer of the first try
		p.Retryable = c.r.Header.Get(api.HeaderIdempotencyKey) != ""
	}
	if leader := c.w.Header().Get(api.HeaderLeader); leader != "" && a.Status >= http.StatusInternalServerError {
		p.Leader = leader
	}
	return p
}
