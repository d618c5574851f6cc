package transport

import "sync"

// A queue holds encoded packets for one connection. It is bounded in packets
// and bytes; those that the writer has taken but not written yet count too.
type queue struct {
	maxBytes, maxPackets int
	ready                chan struct{} // has room for one: something was pushed

	mu      sync.Mutex
	packets [][]byte
	bytes   int // of packets and of what is taken
	taken   int // packets taken and not yet given back
}

// push appends p. It reports false if there is no room: the newest packet is
// the one to drop, because those before it may be what it follows on.
func (q *queue) push(p []byte) bool {
	q.mu.Lock()
	fits := q.bytes+len(p) <= q.maxBytes && len(q.packets)+q.taken < q.maxPackets
	if fits {
		q.packets = append(q.packets, p)
		q.bytes += len(p)
	}
	q.mu.Unlock()
	if fits {
		select {
		case q.ready <- struct{}{}:
		default:
		}
	}
	return fits
}

// take returns all packets. Each must be given back by free.
func (q *queue) take() [][]byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	ps := q.packets
	q.packets = nil
	q.taken += len(ps)
	return ps
}

// free makes room again for packets that take has returned.
func (q *queue) free(ps [][]byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.taken -= len(ps)
	for _, p := range ps {
		q.bytes -= len(p)
	}
}

// clear drops all packets and returns how many there were.
func (q *queue) clear() int {
	ps := q.take()
	q.free(ps)
	return len(ps)
}

// empty reports whether nothing waits to be taken.
func (q *queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.packets) == 0
}
