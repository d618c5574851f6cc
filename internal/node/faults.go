package node

import (
	"sync"
)

// Faults is a set of broken links between nodes that run in one process, and of
// disks that hang. A broken link carries nothing in either direction: neither the
// protocol nor gossip. The zero value breaks nothing. Safe for concurrent use.
type Faults struct {
	mu     sync.RWMutex
	broken map[[2]string]bool // by node name, smaller first
	frozen map[string]bool
	hung   map[string]chan struct{} // nodes whose disk hangs, until the channel is closed
	addrs  map[string]string        // gossip address -> node name
}

func link(a, b string) [2]string {
	if b < a {
		a, b = b, a
	}
	return [2]string{a, b}
}

// Cut breaks the link between nodes a and b.
func (f *Faults) Cut(a, b string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken == nil {
		f.broken = make(map[[2]string]bool)
	}
	f.broken[link(a, b)] = true
}

// Freeze makes every link of node a look as if its process were stopped, until
// [Faults.Thaw].
func (f *Faults) Freeze(a string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.frozen == nil {
		f.frozen = make(map[string]bool)
	}
	f.frozen[a] = true
}

// Thaw undoes [Faults.Freeze].
func (f *Faults) Thaw(a string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.frozen, a)
}

// HangDisk makes durable writes of node a hang, the probe's too, as a disk does
// that does not answer, until [Faults.FreeDisk].
func (f *Faults) HangDisk(a string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.hung == nil {
		f.hung = make(map[string]chan struct{})
	}
	if f.hung[a] == nil {
		f.hung[a] = make(chan struct{})
	}
}

// FreeDisk undoes [Faults.HangDisk]: what hung is written now. It is safe to
// call on a nil *Faults.
func (f *Faults) FreeDisk(a string) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.hung[a]; c != nil {
		close(c)
		delete(f.hung, a)
	}
}

// awaitDisk returns when the disk of a does not hang. It is safe to call on a
// nil *Faults.
func (f *Faults) awaitDisk(a string) {
	if f == nil {
		return
	}
	f.mu.RLock()
	c := f.hung[a]
	f.mu.RUnlock()
	if c != nil {
		<-c
	}
}

// Heal mends all links. Frozen nodes stay frozen.
func (f *Faults) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken = nil
}

// Broken lists the broken links, for people.
func (f *Faults) Broken() (links [][2]string) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for l := range f.broken {
		links = append(links, l)
	}
	return links
}

// allowed reports whether anything passes between a and b. It is safe to call
// on a nil *Faults.
func (f *Faults) allowed(a, b string) bool {
	if f == nil {
		return true
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	return !f.broken[link(a, b)] && !f.frozen[a] && !f.frozen[b]
}

// register tells which node gossips from addr.
func (f *Faults) register(addr, name string) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.addrs == nil {
		f.addrs = make(map[string]string)
	}
	f.addrs[addr] = name
}

// gossipAllowed is allowed for a node known by its gossip address only.
func (f *Faults) gossipAllowed(self, addr string) bool {
	if f == nil {
		return true
	}
	f.mu.RLock()
	name, ok := f.addrs[addr]
	f.mu.RUnlock()
	return !ok || f.allowed(self, name)
}
