package client

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
)

// maxReply bounds the bytes of one reply.
const maxReply = 64 << 20

var (
	// errRequest marks what can never be sent, wherever to.
	errRequest = errors.New("prytany: bad request")
	// errTurned ends an attempt whose endpoint has failed another request.
	errTurned = errors.New("prytany: the endpoint does not answer")
)

// An endpoint is one node's URL.
type endpoint struct {
	url string
	// turned ends when requests turn away from the endpoint; then it is
	// replaced. Guarded by Client.mu.
	turned context.Context
	turn   context.CancelCauseFunc
}

func newEndpoint(u *url.URL) *endpoint {
	e := &endpoint{url: u.String()}
	e.turned, e.turn = context.WithCancelCause(context.Background())
	return e
}

// pick returns the endpoint to ask.
func (c *Client) pick() (i int, turned context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.next, c.endpoints[c.next].turned
}

// avoid turns to the next endpoint after i has failed. Requests that wait at i
// follow: nothing else would tell them that they wait in vain.
func (c *Client) avoid(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next != i {
		return
	}
	c.next = (i + 1) % len(c.endpoints)
	e := c.endpoints[i]
	e.turn(errTurned)
	e.turned, e.turn = context.WithCancelCause(context.Background())
}

// once sends r to one endpoint, which gets try beside the time that r waits.
// sent is false only if the server certainly did not get the request.
func (c *Client) once(ctx context.Context, r request, try time.Duration) (_ reply, sent bool, err error) {
	i, turned := c.pick()
	attempt, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	whole := try + r.wait
	if r.queue {
		whole = min(whole, attachFor)
		defer context.AfterFunc(turned, func() { cancel(errTurned) })()
	}
	attempt, stop := context.WithTimeout(attempt, whole)
	defer stop()
	var conn atomic.Bool
	attempt = httptrace.WithClientTrace(attempt, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { conn.Store(true) },
	})
	req, err := c.build(attempt, c.endpoints[i].url, r)
	if err != nil {
		return reply{}, false, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		c.blame(ctx, attempt, i, r)
		return reply{}, !refused(err) && (conn.Load() || !c.traced), err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	switch {
	case err != nil:
		c.blame(ctx, attempt, i, r)
		return reply{}, true, err
	case len(body) > maxReply:
		return reply{}, true, fmt.Errorf("prytany: a reply of more than %d bytes", maxReply)
	case resp.StatusCode/100 == 2 || resp.StatusCode == http.StatusNotModified:
		return reply{resp.StatusCode, resp.Header, body}, true, nil
	}
	p := decodeProblem(resp, body)
	if !r.change && p.Applied == string(api.AppliedUnknown) {
		p.Applied = string(api.AppliedNo)
	}
	if retryable(p) {
		c.avoid(i)
	}
	return reply{}, true, p
}

// blame turns away from endpoint i after an attempt at r failed there, unless
// it was the caller who broke the attempt off, or its time to be sent again.
func (c *Client) blame(ctx, attempt context.Context, i int, r request) {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
	case errors.Is(context.Cause(attempt), errTurned):
	case attempt.Err() != nil && (r.queue || ctx.Err() != nil && r.wait > 0):
	default:
		c.avoid(i)
	}
}

// build makes the request that goes to endpoint base.
func (c *Client) build(ctx context.Context, base string, r request) (*http.Request, error) {
	target := base + "/v1/"
	if c.cfg.Group != api.MainGroup {
		target += "groups/" + strings.ReplaceAll(escape(c.cfg.Group), "/", "%2F") + "/"
	}
	target += r.path
	query := r.query
	if r.queue {
		left := maxWait
		if r.until > 0 {
			left = min(max(r.until-c.now(), 0), maxWait)
		}
		query = url.Values{"wait": {left.String()}}
	}
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, bytes.NewReader(r.body))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRequest, err)
	}
	if r.header != nil {
		req.Header = r.header.Clone()
	}
	for name, values := range req.Header {
		for _, v := range values {
			if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
				return nil, fmt.Errorf("%w: the header %s cannot be %q", errRequest, name, v)
			}
		}
	}
	if r.key != "" {
		req.Header.Set(api.HeaderIdempotencyKey, r.key)
	}
	return req, nil
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
		p = api.Problem{Code: "http", Title: resp.Status, Applied: api.AppliedUnknown}
		if resp.StatusCode < 500 {
			p.Applied = api.AppliedNo
		}
	}
	p.Status = resp.StatusCode
	if p.RequestID == "" {
		p.RequestID = resp.Header.Get(api.HeaderRequestID)
	}
	return problemError(&p, after)
}

// refused reports whether no connection was made, so that the server cannot
// have seen the request.
func refused(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
