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
	at   uint64        // written before it is closed; never 0 then
	refs int
}

// A Ring is what a subscriber waits for.
type Ring struct {
	C    <-chan struct{} // closed by Touch and TouchAll
	bell *bell
}

// Rung reports whether C is closed.
func (r Ring) Rung() bool {
	select {
	case <-r.C:
		return true
	default:
		return false
	}
}

// At returns what Touch or TouchAll said. Call it when C is closed.
func (r Ring) At() uint64 { return r.bell.at }

// A level is waited for by one who needs the machine to reach a revision.
type level struct {
	revision uint64
	reached  chan struct{}
}

// Subscribe returns a ring that rings at the next Touch of t. Call it while the
// machine cannot change, and cancel when done.
func (n *Bells[T]) Subscribe(t T) (r Ring, cancel func()) {
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
	return Ring{b.rung, b}, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if b.refs--; b.refs == 0 && n.rings[t] == b {
			delete(n.rings, t)
		}
	}
}

// Len returns how many topics and revisions are waited for.
func (n *Bells[T]) Len() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.rings) + len(n.levels)
}

// Touch says that t has changed, as change number at.
func (n *Bells[T]) Touch(t T, at uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if b := n.rings[t]; b != nil {
		b.at = at
		close(b.rung)
		delete(n.rings, t)
	}
}

// TouchAll says that anything may have changed, from change number at on.
func (n *Bells[T]) TouchAll(at uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, b := range n.rings {
		b.at = at
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
