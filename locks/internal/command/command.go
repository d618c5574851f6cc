// Package command is the language of a group's log: the commands of package
// locks, what applying them returns, and the questions to a leader.
package command

import (
	"fmt"

	"github.com/prytany/prytany/locks/internal/wire"
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
	c := wire.Coder{Buf: append(make([]byte, 0, room(cmd)), cmd.kind())}
	cmd.Wire(&c)
	return c.Buf
}

// room guesses how many bytes cmd takes, so that few grow while they are written. What
// is guessed too much stays in memory as long as the log does.
func room(cmd Command) int {
	const rest = 48 // numbers, and the lengths of texts
	switch c := cmd.(type) {
	case *Put:
		return rest + len(c.Request.ID) + len(c.Key) + len(c.Value) + len(c.ContentType) + len(c.Session)
	case *Acquire:
		return rest + len(c.Request.ID) + len(c.Lock) + len(c.Session) + len(c.Note) + len(c.Value)
	case *Release:
		return rest + len(c.Request.ID) + len(c.Lock) + len(c.Session) + len(c.Reason)
	}
	return 2 * rest
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

// kinds makes an empty command of each kind. Numbers are never reused: 3, 12 and
// 14 were an EndDelay, an Acquire and a Release of an early version.
var kinds = [...]func() Command{
	1:  func() Command { return &Lead{} },
	2:  func() Command { return &Forget{} },
	4:  func() Command { return &Expire{} },
	5:  func() Command { return &EndYield{} },
	6:  func() Command { return &Compact{} },
	7:  func() Command { return &EndDelay{} },
	10: func() Command { return &Open{} },
	11: func() Command { return &End{} },
	13: func() Command { return &Cancel{} },
	15: func() Command { return &Put{} },
	16: func() Command { return &Delete{} },
	17: func() Command { return &Acquire{} },
	18: func() Command { return &AcquireAll{} },
	19: func() Command { return &Release{} },
	20: func() Command { return &Yield{} },
	21: func() Command { return &Proclaim{} },
	22: func() Command { return &Transfer{} },
	23: func() Command { return &Advance{} },
	24: func() Command { return &ForgetFence{} },
	25: func() Command { return &Txn{} },
}

func (*Lead) kind() uint8        { return 1 }
func (*Forget) kind() uint8      { return 2 }
func (*Expire) kind() uint8      { return 4 }
func (*EndYield) kind() uint8    { return 5 }
func (*Compact) kind() uint8     { return 6 }
func (*EndDelay) kind() uint8    { return 7 }
func (*Open) kind() uint8        { return 10 }
func (*End) kind() uint8         { return 11 }
func (*Cancel) kind() uint8      { return 13 }
func (*Put) kind() uint8         { return 15 }
func (*Delete) kind() uint8      { return 16 }
func (*Acquire) kind() uint8     { return 17 }
func (*AcquireAll) kind() uint8  { return 18 }
func (*Release) kind() uint8     { return 19 }
func (*Yield) kind() uint8       { return 20 }
func (*Proclaim) kind() uint8    { return 21 }
func (*Transfer) kind() uint8    { return 22 }
func (*Advance) kind() uint8     { return 23 }
func (*ForgetFence) kind() uint8 { return 24 }
func (*Txn) kind() uint8         { return 25 }

func newCommand(kind uint8) Command {
	if int(kind) >= len(kinds) || kinds[kind] == nil {
		return nil
	}
	return kinds[kind]()
}

// RequestOf returns the request of a client's command, nil if cmd is none or is
// not remembered, as a Cancel, whose Request is that of another.
func RequestOf(cmd Command) *Request {
	switch c := cmd.(type) {
	case *Open:
		return &c.Request
	case *End:
		return &c.Request
	case *Put:
		return &c.Request
	case *Delete:
		return &c.Request
	case *Acquire:
		return &c.Request
	case *AcquireAll:
		return &c.Request
	case *Release:
		return &c.Request
	case *Yield:
		return &c.Request
	case *Proclaim:
		return &c.Request
	case *Transfer:
		return &c.Request
	case *Advance:
		return &c.Request
	case *ForgetFence:
		return &c.Request
	case *Txn:
		return &c.Request
	}
	return nil
}
