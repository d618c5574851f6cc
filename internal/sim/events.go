package sim

import (
	"time"

	"github.com/prytany/prytany/paxos/replica"
)

// An event is something that happens at a moment of virtual time: a packet
// arrives if packet is set, else fn runs.
type event struct {
	at     time.Duration
	seq    uint64 // ties are broken by the order of scheduling
	from   int32  // packet: index of the sending node
	to     int32  // packet: index of the receiving node
	packet bool
	pkt    replica.Packet
	fn     func()
}

// A schedule is a binary heap of events ordered by (at, seq). It keeps popped
// events for reuse, because a run makes millions of them.
type schedule struct {
	heap []*event
	free []*event
	seq  uint64
}

func (s *schedule) len() int { return len(s.heap) }

// add returns a new event in the heap; the caller fills in what happens.
func (s *schedule) add(at time.Duration) *event {
	var e *event
	if n := len(s.free); n > 0 {
		e, s.free = s.free[n-1], s.free[:n-1]
	} else {
		e = new(event)
	}
	s.seq++
	e.at, e.seq = at, s.seq
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

// pop takes the earliest event out of the heap. The caller gives it back with
// release once it has happened.
func (s *schedule) pop() *event {
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

func (s *schedule) release(e *event) {
	*e = event{}
	s.free = append(s.free, e)
}

func before(a, b *event) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }
