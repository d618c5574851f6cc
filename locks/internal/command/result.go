package command

import (
	"time"

	"github.com/prytany/prytany/locks/internal/wire"
)

// A Result is what applying a command returned, in the form of
// [Result.Encode].
type Result struct {
	Refused  bool   // the command had no effect
	Code     Code   // Refused: why
	Detail   string // Refused: for people
	Revision uint64 // of the command; if Repeated, of the one that first had its id
	Repeated bool   // this is the first answer once more

	Session  string        // made or concerned
	TTL      time.Duration // of Session
	Fence    uint64        // acquire, cancel: the grant, 0 if there is none
	Queued   bool          // acquire: a place in the queue was given
	Position int           // in the queue from 1, or what it would have been

	Current uint64 // StaleFence, RevisionMismatch
	Delayed bool   // LockHeld: only a lock-delay keeps the lock
	Holder  Holder // LockHeld: who has it; Session is empty if nobody

	Created uint64 // put: revision at which the entry was made
	Version uint64 // put
}

// Encode returns the bytes of r.
func (r Result) Encode() []byte {
	c := wire.Coder{Buf: make([]byte, 0, 48)}
	r.Wire(&c)
	return c.Buf
}

// DecodeResult is the inverse of [Result.Encode].
func DecodeResult(data []byte) (Result, error) {
	var r Result
	c := wire.Coder{Buf: data, Reading: true}
	r.Wire(&c)
	if err := c.End(); err != nil {
		return Result{}, err
	}
	return r, nil
}

// Wire writes or reads r.
func (r *Result) Wire(c *wire.Coder) {
	c.Bool(&r.Refused)
	c.Byte((*uint8)(&r.Code))
	c.String(&r.Detail)
	c.Uint(&r.Revision)
	c.Bool(&r.Repeated)
	c.String(&r.Session)
	c.Duration(&r.TTL)
	c.Uint(&r.Fence)
	c.Bool(&r.Queued)
	n := uint64(r.Position)
	c.Uint(&n)
	r.Position = int(n)
	c.Uint(&r.Current)
	c.Bool(&r.Delayed)
	c.String(&r.Holder.Session)
	c.String(&r.Holder.Owner)
	c.Uint(&r.Holder.Fence)
	c.String(&r.Holder.Note)
	c.Uint(&r.Created)
	c.Uint(&r.Version)
}

// A Code says why a command was refused; package locks names the codes.
type Code uint8

// A Holder of a lock as a refusal tells of it.
type Holder struct {
	Session string
	Owner   string // the session's name, or its id
	Fence   uint64
	Note    string
}
