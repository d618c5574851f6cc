package image

import (
	"slices"

	"github.com/prytany/prytany/paxos"
)

// MaxWishes bounds the pieces that peers wait for; more are not sent, and are asked for
// again.
const MaxWishes = 1024

// A Wish is a piece of a snapshot of group Of that a peer asks for.
type Wish[G comparable] struct {
	Of G
	paxos.ChunkRequest
}

// Wishes are those that wait, in their order. The zero value has none.
type Wishes[G comparable] struct{ list []Wish[G] }

// Add notes a wish. What its peer asked of the same group before, it has forgotten.
func (w *Wishes[G]) Add(of G, c paxos.ChunkRequest) {
	same := func(x Wish[G]) bool { return x.Of == of && x.To == c.To }
	if i := slices.IndexFunc(w.list, same); i >= 0 {
		w.list[i].ChunkRequest = c
	} else if len(w.list) < MaxWishes {
		w.list = append(w.list, Wish[G]{of, c})
	}
}

// Next takes the wish that has waited longest; ok is false if there is none.
func (w *Wishes[G]) Next() (next Wish[G], ok bool) {
	if len(w.list) == 0 {
		return next, false
	}
	next = w.list[0]
	w.list = w.list[1:]
	return next, true
}

// Forget drops all wishes of a group.
func (w *Wishes[G]) Forget(of G) {
	w.list = slices.DeleteFunc(w.list, func(x Wish[G]) bool { return x.Of == of })
}
