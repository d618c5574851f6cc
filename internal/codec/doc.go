// Package codec turns what nodes say to each other, and what they keep on
// disk, into bytes and back.
//
// Numbers are unsigned varints, texts and lists carry their length. Decoding
// never panics: every length is checked against what is left before anything
// is allocated, and bytes left over are an error. What is decoded and encoded
// again is the same bytes, except that an over-long varint is accepted once
// and written short.
//
// # Frames
//
// Between nodes, packets travel in frames:
//
//	length  uint32, little endian: of what follows the checksum
//	crc     uint32, little endian: CRC32C of what follows
//	version byte: 1
//	packets each with its length before it
//
// # Records
//
// On disk each record stands alone: version byte, CRC32C, content. A record
// whose checksum fails is unknown, never absent.
package codec

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
)

// Version is the version of frames and records that this code writes.
const Version = 1

// Decoding errors.
var (
	ErrCorrupt  = errors.New("codec: bytes are damaged or make no sense")
	ErrTooLarge = errors.New("codec: frame is larger than allowed")
	ErrVersion  = errors.New("codec: written by a version of the program that this one does not understand")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum returns the CRC32C of b.
func Checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func appendUint(b []byte, n uint64) []byte { return binary.AppendUvarint(b, n) }

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func appendString[T ~string | ~[]byte](b []byte, s T) []byte {
	return append(appendUint(b, uint64(len(s))), s...)
}

// A decoder reads fields from b. The first failure sticks: after it every read
// returns zero, so a message is decoded straight through and checked once.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) fail() { d.bad, d.b = true, nil }

func (d *decoder) uint() uint64 {
	n, size := binary.Uvarint(d.b)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[size:]
	return n
}

// below returns a number that must be at most most.
func (d *decoder) below(most uint64) uint64 {
	n := d.uint()
	if n > most {
		d.fail()
		return 0
	}
	return n
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) bool() bool {
	c := d.byte()
	if c > 1 {
		d.fail()
	}
	return c == 1
}

// bytes returns the next length-prefixed bytes, aliasing the input.
func (d *decoder) bytes() []byte {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	out := d.b[:n:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) string() string { return string(d.bytes()) }

// count returns the length of a list whose items take at least size bytes.
func (d *decoder) count(size int) int {
	n := d.uint()
	if n > uint64(len(d.b)/size) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) uint32() uint32 { return uint32(d.below(math.MaxUint32)) }

// end returns what a complete decoding must return: an error if a field was
// bad or anything is left.
func (d *decoder) end() error {
	if d.bad || len(d.b) > 0 {
		return ErrCorrupt
	}
	return nil
}
