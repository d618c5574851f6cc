package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prytany/prytany/internal/api"
)

// unlockFor is how long WithLock waits for the release.
const unlockFor = 5 * time.Second

// A Held is a lock that this process holds. Pass its Fence to whatever the lock
// protects, and do the protected work under its Context.
type Held struct {
	s      *Session
	name   string
	fence  uint64
	waited time.Duration
	ctx    context.Context // whose end is the lock's: its meaning is a lifetime
	cancel context.CancelCauseFunc
	unhook func() bool // forgets that the session's end is the lock's
	leave  func()      // passes the turn on to other goroutines of the client, once

	unlocked atomic.Bool
}

// Lock acquires the lock called name and waits for it as long as ctx allows.
// Cancelling ctx afterwards does not release it. Errors as [Client.Acquire].
//
// Within one Client the lock excludes goroutines from each other too.
func (c *Client) Lock(ctx context.Context, name string) (*Held, error) {
	return c.Acquire(ctx, name, Options{})
}

// TryLock acquires the lock if it is free. Otherwise the error matches
// [ErrHeld], and as a [*ProblemError] tells who holds it.
func (c *Client) TryLock(ctx context.Context, name string) (*Held, error) {
	return c.Acquire(ctx, name, Options{Try: true})
}

// WithLock runs f while holding the lock, and releases it, also when f panics.
// The context that f gets ends with the lock or with ctx. If the lock was lost
// while f ran, the error matches [ErrLockLost] beside whatever f returned.
func (c *Client) WithLock(ctx context.Context, name string, f func(ctx context.Context, h *Held) error) (err error) {
	h, err := c.Lock(ctx, name)
	if err != nil {
		return err
	}
	defer func() {
		release, cancel := context.WithTimeout(context.WithoutCancel(ctx), unlockFor)
		defer cancel()
		err = errors.Join(h.Unlock(release), err)
	}()
	work, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer context.AfterFunc(h.ctx, func() { stop(context.Cause(h.ctx)) })()
	return f(work, h)
}

func newHeld(ctx context.Context, s *Session, name string, fence uint64, leave func()) *Held {
	h := &Held{s: s, name: name, fence: fence, leave: sync.OnceFunc(leave)}
	h.ctx, h.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	h.unhook = context.AfterFunc(s.ctx, h.lost)
	return h
}

// lost ends the lock after its session.
func (h *Held) lost() {
	h.cancel(fmt.Errorf("%w: %w", ErrLockLost, context.Cause(h.s.ctx)))
	h.leave()
}

// Name returns the lock's name.
func (h *Held) Name() string { return h.name }

// Fence returns the fencing token of this grant: larger than that of every
// earlier grant in the group. Resources refuse smaller ones.
func (h *Held) Fence() uint64 { return h.fence }

// Session returns the session that holds the lock.
func (h *Held) Session() *Session { return h.s }

// Waited returns how long the lock was waited for.
func (h *Held) Waited() time.Duration { return h.waited }

// Context ends with the lock: with cause [ErrLockLost] before the server could
// give it to anybody else, with [ErrReleased] at Unlock. It carries the values
// of the context that the lock was acquired with.
//
// That somebody broke the lock by force is not noticed here, but at Unlock and
// by everything that looks at the fence.
func (h *Held) Context() context.Context { return h.ctx }

// Done is closed when the lock is over.
func (h *Held) Done() <-chan struct{} { return h.ctx.Done() }

// Deadline returns the local instant at which the lock ends unless its session
// is renewed; it moves with each renewal. It is counted from now at each call
// and compares by the monotonic clock, so setting the wall clock does not move
// it.
func (h *Held) Deadline() time.Time { return time.Now().Add(h.s.Remaining()) }

// Err returns nil while the lock is certainly held. It looks at the clock, so
// it tells the truth even just after the process or machine was stopped.
func (h *Held) Err() error {
	if h.ctx.Err() == nil && !h.s.check() {
		h.lost()
	}
	return context.Cause(h.ctx)
}

// Unlock releases the lock. After [ErrUnavailable] or [ErrUnknownOutcome] the
// client goes on trying in the background for as long as the session lives, so
// that the lock does not stay held by nobody. [ErrLockLost] says that it was
// lost before. A second Unlock does nothing.
func (h *Held) Unlock(ctx context.Context) error {
	if err := h.Err(); err != nil {
		if errors.Is(err, ErrReleased) {
			return nil
		}
		return err
	}
	if h.unlocked.Swap(true) {
		return nil
	}
	h.unhook()
	h.cancel(ErrReleased)
	err := h.s.release(ctx, h.name, h.fence, false)
	if err == nil || errors.Is(err, ErrLockLost) {
		h.leave()
		return err
	}
	h.s.background(func() {
		defer h.leave()
		h.s.releaseSurely(h.name, h.fence)
	})
	return err
}

// release gives a grant back. That its session is over is as good.
func (s *Session) release(ctx context.Context, name string, fence uint64, patient bool) error {
	_, err := s.c.do(ctx, request{
		method: http.MethodDelete, path: "locks/" + escape(name), change: true, patient: patient, timeless: true,
		header: http.Header{"If-Match": {api.FormatETag(fence)}},
	})
	if errors.Is(err, ErrStaleFence) {
		return fmt.Errorf("%w: %w", ErrLockLost, err)
	}
	return err
}

// releaseSurely gives a grant back, however long it takes. Another grant of
// the same lock has another fence: it is never met.
func (s *Session) releaseSurely(name string, fence uint64) {
	for attempt := 0; s.ctx.Err() == nil; attempt++ {
		err := s.release(s.ctx, name, fence, true)
		if err == nil || errors.Is(err, ErrLockLost) || !pause(s.ctx, attempt, nil) {
			return
		}
	}
}

// grantOf reads the server's yes.
func grantOf(name string, rep reply) (fence uint64, err error) {
	var g api.Grant
	if err := json.Unmarshal(rep.body, &g); err != nil || g.Fence == 0 {
		return 0, fmt.Errorf("prytany: the server's grant of %q makes no sense: %q", name, clip(rep.body))
	}
	return g.Fence, nil
}
