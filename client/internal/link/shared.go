package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/prytany/prytany/internal/multiplex"
)

const (
	// MaxShared is the largest body that shares a connection with other requests: what
	// is larger would hold them up on a slow link.
	MaxShared = 16 << 10
	// plainFor is how long a node that shares no connections is not asked for one again.
	plainFor = time.Minute
	// connectFor bounds how long a connection may take to be made.
	connectFor = 2 * time.Second
)

// A shared is the connections to one node that requests share.
type shared struct {
	dial func(ctx context.Context, network, addr string) (net.Conn, error)
	host string // host:port
	now  func() time.Duration

	mu      sync.Mutex
	conns   []*multiplex.Client
	making  *making // the next of them; nil if nobody makes one
	given   int     // how often all connections were given up
	plain   bool    // the node answered otherwise
	plainAt time.Duration
}

// A making is a connection that is being made.
type making struct {
	done  chan struct{}
	given int
	c     *multiplex.Client
	err   error
}

// sharedOf returns the shared connections to the node at u. nil means that there must
// be none: whoever is between, or is asked for a password, knows plain HTTP.
func sharedOf(u *url.URL, dial func(ctx context.Context, network, addr string) (net.Conn, error), now func() time.Duration) *shared {
	if u.Scheme != "http" || u.User != nil {
		return nil
	}
	if proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u}); proxy != nil || err != nil {
		return nil
	}
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), "80")
	}
	return &shared{dial: dial, host: host, now: now}
}

// conn returns a connection that takes another request. Callers who need one at the
// same time share the making of it. The error is [multiplex.ErrPlain] if the node
// does not share connections; no error is of a request that was sent.
func (s *shared) conn(ctx context.Context) (*multiplex.Client, error) {
	s.mu.Lock()
	if s.plain && s.now()-s.plainAt < plainFor {
		s.mu.Unlock()
		return nil, multiplex.ErrPlain
	}
	s.conns = slices.DeleteFunc(s.conns, (*multiplex.Client).Over)
	for _, c := range s.conns {
		if c.Room() {
			s.mu.Unlock()
			return c, nil
		}
	}
	m := s.making
	if m == nil {
		m = &making{done: make(chan struct{}), given: s.given}
		s.making = m
		go s.make(m)
	}
	s.mu.Unlock()
	select {
	case <-m.done:
		return m.c, m.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (s *shared) make(m *making) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*connectFor)
	defer cancel()
	raw, err := s.dial(ctx, "tcp", s.host)
	reached := err == nil
	if reached {
		m.c, err = multiplex.NewClient(ctx, raw, s.host)
	}
	m.err = err
	s.mu.Lock()
	defer s.mu.Unlock()
	// A node that can be reached and does not answer may stand still, or something
	// between may not know what to do with the question: it is not asked again soon.
	// One that is going down says so.
	if s.plain = reached && err != nil && !errors.Is(err, multiplex.ErrOver); s.plain {
		s.plainAt = s.now()
	}
	switch {
	case err != nil:
	case m.given != s.given:
		m.c.Retire()
	default:
		s.conns = append(s.conns, m.c)
	}
	s.making = nil
	close(m.done)
}

// retire gives all connections up: what is under way ends, and the next request makes one
// anew.
func (s *shared) retire() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		c.Retire()
	}
	s.conns = nil
	s.given++
}

// share sends r over a shared connection to endpoint e and returns the answer as it came.
func (l *Link) share(ctx context.Context, e *endpoint, r Request) (_ multiplex.Reply, sent bool, err error) {
	target, header, err := l.lines(r)
	if err != nil {
		return multiplex.Reply{}, false, err
	}
	for again := true; ; again = false {
		c, err := e.shared.conn(ctx)
		if err != nil {
			return multiplex.Reply{}, false, err
		}
		rep, sent, err := c.Do(ctx, multiplex.Request{Method: r.Method, Target: target, Header: header, Body: r.Body})
		if !sent && errors.Is(err, multiplex.ErrOver) && (again || !c.Over()) {
			continue // it ended before it was asked, or others have filled it: there may be another
		}
		if err != nil && !errors.Is(err, multiplex.ErrLarge) {
			err = fmt.Errorf("%s %s: %w", r.Method, e.url, err)
		}
		return rep, sent, err
	}
}
