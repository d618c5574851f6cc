package multiplex

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A ServerConfig configures a Server. Handler is required.
type ServerConfig struct {
	// Handler answers the requests of all connections, and those that ask for none.
	Handler http.Handler
	// IOTimeout bounds how long a client may take to send a frame that it has begun,
	// and how long to take what it is sent. 0 means 30 s.
	IOTimeout time.Duration
	// IdleTimeout is after how long a connection on which nothing is under way ends.
	// 0 means 2 min.
	IdleTimeout time.Duration
	// Log is told of handlers that panic. nil means nobody is.
	Log *slog.Logger
}

// A Server makes connections of requests that ask for one, and answers what comes over
// them. It is an [http.Handler]. When the context of the request that asked for a
// connection ends, the connection takes no more requests, and ends when all are answered.
type Server struct {
	cfg  ServerConfig
	idle atomic.Int32 // workers that have nothing to do

	mu     sync.Mutex
	conns  map[*conn]bool
	closed bool
	all    sync.WaitGroup // of conns; grows only while closed is false
}

// NewServer returns a Server.
func NewServer(cfg ServerConfig) *Server {
	if cfg.IOTimeout == 0 {
		cfg.IOTimeout = 30 * time.Second
	}
	if cfg.IdleTimeout == 0 {
		cfg.IdleTimeout = 2 * time.Minute
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{cfg: cfg, conns: map[*conn]bool{}}
}

// ServeHTTP answers one request, or makes a connection and answers all that it brings.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != Path || !asks(r) {
		s.cfg.Handler.ServeHTTP(w, r)
		return
	}
	if r.Context().Err() != nil {
		// It would be told to leave at once. The field tells us from what is between.
		w.Header().Set("Upgrade", Protocol)
		w.Header().Set("Connection", "Upgrade")
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	raw, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		s.cfg.Handler.ServeHTTP(w, r) // HTTP/2, or a test: there is no such path
		return
	}
	defer func() { _ = raw.Close() }()
	c := newConn(s, raw, r)
	if !s.enter(c) {
		return
	}
	defer s.leave(c)
	const yes = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + Protocol + "\r\n\r\n"
	if err := raw.SetDeadline(time.Now().Add(s.cfg.IOTimeout)); err != nil {
		return
	}
	if _, err := raw.Write([]byte(yes)); err != nil {
		return
	}
	// What the client may have sent already is in the other reader.
	early, err := rw.Reader.Peek(rw.Reader.Buffered())
	if err != nil {
		return
	}
	c.serve(early)
}

// asks reports whether r asks for a connection of ours.
func asks(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.EqualFold(r.Header.Get("Upgrade"), Protocol) &&
		strings.EqualFold(r.Header.Get("Connection"), "Upgrade")
}

func (s *Server) enter(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[c] = true
	s.all.Add(1)
	return true
}

func (s *Server) leave(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.all.Done()
}

// Shutdown waits until all connections have ended, which they do by themselves when
// their contexts do, or ctx ends. No more are made.
func (s *Server) Shutdown(ctx context.Context) {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	ended := make(chan struct{})
	go func() { s.all.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

// Close closes all connections, whatever is under way. No more are made.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for c := range s.conns {
		_ = c.raw.Close()
	}
}

// A conn is one connection of a client.
type conn struct {
	s    *Server
	raw  net.Conn
	ctx  context.Context // of the request that asked for it; all others are below it
	host string
	peer string
	out  queue

	work chan *exchange // to a worker that has nothing to do
	done chan struct{}
	busy sync.WaitGroup

	mu      sync.Mutex
	open    map[uint64]context.CancelFunc
	last    uint64 // id of the last request
	leaving bool   // takes no more
}

func newConn(s *Server, raw net.Conn, r *http.Request) *conn {
	c := &conn{
		s: s, raw: raw, ctx: r.Context(), host: r.Host, peer: r.RemoteAddr,
		out:  queue{w: raw, timeout: s.cfg.IOTimeout},
		work: make(chan *exchange), done: make(chan struct{}),
		open: map[uint64]context.CancelFunc{},
	}
	c.out.changed.L = &c.out.mu
	return c
}

// serve answers requests until the connection ends. early is what has been read of it.
func (c *conn) serve(early []byte) {
	ctx, cancel := context.WithCancel(c.ctx)
	defer c.busy.Wait()
	defer close(c.done)
	defer cancel()
	defer c.out.close()
	defer func() { _ = c.raw.Close() }()
	defer context.AfterFunc(c.ctx, func() { c.leave() })()
	c.ctx = ctx
	r := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(early), c.raw), maxHead)
	limit := func() { _ = c.raw.SetReadDeadline(time.Now().Add(c.s.cfg.IOTimeout)) }
	for {
		if !c.await(r) {
			return
		}
		f, err := readFrame(r, MaxBody, limit)
		if err != nil {
			return
		}
		switch f.kind {
		case kindRequest:
			if !c.begin(f) {
				return
			}
		case kindCancel:
			c.mu.Lock()
			stop := c.open[f.id]
			c.mu.Unlock()
			if stop != nil {
				stop()
			}
		default:
			return // clients do not send that
		}
	}
}

// await waits for the next frame. It reports false when the connection has ended, or
// nothing has been under way for too long.
func (c *conn) await(r *bufio.Reader) bool {
	for r.Buffered() == 0 {
		c.mu.Lock()
		nothing, patience := len(c.open) == 0 && c.out.idle(), c.s.cfg.IdleTimeout
		if c.leaving && nothing {
			patience = lingerFor
		}
		_ = c.raw.SetReadDeadline(time.Now().Add(patience))
		c.mu.Unlock()
		_, err := r.Peek(1)
		switch {
		case err == nil:
			return true
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return false
		case nothing && c.leave():
			return false // it was leaving, and the client does not close it
		}
	}
	return true
}

// begin has a request answered. It reports false if the client may not send it.
func (c *conn) begin(f frame) bool {
	x := &exchange{c: c, id: f.id, frame: f}
	c.mu.Lock()
	defer c.mu.Unlock()
	// The client may know of answers that are not taken off here yet.
	if f.id <= c.last || len(c.open) == 2*MaxOpen {
		return false
	}
	if c.leaving {
		return true // the client has been told, or is being told
	}
	c.last = f.id
	x.ctx, x.cancel = context.WithCancel(c.ctx)
	c.open[f.id] = x.cancel
	select {
	case c.work <- x:
	default:
		c.busy.Go(func() { c.worker(x) })
	}
	return true
}

// maxIdle bounds the goroutines of all connections that wait for work. Those that wait
// have a stack that has grown already.
const maxIdle = 256

func (c *conn) worker(x *exchange) {
	for {
		x.run()
		x = nil
		if c.s.idle.Add(1) > maxIdle {
			c.s.idle.Add(-1)
			return
		}
		select {
		case x = <-c.work:
			c.s.idle.Add(-1)
		case <-c.done:
			c.s.idle.Add(-1)
			return
		}
	}
}

// answer sends the answer to a request.
func (c *conn) answer(x *exchange) {
	// First it is among what is to be written: whoever finds nothing open ends the
	// connection once that is.
	c.out.send(x, func(b []byte) []byte { return appendFrame(b, kindReply, x.id, x.head, x.body) })
	c.mu.Lock()
	delete(c.open, x.id)
	over := c.leaving && len(c.open) == 0
	c.mu.Unlock()
	if over {
		c.finish()
	}
}

// leave takes no more requests, and ends the connection once all are answered. It reports
// whether it was told to before.
func (c *conn) leave() (already bool) {
	c.mu.Lock()
	if c.leaving {
		c.mu.Unlock()
		return true
	}
	c.leaving = true
	over := len(c.open) == 0
	// Before anybody else can find that it was the last answer, and end the connection.
	write := c.out.put(nil, func(b []byte) []byte { return appendFrame(b, kindGoAway, c.last, nil, nil) })
	c.mu.Unlock()
	if write {
		c.out.write()
	}
	if over {
		c.finish()
	}
	return false
}

// finish closes the connection when all is written. The client closes it, too, when it
// has been told: what it has sent meanwhile must not make the kernel throw away what it
// has not read yet.
func (c *conn) finish() {
	c.out.drain()
	if t, ok := c.raw.(*net.TCPConn); ok {
		_ = t.CloseWrite()
		c.mu.Lock()
		defer c.mu.Unlock()
		_ = t.SetReadDeadline(time.Now().Add(lingerFor))
		return
	}
	_ = c.raw.Close()
}

// lingerFor is how long the client may take to close what the server has ended.
const lingerFor = time.Second
