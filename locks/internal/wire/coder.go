// Package wire turns records into bytes and back.
package wire

import (
	"encoding/binary"
	"errors"
	"time"
)

// ErrMalformed says that bytes are none that a Coder wrote.
var ErrMalformed = errors.New("malformed")

// A Coder writes values one after the other, or reads them back: one
// description of a record serves both directions, so they cannot disagree.
// Reading is strict: every value has exactly one encoding. After the first
// error all further reads leave zero values.
type Coder struct {
	Buf     []byte // written so far, or left to read
	Reading bool
	Err     error // the first error of reading
}

// Fail makes what is read malformed.
func (c *Coder) Fail() {
	c.Err, c.Buf = ErrMalformed, nil
}

// Uint holds a number in 1 to 10 bytes, few for a small one.
func (c *Coder) Uint(p *uint64) {
	if !c.Reading {
		c.Buf = binary.AppendUvarint(c.Buf, *p)
		return
	}
	v, n := binary.Uvarint(c.Buf)
	if n <= 0 || n > 1 && c.Buf[n-1] == 0 {
		c.Fail()
		v, n = 0, 0
	}
	*p, c.Buf = v, c.Buf[n:]
}

// Byte holds one byte.
func (c *Coder) Byte(p *uint8) {
	if !c.Reading {
		c.Buf = append(c.Buf, *p)
		return
	}
	if len(c.Buf) == 0 {
		c.Fail()
		*p = 0
		return
	}
	*p, c.Buf = c.Buf[0], c.Buf[1:]
}

// Bool holds one byte, 0 or 1.
func (c *Coder) Bool(p *bool) {
	var b uint8
	if *p {
		b = 1
	}
	c.Byte(&b)
	if b > 1 {
		c.Fail()
	}
	*p = b == 1
}

// Bytes holds a length and as many bytes. Reading makes a copy.
func (c *Coder) Bytes(p *[]byte) {
	n := uint64(len(*p))
	c.Uint(&n)
	if !c.Reading {
		c.Buf = append(c.Buf, *p...)
		return
	}
	if n > uint64(len(c.Buf)) {
		c.Fail()
		n = 0
	}
	*p = nil
	if n > 0 {
		*p = append([]byte(nil), c.Buf[:n]...)
	}
	c.Buf = c.Buf[n:]
}

// String holds a length and as many bytes.
func (c *Coder) String(p *string) {
	n := uint64(len(*p))
	c.Uint(&n)
	if !c.Reading {
		c.Buf = append(c.Buf, *p...)
		return
	}
	if n > uint64(len(c.Buf)) {
		c.Fail()
		n = 0
	}
	*p, c.Buf = string(c.Buf[:n]), c.Buf[n:]
}

// Duration holds a duration that is not negative.
func (c *Coder) Duration(p *time.Duration) {
	v := uint64(max(*p, 0))
	c.Uint(&v)
	if v > 1<<63-1 {
		c.Fail()
		v = 0
	}
	*p = time.Duration(v)
}

// Optional holds a number that may be absent.
func (c *Coder) Optional(p **uint64) {
	some := *p != nil
	c.Bool(&some)
	if !some {
		*p = nil
		return
	}
	if c.Reading {
		*p = new(uint64)
	}
	c.Uint(*p)
}

// Count holds the number of records that follow. Each takes at least one byte,
// which bounds what a reader must believe.
func (c *Coder) Count(n int) int {
	v := uint64(n)
	c.Uint(&v)
	if c.Reading && v > uint64(len(c.Buf)) {
		c.Fail()
		v = 0
	}
	return int(v)
}

// End returns the error of reading, which leftover bytes are too.
func (c *Coder) End() error {
	if c.Err == nil && len(c.Buf) > 0 {
		c.Fail()
	}
	return c.Err
}
