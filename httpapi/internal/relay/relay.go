// Package relay passes a request for a group on to a node that has a part in it.
//
// It asks one node after the other until one answers. What has reached a node and was
// not answered may have taken effect there: such a request goes to the next node only
// if sending it again does no harm, which an Idempotency-Key sees to.
//
// Requests to one node share a connection, HTTP/2 without TLS for http addresses. It
// is pinged while nothing comes from it, so that a node that was stopped, or is cut
// off, ends long waits and streams within [Config.Ping] and [Config.Pong].
package relay

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prytany/prytany/internal/api"
)

// Config bounds a Relay. Zero fields have their defaults.
type Config struct {
	Dial     time.Duration // until a connection is there. 1 s
	Patience time.Duration // for an answer, beside the wait that was asked for, while there are others to ask. 1 s
	Ping     time.Duration // of silence on a connection, after which it is pinged. 1 s
	Pong     time.Duration // for the answer to that. 2 s
	Idle     time.Duration // after which an unused connection is closed. 10 s
}

// A Relay passes requests on. It is safe for concurrent use.
type Relay struct {
	patience   time.Duration
	plain, tls *http.Transport
}

// New returns a Relay. It has no goroutines until there is a connection, and none
// once all are closed.
func New(cfg Config) *Relay {
	var plain, tls http.Protocols
	plain.SetUnencryptedHTTP2(true)
	tls.SetHTTP1(true)
	tls.SetHTTP2(true)
	return &Relay{patience: cmp.Or(cfg.Patience, time.Second), plain: transport(cfg, &plain), tls: transport(cfg, &tls)}
}

func transport(cfg Config, p *http.Protocols) *http.Transport {
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: cmp.Or(cfg.Dial, time.Second)}).DialContext,
		TLSHandshakeTimeout:    cmp.Or(cfg.Dial, time.Second),
		Protocols:              p,
		DisableCompression:     true, // what was asked for is what is passed on
		IdleConnTimeout:        cmp.Or(cfg.Idle, 10*time.Second),
		MaxResponseHeaderBytes: 64 << 10,
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerStream: 256 << 10, // which a reader may leave unread for a while
			SendPingTimeout:           cmp.Or(cfg.Ping, time.Second),
			PingTimeout:               cmp.Or(cfg.Pong, 2*time.Second),
		},
	}
}

// CloseIdle closes the connections that no request uses.
func (r *Relay) CloseIdle() {
	r.plain.CloseIdleConnections()
	r.tls.CloseIdleConnections()
}

func (r *Relay) trip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme == "https" {
		return r.tls.RoundTrip(req)
	}
	return r.plain.RoundTrip(req)
}

// A Request is what to pass on. Header and Body are not changed.
type Request struct {
	Method string
	URL    *url.URL // path and query
	Header http.Header
	Body   []byte
	Wait   time.Duration // for which the answer may be held back
	Once   bool          // it must not be sent again once it has reached a node
}

// An Error says why there is no answer.
type Error struct {
	Sent bool  // it has reached a node, which may have carried it out
	Err  error // the last one, or that of the context
}

func (e *Error) Error() string { return fmt.Sprintf("relay: no answer (sent: %v): %v", e.Sent, e.Err) }

func (e *Error) Unwrap() error { return e.Err }

// ErrNotMembers is the Err of an Error if each node that was asked has no part in the
// group either.
var ErrNotMembers = errors.New("none of the nodes asked has a part in the group")

// errPatience ends one attempt, so that another node can be asked.
var errPatience = errors.New("no answer in time")

// maxRefusal bounds the body of a refusal, which is read as a whole.
const maxRefusal = 64 << 10

// Do passes q on to the first of nodes, given by their URLs, that answers. Whoever
// cannot be reached, does not answer in time or says that nothing has happened since it
// has no part in the group or cannot serve it now, is passed over; if time is what was
// lacking, they are asked again, with more patience. If nobody does better, the last
// refusal is the answer. The caller closes the body, within the life of ctx.
//
// The error is an [Error]. A change that has reached a node is never said to be refused
// because of what another one says.
func (r *Relay) Do(ctx context.Context, nodes []string, q Request) (*http.Response, error) {
	a := attempt{r: r, q: q, change: q.Method != http.MethodGet && q.Method != http.MethodHead}
	for patience, again := r.patience, true; again; patience *= 2 {
		again = false
		for _, node := range nodes {
			resp, err := a.ask(ctx, node, a.limit(len(nodes), patience))
			switch {
			case err == nil && resp != nil:
				return resp, nil
			case ctx.Err() != nil:
				return nil, &Error{Sent: a.sent, Err: context.Cause(ctx)}
			case q.Once && a.sent:
				return nil, &Error{Sent: true, Err: err}
			}
			again = again || errors.Is(err, errPatience)
		}
	}
	return a.end()
}

