package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prytany/prytany/client/internal/link"
	"github.com/prytany/prytany/internal/api"
)

// unlockFor is how long WithLock waits for the release.
const unlockFor = 5 * time.Second

// A Held is a lock that this process holds. Pass its Fence to whatever the lock
// protects, and do the protected work under its Context.
type Held struct {
	s       *Session
	own     bool // s lives for this lock alone
	name    string
	release string // path at which it is given back
	note    string
	slots   int
	waited  time.Duration
	ctx     context.Context // whose end is the lock's: its meaning is a lifetime
	cancel  context.CancelCauseFunc
	unhook  func() bool // forgets that the session's end is the lock's
	leave   func()      // passes the turn on to other goroutines of the client, once
	yields  chan YieldRequest

	changing sync.Mutex // one change of mode at a time
	mu       sync.Mutex // of what follows, and of the step to the end
	fence    uint64
	before   uint64 // fence before an upgrade
	mode     string
}

// A YieldRequest asks a holder to let go.
type YieldRequest struct {
	Reason string
	// Within is how long the server waits before it takes the lock away, counted
	// from when it was asked, which is a little before the holder hears of it.
	// 0 means that it only asks.
	Within time.Duration
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

// RLock acquires the lock called name together with others who share it, and
// waits for it as long as ctx allows. Whoever waits to have the lock alone goes
// before readers that come later.
//
// Each Held has a session of its own, which ends with it: the server counts
// who shares a lock by sessions, and goroutines of one client must not take
// each other's share away.
func (c *Client) RLock(ctx context.Context, name string) (*Held, error) {
	return c.Acquire(ctx, name, Options{Shared: true})
}

// Semaphore takes one of so many slots of the lock called name, and waits for it
// as long as ctx allows. All who use the lock have to agree on the number:
// [ErrLimitMismatch]. Like a reader each Held has a session of its own.
func (c *Client) Semaphore(ctx context.Context, name string, slots int) (*Held, error) {
	return c.Acquire(ctx, name, Options{Slots: slots})
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

func newHeld(ctx context.Context, a *acquisition, g grant) *Held {
	h := &Held{
		s: a.s, own: a.own, name: g.name, release: a.release + link.Escape(g.name), note: a.note, slots: max(a.slots, 1),
		fence: g.fence, mode: a.mode, yields: make(chan YieldRequest, 1), leave: func() {},
	}
	if leave := a.leave[g.name]; leave != nil {
		h.leave = sync.OnceFunc(leave)
	}
	h.ctx, h.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	h.unhook = context.AfterFunc(a.s.ctx, h.expired)
	return h
}

// expired ends the lock after its session.
func (h *Held) expired() {
	if h.end(fmt.Errorf("%w: %w", ErrLockLost, context.Cause(h.s.ctx))) {
		h.leave()
	}
}

// lost ends the lock alone: its session goes on, unless it was for this lock.
func (h *Held) lost(reason string) {
	if !h.end(&LostError{Name: h.name, Fence: h.Fence(), Reason: reason}) {
		return
	}
	if h.own {
		h.s.c.discard(h.s)
	}
	h.leave()
}

// had reports whether fence is that of the lock, or was before an upgrade.
func (h *Held) had(fence uint64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return fence == h.fence || h.before != 0 && fence == h.before
}

// end ends the lock on this side, and reports whether it had not been over.
func (h *Held) end(cause error) bool {
	h.mu.Lock()
	first := h.ctx.Err() == nil
	h.cancel(cause)
	h.mu.Unlock()
	if first {
		h.unhook()
		h.s.forget(h)
	}
	return first
}

// Name returns the lock's name.
func (h *Held) Name() string { return h.name }

// Fence returns the fencing token of this grant: larger than that of every
// earlier grant in the group. Resources refuse smaller ones. Those who share a
// lock may have the same. Only [Held.Upgrade] changes it.
func (h *Held) Fence() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.fence
}

// Mode returns "exclusive" or "shared".
func (h *Held) Mode() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mode
}

// Slots returns how many may hold the lock at a time, apart from sharing it.
func (h *Held) Slots() int { return h.slots }

