// Package mailbox keeps what others leave for a loop, in memory that is used again.
package mailbox

// keep bounds the items whose memory is kept: one crowd must not pin it.
const keep = 1024

// A Box holds what was put into it, in order. It is not safe for concurrent use: its
// owner guards it. The zero Box is empty.
type Box[T any] struct {
	items []T
	spare []T
}

// Put adds x.
func (b *Box[T]) Put(x T) { b.items = append(b.items, x) }

// Len returns the number of items.
func (b *Box[T]) Len() int { return len(b.items) }

// Take removes the first items, most at a time, and reports whether some are left. They
// may be given back when they are done with.
func (b *Box[T]) Take(most int) (got []T, more bool) {
	got, b.items, b.spare = b.items, b.spare, nil
	if len(got) > most {
		b.items = append(b.items, got[most:]...)
		clear(got[most:])
		return got[:most:most], true
	}
	return got, false
}

// Back gives back what Take has returned, and nobody keeps.
func (b *Box[T]) Back(got []T) {
	clear(got)
	if cap(got) <= keep {
		b.spare = got[:0]
	}
}

// Empty removes all items and returns them.
func (b *Box[T]) Empty() (all []T) {
	all, b.items, b.spare = b.items, nil, nil
	return all
}
