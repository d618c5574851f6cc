package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/prytany/prytany/internal/api"
)

// watchEvery is how often a session looks at the clock beside its timer, so
// that a machine that slept is noticed soon after it wakes.
const watchEvery = time.Second

// SessionConfig says what session to open. The zero SessionConfig is usable.
type SessionConfig struct {
	TTL       time.Duration // 0 means Config.SessionTTL
	Name      string        // for people; "" means Config.SessionName
	LockDelay time.Duration // how long its locks stay closed after it expires, up to 60 s
}

// A Session is this process's presence at the server. It keeps itself alive
// until it is ended or lost; everything held by it goes with it. It is safe
// for concurrent use.
type Session struct {
	c      *Client
	id     string
	ttl    time.Duration
	ctx    context.Context // whose end is the session's: its meaning is a lifetime
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when the keeper has returned

	mu       sync.Mutex
	deadline time.Duration // reading of now() at which the session ends for this side
}

// NewSession opens a session. Cancelling ctx later does not end it.
func (c *Client) NewSession(ctx context.Context, cfg SessionConfig) (*Session, error) {
	if cfg.TTL == 0 {
		cfg.TTL = c.cfg.SessionTTL
	}
	if cfg.Name == "" {
		cfg.Name = c.cfg.SessionName
	}
	in := api.CreateSession{TTL: cfg.TTL.String(), Name: cfg.Name}
	if cfg.LockDelay != 0 {
		in.LockDelay = cfg.LockDelay.String()
	}
	body, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("prytany: %w", err)
	}
	// The server counts from when it applied the session, which is after it
	// was first sent: a deadline from here is early, never late.
	sent := now()
	rep, err := c.do(ctx, request{method: http.MethodPost, path: "sessions", body: body, header: jsonHeader(), change: true})
	if err != nil {
		return nil, err
	}
	var out api.SessionCreated
	if err := json.Unmarshal(rep.body, &out); err != nil || out.ID == "" {
		return nil, fmt.Errorf("prytany: the server's answer to a new session makes no sense: %q", clip(rep.body))
	}
	s := &Session{c: c, id: out.ID, ttl: time.Duration(out.TTLMS) * time.Millisecond, done: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.renewed(sent, out.ExpiresInMS)
	go s.keep()
	return s, nil
}

func jsonHeader() http.Header { return http.Header{"Content-Type": {api.TypeJSON}} }

func clip(b []byte) []byte { return b[:min(len(b), 200)] }

// ID returns the session's identity at the server.
func (s *Session) ID() string { return s.id }

// TTL returns the granted time to live.
func (s *Session) TTL() time.Duration { return s.ttl }

// Context ends when the session does, with [ErrSessionExpired] as its cause if
// it was lost: before the server may give its locks to anybody else.
func (s *Session) Context() context.Context { return s.ctx }

// Remaining returns how long the session certainly lasts without another
// renewal; 0 or less when it is over.
func (s *Session) Remaining() time.Duration {
	if s.ctx.Err() != nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.deadline - now()
}

// End ends the session at the server, with all its locks, waits and ephemeral
// entries, in one step. The session is over on this side whatever it returns.
func (s *Session) End(ctx context.Context) error {
	return s.end(ctx, errors.New("prytany: the session was ended"))
}

func (s *Session) end(ctx context.Context, cause error) error {
	s.lose(cause)
	<-s.done
	_, err := s.c.do(ctx, request{method: http.MethodDelete, path: "sessions/" + escape(s.id), change: true})
	if errors.Is(err, ErrSessionExpired) {
		return nil
	}
	return err
}

// lose ends the session on this side.
func (s *Session) lose(cause error) { s.cancel(cause) }

// renewed moves the deadline after a renewal that was sent at sent.
func (s *Session) renewed(sent time.Duration, expiresInMS int64) {
	ttl := min(s.ttl, time.Duration(expiresInMS)*time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = max(s.deadline, sent+ttl-margin(ttl))
}

// keep renews the session until it ends.
func (s *Session) keep() {
	defer close(s.done)
	renew := time.NewTimer(s.ttl / 3)
	defer renew.Stop()
	watch := time.NewTicker(min(watchEvery, s.ttl/10))
	defer watch.Stop()
	answers := make(chan error, 1)
	asking := false
	for {
		left := s.Remaining()
		if left <= 0 {
			s.lose(ErrSessionExpired)
		}
		expiry := time.NewTimer(left)
		select {
		case <-s.ctx.Done():
			expiry.Stop()
			return
		case <-expiry.C:
		case <-watch.C:
		case <-renew.C:
			if !asking {
				asking = true
				go func() { answers <- s.renew() }()
			}
		case err := <-answers:
			asking = false
			if errors.Is(err, ErrSessionExpired) {
				s.lose(ErrSessionExpired)
			}
			next := s.ttl / 3
			if err != nil {
				next = min(100*time.Millisecond, s.ttl/20)
			}
			renew.Reset(next)
		}
		expiry.Stop()
	}
}

// renew asks for one renewal. It tries one endpoint after the other for a
// part of the TTL.
func (s *Session) renew() error {
	ctx, cancel := context.WithTimeout(s.ctx, s.ttl/3)
	defer cancel()
	var out api.KeptAlive
	for attempt := 0; ; attempt++ {
		sent := now()
		rep, _, err := s.c.once(ctx, request{method: http.MethodPut, path: "sessions/" + escape(s.id), try: max(s.ttl/12, 200*time.Millisecond)})
		if err == nil {
			err = json.Unmarshal(rep.body, &out)
		}
		if err == nil {
			s.renewed(sent, out.ExpiresInMS)
			return nil
		}
		if errors.Is(err, ErrSessionExpired) {
			return err
		}
		s.c.cfg.Log.Debug("keepalive failed", "session", s.id, "attempt", attempt+1, "err", err)
		if !pause(ctx, attempt) {
			return err
		}
	}
}
