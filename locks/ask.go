package locks

import (
	"time"

	"github.com/prytany/prytany/locks/internal/wire"
)

// A LeaseState is what the leader says about a session.
type LeaseState uint8

// The states of a lease.
const (
	LeaseAlive   LeaseState = 0
	LeaseEnding  LeaseState = 1 // its end is proposed; ask again to learn what became of it
	LeaseUnknown LeaseState = 2 // no such session
	LeaseOver    LeaseState = 3 // the session is over
)

// A Lease is the leader's answer about one session.
type Lease struct {
	State     LeaseState
	Remaining time.Duration // LeaseAlive
	Session   Session       // LeaseAlive: without Holds, Waits and Keys
}

// A Question is what [Machine.Ask] takes. With Extend, the leases asked about
// begin anew.
type Question struct {
	Extend   bool
	Sessions []string
	Locks    []string // whose lock-delays to tell
}

// An Answer of [Machine.Ask] has one item for each of the Question's.
type Answer struct {
	NotYet   bool // the leader has just begun; nothing below is set
	Revision uint64
	Slot     uint64
	Leases   []Lease
	Delays   []time.Duration // remaining; 0 if there is none
}

// Encode returns the bytes of q.
func (q *Question) Encode() []byte {
	var c wire.Coder
	q.code(&c)
	return c.Buf
}

func (q *Question) code(c *wire.Coder) {
	c.Bool(&q.Extend)
	codeStrings(c, &q.Sessions)
	codeStrings(c, &q.Locks)
}

func codeStrings(c *wire.Coder, p *[]string) {
	n := c.Count(len(*p))
	if c.Reading {
		*p = make([]string, n)
	}
	for i := range n {
		c.String(&(*p)[i])
	}
}

func (a *Answer) code(c *wire.Coder) {
	c.Bool(&a.NotYet)
	c.Uint(&a.Revision)
	c.Uint(&a.Slot)
	n := c.Count(len(a.Leases))
	if c.Reading {
		a.Leases = make([]Lease, n)
	}
	for i := range n {
		l := &a.Leases[i]
		c.Byte((*uint8)(&l.State))
		c.Duration(&l.Remaining)
		c.String(&l.Session.ID)
		c.String(&l.Session.Name)
		c.Duration(&l.Session.TTL)
		c.Duration(&l.Session.LockDelay)
		c.Duration(&l.Session.ExpiresIn)
		c.Uint(&l.Session.Created)
		c.String(&l.Session.Bound)
	}
	n = c.Count(len(a.Delays))
	if c.Reading {
		a.Delays = make([]time.Duration, n)
	}
	for i := range n {
		c.Duration(&a.Delays[i])
	}
}

// DecodeAnswer reads what [Machine.Ask] returned.
func DecodeAnswer(data []byte) (Answer, error) {
	var a Answer
	c := wire.Coder{Buf: data, Reading: true}
	a.code(&c)
	if err := c.End(); err != nil {
		return Answer{}, err
	}
	return a, nil
}

// Ask answers a [Question] by the leader's clock and returns an [Answer]; to
// anything else nothing. The caller has made sure that this node still led
// after req arrived.
func (m *Machine) Ask(req []byte, now time.Duration) (answer []byte) {
	var q Question
	c := wire.Coder{Buf: req, Reading: true}
	q.code(&c)
	if c.End() != nil {
		return nil
	}
	m.mu.Lock()
	a := m.answer(&q, now)
	m.mu.Unlock()
	w := wire.Coder{}
	a.code(&w)
	return w.Buf
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
		var left time.Duration
		if t := m.lessor.timers[timerKey{true, name}]; t != nil && !t.proposed {
			left = max(t.at-now, 0)
		}
		a.Delays = append(a.Delays, left)
	}
	return a
}

// lease tells about the session id, whose lease begins anew if extend. Once
// its end is proposed a lease cannot be extended any more: an extension would
// be a promise that the log may break.
func (m *Machine) lease(id string, extend bool, now time.Duration) Lease {
	s, no := m.alive(id)
	t := m.lessor.timers[timerKey{false, id}]
	switch {
	case s == nil && no.Code == SessionExpired:
		return Lease{State: LeaseOver}
	case s == nil || t == nil:
		return Lease{State: LeaseUnknown}
	case t.proposed:
		return Lease{State: LeaseEnding}
	}
	if extend {
		m.lessor.extend(s, now)
	}
	left := max(t.at-now, 0)
	view := m.viewSession(s)
	view.ExpiresIn = left
	return Lease{LeaseAlive, left, view}
}
