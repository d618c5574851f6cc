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

	Shared bool   // acquire: the mode of the grant
	Slots  uint64 // acquire, LimitMismatch: of the lock
	Step   int    // of a transaction: the operation that was refused, from 1
	Body   string // of a transaction: [TxnResult.Encode]; LockHeld of an AcquireAll: [EncodeHeld]
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
	c.Int(&r.Position)
	c.Uint(&r.Current)
	c.Bool(&r.Delayed)
	r.Holder.wire(c)
	c.Uint(&r.Created)
	c.Uint(&r.Version)
	c.Bool(&r.Shared)
	c.Uint(&r.Slots)
	c.Int(&r.Step)
	c.String(&r.Body)
}

// A Code says why a command was refused; package locks names the codes.
type Code uint8

// A Holder of a lock as a refusal tells of it.
type Holder struct {
	Session string
	Owner   string // the session's name, or its id
	Fence   uint64
	Note    string
	Shared  bool
	Elected bool   // it leads the election of the lock's name,
	Value   string // and publishes this
}

func (h *Holder) wire(c *wire.Coder) {
	c.String(&h.Session)
	c.String(&h.Owner)
	c.Uint(&h.Fence)
	c.String(&h.Note)
	c.Bool(&h.Shared)
	c.Bool(&h.Elected)
	c.String(&h.Value)
}
