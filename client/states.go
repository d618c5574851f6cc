package client

import (
	"context"
	"iter"
	"time"

	"github.com/prytany/prytany/client/internal/clock"
)

// A SessionState says how a session fares.
type SessionState string

// The states of a session.
const (
	SessionOK       SessionState = "ok"       // it is renewed in time
	SessionJeopardy SessionState = "jeopardy" // two thirds of its TTL have passed since the last renewal that was acknowledged was sent
	SessionSafe     SessionState = "safe"     // it was in jeopardy, and is renewed again
	SessionExpired  SessionState = "expired"  // it is over
)

// A SessionEvent is a change of a session's state.
type SessionEvent struct {
	State     SessionState
	Remaining time.Duration // how long the session certainly lasts without another renewal
	Err       error         // why it is over: the cause of the end of Session.Context
}

// Events returns the states of the session: the present one first, and then
// each change, until the session or ctx ends. Of changes that follow each other
// faster than the loop runs it gets the newest. In jeopardy it is time to finish
// or to save what depends on the session, while that is still allowed.
func (s *Session) Events(ctx context.Context) iter.Seq[SessionEvent] {
	return func(yield func(SessionEvent) bool) {
		var last SessionState
		for ctx.Err() == nil {
			if !s.check() {
				yield(SessionEvent{State: SessionExpired, Err: context.Cause(s.ctx)})
				return
			}
			s.mu.Lock()
			now, changed := s.state, s.changed.Wait()
			s.mu.Unlock()
			if now != last && !yield(SessionEvent{State: now, Remaining: s.Remaining()}) {
				return
			}
			last = now
			select {
			case <-changed:
			case <-s.ctx.Done():
			case <-ctx.Done():
			}
		}
	}
}

// jeopardy is what remains of the session when it comes into jeopardy.
func (s *Session) jeopardy() time.Duration { return s.ttl/3 - clock.Margin(s.ttl) }

// judge sets the state by the clock. s.mu is held.
func (s *Session) judge() {
	was, left := s.state, s.deadline-s.c.now()
	switch {
	case left <= s.jeopardy():
		s.state = SessionJeopardy
	case was == SessionJeopardy:
		s.state = SessionSafe
	}
	if s.state != was {
		s.changed.Ring()
	}
}
