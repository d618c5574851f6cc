package wire

import (
	"container/heap"
	"slices"
	"sync"
	"time"
)

// A queue hands packets to one port when they are due, those of one moment in the
// order in which they came.
type queue struct {
	mu    sync.Mutex
	list  waiting
	seq   uint64
	ended bool
	wake  chan struct{}
	done  chan struct{}
	to    Port
}

type waits struct {
	due  time.Time
	seq  uint64
	data []byte
}

func newQueue(to Port) *queue {
	q := &queue{wake: make(chan struct{}, 1), done: make(chan struct{}), to: to}
	go q.run()
	return q
}

// put takes a copy of the packet; false says that the queue is full.
func (q *queue) put(packet []byte, due time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended {
		return true
	}
	if due.IsZero() && len(q.list) == 0 {
		q.to(packet) // nothing is before it
		return true
	}
	if len(q.list) >= maxQueue {
		return false
	}
	if due.IsZero() {
		due = time.Now()
	}
	q.seq++
	heap.Push(&q.list, waits{due, q.seq, slices.Clone(packet)})
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return true
}

func (q *queue) run() {
	defer close(q.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		q.mu.Lock()
		if q.ended {
			q.mu.Unlock()
			return
		}
		next := time.Hour
		for len(q.list) > 0 {
			if next = time.Until(q.list[0].due); next > 0 {
				break
			}
			q.to(heap.Pop(&q.list).(waits).data)
			next = time.Hour
		}
		q.mu.Unlock()
		timer.Reset(next)
		select {
		case <-q.wake:
		case <-timer.C:
		}
	}
}

func (q *queue) stop() {
	q.mu.Lock()
	q.ended, q.list = true, nil
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
	<-q.done
}

// waiting is a heap by due, then seq.
type waiting []waits

func (w waiting) Len() int      { return len(w) }
func (w waiting) Swap(i, j int) { w[i], w[j] = w[j], w[i] }
func (w waiting) Less(i, j int) bool {
	if c := w[i].due.Compare(w[j].due); c != 0 {
		return c < 0
	}
	return w[i].seq < w[j].seq
}
func (w *waiting) Push(x any) { *w = append(*w, x.(waits)) }
func (w *waiting) Pop() any {
	old := *w
	x := old[len(old)-1]
	*w = old[:len(old)-1]
	return x
}
