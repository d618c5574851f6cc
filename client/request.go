package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prytany/prytany/internal/api"
)

const (
	// attachFor is how long one attempt waits in a lock's queue before the
	// request is sent again, which keeps its place.
	attachFor = time.Minute
	// tryFor bounds an attempt beside the wait that was asked for, and
	// minTryFor is what it gets however little time there is.
	tryFor    = 3 * time.Second
	minTryFor = 500 * time.Millisecond
	// retryFor is how long a change is repeated after the first attempt that
	// may have had an effect. The server remembers the answers to keys for ten
	// minutes, or less when very many changes are made: a repetition that comes
	// too late would be done again.
	retryFor = time.Minute
)

// A request is one call of the API, however often it has to be sent.
type request struct {
	method   string
	path     string // below /v1/, escaped
	query    url.Values
	header   http.Header
	body     []byte
	change   bool          // gets an Idempotency-Key
	key      string        // chosen by the caller, else made
	wait     time.Duration // how long the server is asked to wait
	patient  bool          // goes on as long as the context, also without a deadline
	timeless bool          // a repetition does no harm, however late it comes
	queue    bool          // waits in a queue, and keeps its place there when it is sent again
	until    time.Duration // with queue: reading of the clock at which to leave it; 0: never
}

// A reply is an answer with status 2xx or 304.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// escape encodes a name as path: slashes stay, everything else that a router
// or proxy might touch is escaped.
func escape(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		p = url.PathEscape(p)
		if p == "." || p == ".." {
			p = strings.ReplaceAll(p, ".", "%2E")
		}
		parts[i] = p
	}
	return strings.Join(parts, "/")
}

// do sends r until it has an answer, a refusal that will not go away, or no
// time left.
func (c *Client) do(ctx context.Context, r request) (reply, error) {
	if _, ok := ctx.Deadline(); !ok && !r.patient {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.cfg.Timeout+r.wait)
		defer cancel()
	}
	if r.change && r.key == "" {
		r.key = rand.Text()
	}
	try := c.tryFor(ctx, r)
	unknown := false           // some attempt may have had an effect
	var doubtful time.Duration // since then
	var last error
	for attempt := 0; ; attempt++ {
		began := c.now()
		rep, sent, err := c.once(ctx, r, try)
		if err == nil {
			return rep, nil
		}
		var p *ProblemError
		refused := errors.As(err, &p)
		switch {
		case errors.Is(err, errRequest):
			return reply{}, err
		case refused && !retryable(p) && unknown && !binding(p):
			return reply{}, &outcomeError{ErrUnknownOutcome, err, nil}
		case refused && !retryable(p):
			return reply{}, err
		case refused:
			sent = p.Applied != string(api.AppliedNo)
		}
		if sent && r.change && !unknown {
			unknown, doubtful = true, began
		}
		if last == nil || !isTimeout(err) {
			last = err
		}
		c.cfg.Log.Debug("request failed", "method", r.method, "path", r.path, "attempt", attempt+1, "err", err)
		late := unknown && !r.timeless && c.now()-doubtful > retryFor
		if late || !pause(ctx, attempt, p) {
			return reply{}, c.finalError(ctx, unknown, last)
		}
	}
}

// tryFor divides the time there is among the endpoints, so that one that never
// answers does not take all of it.
func (c *Client) tryFor(ctx context.Context, r request) time.Duration {
	try := tryFor
	if end, ok := ctx.Deadline(); ok {
		left := time.Until(end) - r.wait
		try = min(try, left/time.Duration(len(c.endpoints)+1))
	}
	return max(try, minTryFor)
}

// finalError says what is known when the time is over.
func (c *Client) finalError(ctx context.Context, unknown bool, last error) error {
	kind := ErrUnavailable
	if unknown {
		kind = ErrUnknownOutcome
	}
	return &outcomeError{kind, last, context.Cause(ctx)}
}

// retryable reports whether the same request may fare better later, without
// anybody's doing. A held lock is retryable too, but that is the caller's
// choice.
func retryable(p *ProblemError) bool {
	switch p.Status {
	case http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusBadGateway,
		http.StatusTooManyRequests, http.StatusRequestTimeout:
		return true
	}
	return false
}

// binding reports whether a refusal holds for every attempt with the same
// Idempotency-Key, earlier ones included: the state machine remembers it.
func binding(p *ProblemError) bool {
	switch api.Code(p.Code) {
	case api.CodeLockHeld, api.CodeLockUnknown, api.CodeSessionUnknown, api.CodeSessionExpired,
		api.CodeStaleFence, api.CodeRevisionMismatch, api.CodeKeyNotFound, api.CodeInvalid:
		return true
	}
	return false
}

// pause waits a little longer with each attempt, and as long as an overloaded
// server asks. It reports whether there is time for another attempt.
func pause(ctx context.Context, attempt int, p *ProblemError) bool {
	if ctx.Err() != nil {
		return false
	}
	d := min(10*time.Millisecond<<min(attempt, 5), 250*time.Millisecond)
	if p != nil && (p.Code == string(api.CodeOverloaded) || p.Status == http.StatusTooManyRequests) {
		d = max(d, min(p.RetryAfter, 2*time.Second))
	}
	timer := time.NewTimer(d/2 + mrand.N(d))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// An outcomeError says what is known when time was over. It is no plain chain:
// what the last attempt met must not pass for the outcome of all of them.
type outcomeError struct {
	kind  error // ErrUnavailable or ErrUnknownOutcome
	last  error // what the last attempt met
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
