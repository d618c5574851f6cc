package bells

import (
	"sync"
	"sync/atomic"
)

// Prefixes wakes those who wait for names that begin as they say. The zero value
// is ready; safe for concurrent use.
type Prefixes struct {
	bells   Bells[string]
	watched atomic.Int64 // subscriptions

	mu      sync.Mutex
	lengths map[int]int // of the prefixes, with how many subscriptions have them
}

// Subscribe returns a ring that rings at the next Touch of a name that begins
// with prefix. Call it while the machine cannot change, and cancel when done.
func (p *Prefixes) Subscribe(prefix string) (r Ring, cancel func()) {
	p.mu.Lock()
	if p.lengths == nil {
		p.lengths = map[int]int{}
	}
	p.lengths[len(prefix)]++
	p.mu.Unlock()
	p.watched.Add(1)
	r, stop := p.bells.Subscribe(prefix)
	return r, func() {
		stop()
		p.watched.Add(-1)
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.lengths[len(prefix)]--; p.lengths[len(prefix)] == 0 {
			delete(p.lengths, len(prefix))
		}
	}
}

// Len returns how many subscriptions there are.
func (p *Prefixes) Len() int { return int(p.watched.Load()) }

// Touch says that something has happened to name, as change number at. It costs as much as there are
// prefixes of different lengths, however many subscriptions there are.
func (p *Prefixes) Touch(name string, at uint64) {
	if p.watched.Load() == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for length := range p.lengths {
		if length <= len(name) {
			p.bells.Touch(name[:length], at)
		}
	}
}

// TouchAll says that anything may have happened, from change number at on.
func (p *Prefixes) TouchAll(at uint64) { p.bells.TouchAll(at) }