// Session returns the session that holds the lock.
func (h *Held) Session() *Session { return h.s }

// Waited returns how long the lock was waited for.
func (h *Held) Waited() time.Duration { return h.waited }

// Context ends with the lock: with cause [ErrLockLost] before the server could
// give it to anybody else, with [ErrReleased] at Unlock. It carries the values
// of the context that the lock was acquired with. If this process stands still
// when the time is over, the context ends as soon as it goes on, which may be too
// late; [Held.Err] looks at the clock, and is right even then.
//
// Whoever breaks the lock by force, or takes it away after asking to yield,
// does not wait for this side to hear of it. Then the cause is a [*LostError],
// as soon as the server can be reached: usually within a tenth of a second.
func (h *Held) Context() context.Context { return h.ctx }

// Done is closed when the lock is over.
func (h *Held) Done() <-chan struct{} { return h.ctx.Done() }

// Yield returns a channel with the newest request to let the lock go. Nobody has
// to look at it.
func (h *Held) Yield() <-chan YieldRequest { return h.yields }

// asked tells of a request to yield; an older one that nobody looked at goes.
func (h *Held) asked(r YieldRequest) {
	select {
	case <-h.yields:
	default:
	}
	h.yields <- r // of all goroutines only the listener's sends
}

// Deadline returns the local instant at which the lock ends unless its session
// is renewed; it moves with each renewal. It is counted from now at each call
// and compares by the monotonic clock, so setting the wall clock does not move
// it.
func (h *Held) Deadline() time.Time { return time.Now().Add(h.s.Remaining()) }

// Err returns nil while the lock is certainly held. It looks at the clock, so
// it tells the truth even just after the process or machine was stopped.
func (h *Held) Err() error {
	if h.ctx.Err() == nil && !h.s.check() {
		h.expired()
	}
	return context.Cause(h.ctx)
}

// Unlock releases the lock. After [ErrUnavailable] or [ErrUnknownOutcome] the
// client goes on trying in the background for as long as the session lives, so
// that the lock does not stay held by nobody. [ErrLockLost] says that it was
// lost before. A second Unlock does nothing.
func (h *Held) Unlock(ctx context.Context) error {
	h.changing.Lock()
	defer h.changing.Unlock()
	if err := h.Err(); err != nil {
		return unlocked(err)
	}
	if !h.end(ErrReleased) {
		return unlocked(context.Cause(h.ctx))
	}
	err := h.s.release(ctx, h.release, h.Fence(), false)
	switch {
	case h.own: // whatever the release came to: nothing outlives the session
		h.s.c.discard(h.s)
	case err == nil, errors.Is(err, ErrLockLost):
		h.leave()
	default:
		h.s.background(func() {
			defer h.leave()
			h.s.releaseSurely(h.release, h.Fence())
		})
	}
	return err
}

// unlocked is what Unlock says of a lock that ended with cause.
func unlocked(cause error) error {
	if errors.Is(cause, ErrReleased) {
		return nil
	}
	return cause
}

// release gives a grant back. That its session is over is as good.
func (s *Session) release(ctx context.Context, path string, fence uint64, patient bool) error {
	h := http.Header{"If-Match": {api.FormatETag(fence)}}
	if strings.HasPrefix(path, "locks/") {
		h.Set(api.HeaderSession, s.id) // others may have been granted it together with this session
	}
	_, err := s.c.do(ctx, link.Request{Method: http.MethodDelete, Path: path, Header: h, Change: true, Patient: patient, Timeless: true, Small: true})
	if errors.Is(err, ErrStaleFence) {
		return fmt.Errorf("%w: %w", ErrLockLost, err)
	}
	return err
}

// releaseSurely gives a grant back, however long it takes. Another grant of
// the same lock has another fence: it is never met.
func (s *Session) releaseSurely(path string, fence uint64) {
	for attempt := 0; s.ctx.Err() == nil; attempt++ {
		err := s.release(s.ctx, path, fence, true)
		if err == nil || errors.Is(err, ErrLockLost) || !link.Pause(s.ctx, attempt) {
			return
		}
	}
}
