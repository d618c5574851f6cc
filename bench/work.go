package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prytany/prytany/bench/peer"
)

// ttl is the lease of every session.
const ttl = 15 * time.Second

// A work is what the workers of one cell do. Each worker has a key, a lock and a
// session of its own.
type work struct {
	clients peer.Clients
	kind    string // put, get or lock
	prefix  string
	size    int
	done    atomic.Int64 // operations that succeeded, the warm-up's too
	state   []workerState
}

// A workerState is what is known of one worker's key and lock.
type workerState struct {
	key     string
	acked   int64 // puts that succeeded
	unclear int64 // puts that failed: they may have happened
	last    []byte
	session peer.Session
	fence   uint64
	buf     []byte
}

// newWork does what has to be there before: every key is written once, or every
// session opened.
func newWork(ctx context.Context, c peer.Clients, kind, prefix string, workers, size int) (*work, error) {
	w := &work{clients: c, kind: kind, prefix: prefix, size: size, state: make([]workerState, workers)}
	errs := make([]error, workers)
	var all sync.WaitGroup
	for i := range w.state {
		st := &w.state[i]
		st.key = fmt.Sprintf("%s%d", prefix, i)
		st.buf = bytes.Repeat([]byte{'x'}, size)
		all.Go(func() {
			if kind == "lock" {
				st.session, errs[i] = c.Open(ctx, i, ttl)
				return
			}
			errs[i] = w.put(ctx, i, 0)
		})
	}
	all.Wait()
	return w, errors.Join(errs...)
}

// do is the load.Plan's.
func (w *work) do(ctx context.Context, worker, n int) (_ int, err error) {
	switch w.kind {
	case "put":
		err = w.put(ctx, worker, n+1)
	case "get":
		err = w.get(ctx, worker)
	default:
		err = w.cycle(ctx, worker)
	}
	if err == nil {
		w.done.Add(1)
	}
	return 0, err
}

func (w *work) put(ctx context.Context, worker, n int) error {
	st := &w.state[worker]
	head := fmt.Appendf(st.buf[:0], "%s %d ", st.key, n)
	for i := len(head); i < len(st.buf) && st.buf[i] != 'x'; i++ {
		st.buf[i] = 'x' // what is left of a longer head
	}
	if err := w.clients.Put(ctx, worker, st.key, st.buf); err != nil {
		st.unclear++
		return err
	}
	st.acked++
	st.last = append(st.last[:0], st.buf...)
	return nil
}

// errWrong marks an answer that no correct server gives. It ends the run.
var errWrong = errors.New("wrong answer")

func (w *work) get(ctx context.Context, worker int) error {
	st := &w.state[worker]
	got, _, err := w.clients.Get(ctx, worker, st.key)
	if err == nil && !bytes.Equal(got, st.last) {
		return fmt.Errorf("%w: %s is %q, not %q", errWrong, st.key, got, st.last)
	}
	return err
}

func (w *work) cycle(ctx context.Context, worker int) error {
	st := &w.state[worker]
	fence, err := st.session.Cycle(ctx, st.key)
	if err == nil && fence <= st.fence {
		return fmt.Errorf("%w: %s was granted with fence %d after %d", errWrong, st.key, fence, st.fence)
	}
	if err == nil {
		st.acked++
	}
	st.fence = max(st.fence, fence)
	return err
}

// verify counts: every key was written as often as puts were acknowledged, and
// has the value of the last. It returns how many operations that accounts for.
func (w *work) verify(ctx context.Context) (int64, error) {
	var (
		checked atomic.Int64
		all     sync.WaitGroup
		errs    = make([]error, len(w.state))
	)
	for i := range w.state {
		st := &w.state[i]
		all.Go(func() {
			checked.Add(st.acked)
			if w.kind == "lock" {
				if !st.session.Alive() {
					errs[i] = fmt.Errorf("%w: a session with a lease of %s was lost", errWrong, ttl)
				}
				return
			}
			got, writes, err := w.clients.Get(ctx, i, st.key)
			switch {
			case err != nil:
				errs[i] = err
			case writes < st.acked || writes > st.acked+st.unclear:
				errs[i] = fmt.Errorf("%w: %s was written %d times; %d puts were acknowledged, %d failed", errWrong, st.key, writes, st.acked, st.unclear)
			case st.unclear == 0 && !bytes.Equal(got, st.last):
				errs[i] = fmt.Errorf("%w: %s is %q, not %q", errWrong, st.key, got, st.last)
			}
		})
	}
	all.Wait()
	return checked.Load(), errors.Join(errs...)
}

// end ends the sessions.
func (w *work) end(ctx context.Context) {
	var all sync.WaitGroup
	for _, st := range w.state {
		if st.session != nil {
			all.Go(func() { _ = st.session.End(ctx) }) // else it ends by itself
		}
	}
	all.Wait()
}
