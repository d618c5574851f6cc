package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
)

// An answer says how a kind of problem looks from outside.
type answer struct {
	status    int
	code      api.Code
	applied   api.Applied
	retryable bool // the same request may succeed, and sending it again does no harm
	title     string
}

// answers holds the answer to each code of the service. A test walks it.
var answers = [locks.NumCodes]answer{
	locks.Internal:         {http.StatusInternalServerError, api.CodeInternal, api.AppliedUnknown, false, "Internal error"},
	locks.Invalid:          {http.StatusBadRequest, api.CodeInvalid, api.AppliedNo, false, "The request can never succeed as written"},
	locks.LockHeld:         {http.StatusConflict, api.CodeLockHeld, api.AppliedNo, true, "Somebody else holds the lock"},
	locks.LockUnknown:      {http.StatusNotFound, api.CodeLockUnknown, api.AppliedNo, false, "Nobody holds or waits for this lock"},
	locks.SessionUnknown:   {http.StatusNotFound, api.CodeSessionUnknown, api.AppliedNo, false, "No such session"},
	locks.SessionExpired:   {http.StatusGone, api.CodeSessionExpired, api.AppliedNo, false, "The session is over and its locks are gone"},
	locks.StaleFence:       {http.StatusPreconditionFailed, api.CodeStaleFence, api.AppliedNo, false, "The grant of this fence is over"},
	locks.RevisionMismatch: {http.StatusPreconditionFailed, api.CodeRevisionMismatch, api.AppliedNo, false, "The entry is not at this revision"},
	locks.KeyNotFound:      {http.StatusNotFound, api.CodeKeyNotFound, api.AppliedNo, false, "No such key"},
	locks.KeyReused:        {http.StatusUnprocessableEntity, api.CodeKeyReused, api.AppliedNo, false, "The Idempotency-Key was used with another request"},
	locks.NoLeader:         {http.StatusServiceUnavailable, api.CodeNoLeader, api.AppliedNo, true, "The group has no leader at present"},
	locks.Overloaded:       {http.StatusServiceUnavailable, api.CodeOverloaded, api.AppliedNo, true, "Too much to do at present"},
	locks.OutcomeUnknown:   {http.StatusGatewayTimeout, api.CodeOutcomeUnknown, api.AppliedUnknown, false, "The change may or may not take effect"},
	locks.TooLarge:         {http.StatusRequestEntityTooLarge, api.CodeTooLarge, api.AppliedNo, false, "Too large"},
	locks.NotApplied:       {http.StatusServiceUnavailable, api.CodeNotApplied, api.AppliedNo, true, "This node has not yet applied the revision"},
}

// own holds the answers to what this package finds by itself.
var own = []answer{
	{http.StatusNotFound, api.CodeNotFound, api.AppliedNo, false, "Nothing here"},
	{http.StatusMethodNotAllowed, api.CodeMethodNotAllowed, api.AppliedNo, false, "Method not allowed"},
	{http.StatusNotFound, api.CodeGroupUnknown, api.AppliedNo, false, "No such group"},
	{http.StatusPreconditionRequired, api.CodeFenceRequired, api.AppliedNo, false, "Say which grant to release"},
	{http.StatusMisdirectedRequest, api.CodeNotLeader, api.AppliedNo, true, "This node does not lead the group"},
	{http.StatusForbidden, api.CodeForbiddenOrigin, api.AppliedNo, false, "Refused a request from another site"},
	{http.StatusForbidden, api.CodeForbiddenHost, api.AppliedNo, false, "Refused a request for another host"},
	{http.StatusUnsupportedMediaType, api.CodeEncoding, api.AppliedNo, false, "Content-Encoding is not supported"},
	{http.StatusRequestTimeout, api.CodeTimeout, api.AppliedNo, true, "The body came too slowly"},
	{http.StatusServiceUnavailable, api.CodeStopping, api.AppliedNo, true, "This node is going down"},
	{http.StatusServiceUnavailable, api.CodeNotReady, api.AppliedNo, true, "This node is not ready"},
}

// answerOf finds the answer to code; there is one to each.
func answerOf(code api.Code) answer {
	for _, list := range [][]answer{answers[:], own} {
		for _, a := range list {
			if a.code == code {
				return a
			}
		}
	}
	return answers[locks.Internal]
}

const internalDetail = "something is wrong with this node; its log says more under the request id"

// problem returns a problem about field; any of field, value and limit may be
// empty.
func problem(code api.Code, field, value, limit, format string, args ...any) *api.Problem {
	return &api.Problem{Code: code, Field: field, Value: short(value), Limit: limit, Detail: fmt.Sprintf(format, args...)}
}

// fail replies with err.
func (c *call) fail(err error) {
	if p, ok := errors.AsType[*api.Problem](err); ok {
		c.write(answerOf(p.Code), p)
		return
	}
	if c.stopping() && (c.method == nil || !c.method.change) {
		c.write(answerOf(api.CodeStopping), problem(api.CodeStopping, "", "", "", "ask another node"))
		return
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
	c.write(answers[e.Code], c.translate(e))
}

// translate says e in the words of the API.
func (c *call) translate(e *locks.Error) *api.Problem {
	p := &api.Problem{Code: answers[e.Code].code, Detail: e.Detail, Name: e.Name, Field: e.Field}
	switch e.Code {
	case locks.Internal:
		p.Detail = internalDetail
		c.s.cfg.Log.Error("a request failed", "request_id", c.id, "route", c.route, "method", c.r.Method, "err", e)
	case locks.StaleFence:
		p.CurrentFence = &e.Current
	case locks.RevisionMismatch:
		p.CurrentRevision = &e.Current
	case locks.LockHeld:
		if h := e.Held; h != nil {
			p.QueuePosition, p.LockDelayRemainingMS = h.QueuePosition, ms(h.LockDelayRemaining)
			if h.Holder != nil {
				holder := holderOf(*h.Holder)
				p.Holder = &holder
			}
		}
		c.w.Header().Set("Retry-After", seconds(heldFor(e.Held), 30))
	}
	return p
}

// heldFor is how long a lock will surely be held, if nobody lets go earlier.
func heldFor(h *locks.HeldInfo) time.Duration {
	switch {
	case h == nil:
		return 0
	case h.Holder == nil:
		return h.LockDelayRemaining
	}
	return h.Holder.ExpiresIn
}

// write completes p by a and sends it.
func (c *call) write(a answer, p *api.Problem) {
	p.Type, p.Title, p.Status, p.Applied = api.ProblemType(a.code), a.title, a.status, a.applied
	p.Retryable, p.RequestID = a.retryable, c.id
	h := c.w.Header()
	if a.code == api.CodeOutcomeUnknown {
		// With a key, the retry gets the answer of the first try.
		p.Retryable = c.r.Header.Get(api.HeaderIdempotencyKey) != ""
	}
	if a.status == http.StatusServiceUnavailable && h.Get("Retry-After") == "" {
		h.Set("Retry-After", "1")
	}
	if leader := h.Get(api.HeaderLeader); leader != "" && a.status >= http.StatusInternalServerError {
		p.Leader = leader
	}
	for _, name := range []string{"ETag", "Location", "Content-Security-Policy", "Vary", api.HeaderFence} {
		h.Del(name)
	}
	h.Set("Cache-Control", "no-store") // a read may have said otherwise already
	_ = c.send(a.status, api.TypeProblem, encode(p))
}
