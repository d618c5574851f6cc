// Package wire turns records into bytes and back.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"runtime"
	"time"
)

// Seal appends the checksum of body to it, which begins with its version.
func Seal(body []byte) []byte { return binary.BigEndian.AppendUint32(body, Checksum(body)) }

// Unseal returns what is in data, if it was sealed with version. Errors say what is wrong
// with it.
func Unseal(data []byte, version byte) (body []byte, err error) {
	if len(data) < 5 {
		return nil, errors.New("the snapshot is cut short")
	}
	body = data[:len(data)-4]
	if Checksum(body) != binary.BigEndian.Uint32(data[len(body):]) {
		return nil, errors.New("the snapshot's checksum is wrong")
	}
	if body[0] != version {
		return nil, fmt.Errorf("the snapshot has version %d; this program reads %d", body[0], version)
	}
	return body[1:], nil
}

// ErrMalformed says that bytes are none that a Coder wrote.
var ErrMalformed = errors.New("malformed")

// A Coder writes values one after the other, or reads them back: one
// description of a record serves both directions, so they cannot disagree.
// Reading is strict: every value has exactly one encoding. After the first
// error all further reads leave zero values. Writing changes nothing of what is
// written: others may read it meanwhile.
type Coder struct {
	Buf     []byte // written so far, or left to read
	Reading bool
	Err     error // the first error of reading, or of To

	// To takes what is written whenever there is much of it, see Breathe, and Flush;
	// nil means that it stays in Buf.
	To    io.Writer
	Rest  func() // how to rest, see Breathe; nil means runtime.Gosched
	Every int    // bytes between two rests. 0 means 64 KiB
	at    int    // what was in Buf at the last rest
	sum   uint32 // of what To has taken
}

// Breathe is called between records of something large, which is not to be written
// or read at one stretch: whatever else wants to run gets the processor now and then.
func (c *Coder) Breathe() {
	every := c.Every
	if every == 0 {
		every = 64 << 10
	}
	if d := len(c.Buf) - c.at; -every < d && d < every {
		return
	}
	if c.To != nil {
		c.Flush()
	}
	c.at = len(c.Buf)
	if c.Rest != nil {
		c.Rest()
		return
	}
	runtime.Gosched()
}

// Flush gives To what is in Buf, and returns the CRC32C of all that To has taken.
func (c *Coder) Flush() (sum uint32) {
	c.sum = crc32.Update(c.sum, castagnoli, c.Buf)
	if c.Err == nil {
		_, c.Err = c.To.Write(c.Buf)
	}
	c.Buf = c.Buf[:0]
	return c.sum
}

// Checksum returns the CRC32C of b, and lets others run meanwhile.
func Checksum(b []byte) (sum uint32) {
	for len(b) > 0 {
		n := min(len(b), 1<<20)
		sum = crc32.Update(sum, castagnoli, b[:n])
		b = b[n:]
		if len(b) > 0 {
			runtime.Gosched()
		}
	}
	return sum
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

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

// Int holds a number from 0 to 2^31-1.
func (c *Coder) Int(p *int) {
	v := uint64(*p)
	c.Uint(&v)
	if v > math.MaxInt32 {
		c.Fail()
		v = 0
	}
	if c.Reading {
		*p = int(v)
	}
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
	if !c.Reading {
		return
	}
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
	if !c.Reading {
		return
	}
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
		if c.Reading {
			*p = nil
		}
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
