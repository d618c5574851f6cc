package check

import (
	"encoding/binary"
	"io"
	"math"
	"strconv"

	"github.com/cespare/xxhash/v2"
)

// ReadAll is [io.ReadAll] of what should be so long; -1 if nobody said. A client
// that only says it sends much takes little memory for it: there is room for four times
// what has come.
func ReadAll(r io.Reader, length int64) ([]byte, error) {
	const believed, factor = 4<<10 + 1, 4
	if length < 0 {
		return io.ReadAll(r)
	}
	length = min(length, math.MaxInt64-1) + 1 // one more, to read the end into
	b := make([]byte, 0, min(length, believed))
	for {
		if len(b) == cap(b) {
			if int64(len(b)) >= length {
				break
			}
			b = append(make([]byte, 0, min(length, factor*int64(cap(b)))), b...)
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case err == io.EOF:
			return b, nil
		case err != nil:
			return b, err
		}
	}
	rest, err := io.ReadAll(r)
	return append(b, rest...), err
}

// A Sum is FNV-1a of 64 bits, as package hash/fnv has it, over parts of a request:
// each with its length, so that no two lists of parts look the same.
type Sum uint64

// largePart is the size from which parts are large, in bytes.
const largePart = 4 << 10

// NewSum returns that of no parts.
func NewSum() Sum { return 14695981039346656037 }

// Add returns the sum with one more part.
func (h Sum) Add(s string) Sum { return part(h, s) }

// AddBytes returns the sum with one more part. Of a large one it has the XXH64 only, which
// takes eight bytes at a time.
func (h Sum) AddBytes(b []byte) Sum {
	if len(b) < largePart {
		return part(h, b)
	}
	var room [8]byte
	return part(h, binary.BigEndian.AppendUint64(room[:0], xxhash.Sum64(b)))
}

func part[T string | []byte](h Sum, s T) Sum {
	var room [20]byte
	for _, c := range append(strconv.AppendInt(room[:0], int64(len(s)), 10), ':') {
		h = (h ^ Sum(c)) * 1099511628211
	}
	for i := range len(s) {
		h = (h ^ Sum(s[i])) * 1099511628211
	}
	return h
}
