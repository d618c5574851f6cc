package multiplex

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"time"
)

var (
	// ErrPlain says that the other side answers requests one by one only.
	ErrPlain = errors.New("multiplex: the server does not share connections")
	// ErrOver is the error of a connection that takes no more requests, or is broken.
	ErrOver = errors.New("multiplex: the connection is over")
	// ErrLarge says that a request, or the answer to one, is too large to be sent over a
	// connection that is shared.
	ErrLarge = errors.New("multiplex: too large for a connection that is shared")
	// ErrAborted says that the handler of a request gave up.
	ErrAborted = errors.New("multiplex: the request was aborted")
)

// writeTimeout bounds how long a client takes to write maxPiece bytes: a server that does
// not read that much in so long is not there.
const (
	writeTimeout = 5 * time.Second
	maxPiece     = 256 << 10
)

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
	out     buffers
	open    map[uint64]*call // nil: broken off, and not answered yet
	live    int              // of open, those that are not broken off
	heardAt time.Time        // when the last frame came
	doubt   time.Time        // since when a request that was broken off waited in silence; zero: none
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
	if zone := strings.IndexByte(host, '%'); zone >= 0 { // of an address, which is none of the server's
		host = host[:zone] + host[max(strings.IndexByte(host, ']'), zone):]
	}
	_, err := io.WriteString(c.raw, "GET "+Path+" HTTP/1.1\r\nHost: "+host+
		"\r\nUser-Agent: prytany-go\r\nConnection: Upgrade\r\nUpgrade: "+Protocol+"\r\n\r\n")
	if err != nil {
		return fmt.Errorf("multiplex: %w", err)
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return fmt.Errorf("multiplex: %w", err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Upgrade") == Protocol {
		return fmt.Errorf("%w: %s", ErrOver, resp.Status)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Upgrade") != Protocol {
		return fmt.Errorf("%w: %s", ErrPlain, resp.Status)
	}
	return nil
}

// Do sends r and waits for the answer. sent is false only if the server certainly has
// not looked at the request. Of what [httptrace] has, header fields and the end of the
// request are told. Errors: [ErrOver], [ErrAborted], [ErrLarge], and the cause of the end
// of ctx, which breaks the request off at the server too. If nothing at all has been heard
// of the server for a while then, the connection takes no more requests.
func (c *Client) Do(ctx context.Context, r Request) (_ Reply, sent bool, err error) {
	var own [1 << 10]byte
	head := appendString(appendString(own[:0], r.Method), r.Target)
	head = appendHeader(head, r.Header)
	if len(head) > maxHead || len(r.Body) > MaxBody {
		return Reply{}, false, ErrLarge
	}
	if ctx.Err() != nil {
		return Reply{}, false, context.Cause(ctx)
	}
	began := time.Now()
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
		if c.forget(id, began) {
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
	c.live++
	c.open[c.last] = w
	c.out.next = appendFrame(c.out.next, kindRequest, c.last, head, body)
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

// silence is for how long a server must have been silent for its connection to be given up
// when a request is.
const silence = 250 * time.Millisecond

// forget breaks a request off that has been waited for since began. It reports false if its
// end is there already. The request counts as open until it is answered, as it does at the
// server.
func (c *Client) forget(id uint64, began time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[id] == nil {
		return false
	}
	c.open[id] = nil
	c.live--
	c.out.next = appendFrame(c.out.next, kindCancel, id, nil, nil)
	c.ring()
	// Over one that is silent, TCP may not try again for a long time. Callers who have little
	// patience find that out together.
	if began.Before(c.heardAt) {
		began = c.heardAt
	}
	if c.doubt.IsZero() || began.Before(c.doubt) {
		c.doubt = began
	}
	c.leaving = c.leaving || time.Since(c.doubt) >= silence
	c.closeIfOver()
	return true
}

// closeIfOver closes a connection that takes no more requests and has none. c.mu is
// held.
func (c *Client) closeIfOver() {
	if c.leaving && c.live == 0 {
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
	for id := range c.open {
		c.end(id, Reply{}, true, err)
	}
}

// end tells who waits for request id how it has ended, if somebody does. c.mu is held.
func (c *Client) end(id uint64, r Reply, sent bool, err error) {
	w := c.open[id]
	delete(c.open, id)
	if w == nil {
		return
	}
	c.live--
	w.reply, w.sent, w.err = r, sent, err
	w.done <- struct{}{}
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
			b := c.out.take()
			c.mu.Unlock()
			if len(b) == 0 {
				break
			}
			for piece := range slices.Chunk(b, maxPiece) {
				_ = c.raw.SetWriteDeadline(time.Now().Add(writeTimeout))
				if _, err := c.raw.Write(piece); err != nil {
					c.fail(err)
					return
				}
			}
			c.mu.Lock()
			c.out.back(b)
			c.mu.Unlock()
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
		var err error
		switch status {
		case noAnswer:
			err = ErrAborted
		case tooLarge:
			err = ErrLarge
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.heardAt, c.doubt = time.Now(), time.Time{}
		c.end(f.id, Reply{status, header, f.body}, true, err)
		c.closeIfOver()
	case kindGoAway:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.leaving = true
		for id := range c.open {
			if id > f.id {
				c.end(id, Reply{}, false, ErrOver)
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
