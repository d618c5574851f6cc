package command

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

	// LeaseAlive: the session.
	ID        string
	Name      string
	TTL       time.Duration
	LockDelay time.Duration
	Created   uint64
	Bound     string
}

// A Question is what Machine.Ask takes. With Extend, the leases asked about
// begin anew.
type Question struct {
	Extend   bool
	Sessions []string
	Locks    []string // whose lock-delays and times to yield to tell
}

// An Answer of Machine.Ask has one item for each of the Question's.
type Answer struct {
	NotYet   bool // the leader has just begun; nothing below is set
	Revision uint64
	Slot     uint64
	Leases   []Lease
	Delays   []time.Duration // remaining; 0 if there is none
	Yields   []time.Duration // remaining; 0 if nobody is asked to yield in time
}

// Encode returns the bytes of q.
func (q *Question) Encode() []byte {
	var c wire.Coder
	q.wire(&c)
	return c.Buf
}

func (q *Question) wire(c *wire.Coder) {
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

func (a *Answer) wire(c *wire.Coder) {
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
		c.String(&l.ID)
		c.String(&l.Name)
		c.Duration(&l.TTL)
		c.Duration(&l.LockDelay)
		c.Uint(&l.Created)
		c.String(&l.Bound)
	}
	n = c.Count(len(a.Delays))
	if c.Reading {
		a.Delays = make([]time.Duration, n)
	}
	for i := range n {
		c.Duration(&a.Delays[i])
	}
	codeList(c, &a.Yields, (*wire.Coder).Duration)
}

// DecodeAnswer reads what Machine.Ask returned.
func DecodeAnswer(data []byte) (Answer, error) {
	var a Answer
	c := wire.Coder{Buf: data, Reading: true}
	a.wire(&c)
	if err := c.End(); err != nil {
		return Answer{}, err
	}
	return a, nil
}

// Encode returns the bytes of a.
func (a *Answer) Encode() []byte {
	var c wire.Coder
	a.wire(&c)
	return c.Buf
}

// DecodeQuestion is the inverse of [Question.Encode].
func DecodeQuestion(data []byte) (Question, error) {
	var q Question
	c := wire.Coder{Buf: data, Reading: true}
	q.wire(&c)
	return q, c.End()
}
