// Package due keeps things in the order in which they fall due.
package due

import (
	"container/heap"
	"time"
)

// A Place is where an item stands in its Queue. Items embed it.
type Place struct {
	At    time.Duration // when the item is due; the Queue's to change
	index int
}

// Where returns p: it makes what embeds a Place an [Item].
func (p *Place) Where() *Place { return p }

// An Item embeds a Place and knows which of two comes first.
type Item[T any] interface {
	Before(T) bool
	Where() *Place
}

// A Queue holds items, the soonest first. The zero Queue is empty.
type Queue[T Item[T]] struct{ items items[T] }

// First returns the item that is due first, if there is any.
func (q *Queue[T]) First() (t T, ok bool) {
	if len(q.items) == 0 {
		return t, false
	}
	return q.items[0], true
}

// Add puts t in, due at at.
func (q *Queue[T]) Add(t T, at time.Duration) {
	t.Where().At = at
	heap.Push(&q.items, t)
}

// Move makes t, which is in q, due at at.
func (q *Queue[T]) Move(t T, at time.Duration) {
	t.Where().At = at
	heap.Fix(&q.items, t.Where().index)
}

// Remove takes out t, which is in q.
func (q *Queue[T]) Remove(t T) { heap.Remove(&q.items, t.Where().index) }

// items is what package heap wants to see.
type items[T Item[T]] []T

func (h items[T]) Len() int           { return len(h) }
func (h items[T]) Less(i, j int) bool { return h[i].Before(h[j]) }

func (h items[T]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].Where().index, h[j].Where().index = i, j
}

// Push takes any because container/heap is older than type parameters.
func (h *items[T]) Push(x any) {
	t := x.(T)
	t.Where().index = len(*h)
	*h = append(*h, t)
}

func (h *items[T]) Pop() any {
	old := *h
	last := old[len(old)-1]
	clear(old[len(old)-1:])
	*h = old[:len(old)-1]
	return last
}
