package locks

import "time"

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
	Holder  Holder // LockHeld: Session, Owner, Fence and Note

	Created uint64 // put: revision at which the entry was made
	Version uint64 // put
}

// Encode returns the bytes of r.
func (r Result) Encode() []byte {
	c := coder{buf: make([]byte, 0, 48)}
	r.code(&c)
	return c.buf
}

// DecodeResult is the inverse of [Result.Encode].
func DecodeResult(data []byte) (Result, error) {
	var r Result
	c := coder{buf: data, reading: true}
	r.code(&c)
	if err := c.end(); err != nil {
		return Result{}, err
	}
	return r, nil
}

func (r *Result) code(c *coder) {
	c.bool(&r.Refused)
	c.byte((*uint8)(&r.Code))
	c.string(&r.Detail)
	c.uint(&r.Revision)
	c.bool(&r.Repeated)
	c.string(&r.Session)
	c.duration(&r.TTL)
	c.uint(&r.Fence)
	c.bool(&r.Queued)
	n := uint64(r.Position)
	c.uint(&n)
	r.Position = int(n)
	c.uint(&r.Current)
	c.bool(&r.Delayed)
	c.string(&r.Holder.Session)
	c.string(&r.Holder.Owner)
	c.uint(&r.Holder.Fence)
	c.string(&r.Holder.Note)
	c.uint(&r.Created)
	c.uint(&r.Version)
}

// refused returns the result of a command without effect.
func refused(code Code, detail string) Result {
	return Result{Refused: true, Code: code, Detail: detail}
}