// An attempt is what has become of a request so far.
type attempt struct {
	r      *Relay
	q      Request
	change bool
	sent   bool           // a node may have got it, and has not said that nothing happened
	no     *http.Response // the last refusal
	err    error          // the last error
}

// limit is how long to wait for one of n nodes: as long as there is time, if there is
// nobody else to ask, or it must not be asked.
func (a *attempt) limit(n int, patience time.Duration) time.Duration {
	if n == 1 || a.q.Once {
		return 0
	}
	return a.q.Wait + patience
}

// end is the answer when nobody did better.
func (a *attempt) end() (*http.Response, error) {
	switch {
	case a.sent && a.change:
		return nil, &Error{Sent: true, Err: a.err}
	case a.no != nil:
		return a.no, nil
	}
	return nil, &Error{Sent: a.sent, Err: cmp.Or(a.err, ErrNotMembers)}
}

// ask asks one node. Neither a response nor an error: it has passed, or err is noted.
func (a *attempt) ask(ctx context.Context, node string, limit time.Duration) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var late *time.Timer
	if limit > 0 {
		late = time.AfterFunc(limit, func() { cancel(errPatience) })
	}
	var reached atomic.Bool
	req, err := a.request(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { reached.Store(true) },
	}), node)
	if err != nil {
		cancel(err)
		a.err = err
		return nil, err
	}
	resp, err := a.r.trip(req)
	if late != nil && !late.Stop() && err == nil { // the timer has fired: the body would end early
		_ = resp.Body.Close()
		err = errPatience
	}
	if err != nil {
		if context.Cause(ctx) == errPatience {
			err = errPatience
		}
		cancel(err)
		a.sent = a.sent || reached.Load()
		a.err = fmt.Errorf("%s: %w", node, err)
		return nil, a.err
	}
	resp.Body = &body{resp.Body, cancel}
	return a.judge(resp)
}

// judge returns resp unless it says that nothing has happened and that another node
// may do better.
func (a *attempt) judge(resp *http.Response) (*http.Response, error) {
	if resp.StatusCode != http.StatusMisdirectedRequest && resp.StatusCode != http.StatusServiceUnavailable {
		return resp, nil
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	_ = resp.Body.Close()
	var p api.Problem
	if err == nil && a.q.Method != http.MethodHead {
		err = json.Unmarshal(text, &p)
	}
	if err != nil || p.Applied != api.AppliedNo && a.change {
		a.sent = true // who says so knows nothing of our rules
		a.err = cmp.Or(err, fmt.Errorf("%d that does not say what happened", resp.StatusCode))
		return nil, a.err
	}
	if resp.StatusCode == http.StatusServiceUnavailable {
		resp.Body = io.NopCloser(bytes.NewReader(text))
		a.no = resp
	}
	return nil, nil
}

// request returns the request for one node.
func (a *attempt) request(ctx context.Context, node string) (*http.Request, error) {
	base, err := url.Parse(node)
	if err != nil {
		return nil, err
	}
	u := *a.q.URL
	u.Scheme, u.Host, u.User, u.Fragment = base.Scheme, base.Host, nil, ""
	req := (&http.Request{
		Method: a.q.Method, URL: &u, Host: base.Host, Header: a.q.Header.Clone(), ContentLength: int64(len(a.q.Body)),
	}).WithContext(ctx)
	if len(a.q.Body) > 0 {
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(a.q.Body)), nil }
		req.Body, _ = req.GetBody()
	}
	return req, nil
}

// A body ends its attempt when it is closed.
type body struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}

// hops are the headers that are about one connection, or about the browser's page that
// the first node has judged already.
var hops = []string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings", "Expect", "Content-Length",
	"Proxy-Authenticate", "Proxy-Authorization", "Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest", "Sec-Fetch-User",
}

// Onward returns the headers of a request that are passed on.
func Onward(h http.Header) http.Header {
	out := h.Clone()
	for _, named := range h.Values("Connection") {
		for name := range strings.SplitSeq(named, ",") {
			out.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range hops {
		out.Del(name)
	}
	if _, ok := out["User-Agent"]; !ok {
		out["User-Agent"] = []string{""} // none, rather than that of net/http
	}
	return out
}

// Back puts the headers of a reply in the place of those that to has.
func Back(to, from http.Header) {
	clear(to)
	for name, values := range from {
		switch name {
		case "Connection", "Keep-Alive", "Trailer", "Transfer-Encoding", "Upgrade", "Date":
		default:
			to[name] = values
		}
	}
}
