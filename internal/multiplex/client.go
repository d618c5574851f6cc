package multiplex

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"
)

var (
	// ErrPlain says that the other side answers requests one by one only.
	ErrPlain = errors.New("multiplex: the server does not share connections")
	// ErrOver is the error of a connection that takes no more requests, or is broken.
	ErrOver = errors.New("multiplex: the connection is over")
	// ErrAborted says that the handler of a request gave up.
	ErrAborted = errors.New("multiplex: the request was aborted")
)

// writeTimeout bounds one write of a client: a server that reads nothing for so long
// is not there.
const writeTimeout = 5 * time.Second

// A Request is what a client asks.
type Request struct {
	Method string
	Target string // path, escaped, and query
	Header http.Header
	Body   []byte
}

// A Reply is the answer.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// A Client is a connection to a server, over which any number of goroutines ask at once.
type Client struct {
	raw  net.Conn
	r    *bufio.Reader
	wake chan struct{} // there is something to write
	gone chan struct{} // the connection is broken

	mu      sync.Mutex
	next    []byte // to be written
	spare   []byte
	open    map[uint64]*call
	last    uint64
	leaving bool  // takes no more requests
	err     error // why it is broken
}

// A call waits for its answer.
type call struct {
	reply Reply
	err   error
	sent  bool
	done  chan struct{} // gets one value
}

var calls = sync.Pool{New: func() any { return &call{done: make(chan struct{}, 1)} }}

// NewClient asks on raw for a connection to host, and returns it. If that fails raw
// is closed; the error is [ErrPlain] if the server answered something else. ctx bounds
// how long the server may take.
func NewClient(ctx context.Context, raw net.Conn, host string) (*Client, error) {
	c := &Client{
		raw: raw, r: bufio.NewReaderSize(raw, maxHead), open: map[uint64]*call{},
		wake: make(chan struct{}, 1), gone: make(chan struct{}),
	}
	// A deadline in the past breaks off what is under way when ctx ends.
	unhook := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	err := c.upgrade(host)
	if !unhook() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	_ = raw.SetDeadline(time.Time{})
	go c.read()
	go c.write()
	return c, nil
}

