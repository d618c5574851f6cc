package locks

import (
	"fmt"
	"time"

	"github.com/prytany/prytany/locks/internal/wire"
	"github.com/prytany/prytany/synod"
)

// A Request identifies a changing command, so that it has one effect however
// often it is replicated: the machine remembers the first answer. The zero
// Request is not remembered.
type Request struct {
	ID    string
	Own   bool   // the service made ID, not the caller: remembered for a shorter time
	Hash  uint64 // of what a repetition must have in common
	Retry bool   // an earlier attempt may have had its effect
	Since uint64 // Retry: a revision from before the first attempt
}

func (r *Request) code(c *wire.Coder) {
	c.String(&r.ID)
	c.Bool(&r.Own)
	c.Uint(&r.Hash)
	c.Bool(&r.Retry)
	c.Uint(&r.Since)
}

// A Command is what the log carries, in the form of [Encode].
type Command interface {
	kind() uint8
	code(c *wire.Coder)
}

// Encode returns the bytes of cmd.
func Encode(cmd Command) []byte {
	c := wire.Coder{Buf: []byte{cmd.kind()}}
	cmd.code(&c)
	return c.Buf
}

// An unsupportedError is about a command that only a newer version knows.
type unsupportedError struct{ kind uint8 }

func (e *unsupportedError) Error() string {
	return fmt.Sprintf("locks: the log holds a command of kind %d, which this version does not know: a newer version is needed", e.kind)
}

// Decode is the inverse of Encode. Whoever changes a command's fields gives it
// a new kind, so an unknown kind is the only sign of a newer version.
func Decode(data []byte) (Command, error) {
	if len(data) == 0 {
		return nil, wire.ErrMalformed
	}
	cmd := newCommand(data[0])
	if cmd == nil {
		return nil, &unsupportedError{data[0]}
	}
	c := wire.Coder{Buf: data[1:], Reading: true}
	cmd.code(&c)
	if err := c.End(); err != nil {
		return nil, fmt.Errorf("locks: command of kind %d: %w", data[0], err)
	}
	return cmd, nil
}

func newCommand(kind uint8) Command {
	switch kind {
	case 1:
		return &LeadCommand{}
	case 2:
		return &ForgetCommand{}
	case 3:
		return &DelayCommand{}
	case 4:
		return &ExpireCommand{}
	case 10:
		return &OpenCommand{}
	case 11:
		return &EndCommand{}
	case 12:
		return &AcquireCommand{}
	case 13:
		return &CancelCommand{}
	case 14:
		return &ReleaseCommand{}
	case 15:
		return &PutCommand{}
	case 16:
		return &DeleteCommand{}
	}
	return nil
}

// LeadCommand is a new leader's first: from here on only its expiries count.
type LeadCommand struct{ Ballot synod.Ballot }

// ForgetCommand drops the answers given up to revision UpTo.
type ForgetCommand struct {
	Own  bool // those to the service's own ids, or those to callers' keys
	UpTo uint64
}

// DelayCommand ends the lock-delay that followed the grant of Fence.
type DelayCommand struct {
	Lock  string
	Fence uint64
}

// ExpireCommand ends a session whose lease ran out by the clock of the leader
// of Ballot, after Renewals renewals in the log. It is void if another leader
// has begun since, or the session was renewed.
type ExpireCommand struct {
	Session  string
	Ballot   synod.Ballot
	Renewals uint64
}

// OpenCommand makes a session. ID is the proposer's choice: unguessable.
type OpenCommand struct {
	Request   Request
	ID        string
	Name      string
	TTL       time.Duration
	LockDelay time.Duration
}

// EndCommand ends a session at its owner's wish.
type EndCommand struct {
	Request Request
	ID      string
}

// AcquireCommand asks for a lock, and for a place in its queue if Wait. With
// Open, Session does not exist yet: it is made with TTL if the lock is granted
// or a place given, and lives for this lock alone.
type AcquireCommand struct {
	Request Request
	Lock    string
	Session string
	Open    bool
	TTL     time.Duration
	Note    string
	Wait    bool
}

