package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/prytany/prytany/client/internal/bell"
	"github.com/prytany/prytany/client/internal/clock"
	"github.com/prytany/prytany/client/internal/link"
	"github.com/prytany/prytany/internal/api"
)

// watchEvery is how often a session looks at the clock beside its timers, so
// that a machine that slept is noticed soon after it wakes.
const watchEvery = time.Second

// errEnded is the cause of the end of a session that its owner ended.
var errEnded = errors.New("prytany: the session was ended")

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
	shared bool            // it is the one of Lock and TryLock
	ctx    context.Context // whose end is the session's: its meaning is a lifetime
	cancel context.CancelCauseFunc
	work   sync.WaitGroup // keepers, and what takes back locks in the background

	mu       sync.Mutex
	deadline time.Duration // reading of Client.now at which the session ends for this side
	waited   bool          // somebody waits for work, or has: it takes no more
	state    SessionState
	changed  bell.Bell // state has changed

	// What the listener works with; see listen.go.
	held      map[string]*Held
	asking    map[*acquisition]bool
	listening bool
	since     uint64 // revision up to which the news is known
	reread    bool   // there may be news that was not told
}

// NewSession opens a session. Cancelling ctx later does not end it. Errors:
// [ErrUnavailable]; [ErrUnknownOutcome], after which there may be a session
// that nobody uses and that ends by itself.
func (c *Client) NewSession(ctx context.Context, cfg SessionConfig) (*Session, error) {
	return c.newSession(ctx, cfg, false)
}

func (c *Client) newSession(ctx context.Context, cfg SessionConfig, shared bool) (*Session, error) {
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
	sent := c.now()
	rep, err := c.do(ctx, link.Request{Method: http.MethodPost, Path: "sessions", Body: body, Header: jsonHeader(), Change: true, Small: true})
	if err != nil {
		return nil, err
	}
	var out api.SessionCreated
	if err := json.Unmarshal(rep.Body, &out); err != nil || out.ID == "" || out.TTLMS <= 0 {
		return nil, senseless("answer to a new session", rep)
	}
	s := &Session{
		c: c, id: out.ID, ttl: milliseconds(out.TTLMS), shared: shared,
		state: SessionOK, held: map[string]*Held{}, asking: map[*acquisition]bool{},
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.renewed(sent, s.ttl)
	if s.Remaining() <= 0 {
		// It took more than a TTL to learn of it; nothing depends on it yet.
		s.deadline = 0
		if err := s.renew(ctx); err != nil {
			s.lose(ErrSessionExpired)
			return nil, fmt.Errorf("%w: %w", ErrSessionExpired, err)
		}
		s.mu.Lock()
		s.state = SessionOK // nobody was in jeopardy
		s.mu.Unlock()
	}
	s.background(s.watch)
	s.background(s.keep)
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
	return s.deadline - s.c.now()
}

// check ends the session if the clock says so, and reports whether it lasts.
func (s *Session) check() bool {
	s.mu.Lock()
	s.judge()
	s.mu.Unlock()
	if s.Remaining() <= 0 {
		s.lose(ErrSessionExpired)
	}
	return s.ctx.Err() == nil
}

// End ends the session at the server, with all its locks, waits and ephemeral
// entries, in one step. The session is over on this side whatever it returns.
func (s *Session) End(ctx context.Context) error { return s.end(ctx, errEnded) }

func (s *Session) end(ctx context.Context, cause error) error {
	s.lose(cause)
	s.mu.Lock()
	s.waited = true
	s.mu.Unlock()
	s.work.Wait()
	_, err := s.c.do(ctx, link.Request{Method: http.MethodDelete, Path: "sessions/" + link.Escape(s.id), Change: true, Timeless: true, Small: true})
	if errors.Is(err, ErrSessionExpired) {
		return nil
	}
	return err
}

// lose ends the session on this side.
func (s *Session) lose(cause error) { s.cancel(cause) }

// background runs f, which ends soon after the session; End waits for it. When
// End has begun to wait, f has nothing to wait for and is run at once.
func (s *Session) background(f func()) {
	s.mu.Lock()
	waited := s.waited
	if !waited {
		s.work.Go(f)
	}
	s.mu.Unlock()
	if waited {
		f()
	}
}

// renewed moves the deadline after a renewal that was sent at sent. What is
// over stays over: somebody may have been told.
func (s *Session) renewed(sent, ttl time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deadline != 0 && s.c.now() >= s.deadline {
		return
	}
	s.deadline = max(s.deadline, sent+ttl-clock.Margin(ttl))
	s.judge()
}

// watch ends the session when its time is over.
func (s *Session) watch() {
	for s.check() {
		d := min(s.Remaining(), watchEvery)
		if calm := s.Remaining() - s.jeopardy(); calm > 0 {
			d = min(d, calm)
		}
		s.sleep(d)
	}
}

// keep renews the session, first when a third of its time has passed.
func (s *Session) keep() {
	for s.check() {
		if d := s.Remaining() - s.ttl*2/3 + clock.Margin(s.ttl); d > 0 {
			s.sleep(min(d, watchEvery))
			continue
		}
		if err := s.renew(s.ctx); errors.Is(err, ErrSessionExpired) {
			s.lose(ErrSessionExpired)
		}
	}
}

// sleep waits for d or the session's end.
func (s *Session) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.ctx.Done():
	case <-timer.C:
	}
}

// hedge is how long a renewal may take before the next endpoint is asked too.
func (s *Session) hedge() time.Duration {
	return min(max(s.ttl/12, 50*time.Millisecond), 2*time.Second)
}

// renew renews the session once. An endpoint that does not answer soon is not
// waited for: the next is asked beside it, and whichever answers first counts.
func (s *Session) renew(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan error)
	for attempt := 0; ; attempt++ {
		at, _ := s.c.link.Pick()
		s.background(func() {
			err := s.ask(ctx)
			select {
			case answers <- err:
			case <-ctx.Done():
			}
		})
		timer := time.NewTimer(s.hedge())
		select {
		case err := <-answers:
			timer.Stop()
			if err == nil || errors.Is(err, ErrSessionExpired) {
				return err
			}
			s.c.cfg.Log.Debug("keepalive failed", "session", s.id, "attempt", attempt+1, "err", err)
			link.Pause(ctx, attempt)
		case <-timer.C:
			s.c.link.Avoid(at)
		case <-ctx.Done():
			timer.Stop()
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// ask sends one renewal to one endpoint.
func (s *Session) ask(ctx context.Context) error {
	sent := s.c.now()
	rep, err := s.c.once(ctx, link.Request{Method: http.MethodPut, Path: "sessions/" + link.Escape(s.id)}, 4*s.hedge())
	if err != nil {
		return err
	}
	_, err = s.kept(rep, sent)
	return err
}

// kept takes note of a renewal that was sent at sent. If the answer was held
// back, the lease began anew at the end of that; the server cannot have held it
// back for longer than it was waited for.
func (s *Session) kept(rep link.Reply, sent time.Duration) (api.KeptAlive, error) {
	var out api.KeptAlive
	if err := json.Unmarshal(rep.Body, &out); err != nil || out.ExpiresInMS <= 0 || out.HeldMS < 0 {
		return out, senseless("answer to a renewal", rep)
	}
	held := min(milliseconds(out.HeldMS), s.c.now()-sent)
	s.renewed(sent+held, min(s.ttl, milliseconds(out.ExpiresInMS)))
	return out, nil
}
