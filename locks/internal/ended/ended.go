// Package ended remembers sessions that are over.
package ended

import (
	"slices"

	"github.com/prytany/prytany/locks/internal/wire"
)

// Sessions remembers why sessions ended. The zero value is empty.
type Sessions struct {
	queue []session // oldest first
	byID  map[string]string
}

type session struct{ id, reason string }

// Copy returns s as it is, without the means to look for one session: to be written
// while s goes on changing.
func (s *Sessions) Copy() Sessions { return Sessions{queue: slices.Clone(s.queue)} }

// Len returns how many are remembered.
func (s *Sessions) Len() int { return len(s.queue) }

// Reason returns why the session id ended, if that is remembered.
func (s *Sessions) Reason(id string) (reason string, ok bool) {
	reason, ok = s.byID[id]
	return reason, ok
}

// Add takes in a session that is over, and forgets the oldest beyond limit.
func (s *Sessions) Add(id, reason string, limit int) {
	s.put(session{id, reason})
	for len(s.queue) > limit {
		delete(s.byID, s.queue[0].id)
		s.queue[0] = session{}
		s.queue = s.queue[1:]
	}
}

func (s *Sessions) put(x session) {
	if s.byID == nil {
		s.byID = map[string]string{}
	}
	s.queue = append(s.queue, x)
	s.byID[x.id] = x.reason
}

// Wire writes s, or reads it into an empty value.
func (s *Sessions) Wire(c *wire.Coder) {
	n := c.Count(len(s.queue))
	for i := 0; i < n && c.Err == nil; i++ {
		var x session
		if !c.Reading {
			x = s.queue[i]
		}
		c.String(&x.id)
		c.String(&x.reason)
		c.Breathe()
		if !c.Reading {
			continue
		}
		if _, twice := s.byID[x.id]; twice {
			c.Fail()
		}
		s.put(x)
	}
}
