package transport

import "sync"

// maxUrgent bounds the urgent packets of one queue, beside the others.
const maxUrgent = 1024

// A queue holds encoded packets for one connection. It is bounded in packets
// and bytes; those that the writer has taken but not written yet count too.
//
// Urgent packets overtake the others and have room of their own: a heartbeat
// that waits behind megabytes of proposals says that its sender is silent, when
// it is only busy.
type queue struct {
	maxBytes, maxPackets int
	ready                chan struct{} // has room for one: something was pushed

	mu      sync.Mutex
	urgent  [][]byte
	packets [][]byte
	bytes   int // of packets and of what is taken of them
	taken   int // packets, not urgent ones, taken and not yet given back
}

// A haul is what the writer takes at a time. The urgent packets come first.
type haul struct {
	packets [][]byte
	urgent  int // how many are urgent
}

// push appends p. It reports false if there is no room: the newest packet is
// the one to drop, because those before it may be what it follows on.
func (q *queue) push(p []byte, urgent bool) bool {
	q.mu.Lock()
	var fits bool
	if urgent {
		if fits = len(q.urgent) < maxUrgent; fits {
			q.urgent = append(q.urgent, p)
		}
	} else if fits = q.bytes+len(p) <= q.maxBytes && len(q.packets)+q.taken < q.maxPackets; fits {
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

// take returns packets of up to most bytes together, or one that is larger. It
// must be given back by free.
func (q *queue) take(most int) haul {
	q.mu.Lock()
	defer q.mu.Unlock()
	h := haul{urgent: fitting(q.urgent, most, 0)}
	h.packets, q.urgent = q.urgent[:h.urgent:h.urgent], q.urgent[h.urgent:]
	size := 0
	for _, p := range h.packets {
		size += len(p)
	}
	n := fitting(q.packets, most, size)
	h.packets = append(h.packets, q.packets[:n]...)
	clear(q.packets[:n])
	q.packets = q.packets[n:]
	q.taken += n
	return h
}

// fitting returns how many of ps, from the first on, may go along when size
// bytes are taken already: at least one if none are.
func fitting(ps [][]byte, most, size int) (n int) {
	for n < len(ps) && (size == 0 || size+len(ps[n]) <= most) {
		size += len(ps[n])
		n++
	}
	return n
}

// free makes room again for packets that take has returned.
func (q *queue) free(h haul) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, p := range h.packets[h.urgent:] {
		q.taken--
		q.bytes -= len(p)
	}
}

// clear drops all packets and returns how many there were.
func (q *queue) clear() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := len(q.urgent) + len(q.packets)
	for _, p := range q.packets {
		q.bytes -= len(p)
	}
	q.urgent, q.packets = nil, nil
	return n
}

// empty reports whether nothing waits to be taken.
func (q *queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.packets) == 0 && len(q.urgent) == 0
}
