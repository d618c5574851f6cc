// Package frozen keeps records as they were when a snapshot began, while they go
// on changing.
package frozen

import "github.com/prytany/prytany/locks/internal/wire"

// Records are the records of one kind, as they were. They are written in the order
// of their names; whoever changes one first calls Keep. All calls are made under one
// lock, which a Write may share with who reads; it is brief, for it writes one
// record.
type Records[R comparable] struct {
	code    func(c *wire.Coder, r R) // writes one
	kept    map[R][]byte             // as they were, for they have changed since
	written string                   // all with names up to this one are written
}

// Of returns the records that code writes.
func Of[R comparable](code func(c *wire.Coder, r R)) *Records[R] {
	return &Records[R]{code: code, kept: map[R][]byte{}}
}

// Keep is called before r changes, or again and again: the first time counts. To
// keep one that has been made since costs a little, and nothing else.
func (f *Records[R]) Keep(r R, name string) {
	if _, ok := f.kept[r]; ok || name <= f.written {
		return
	}
	var c wire.Coder
	f.code(&c, r)
	f.kept[r] = c.Buf
}

// Write writes r as it was.
func (f *Records[R]) Write(c *wire.Coder, r R, name string) {
	if was, ok := f.kept[r]; ok {
		c.Buf = append(c.Buf, was...)
		delete(f.kept, r)
	} else {
		f.code(c, r)
	}
	f.written = name
}
