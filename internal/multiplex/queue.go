package multiplex

import (
	"net"
	"runtime"
	"sync"
	"time"
)

// buffers are two, of which one is written while the other is filled.
type buffers struct {
	next  []byte // to be written
	spare []byte
}

// take returns what is to be written, empty if nothing is. It is given back by back.
func (b *buffers) take() (out []byte) {
	if len(b.next) > 0 {
		out, b.next, b.spare = b.next, b.spare[:0], nil
	}
	return out
}

func (b *buffers) back(out []byte) {
	if cap(out) <= keepBuffer {
		b.spare = out
	}
}

// A queue collects what is to be written to a connection. Whoever finds nobody writing
// writes, and goes on while others add to it: so what comes together goes together,
// and nobody has to be woken for it.
type queue struct {
	w       net.Conn
	timeout time.Duration // of one write

	mu      sync.Mutex
	changed sync.Cond // of busy, reserved and dead
	buffers
	busy bool // somebody writes
	dead bool

	reserved int       // bytes of answers that are made, or wait to be written
	leaving  int       // of those, the ones in next
	free     *exchange // waits for no room; nil: none
}

// reserve makes room for n more bytes of the answer of x, and reports whether there is any.
// If there are too many it waits until the client has taken some; if the client is gone
// there is none, or all who waited would make their answers at once. One goes on
// nevertheless when nothing is on its way: else all could wait for each other, each with
// half an answer.
func (q *queue) reserve(x *exchange, n int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.reserved > maxQueued && !q.dead && q.free != x && (q.busy || q.free != nil) {
		q.changed.Wait()
	}
	if q.reserved > maxQueued && q.free == nil {
		q.free = x
	}
	if q.dead {
		return false
	}
	q.reserved += n
	return true
}

// send adds what add appends, the answer of x if that is not nil, and sees to it that it is
// written. What cannot be written any more is dropped.
func (q *queue) send(x *exchange, add func([]byte) []byte) {
	if q.put(x, add) {
		q.write()
	}
}

// put adds what add appends, and reports whether it is for the caller to write it.
func (q *queue) put(x *exchange, add func([]byte) []byte) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.dead {
		return false
	}
	if x != nil {
		q.leaving += x.reserved
	}
	if x != nil && q.free == x {
		q.free = nil
		q.changed.Broadcast()
	}
	q.next = add(q.next)
	mine := !q.busy
	q.busy = true
	return mine
}

// idle reports whether all is written.
func (q *queue) idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.busy && len(q.next) == 0
}

// write writes until nothing waits. Only one does.
func (q *queue) write() {
	for {
		// Who is about to answer, too, comes first: one write will do for all.
		runtime.Gosched()
		q.mu.Lock()
		if len(q.next) == 0 || q.dead {
			q.busy = false
			q.changed.Broadcast()
			q.mu.Unlock()
			return
		}
		b, taken := q.take(), q.leaving
		q.leaving = 0
		q.mu.Unlock()
		_ = q.w.SetWriteDeadline(time.Now().Add(q.timeout))
		_, err := q.w.Write(b)
		q.mu.Lock()
		q.back(b)
		q.reserved -= taken
		q.dead = q.dead || err != nil
		q.changed.Broadcast()
		q.mu.Unlock()
		if err != nil {
			_ = q.w.Close() // the reader ends all else
		}
	}
}

// drain waits until all is written, or cannot be.
func (q *queue) drain() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for (q.busy || len(q.next) > 0) && !q.dead {
		q.changed.Wait()
	}
}

// close drops what waits and whatever comes.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dead, q.next = true, nil
	q.changed.Broadcast()
}
