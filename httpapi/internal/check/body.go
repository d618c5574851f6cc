package check

import (
	"io"
	"strconv"
)

// ReadAll is [io.ReadAll] of what should be so long; -1 if nobody said. A client
// that only says it sends much takes no memory for it.
func ReadAll(r io.Reader, length int64) ([]byte, error) {
	const believed = 4 << 10
	if length < 0 || length > believed {
		return io.ReadAll(r)
	}
	b := make([]byte, 0, length+1) // one more, to read the end into
	for len(b) < cap(b) {
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

// NewSum returns that of no parts.
func NewSum() Sum { return 14695981039346656037 }

// Add returns the sum with one more part.
func (h Sum) Add(s string) Sum { return part(h, s) }

// AddBytes is Add.
func (h Sum) AddBytes(b []byte) Sum { return part(h, b) }

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
