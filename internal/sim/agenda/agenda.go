// Package agenda keeps what is to happen in a simulation, in the order of virtual time.
package agenda

import "time"

// An Event is something that happens at a moment of virtual time: Do runs, or if that
// is nil the packet P arrives.
type Event[P any] struct {
	At     time.Duration
	Do     func()
	Packet P

	seq uint64 // ties are broken by the order of scheduling
}

// A Schedule is a binary heap of events ordered by (at, seq). It keeps popped
// events for reuse, because a run makes millions of them.
type Schedule[P any] struct {
	heap []*Event[P]
	free []*Event[P]
	seq  uint64
}

// Len returns how many events are to come.
func (s *Schedule[P]) Len() int { return len(s.heap) }

// Next returns when the earliest of them is; there must be one.
func (s *Schedule[P]) Next() time.Duration { return s.heap[0].At }

// Add returns a new event in the heap; the caller fills in what happens.
func (s *Schedule[P]) Add(at time.Duration) *Event[P] {
	var e *Event[P]
	if n := len(s.free); n > 0 {
		e, s.free = s.free[n-1], s.free[:n-1]
	} else {
		e = new(Event[P])
	}
	s.seq++
	e.At, e.seq = at, s.seq
	s.heap = append(s.heap, e)
	for i := len(s.heap) - 1; i > 0; {
		up := (i - 1) / 2
		if !before(e, s.heap[up]) {
			break
		}
		s.heap[i], s.heap[up] = s.heap[up], e
		i = up
	}
	return e
}

// Pop takes the earliest event out of the heap. The caller gives it back with
// release once it has happened.
func (s *Schedule[P]) Pop() *Event[P] {
	top := s.heap[0]
	n := len(s.heap) - 1
	last := s.heap[n]
	s.heap[n] = nil
	s.heap = s.heap[:n]
	if n == 0 {
		return top
	}
	i := 0
	for {
		c := 2*i + 1
		if c >= n {
			break
		}
		if c+1 < n && before(s.heap[c+1], s.heap[c]) {
			c++
		}
		if !before(s.heap[c], last) {
			break
		}
		s.heap[i] = s.heap[c]
		i = c
	}
	s.heap[i] = last
	return top
}

// Release takes an event back that has happened.
func (s *Schedule[P]) Release(e *Event[P]) {
	*e = Event[P]{}
	s.free = append(s.free, e)
}

func before[P any](a, b *Event[P]) bool { return a.At < b.At || a.At == b.At && a.seq < b.seq }
