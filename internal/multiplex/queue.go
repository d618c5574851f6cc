package multiplex

import (
	"net"
	"runtime"
	"sync"
	"time"
)

// A queue collects what is to be written to a connection. Whoever finds nobody writing
// writes, and goes on while others add to it: so what comes together goes together,
// and nobody has to be woken for it.
type queue struct {
	w       net.Conn
	timeout time.Duration // of one write

	mu      sync.Mutex
	changed sync.Cond // of busy, reserved and dead; L is set when it is waited for
	next    []byte    // to be written
	spare   []byte
	busy    bool // somebody writes
	dead    bool

	reserved int // bytes of answers that are made, or wait to be written
	leaving  int // of those, the ones in next
}

// reserve makes room for n more bytes of answers. If there are too many, it waits until
// the client has taken some, or is gone.
func (q *queue) reserve(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.reserved > maxQueued && !q.dead {
		q.wait()
	}
	q.reserved += n
}

// send adds what add appends, and sees to it that it is written; so many bytes were
// reserved for it. What cannot be written any more is dropped.
func (q *queue) send(reserved int, add func([]byte) []byte) {
	q.mu.Lock()
	if q.dead {
		q.mu.Unlock()
		return
	}
	q.leaving += reserved
	q.next = add(q.next)
	if q.busy {
		q.mu.Unlock()
		return
	}
	q.busy = true
	q.mu.Unlock()
	q.write()
}

// wait waits for a change. q.mu is held.
func (q *queue) wait() {
	q.changed.L = &q.mu
	q.changed.Wait()
}

// write writes until nothing waits. Only one does.
func (q *queue) write() {
	for {
		// Who is about to answer, too, comes first: one write will do for all.
		runtime.Gosched()
		q.mu.Lock()
		b := q.next
		if len(b) == 0 || q.dead {
			q.busy = false
			q.changed.Broadcast()
			q.mu.Unlock()
			return
		}
		q.next, q.spare = q.spare[:0], nil
		taken := q.leaving
		q.leaving = 0
		q.mu.Unlock()
		_ = q.w.SetWriteDeadline(time.Now().Add(q.timeout))
		_, err := q.w.Write(b)
		q.mu.Lock()
		if cap(b) <= keepBuffer {
			q.spare = b
		}
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
		q.wait()
	}
}

// close drops what waits and whatever comes.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dead, q.next = true, nil
	q.changed.Broadcast()
}
