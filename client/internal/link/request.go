package link

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
	"github.com/prytany/prytany/internal/mutant"
)

// MaxWait is the longest that the server waits within one request.
const MaxWait = 5 * time.Minute

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

// A Request is one call of the API, however often it has to be sent.
type Request struct {
	Method   string
	Path     string // below /v1/, escaped
	Query    url.Values
	Header   http.Header
	Body     []byte
	Change   bool          // gets an Idempotency-Key
	Key      string        // chosen by the caller, else made
	Wait     time.Duration // how long the server is asked to wait
	Patient  bool          // goes on as long as the context, also without a deadline
	Timeless bool          // a repetition does no harm, however late it comes
	Queue    bool          // waits in a queue, and keeps its place there when it is sent again
	Until    time.Duration // with Queue: reading of the clock at which to leave it; 0: never
	Small    bool          // shares a connection with others: neither it nor its reply is large
	Follow   bool          // turns away from an endpoint as soon as others do
}

// A Reply is an answer with status 2xx or 304.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// A Refusal is an answer with another status.
type Refusal struct {
	*api.Problem
	RetryAfter time.Duration
	Revision   uint64 // at which it was decided, 0 if unknown
}

// An Outcome is the error when the time is over.
type Outcome struct {
	Unknown bool  // the request may have had an effect, or may still
	Last    error // the most telling that an attempt met
	Cause   error // why there is no time left; may be nil
}

func (o *Outcome) Error() string { return fmt.Sprintf("%v (%v)", o.Last, o.Cause) }

// Escape encodes a name as path: slashes stay, everything else that a router
// or proxy might touch is escaped.
func Escape(name string) string {
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

// Do sends r until it has an answer, a refusal that will not go away, or no
// time left.
func (l *Link) Do(ctx context.Context, r Request) (Reply, error) {
	if _, ok := ctx.Deadline(); !ok && !r.Patient {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.Timeout+r.Wait)
		defer cancel()
	}
	if r.Change && r.Key == "" {
		r.Key = rand.Text()
	}
	try := l.tryFor(ctx, r)
	unknown := false           // some attempt may have had an effect
	var doubtful time.Duration // since then
	var last error
	for attempt := 0; ; attempt++ {
		began := l.Now()
		if mutant.On(mutant.NewKeys) && r.Change {
			r.Key = rand.Text()
		}
		rep, sent, err := l.Once(ctx, r, try)
		if err == nil {
			return rep, nil
		}
		var p *Refusal
		refused := errors.As(err, &p)
		switch {
		case errors.Is(err, ErrRequest):
			return Reply{}, err
		case refused && !retryable(p) && (unknown || sent && r.Change) && !binding(p):
			return Reply{}, &Outcome{Unknown: true, Last: err}
		case refused && !retryable(p):
			return Reply{}, err
		case refused:
			sent = sent || p.Applied != api.AppliedNo
		}
		if sent && r.Change && !unknown {
			unknown, doubtful = true, began
		}
		if tells(err, last) {
			last = err
		}
		l.Log.Debug("request failed", "method", r.Method, "path", r.Path, "attempt", attempt+1, "err", err)
		late := unknown && !r.Timeless && l.Now()-doubtful > retryFor
		if late || !pause(ctx, attempt, p) {
			return Reply{}, &Outcome{unknown, last, context.Cause(ctx)}
		}
	}
}

// tryFor divides the time there is among the endpoints, so that one that never
// answers does not take all of it.
func (l *Link) tryFor(ctx context.Context, r Request) time.Duration {
	try := tryFor
	if end, ok := ctx.Deadline(); ok {
		left := time.Until(end) - r.Wait
		try = min(try, left/time.Duration(len(l.endpoints)+1))
	}
	return max(try, minTryFor)
}

func retryable(p *Refusal) bool { return Retryable(p.Status) }

// Retryable reports whether the same request may fare better later, without
// anybody's doing. A held lock is retryable too, but that is the caller's
// choice.
func Retryable(status int) bool {
	switch status {
	case http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusBadGateway,
		http.StatusTooManyRequests, http.StatusRequestTimeout:
		return true
	}
	return false
}

// binding reports whether a refusal holds for every attempt with the same
// Idempotency-Key, earlier ones included: the state machine remembers it.
func binding(p *Refusal) bool {
	switch p.Code {
	case api.CodeLockHeld, api.CodeLockUnknown, api.CodeSessionUnknown, api.CodeSessionExpired,
		api.CodeStaleFence, api.CodeRevisionMismatch, api.CodeKeyNotFound, api.CodeInvalid,
		api.CodeLimitMismatch, api.CodeUpgradeRefused, api.CodeSessionNeeded, api.CodeNotCandidate:
		return true
	}
	return false
}

// Pause waits a little longer with each attempt. It reports whether there is
// time for another.
func Pause(ctx context.Context, attempt int) bool { return pause(ctx, attempt, nil) }

// pause is Pause, and waits as long as an overloaded server asks.
func pause(ctx context.Context, attempt int, p *Refusal) bool {
	if ctx.Err() != nil {
		return false
	}
	d := min(10*time.Millisecond<<min(attempt, 5), 250*time.Millisecond)
	if p != nil && (p.Code == api.CodeOverloaded || p.Status == http.StatusTooManyRequests) {
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

// MaxBackoff is the longest pause of Backoff, half of itself more or less.
const MaxBackoff = 5 * time.Second

// Backoff waits between attempts that go on for ever: longer with each, up to
// MaxBackoff.
func Backoff(ctx context.Context, attempt int) {
	d := min(50*time.Millisecond<<min(attempt, 10), MaxBackoff)
	timer := time.NewTimer(d/2 + mrand.N(d))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// tells reports whether err says more about why nothing came of a request than
// what an earlier attempt met: the word of a node says more than that another
// cannot be reached, and anything more than that the time is over.
func tells(err, earlier error) bool {
	_, refusal := errors.AsType[*Refusal](err)
	_, before := errors.AsType[*Refusal](earlier)
	return earlier == nil || refusal || !before && !isTimeout(err)
}

// isTimeout reports whether err says that the caller's time is over.
func isTimeout(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// Next has q ask for the page of a listing that comes next, by the cursor of the last
// one. more is false if there is none. A page that names itself as the next one is an
// error: who follows it reads for ever.
func Next(q url.Values, cursor string) (more bool, err error) {
	if cursor != "" && cursor == q.Get("cursor") {
		return false, fmt.Errorf("prytany: the listing makes no sense: after the page %q comes the same one", cursor)
	}
	q.Set("cursor", cursor)
	return cursor != "", nil
}
