package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
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
	// notices dead connections within seconds.
	HTTPClient *http.Client
	// Log receives what a developer may want to see. nil means silence.
	Log *slog.Logger
}

// A Client talks to a cluster. It is safe for concurrent use. Making one does
// no I/O.
type Client struct {
	cfg  Config
	base []*url.URL
	http *http.Client

	mu      sync.Mutex
	next    int           // endpoint that answered last
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
	c := &Client{cfg: cfg, http: cfg.HTTPClient, local: map[string]*localLock{}}
	for _, e := range cfg.Endpoints {
		u, err := parseEndpoint(e)
		if err != nil {
			return nil, err
		}
		c.base = append(c.base, u)
	}
	if c.http == nil {
		c.http = &http.Client{Transport: newTransport()}
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

// parseEndpoint accepts a URL, or host:port for http.
func parseEndpoint(s string) (*url.URL, error) {
	if !strings.Contains(s, "://") {
		s = "http://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("prytany: endpoint %q: %w", s, err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("prytany: endpoint %q: want http://host:port", s)
	}
	u.Path = ""
	return u, nil
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
// by NewSession are their owner's.
func (c *Client) Close() error {
	c.mu.Lock()
	s, was := c.session, c.closed
	c.session, c.closed = nil, true
	c.mu.Unlock()
	if was || s == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err := s.end(ctx, ErrClosed)
	if cfg := c.cfg; cfg.HTTPClient == nil {
		c.http.CloseIdleConnections()
	}
	return err
}

// shared returns the session that Lock and TryLock share, opening it if there
// is none alive. Concurrent callers share one opening.
func (c *Client) shared(ctx context.Context) (*Session, error) {
	for {
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return nil, ErrClosed
		}
		if s := c.session; s != nil && s.ctx.Err() == nil {
			c.mu.Unlock()
			return s, nil
		}
		wait := c.opening
		if wait == nil {
			c.opening = make(chan struct{})
			c.mu.Unlock()
			return c.openShared(ctx)
		}
		c.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
		}
	}
}

func (c *Client) openShared(ctx context.Context) (*Session, error) {
	s, err := c.NewSession(ctx, SessionConfig{TTL: c.cfg.SessionTTL, Name: c.cfg.SessionName})
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.opening)
	c.opening = nil
	if err != nil {
		return nil, err
	}
	if c.closed {
		s.lose(ErrClosed)
		return nil, ErrClosed
	}
	c.session = s
	return s, nil
}

// isTimeout reports whether err says that the caller's time is over.
func isTimeout(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}
