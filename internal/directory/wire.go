package directory

import (
	"errors"
	"fmt"
)

// The first bytes of a command. No command of package locks begins with the first.
const (
	first          = 0xd1
	commandVersion = 1 // whoever changes a command's fields, or adds a command, counts it up
	resultVersion  = 1
)

// maxCommand is the largest command in bytes. None that passes the checks is as long.
const maxCommand = 32 << 10

// An UnsupportedError is about a command that only a newer version knows. To skip it
// would be to disagree with the nodes that know it.
type UnsupportedError struct{ Version, Kind uint8 }

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("directory: the log holds a command of version %d and kind %d, which this program does not know: a newer one is needed", e.Version, e.Kind)
}

// Encode returns the bytes of c.
func Encode(c Command) []byte {
	w := coder{buf: []byte{first, commandVersion, c.kind()}}
	c.wire(&w)
	return w.buf
}

// Is reports whether a command in the log of main is one of the directory, and not
// one of the lock machine that it is around.
func Is(cmd []byte) bool { return len(cmd) > 0 && cmd[0] == first }

// decode is the inverse of Encode. Every command has one encoding only.
func decode(b []byte) (Command, error) {
	if !Is(b) || len(b) < 3 || b[1] == 0 || b[2] == 0 {
		return nil, errors.New("directory: not a command")
	}
	cmd := newCommand(b[2])
	if b[1] != commandVersion || cmd == nil {
		return nil, &UnsupportedError{b[1], b[2]}
	}
	if len(b) > maxCommand {
		return nil, fmt.Errorf("directory: a command of %d bytes; want at most %d", len(b), maxCommand)
	}
	c := coder{buf: b[3:], reading: true}
	cmd.wire(&c)
	if err := c.end(); err != nil {
		return nil, fmt.Errorf("directory: command of kind %d: %w", b[2], err)
	}
	return cmd, nil
}

func (x *Create) wire(c *coder) {
	c.text(&x.Request)
	c.text(&x.Name)
	c.small(&x.Replicas)
	c.texts(&x.Zones)
	c.text(&x.Near)
	c.members(&x.Members)
}

func (x *Delete) wire(c *coder) {
	c.text(&x.Request)
	c.group(&x.ID)
}

func (x *Resize) wire(c *coder) {
	c.group(&x.ID)
	c.small(&x.Replicas)
}

func (x *Begin) wire(c *coder) {
	c.group(&x.ID)
	c.config(&x.Config)
	c.plan(&x.Plan)
	c.small(&x.Replicas)
}

func (x *Cancel) wire(c *coder) {
	c.group(&x.ID)
	c.long(&x.Plan)
}

func (x *Report) wire(c *coder) {
	c.group(&x.ID)
	c.config(&x.Config)
	c.members(&x.Members)
}

func (x *Remove) wire(c *coder) {
	c.node(&x.Node)
	c.text(&x.Name)
	c.node(&x.By)
}

// encode returns the bytes of r.
func (r Result) encode() []byte {
	c := coder{buf: []byte{resultVersion}}
	r.wire(&c)
	return c.buf
}

func (r *Result) wire(c *coder) {
	number(c, &r.Code, numCodes-1)
	c.text(&r.Detail)
	c.long(&r.Version)
	some := 0
	if r.Group != nil {
		some = 1
	}
	number(c, &some, 1)
	if some == 0 {
		return
	}
	if c.reading {
		r.Group = &Group{}
	}
	c.entry(r.Group)
}

// DecodeResult is for what Apply returned for a command of the directory, here or on
// another node.
func DecodeResult(b []byte) (Result, error) {
	if len(b) == 0 || b[0] != resultVersion {
		return Result{}, errors.New("directory: not a result of this version")
	}
	var r Result
	c := coder{buf: b[1:], reading: true}
	r.wire(&c)
	if err := c.end(); err != nil {
		return Result{}, fmt.Errorf("directory: result: %w", err)
	}
	return r, nil
}
