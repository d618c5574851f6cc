// Package bells wakes those who wait for changes.
package bells

import (
	"slices"
	"sync"
)

// Bells wakes those who wait for something to change: a topic, or the number
// of changes. Telling never waits. The zero value is ready; safe for
// concurrent use.
type Bells[T comparable] struct {
	mu     sync.Mutex
	rings  map[T]*bell
	levels []level
}

// A bell rings once, for all who hear it.
type bell struct {
	rung chan struct{} // closed by Touch
	refs int
}

// A level is waited for by one who needs the machine to reach a revision.
type level struct {
	revision uint64
	reached  chan struct{}
}

// Subscribe returns a channel that is closed at the next Touch of t. Call it
// while the machine cannot change, and cancel when done.
func (n *Bells[T]) Subscribe(t T) (rung <-chan struct{}, cancel func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	b := n.rings[t]
	if b == nil {
		b = &bell{rung: make(chan struct{})}
		if n.rings == nil {
			n.rings = map[T]*bell{}
		}
		n.rings[t] = b
	}
	b.refs++
	return b.rung, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if b.refs--; b.refs == 0 && n.rings[t] == b {
			delete(n.rings, t)
		}
	}
}

// Touch says that t has changed.
func (n *Bells[T]) Touch(t T) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if b := n.rings[t]; b != nil {
		close(b.rung)
		delete(n.rings, t)
	}
}

// TouchAll says that anything may have changed.
func (n *Bells[T]) TouchAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, b := range n.rings {
		close(b.rung)
	}
	n.rings = nil
}

// Await returns a channel that is closed once revision is reached. Call it
// while the machine cannot change, and cancel when done.
func (n *Bells[T]) Await(revision uint64) (reached <-chan struct{}, cancel func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	ch := make(chan struct{})
	n.levels = append(n.levels, level{revision, ch})
	return ch, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.levels = slices.DeleteFunc(n.levels, func(l level) bool { return l.reached == ch })
	}
}

// Reached says that there have been revision changes.
func (n *Bells[T]) Reached(revision uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.levels = slices.DeleteFunc(n.levels, func(l level) bool {
		if l.revision > revision {
			return false
		}
		close(l.reached)
		return true
	})
}
