package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prytany/prytany/internal/api"
)

// maxReply bounds the bytes read of one reply.
const maxReply = 64 << 20

// A request is one call of the API, however often it has to be sent.
type request struct {
	method string
	path   string // below /v1/, escaped
	query  url.Values
	header http.Header
	body   []byte
	change bool          // gets an Idempotency-Key
	key    string        // chosen by the caller, else made
	wait   time.Duration // how long the server is asked to wait; -1: as long as the context
	try    time.Duration // bounds one attempt beside wait. 0 means 5 s
	limit  time.Duration // bounds one attempt, wait included. 0 means no other bound
}

// A reply is an answer with status below 400.
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
	if _, ok := ctx.Deadline(); !ok && r.wait >= 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.cfg.Timeout+r.wait)
		defer cancel()
	}
	if r.change && r.key == "" {
		r.key = rand.Text()
	}
	unknown := false // some attempt may have had an effect
	var last error
	for attempt := 0; ; attempt++ {
		rep, sent, err := c.once(ctx, r)
		if err == nil {
			return rep, nil
		}
		var p *ProblemError
		if errors.As(err, &p) {
			if !retryable(p) {
				return reply{}, err
			}
			sent = p.Applied == string(api.AppliedUnknown)
		}
		unknown = unknown || sent && r.change
		if last == nil || !isTimeout(err) {
			last = err
		}
		c.cfg.Log.Debug("request failed", "method", r.method, "path", r.path, "attempt", attempt+1, "err", err)
		if !pause(ctx, attempt) {
			return reply{}, finalError(unknown, last)
		}
	}
}

// finalError says what is known when the time is over.
func finalError(unknown bool, last error) error {
	if unknown {
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, last)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, last)
}

// retryable reports whether the same request may fare better later, without
// anybody's doing. A held lock is retryable too, but that is the caller's
// choice.
func retryable(p *ProblemError) bool {
	return p.Status == http.StatusServiceUnavailable || p.Status == http.StatusGatewayTimeout ||
		p.Status == http.StatusBadGateway || p.Status == http.StatusTooManyRequests
}

// pause waits a little longer with each attempt and reports whether there is
// time for another.
func pause(ctx context.Context, attempt int) bool {
	if ctx.Err() != nil {
		return false
	}
	d := min(10*time.Millisecond<<min(attempt, 5), 250*time.Millisecond)
	timer := time.NewTimer(d/2 + mrand.N(d))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// once sends r to one endpoint. sent is false only if the server certainly did
// not get the request.
func (c *Client) once(ctx context.Context, r request) (_ reply, sent bool, err error) {
	try := r.try
	if try == 0 {
		try = 5 * time.Second
	}
	whole := try + r.wait
	if r.limit > 0 && (r.wait < 0 || r.limit < whole) {
		whole = r.limit
	}
	if r.wait >= 0 || r.limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, whole)
		defer cancel()
	}
	i := c.endpoint()
	u := *c.base[i]
	prefix := "/v1/"
	if c.cfg.Group != "main" {
		prefix = "/v1/groups/" + url.PathEscape(c.cfg.Group) + "/"
	}
	target := u.String() + prefix + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, bytes.NewReader(r.body))
	if err != nil {
		return reply{}, false, fmt.Errorf("prytany: %w", err)
	}
	if r.header != nil {
		req.Header = r.header.Clone()
	}
	if r.key != "" {
		req.Header.Set(api.HeaderIdempotencyKey, r.key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		c.avoid(i)
		return reply{}, !refused(err), err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		c.avoid(i)
		return reply{}, true, err
	}
	if resp.StatusCode >= 400 {
		p := decodeProblem(resp, body)
		if retryable(p) {
			c.avoid(i)
		}
		return reply{}, true, p
	}
	return reply{resp.StatusCode, resp.Header, body}, true, nil
}

// endpoint returns the index of the endpoint to ask.
func (c *Client) endpoint() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.next
}

// avoid turns to the next endpoint after i has failed.
func (c *Client) avoid(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next == i {
		c.next = (i + 1) % len(c.base)
	}
}

// decodeProblem reads a refusal; whatever is between us and the server may
// answer with something else than a problem.
func decodeProblem(resp *http.Response, body []byte) *ProblemError {
	var after time.Duration
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s >= 0 && s < 1<<20 {
		after = time.Duration(s) * time.Second
	}
	var p api.Problem
	if err := json.Unmarshal(body, &p); err != nil || p.Code == "" {
		p = api.Problem{Status: resp.StatusCode, Code: "http", Title: resp.Status, Applied: api.AppliedUnknown}
		if resp.StatusCode < 500 {
			p.Applied = api.AppliedNo
		}
	}
	p.Status = resp.StatusCode
	return problemError(&p, after)
}

// refused reports whether no connection was made, so that the server cannot
// have seen the request.
func refused(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