// CancelCommand gives up the place that Request got in the queue of Lock. If
// Request has not been applied yet, it never will be.
type CancelCommand struct {
	Request Request
	Lock    string
	Session string
}

// ReleaseCommand ends the grant of Fence, or with Force any grant.
type ReleaseCommand struct {
	Request Request
	Lock    string
	Fence   uint64
	Force   bool
	Reason  string // recorded with Force
}

// PutCommand changes a config entry; see [Put].
type PutCommand struct {
	Request     Request
	Key         string
	Value       []byte
	ContentType string
	IfRevision  *uint64
	IfPresent   bool
	Session     string
	Guard       *Guard
}

// DeleteCommand removes a config entry; see [Delete].
type DeleteCommand struct {
	Request    Request
	Key        string
	IfRevision *uint64
	Guard      *Guard
}

func (*LeadCommand) kind() uint8    { return 1 }
func (*ForgetCommand) kind() uint8  { return 2 }
func (*DelayCommand) kind() uint8   { return 3 }
func (*ExpireCommand) kind() uint8  { return 4 }
func (*OpenCommand) kind() uint8    { return 10 }
func (*EndCommand) kind() uint8     { return 11 }
func (*AcquireCommand) kind() uint8 { return 12 }
func (*CancelCommand) kind() uint8  { return 13 }
func (*ReleaseCommand) kind() uint8 { return 14 }
func (*PutCommand) kind() uint8     { return 15 }
func (*DeleteCommand) kind() uint8  { return 16 }

func (x *LeadCommand) code(c *wire.Coder) { codeBallot(c, &x.Ballot) }

func (x *ForgetCommand) code(c *wire.Coder) {
	c.Bool(&x.Own)
	c.Uint(&x.UpTo)
}

func (x *DelayCommand) code(c *wire.Coder) {
	c.String(&x.Lock)
	c.Uint(&x.Fence)
}

func (x *ExpireCommand) code(c *wire.Coder) {
	c.String(&x.Session)
	codeBallot(c, &x.Ballot)
	c.Uint(&x.Renewals)
}

func (x *OpenCommand) code(c *wire.Coder) {
	x.Request.code(c)
	c.String(&x.ID)
	c.String(&x.Name)
	c.Duration(&x.TTL)
	c.Duration(&x.LockDelay)
}

func (x *EndCommand) code(c *wire.Coder) {
	x.Request.code(c)
	c.String(&x.ID)
}

func (x *AcquireCommand) code(c *wire.Coder) {
	x.Request.code(c)
	c.String(&x.Lock)
	c.String(&x.Session)
	c.Bool(&x.Open)
	c.Duration(&x.TTL)
	c.String(&x.Note)
	c.Bool(&x.Wait)
}

func (x *CancelCommand) code(c *wire.Coder) {
	x.Request.code(c)
	c.String(&x.Lock)
	c.String(&x.Session)
}

func (x *ReleaseCommand) code(c *wire.Coder) {
	x.Request.code(c)
	c.String(&x.Lock)
	c.Uint(&x.Fence)
	c.Bool(&x.Force)
	c.String(&x.Reason)
}

func (x *PutCommand) code(c *wire.Coder) {
	x.Request.code(c)
	c.String(&x.Key)
	c.Bytes(&x.Value)
	c.String(&x.ContentType)
	c.Optional(&x.IfRevision)
	c.Bool(&x.IfPresent)
	c.String(&x.Session)
	codeGuard(c, &x.Guard)
}

func (x *DeleteCommand) code(c *wire.Coder) {
	x.Request.code(c)
	c.String(&x.Key)
	c.Optional(&x.IfRevision)
	codeGuard(c, &x.Guard)
}

func codeBallot(c *wire.Coder, b *synod.Ballot) {
	n := b.Pack()
	c.Uint(&n)
	*b = synod.Unpack(n)
}

func codeGuard(c *wire.Coder, g **Guard) {
	some := *g != nil
	c.Bool(&some)
	if !some {
		*g = nil
		return
	}
	if c.Reading {
		*g = &Guard{}
	}
	c.String(&(*g).Lock)
	c.Uint(&(*g).Fence)
}
