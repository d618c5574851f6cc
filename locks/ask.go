package locks

import (
	"time"

	"github.com/prytany/prytany/locks/internal/command"
	"github.com/prytany/prytany/locks/internal/timers"
)

// Ask answers a [Question] by the leader's clock and returns an [Answer]; to
// anything else nothing. The caller has made sure that this node still led
// after req arrived.
func (m *Machine) Ask(req []byte, now time.Duration) (answer []byte) {
	q, err := command.DecodeQuestion(req)
	if err != nil {
		return nil
	}
	m.mu.Lock()
	a := m.answer(&q, now)
	m.mu.Unlock()
	return a.Encode()
}

func (m *Machine) answer(q *Question, now time.Duration) Answer {
	if !m.lessor.started {
		return Answer{NotYet: true}
	}
	a := Answer{Revision: m.revision, Slot: uint64(m.applied)}
	for _, id := range q.Sessions {
		a.Leases = append(a.Leases, m.lease(id, q.Extend, now))
	}
	for _, name := range q.Locks {
		a.Delays = append(a.Delays, m.lessor.left(timerDelay, name, now))
		a.Yields = append(a.Yields, m.lessor.left(timerYield, name, now))
	}
	return a
}

// lease tells about the session id, whose lease begins anew if extend. Once
// its end is proposed a lease cannot be extended any more: an extension would
// be a promise that the log may break.
func (m *Machine) lease(id string, extend bool, now time.Duration) Lease {
	s, no := m.alive(id)
	k := timers.Key{Kind: timerLease, Name: id}
	at, proposed, timed := m.lessor.timers.At(k)
	switch {
	case s == nil && no.Code == SessionExpired:
		return Lease{State: LeaseOver}
	case s == nil || !timed:
		return Lease{State: LeaseUnknown}
	case proposed:
		return Lease{State: LeaseEnding}
	}
	if extend {
		m.lessor.extend(s, now)
		at, _, _ = m.lessor.timers.At(k)
	}
	return Lease{
		State: LeaseAlive, Remaining: max(at-now, 0), ID: s.id, Name: s.name,
		TTL: s.ttl, LockDelay: s.lockDelay, Created: s.created, Bound: s.bound,
	}
}
