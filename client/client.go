package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/prytany/prytany/client/internal/clock"
	"github.com/prytany/prytany/client/internal/link"
	"github.com/prytany/prytany/client/internal/turns"
)

// EnvAddr is the environment variable with the endpoints to use when Config
// names none: a list of URLs separated by commas.
const EnvAddr = "PRYTANY_ADDR"

// DefaultEndpoint is used when neither Config nor the environment names one.
const DefaultEndpoint = "http://127.0.0.1:7480"

// Config configures a Client. The zero Config is usable.
type Config struct {
	// Endpoints are the URLs of nodes; any of them will do, more make the
	// client survive the loss of one. Empty means $PRYTANY_ADDR, and
	// http://127.0.0.1:7480 without it.
	Endpoints []string
	// Group is the group to work in. "" means main.
	Group string
	// SessionTTL is the TTL of the session that Lock and TryLock share.
	// 0 means 15 s; the server allows 2 s to 24 h.
	SessionTTL time.Duration
	// SessionName tells people who holds a lock. "" means host name and
	// process id.
	SessionName string
	// Timeout bounds requests whose context has no deadline, beside the time
	// they are asked to wait. 0 means 10 s.
	Timeout time.Duration
	// HTTPClient sends the requests. nil means one of this client's own that
	// notices dead connections within seconds. A Timeout in it breaks waits off
	// that take longer. Redirects are not followed.
	HTTPClient *http.Client
	// Log receives what a developer may want to see. nil means silence.
	Log *slog.Logger
}

// A Client talks to a cluster. It is safe for concurrent use. Making one does
// no I/O.
type Client struct {
	cfg   Config
	link  *link.Link
	now   func() time.Duration // that of package clock but in tests
	local turns.Turns          // of goroutines at locks of the shared session

	mu      sync.Mutex
	session *Session      // shared by Lock and TryLock, nil until needed
	opening chan struct{} // closed when the opening of session has ended
	closed  bool
	own     map[*Session]bool // sessions that are neither shared nor their caller's

	work sync.WaitGroup  // ends of own sessions in the background; takes no more once closed
	life context.Context // ends with Close: what is under way then is broken off
	kill context.CancelFunc
}

// New returns a client. The only errors are endpoints that are no URLs.
func New(cfg Config) (*Client, error) {
	if len(cfg.Endpoints) == 0 {
		cfg.Endpoints = splitList(os.Getenv(EnvAddr))
	}
	if len(cfg.Endpoints) == 0 {
		cfg.Endpoints = []string{DefaultEndpoint}
	}
	if cfg.Group == "" {
		cfg.Group = "main"
	}
	if cfg.SessionTTL == 0 {
		cfg.SessionTTL = 15 * time.Second
	}
	if cfg.SessionName == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "unknown"
		}
		cfg.SessionName = fmt.Sprintf("%s:%d", host, os.Getpid())
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Client{cfg: cfg, now: clock.Now, own: map[*Session]bool{}}
	c.life, c.kill = context.WithCancel(context.Background())
	var err error
	c.link, err = link.New(link.Config{
		Endpoints: cfg.Endpoints, Group: cfg.Group, Timeout: cfg.Timeout, Client: cfg.HTTPClient, Log: cfg.Log,
		Now: func() time.Duration { return c.now() },
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

func splitList(s string) (list []string) {
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

// Close ends the session that Lock and TryLock share and those that belong to
// one lock or election alone, and with them every lock they hold; it gives the
// server up to two seconds to hear of it. Sessions made by NewSession are their
// owner's. After Close whatever needs a session returns [ErrClosed].
func (c *Client) Close() error {
	c.mu.Lock()
	var all []*Session
	if c.session != nil {
		all = append(all, c.session)
	}
	for s := range c.own {
		all = append(all, s)
	}
	c.session, c.closed = nil, true
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	errs := make([]error, len(all))
	var ending sync.WaitGroup
	for i, s := range all {
		ending.Go(func() { errs[i] = s.end(ctx, ErrClosed) })
	}
	ending.Wait()
	defer context.AfterFunc(ctx, c.kill)()
	c.work.Wait()
	c.kill()
	if c.cfg.HTTPClient == nil {
		c.link.CloseIdle()
	}
	return errors.Join(errs...)
}

// sharedSession returns the session that Lock and TryLock share, opening it if
// there is none alive. Concurrent callers share one opening.
func (c *Client) sharedSession(ctx context.Context) (*Session, error) {
	for {
		c.mu.Lock()
		s, wait, closed := c.session, c.opening, c.closed
		opens := !closed && wait == nil && (s == nil || !s.check())
		if opens {
			c.opening = make(chan struct{})
		}
		c.mu.Unlock()
		switch {
		case closed:
			return nil, ErrClosed
		case opens:
			return c.openShared(ctx)
		case wait == nil:
			return s, nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, &outcomeError{ErrUnavailable, errNoSession, context.Cause(ctx)}
		}
	}
}

// errNoSession says why a lock was not even asked for.
var errNoSession = errors.New("there is no session yet")

func (c *Client) openShared(ctx context.Context) (*Session, error) {
	s, err := c.newSession(ctx, SessionConfig{}, true)
	c.mu.Lock()
	close(c.opening)
	c.opening = nil
	closed := c.closed
	if err == nil && !closed {
		c.session = s
	}
	c.mu.Unlock()
	switch {
	case err != nil:
		return nil, unopened(ctx, err)
	case closed:
		return nil, s.unwanted(ctx)
	}
	return s, nil
}

// unopened is the error of who needed a session that could not be opened.
func unopened(ctx context.Context, err error) error {
	if errors.Is(err, ErrUnknownOutcome) || errors.Is(err, ErrSessionExpired) {
		// A session that nobody knows holds nothing.
		last := fmt.Errorf("%w: %v", errNoSession, err)
		if o, ok := errors.AsType[*outcomeError](err); ok {
			last = fmt.Errorf("%w: %w", errNoSession, o.last)
		}
		return &outcomeError{ErrUnavailable, last, context.Cause(ctx)}
	}
	return err
}

// unwanted ends a session that was opened while the client was closed.
func (s *Session) unwanted(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	_ = s.end(ctx, ErrClosed)
	return ErrClosed
}

// ownSession opens a session for one lock or election alone.
func (c *Client) ownSession(ctx context.Context, cfg SessionConfig) (*Session, error) {
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	s, err := c.newSession(ctx, cfg, false)
	if err != nil {
		return nil, unopened(ctx, err)
	}
	c.mu.Lock()
	if closed = c.closed; !closed {
		c.own[s] = true
	}
	c.mu.Unlock()
	if closed {
		return nil, s.unwanted(ctx)
	}
	context.AfterFunc(s.ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.own, s)
	})
	return s, nil
}

// discard ends such a session, in the background: should the server not hear of
// it the session ends by itself after its TTL.
func (c *Client) discard(s *Session) {
	c.mu.Lock()
	if !c.closed { // else Close sees to it: own has a session until it is lost
		c.work.Go(func() {
			ctx, cancel := context.WithTimeout(c.life, s.ttl)
			defer cancel()
			_ = s.end(ctx, errEnded)
		})
	}
	c.mu.Unlock()
	s.lose(errEnded)
}
