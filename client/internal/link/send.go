package link

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/multiplex"
)

// maxReply bounds the bytes of one reply.
const maxReply = 64 << 20

var (
	// ErrRequest marks what can never be sent, wherever to.
	ErrRequest = errors.New("prytany: bad request")
	// errTurned ends an attempt whose endpoint has failed another request.
	errTurned = errors.New("prytany: the endpoint does not answer")
)

// An endpoint is one node's URL.
type endpoint struct {
	url    string
	shared *shared // nil: each request has a connection of its own
	// turned ends when requests turn away from the endpoint; then it is
	// replaced. Guarded by Link.mu.
	turned context.Context
	turn   context.CancelCauseFunc
}

func newEndpoint(u *url.URL) *endpoint {
	e := &endpoint{url: u.String()}
	e.turned, e.turn = context.WithCancelCause(context.Background())
	return e
}

// Pick returns the endpoint to ask.
func (l *Link) Pick() (i int, turned context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next, l.endpoints[l.next].turned
}

// Avoid turns to the next endpoint after i has failed. Requests that wait at i
// follow: nothing else would tell them that they wait in vain.
func (l *Link) Avoid(i int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next != i {
		return
	}
	l.next = (i + 1) % len(l.endpoints)
	e := l.endpoints[i]
	e.turn(errTurned)
	e.turned, e.turn = context.WithCancelCause(context.Background())
}

// Once sends r to one endpoint, which gets try beside the time that r waits.
// sent is false only if the server certainly did not get the request; with a
// [Refusal], if it did not get it before it refused it.
func (l *Link) Once(ctx context.Context, r Request, try time.Duration) (_ Reply, sent bool, err error) {
	i, turned := l.Pick()
	attempt, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	whole := try + r.Wait
	if r.Queue {
		whole = min(whole, attachFor)
	}
	if r.Queue || r.Follow {
		defer context.AfterFunc(turned, func() { cancel(errTurned) })()
	}
	attempt, stop := context.WithTimeout(attempt, whole)
	defer stop()
	before := false // was sent already
	if r.Small && l.endpoints[i].shared != nil && len(r.Body) <= MaxShared {
		rep, sent, err := l.share(attempt, l.endpoints[i], r)
		switch {
		case errors.Is(err, multiplex.ErrPlain):
		case errors.Is(err, multiplex.ErrLarge):
			// By plain HTTP, then. If it was done, it is known by its key.
			before = sent
		case errors.Is(err, ErrRequest):
			return Reply{}, false, err
		case err != nil:
			l.blame(ctx, attempt, i, r)
			return Reply{}, sent, err
		default:
			return l.answer(i, r, Reply(rep), false)
		}
	}
	var conn atomic.Bool
	attempt = httptrace.WithClientTrace(attempt, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { conn.Store(true) },
	})
	req, err := l.build(attempt, l.endpoints[i].url, r)
	if err != nil {
		return Reply{}, false, err
	}
	resp, err := l.http.Do(req)
	if err != nil {
		l.blame(ctx, attempt, i, r)
		// net/http sends a request with an Idempotency-Key again by itself when its
		// connection breaks: that the second could not be made says nothing of the first.
		return Reply{}, before || conn.Load() || !l.traced && !refused(err), err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	switch {
	case err != nil:
		l.blame(ctx, attempt, i, r)
		return Reply{}, true, err
	case len(body) > maxReply:
		return Reply{}, true, fmt.Errorf("prytany: a reply of more than %d bytes", maxReply)
	}
	return l.answer(i, r, Reply{resp.StatusCode, resp.Header, body}, before)
}

// answer judges what endpoint i has answered to r, which it may have got before.
func (l *Link) answer(i int, r Request, rep Reply, before bool) (_ Reply, sent bool, err error) {
	if rep.Status/100 == 2 || rep.Status == http.StatusNotModified {
		return rep, true, nil
	}
	p := decodeProblem(rep)
	if !r.Change && p.Applied == api.AppliedUnknown {
		p.Applied = api.AppliedNo
	}
	if retryable(p) {
		l.Avoid(i)
	}
	return Reply{}, before, p
}

// blame turns away from endpoint i after an attempt at r failed there, unless
// it was the caller who broke the attempt off, or its time to be sent again.
func (l *Link) blame(ctx, attempt context.Context, i int, r Request) {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
	case errors.Is(context.Cause(attempt), errTurned):
	case attempt.Err() != nil && (r.Queue || ctx.Err() != nil && r.Wait > 0):
	default:
		l.Avoid(i)
	}
}

// build makes the request that goes to endpoint base.
func (l *Link) build(ctx context.Context, base string, r Request) (*http.Request, error) {
	target, header, err := l.lines(r)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, base+target, bytes.NewReader(r.Body))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	req.Header = header
	return req, nil
}

// lines returns what a request begins with: its path and query, and its headers.
func (l *Link) lines(r Request) (target string, header http.Header, err error) {
	target = l.base + r.Path
	query := r.Query
	if r.Queue {
		left := MaxWait
		if r.Until > 0 {
			left = min(max(r.Until-l.Now(), 0), MaxWait)
		}
		query = url.Values{"wait": {left.String()}}
	}
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	for name, values := range r.Header {
		for _, v := range values {
			if !multiplex.FieldValue(v) {
				return "", nil, fmt.Errorf("%w: the header %s cannot be %q", ErrRequest, name, v)
			}
		}
	}
	if header = r.Header.Clone(); header == nil {
		header = http.Header{}
	}
	if r.Key != "" {
		header.Set(api.HeaderIdempotencyKey, r.Key)
	}
	return target, header, nil
}

// decodeProblem reads a refusal; whatever is between us and the server may
// answer with something else than a problem.
func decodeProblem(rep Reply) *Refusal {
	var after time.Duration
	if s, err := strconv.Atoi(rep.Header.Get("Retry-After")); err == nil && s >= 0 && s < 1<<20 {
		after = time.Duration(s) * time.Second
	}
	var p api.Problem
	if err := json.Unmarshal(rep.Body, &p); err != nil || p.Code == "" {
		p = api.Problem{Code: "http", Title: title(rep.Status), Applied: api.AppliedUnknown}
		if rep.Status < 500 {
			p.Applied = api.AppliedNo
		}
	}
	p.Status = rep.Status
	if p.RequestID == "" {
		p.RequestID = rep.Header.Get(api.HeaderRequestID)
	}
	revision, _ := strconv.ParseUint(rep.Header.Get(api.HeaderRevision), 10, 64) // 0 if there is none
	return &Refusal{&p, after, revision}
}

// refused reports whether no connection was made, so that the server cannot
// have seen the request.
func refused(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// title is what a status line says of status.
func title(status int) string {
	return strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
}
