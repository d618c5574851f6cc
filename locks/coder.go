package locks

import (
	"encoding/binary"
	"errors"
	"time"
)

var errMalformed = errors.New("malformed")

// A coder writes values one after the other, or reads them back: one
// description of a record serves both directions, so they cannot disagree.
// Reading is strict: every value has exactly one encoding. After the first
// error all further reads leave zero values.
type coder struct {
	buf     []byte // written so far, or left to read
	reading bool
	err     error
}

func (c *coder) fail() {
	c.err, c.buf = errMalformed, nil
}

func (c *coder) uint(p *uint64) {
	if !c.reading {
		c.buf = binary.AppendUvarint(c.buf, *p)
		return
	}
	v, n := binary.Uvarint(c.buf)
	if n <= 0 || n > 1 && c.buf[n-1] == 0 {
		c.fail()
		v, n = 0, 0
	}
	*p, c.buf = v, c.buf[n:]
}

func (c *coder) byte(p *uint8) {
	if !c.reading {
		c.buf = append(c.buf, *p)
		return
	}
	if len(c.buf) == 0 {
		c.fail()
		*p = 0
		return
	}
	*p, c.buf = c.buf[0], c.buf[1:]
}

func (c *coder) bool(p *bool) {
	var b uint8
	if *p {
		b = 1
	}
	c.byte(&b)
	if b > 1 {
		c.fail()
	}
	*p = b == 1
}

// bytes reads a copy.
func (c *coder) bytes(p *[]byte) {
	n := uint64(len(*p))
	c.uint(&n)
	if !c.reading {
		c.buf = append(c.buf, *p...)
		return
	}
	if n > uint64(len(c.buf)) {
		c.fail()
		n = 0
	}
	*p = nil
	if n > 0 {
		*p = append([]byte(nil), c.buf[:n]...)
	}
	c.buf = c.buf[n:]
}

func (c *coder) string(p *string) {
	n := uint64(len(*p))
	c.uint(&n)
	if !c.reading {
		c.buf = append(c.buf, *p...)
		return
	}
	if n > uint64(len(c.buf)) {
		c.fail()
		n = 0
	}
	*p, c.buf = string(c.buf[:n]), c.buf[n:]
}

// duration holds a duration that is not negative.
func (c *coder) duration(p *time.Duration) {
	v := uint64(max(*p, 0))
	c.uint(&v)
	if v > 1<<63-1 {
		c.fail()
		v = 0
	}
	*p = time.Duration(v)
}

// optional holds a number that may be absent.
func (c *coder) optional(p **uint64) {
	some := *p != nil
	c.bool(&some)
	if !some {
		*p = nil
		return
	}
	if c.reading {
		*p = new(uint64)
	}
	c.uint(*p)
}

// count holds the number of records that follow. Each takes at least one byte,
// which bounds what a reader must believe.
func (c *coder) count(n int) int {
	v := uint64(n)
	c.uint(&v)
	if c.reading && v > uint64(len(c.buf)) {
		c.fail()
		v = 0
	}
	return int(v)
}

// end returns the error of reading, which leftover bytes are too.
func (c *coder) end() error {
	if c.err == nil && len(c.buf) > 0 {
		c.fail()
	}
	return c.err
}
