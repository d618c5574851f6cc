package locks

import (
	"slices"
	"sync"
)

// A topic is something that somebody may wait for.
type topic struct {
	kind    uint8
	name    string
	session string
	request string
	own     bool
}

func lockTopic(name string) topic { return topic{kind: 1, name: name} }
func keyTopic(key string) topic   { return topic{kind: 2, name: key} }

// placeTopic is one place in the queue of one lock: its end wakes one waiter,
// however many there are.
func placeTopic(lock, session string, r Request) topic {
	return topic{3, lock, session, r.ID, r.Own}
}

// news wakes those who wait for changes of the local machine. Telling never
// waits. The zero value is ready.
type news struct {
	mu     sync.Mutex
	bells  map[topic]*bell
	levels []level
}

// A bell rings once, for all who hear it.
type bell struct {
	rung chan struct{} // closed by touch
	refs int
}

// A level is waited for by one who needs the machine to reach a revision.
type level struct {
	revision uint64
	reached  chan struct{}
}

// subscribe returns a channel that is closed at the next touch of t. Call it
// while the machine cannot change, and cancel when done.
func (n *news) subscribe(t topic) (rung <-chan struct{}, cancel func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	b := n.bells[t]
	if b == nil {
		b = &bell{rung: make(chan struct{})}
		if n.bells == nil {
			n.bells = map[topic]*bell{}
		}
		n.bells[t] = b
	}
	b.refs++
	return b.rung, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if b.refs--; b.refs == 0 && n.bells[t] == b {
			delete(n.bells, t)
		}
	}
}

func (n *news) touch(t topic) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if b := n.bells[t]; b != nil {
		close(b.rung)
		delete(n.bells, t)
	}
}

// touchAll says that anything may have changed.
func (n *news) touchAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, b := range n.bells {
		close(b.rung)
	}
	n.bells = nil
}

// await returns a channel that is closed once revision is reached. Call it
// while the machine cannot change, and cancel when done.
func (n *news) await(revision uint64) (reached <-chan struct{}, cancel func()) {
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

func (n *news) reached(revision uint64) {
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
