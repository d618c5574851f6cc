package locks

import (
	"fmt"
	"time"

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

func (r *Request) code(c *coder) {
	c.string(&r.ID)
	c.bool(&r.Own)
	c.uint(&r.Hash)
	c.bool(&r.Retry)
	c.uint(&r.Since)
}

// A Command is what the log carries, in the form of [Encode].
type Command interface {
	kind() uint8
	code(c *coder)
}

// Encode returns the bytes of cmd.
func Encode(cmd Command) []byte {
	c := coder{buf: []byte{cmd.kind()}}
	cmd.code(&c)
	return c.buf
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
		return nil, errMalformed
	}
	cmd := newCommand(data[0])
	if cmd == nil {
		return nil, &unsupportedError{data[0]}
	}
	c := coder{buf: data[1:], reading: true}
	cmd.code(&c)
	if err := c.end(); err != nil {
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

func (x *LeadCommand) code(c *coder) { codeBallot(c, &x.Ballot) }

func (x *ForgetCommand) code(c *coder) {
	c.bool(&x.Own)
	c.uint(&x.UpTo)
}

func (x *DelayCommand) code(c *coder) {
	c.string(&x.Lock)
	c.uint(&x.Fence)
}

func (x *ExpireCommand) code(c *coder) {
	c.string(&x.Session)
	codeBallot(c, &x.Ballot)
	c.uint(&x.Renewals)
}

func (x *OpenCommand) code(c *coder) {
	x.Request.code(c)
	c.string(&x.ID)
	c.string(&x.Name)
	c.duration(&x.TTL)
	c.duration(&x.LockDelay)
}

func (x *EndCommand) code(c *coder) {
	x.Request.code(c)
	c.string(&x.ID)
}

func (x *AcquireCommand) code(c *coder) {
	x.Request.code(c)
	c.string(&x.Lock)
	c.string(&x.Session)
	c.bool(&x.Open)
	c.duration(&x.TTL)
	c.string(&x.Note)
	c.bool(&x.Wait)
}

func (x *CancelCommand) code(c *coder) {
	x.Request.code(c)
	c.string(&x.Lock)
	c.string(&x.Session)
}

func (x *ReleaseCommand) code(c *coder) {
	x.Request.code(c)
	c.string(&x.Lock)
	c.uint(&x.Fence)
	c.bool(&x.Force)
	c.string(&x.Reason)
}

func (x *PutCommand) code(c *coder) {
	x.Request.code(c)
	c.string(&x.Key)
	c.bytes(&x.Value)
	c.string(&x.ContentType)
	c.optional(&x.IfRevision)
	c.bool(&x.IfPresent)
	c.string(&x.Session)
	codeGuard(c, &x.Guard)
}

func (x *DeleteCommand) code(c *coder) {
	x.Request.code(c)
	c.string(&x.Key)
	c.optional(&x.IfRevision)
	codeGuard(c, &x.Guard)
}

func codeBallot(c *coder, b *synod.Ballot) {
	n := b.Pack()
	c.uint(&n)
	*b = synod.Unpack(n)
}

func codeGuard(c *coder, g **Guard) {
	some := *g != nil
	c.bool(&some)
	if !some {
		*g = nil
		return
	}
	if c.reading {
		*g = &Guard{}
	}
	c.string(&(*g).Lock)
	c.uint(&(*g).Fence)
}
