package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
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
	cfg       Config
	endpoints []*endpoint
	http      *http.Client
	traced    bool                 // http tells when it has a connection
	now       func() time.Duration // see clock.go

	mu      sync.Mutex
	next    int           // endpoint to ask
	session *Session      // shared by Lock and TryLock, nil until needed
	opening chan struct{} // closed when the opening of session has ended
	closed  bool
	local   map[string]*localLock // names that a goroutine of this client has or wants
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
	c := &Client{cfg: cfg, now: now, local: map[string]*localLock{}}
	for _, e := range cfg.Endpoints {
		u, err := parseEndpoint(e)
		if err != nil {
			return nil, err
		}
		c.endpoints = append(c.endpoints, newEndpoint(u))
	}
	c.http = &http.Client{Transport: newTransport()}
	if cfg.HTTPClient != nil {
		own := *cfg.HTTPClient
		c.http = &own
	}
	// Nodes do not redirect. Who else does would have a change answered by
	// something that made none.
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	_, c.traced = c.http.Transport.(*http.Transport)
	c.traced = c.traced || c.http.Transport == nil
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

// parseEndpoint accepts a URL, or host:port for http.
func parseEndpoint(s string) (*url.URL, error) {
	if !strings.Contains(s, "://") {
		s = "http://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("prytany: endpoint %q: %w", s, err)
	}
	_, err = strconv.ParseUint(cmp.Or(u.Port(), "80"), 10, 16)
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || err != nil ||
		u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("prytany: endpoint %q: want http://host:port", s)
	}
	return &url.URL{Scheme: u.Scheme, User: u.User, Host: u.Host}, nil
}

// newTransport notices within seconds that the other side is gone, however
// long a request waits.
func newTransport() *http.Transport {
	dialer := &net.Dialer{
		Timeout: 2 * time.Second,
		KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: 2 * time.Second, Interval: time.Second, Count: 3,
		},
	}
	return &http.Transport{
		DialContext:         dialer.DialContext,
		Proxy:               http.ProxyFromEnvironment,
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     90 * time.Second,
		TLSHandshakeTimeout: 2 * time.Second,
	}
}

// Close ends the session that Lock and TryLock share, and with it every lock
// they hold; it gives the server up to two seconds to hear of it. Sessions made
// by NewSession are their owner's. After Close, Lock and TryLock return
// [ErrClosed].
func (c *Client) Close() error {
	c.mu.Lock()
	s := c.session
	c.session, c.closed = nil, true
	c.mu.Unlock()
	var err error
	if s != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		err = s.end(ctx, ErrClosed)
	}
	if c.cfg.HTTPClient == nil {
		c.http.CloseIdleConnections()
	}
	return err
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
	case err == nil && closed:
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = s.end(ctx, ErrClosed)
		return nil, ErrClosed
	case errors.Is(err, ErrUnknownOutcome), errors.Is(err, ErrSessionExpired):
		// A session that nobody knows holds nothing.
		return nil, &outcomeError{ErrUnavailable, fmt.Errorf("%w: %v", errNoSession, err), context.Cause(ctx)}
	case err != nil:
		return nil, err
	}
	return s, nil
}

// isTimeout reports whether err says that the caller's time is over.
func isTimeout(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}
