// Package command is the language of a group's log: the commands of package
// locks, what applying them returns, and the questions to a leader.
package command

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
	Since uint64 // a revision from before the first attempt
}

// Wire writes or reads r.
func (r *Request) Wire(c *wire.Coder) {
	c.String(&r.ID)
	c.Bool(&r.Own)
	c.Uint(&r.Hash)
	c.Bool(&r.Retry)
	c.Uint(&r.Since)
}

// A Command is what the log carries, in the form of [Encode].
type Command interface {
	kind() uint8
	Wire(c *wire.Coder)
}

// Encode returns the bytes of cmd.
func Encode(cmd Command) []byte {
	c := wire.Coder{Buf: []byte{cmd.kind()}}
	cmd.Wire(&c)
	return c.Buf
}

// An UnsupportedError is about a command that only a newer version knows.
type UnsupportedError struct{ Kind uint8 }

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("locks: the log holds a command of kind %d, which this version does not know: a newer version is needed", e.Kind)
}

// Decode is the inverse of Encode. Whoever changes a command's fields gives it
// a new kind, so an unknown kind is the only sign of a newer version.
func Decode(data []byte) (Command, error) {
	if len(data) == 0 {
		return nil, wire.ErrMalformed
	}
	cmd := newCommand(data[0])
	if cmd == nil {
		return nil, &UnsupportedError{data[0]}
	}
	c := wire.Coder{Buf: data[1:], Reading: true}
	cmd.Wire(&c)
	if err := c.End(); err != nil {
		return nil, fmt.Errorf("locks: command of kind %d: %w", data[0], err)
	}
	return cmd, nil
}

func newCommand(kind uint8) Command {
	switch kind {
	case 1:
		return &Lead{}
	case 2:
		return &Forget{}
	case 3:
		return &EndDelay{}
	case 4:
		return &Expire{}
	case 10:
		return &Open{}
	case 11:
		return &End{}
	case 12:
		return &Acquire{}
	case 13:
		return &Cancel{}
	case 14:
		return &Release{}
	case 15:
		return &Put{}
	case 16:
		return &Delete{}
	}
	return nil
}

// Lead is a new leader's first: from here on only its expiries count.
type Lead struct{ Ballot synod.Ballot }

// Forget drops the answers given up to revision UpTo.
type Forget struct {
	Own  bool // those to the service's own ids, or those to callers' keys
	UpTo uint64
}

// EndDelay ends the lock-delay that followed the grant of Fence.
type EndDelay struct {
	Lock  string
	Fence uint64
}

// Expire ends a session whose lease ran out by the clock of the leader
// of Ballot, after Renewals renewals in the log. It is void if another leader
// has begun since, or the session was renewed.
type Expire struct {
	Session  string
	Ballot   synod.Ballot
	Renewals uint64
}

// Open makes a session. ID is the proposer's choice: unguessable.
type Open struct {
	Request   Request
	ID        string
	Name      string
	TTL       time.Duration
	LockDelay time.Duration
}

// End ends a session at its owner's wish.
type End struct {
	Request Request
	ID      string
}

// Acquire asks for a lock, and for a place in its queue if Wait. With
// Open, Session does not exist yet: it is made with TTL if the lock is granted
// or a place given, and lives for this lock alone.
type Acquire struct {
	Request Request
	Lock    string
	Session string
	Open    bool
	TTL     time.Duration
	Note    string
	Wait    bool
}

// Cancel gives up the place that Request got in the queue of Lock. If
// Request has not been applied yet, it never will be.
type Cancel struct {
	Request Request
	Lock    string
	Session string
}

// Release ends the grant of Fence, or with Force any grant.
type Release struct {
	Request Request
	Lock    string
	Fence   uint64
	Force   bool
	Reason  string // recorded with Force
}

// Put changes a config entry; under conditions.
type Put struct {
	Request     Request
	Key         string
	Value       []byte
	ContentType string
	IfRevision  *uint64
	IfPresent   bool
	Session     string
	Guard       *Guard
}

// Delete removes a config entry; under conditions.
type Delete struct {
	Request    Request
	Key        string
	IfRevision *uint64
	Guard      *Guard
}

func (*Lead) kind() uint8     { return 1 }
func (*Forget) kind() uint8   { return 2 }
func (*EndDelay) kind() uint8 { return 3 }
func (*Expire) kind() uint8   { return 4 }
func (*Open) kind() uint8     { return 10 }
func (*End) kind() uint8      { return 11 }
func (*Acquire) kind() uint8  { return 12 }
func (*Cancel) kind() uint8   { return 13 }
func (*Release) kind() uint8  { return 14 }
func (*Put) kind() uint8      { return 15 }
func (*Delete) kind() uint8   { return 16 }

// Wire writes or reads x.
func (x *Lead) Wire(c *wire.Coder) { codeBallot(c, &x.Ballot) }

// Wire writes or reads x.
func (x *Forget) Wire(c *wire.Coder) {
	c.Bool(&x.Own)
	c.Uint(&x.UpTo)
}

// Wire writes or reads x.
func (x *EndDelay) Wire(c *wire.Coder) {
	c.String(&x.Lock)
	c.Uint(&x.Fence)
}

// Wire writes or reads x.
func (x *Expire) Wire(c *wire.Coder) {
	c.String(&x.Session)
	codeBallot(c, &x.Ballot)
	c.Uint(&x.Renewals)
}

// Wire writes or reads x.
func (x *Open) Wire(c *wire.Coder) {
	x.Request.Wire(c)
	c.String(&x.ID)
	c.String(&x.Name)
	c.Duration(&x.TTL)
	c.Duration(&x.LockDelay)
}

// Wire writes or reads x.
func (x *End) Wire(c *wire.Coder) {
	x.Request.Wire(c)
	c.String(&x.ID)
}

// Wire writes or reads x.
func (x *Acquire) Wire(c *wire.Coder) {
	x.Request.Wire(c)
	c.String(&x.Lock)
	c.String(&x.Session)
	c.Bool(&x.Open)
	c.Duration(&x.TTL)
	c.String(&x.Note)
	c.Bool(&x.Wait)
}

// Wire writes or reads x.
func (x *Cancel) Wire(c *wire.Coder) {
	x.Request.Wire(c)
	c.String(&x.Lock)
	c.String(&x.Session)
}

// Wire writes or reads x.
func (x *Release) Wire(c *wire.Coder) {
	x.Request.Wire(c)
	c.String(&x.Lock)
	c.Uint(&x.Fence)
	c.Bool(&x.Force)
	c.String(&x.Reason)
}

// Wire writes or reads x.
func (x *Put) Wire(c *wire.Coder) {
	x.Request.Wire(c)
	c.String(&x.Key)
	c.Bytes(&x.Value)
	c.String(&x.ContentType)
	c.Optional(&x.IfRevision)
	c.Bool(&x.IfPresent)
	c.String(&x.Session)
	codeGuard(c, &x.Guard)
}

// Wire writes or reads x.
func (x *Delete) Wire(c *wire.Coder) {
	x.Request.Wire(c)
	c.String(&x.Key)
	c.Optional(&x.IfRevision)
	codeGuard(c, &x.Guard)
}

func codeBallot(c *wire.Coder, b *synod.Ballot) {
	n := b.Pack()
	c.Uint(&n)
	*b = synod.Unpack(n)
}

// A Guard admits a change only while the grant of Fence on Lock is current.
type Guard struct {
	Lock  string
	Fence uint64
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