func (c *Client) upgrade(host string) error {
	req, err := http.NewRequest(http.MethodGet, "http://"+host+Path, nil)
	if err != nil {
		return fmt.Errorf("multiplex: %w", err)
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", Protocol)
	req.Header.Set("User-Agent", "prytany-go")
	if err := req.Write(c.raw); err != nil {
		return fmt.Errorf("multiplex: %w", err)
	}
	resp, err := http.ReadResponse(c.r, req)
	if err != nil {
		return fmt.Errorf("multiplex: %w", err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Upgrade") != Protocol {
		return fmt.Errorf("%w: %s", ErrPlain, resp.Status)
	}
	return nil
}

// Do sends r and waits for the answer. sent is false only if the server certainly has
// not looked at the request. Of what [httptrace] has, header fields and the end of the
// request are told. Errors: [ErrOver], [ErrAborted], and the cause of the end
// of ctx, which breaks the request off at the server too.
func (c *Client) Do(ctx context.Context, r Request) (_ Reply, sent bool, err error) {
	var own [1 << 10]byte
	head := appendString(appendString(own[:0], r.Method), r.Target)
	head = appendHeader(head, r.Header)
	if len(head) > maxHead || len(r.Body) > MaxBody {
		return Reply{}, false, fmt.Errorf("multiplex: a request of %d and %d bytes; there may be %d and %d", len(head), len(r.Body), maxHead, MaxBody)
	}
	w := calls.Get().(*call)
	id, err := c.begin(w, head, r.Body)
	if err != nil {
		calls.Put(w)
		return Reply{}, false, err
	}
	tell(ctx, r.Header)
	select {
	case <-w.done:
	case <-ctx.Done():
		if c.forget(id) {
			calls.Put(w)
			return Reply{}, true, context.Cause(ctx)
		}
		<-w.done
	}
	reply, sent, err := w.reply, w.sent, w.err
	w.reply, w.err, w.sent = Reply{}, nil, false
	calls.Put(w)
	return reply, sent, err
}

// tell tells who listens in by [httptrace] that a request is on its way.
func tell(ctx context.Context, h http.Header) {
	trace := httptrace.ContextClientTrace(ctx)
	if trace == nil {
		return
	}
	if trace.WroteHeaderField != nil {
		for name, values := range h {
			trace.WroteHeaderField(name, values)
		}
	}
	if trace.WroteRequest != nil {
		trace.WroteRequest(httptrace.WroteRequestInfo{})
	}
}

// begin puts a request among those that are to be written.
func (c *Client) begin(w *call, head, body []byte) (id uint64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return 0, c.err
	case c.leaving, len(c.open) == MaxOpen:
		return 0, ErrOver
	}
	c.last++
	c.open[c.last] = w
	c.next = appendFrame(c.next, kindRequest, c.last, head, body)
	c.ring()
	return c.last, nil
}

// ring wakes the writer. c.mu is held.
func (c *Client) ring() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// forget breaks a request off. It reports false if its end is there already.
func (c *Client) forget(id uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[id] == nil {
		return false
	}
	delete(c.open, id)
	c.next = appendFrame(c.next, kindCancel, id, nil, nil)
	c.ring()
	c.closeIfOver()
	return true
}

// closeIfOver closes a connection that takes no more requests and has none. c.mu is
// held.
func (c *Client) closeIfOver() {
	if c.leaving && len(c.open) == 0 {
		c.breakOff(ErrOver)
	}
}

// breakOff ends the connection and all that is under way. c.mu is held.
func (c *Client) breakOff(err error) {
	if c.err != nil {
		return
	}
	c.err, c.leaving = err, true
	close(c.gone)
	_ = c.raw.Close()
	for id, w := range c.open {
		delete(c.open, id)
		w.err, w.sent = err, true
		w.done <- struct{}{}
	}
}

func (c *Client) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.breakOff(fmt.Errorf("%w: %w", ErrOver, err))
}

// write writes what is there until the connection ends.
func (c *Client) write() {
	for {
		select {
		case <-c.gone:
			return
		case <-c.wake:
		}
		for {
			c.mu.Lock()
			b := c.next
			c.next, c.spare = c.spare[:0], nil
			c.mu.Unlock()
			if len(b) == 0 {
				break
			}
			_ = c.raw.SetWriteDeadline(time.Now().Add(writeTimeout))
			if _, err := c.raw.Write(b); err != nil {
				c.fail(err)
				return
			}
			if cap(b) <= keepBuffer {
				c.mu.Lock()
				c.spare = b
				c.mu.Unlock()
			}
		}
	}
}

// read hands answers out until the connection ends.
func (c *Client) read() {
	for {
		f, err := readFrame(c.r, MaxReply, func() {})
		if err == nil {
			err = c.take(f)
		}
		if err != nil {
			c.fail(err)
			return
		}
	}
}

// take takes one frame of the server.
func (c *Client) take(f frame) error {
	switch f.kind {
	case kindReply:
		h := head{rest: f.head}
		status := h.status()
		header := h.header()
		if h.bad {
			return ErrFrame
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if w := c.open[f.id]; w != nil {
			delete(c.open, f.id)
			w.reply, w.sent = Reply{status, header, f.body}, true
			if status == 0 {
				w.err = ErrAborted
			}
			w.done <- struct{}{}
			c.closeIfOver()
		}
	case kindGoAway:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.leaving = true
		for id, w := range c.open {
			if id > f.id {
				delete(c.open, id)
				w.err = ErrOver
				w.done <- struct{}{}
			}
		}
		c.closeIfOver()
	default:
		return ErrFrame
	}
	return nil
}

// Room reports whether the connection takes another request.
func (c *Client) Room() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.leaving && len(c.open) < MaxOpen
}

// Over reports whether the connection takes no more requests.
func (c *Client) Over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leaving
}

// Retire lets what is under way end, and takes nothing else.
func (c *Client) Retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaving = true
	c.closeIfOver()
}

// Close breaks off what is under way.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.breakOff(ErrOver)
}
