package client

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/prytany/prytany/internal/api"
)

// maxWait is the longest that the server waits within one request.
const maxWait = 5 * time.Minute

// attachFor is how long one connection is waited on before the request is sent
// again. It keeps its place in the queue, and a server that fell silent is not
// waited for for ever.
const attachFor = time.Minute

// Options refine [Client.Acquire]. The zero Options wait as long as the
// context.
type Options struct {
	// Try refuses to wait.
	Try bool
	// Wait bounds the waiting in the queue, up to 5 minutes. 0 means as long as
	// the context.
	Wait time.Duration
	// Note is shown to people who look at the lock, up to 1 KiB.
	Note string
	// Session is the session to hold the lock with. nil means the one that
	// this client's locks share.
	Session *Session
}

// A Held is a lock that this process holds. Pass its Fence to whatever the lock
// protects, and do the protected work under its Context.
type Held struct {
	s      *Session
	name   string
	key    string // Idempotency-Key of the acquisition: its place in the queue
	fence  uint64
	waited time.Duration
	ctx    context.Context // whose end is the lock's: its meaning is a lifetime
	cancel context.CancelCauseFunc
	local  *localLock

	once sync.Once
}

// Lock acquires the lock called name and waits for it as long as ctx allows.
// Cancelling ctx afterwards does not release it.
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

// WithLock runs f while holding the lock, and releases it. The context that f
// gets ends with the lock or with ctx. If the lock was lost while f ran, the
// error matches [ErrLockLost] beside whatever f returned.
func (c *Client) WithLock(ctx context.Context, name string, f func(ctx context.Context, h *Held) error) error {
	h, err := c.Lock(ctx, name)
	if err != nil {
		return err
	}
	work, stop := context.WithCancelCause(ctx)
	unhook := context.AfterFunc(h.ctx, func() { stop(context.Cause(h.ctx)) })
	err = func() error {
		defer unhook()
		defer stop(nil)
		return f(work, h)
	}()
	if cause := context.Cause(h.ctx); cause != nil && !errors.Is(cause, ErrReleased) {
		_ = h.abandon()
		return errors.Join(cause, err)
	}
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return errors.Join(err, h.Unlock(release))
}

// Acquire acquires the lock called name as o says. Errors: [ErrHeld] after
// Try or Wait; [ErrSessionExpired]; [ErrUnavailable] and [ErrUnknownOutcome]
// when ctx ends first. A lock that was granted to a request that ended in an
// error is given back in the background.
func (c *Client) Acquire(ctx context.Context, name string, o Options) (*Held, error) {
	begin := time.Now()
	local, err := c.enterLocal(ctx, name, o)
	if err != nil {
		return nil, err
	}
	s := o.Session
	if s == nil {
		if s, err = c.shared(ctx); err != nil {
			local.leave()
			return nil, err
		}
	}
	h := &Held{s: s, name: name, key: rand.Text(), local: local}
	if err := h.acquire(ctx, o, begin); err != nil {
		if errors.Is(err, ErrUnknownOutcome) || isTimeout(err) {
			go h.giveUp(o)
		} else {
			local.leave()
		}
		return nil, err
	}
	h.ctx, h.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	context.AfterFunc(s.ctx, func() {
		h.cancel(fmt.Errorf("%w: %w", ErrLockLost, context.Cause(s.ctx)))
	})
	return h, nil
}

// acquire asks the server until it grants or refuses. The request keeps its
// key, and so its place in the queue, over lost connections and new leaders.
func (h *Held) acquire(ctx context.Context, o Options, begin time.Time) error {
	body, err := json.Marshal(api.Acquire{Session: h.s.id, Note: o.Note})
	if err != nil {
		return fmt.Errorf("prytany: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(h.s.ctx, func() { cancel(context.Cause(h.s.ctx)) })()
	r := request{
		method: http.MethodPut, path: "locks/" + escape(h.name), body: body, header: jsonHeader(),
		change: true, key: h.key, limit: attachFor,
	}
	if !o.Try {
		wait := maxWait
		if o.Wait > 0 {
			wait = min(wait, o.Wait)
			r.wait = wait
		} else {
			r.wait = -1
		}
		r.query = url.Values{"wait": {wait.String()}}
	}
	rep, err := h.s.c.do(ctx, r)
	switch {
	case err == nil:
		return h.granted(rep, begin)
	case h.s.ctx.Err() != nil:
		return fmt.Errorf("%w: %w", ErrSessionExpired, err)
	}
	return err
}

// granted takes the server's yes.
func (h *Held) granted(rep reply, begin time.Time) error {
	var g api.Grant
	if err := json.Unmarshal(rep.body, &g); err != nil || g.Fence == 0 {
		return fmt.Errorf("prytany: the server's grant of %s makes no sense: %q", h.name, clip(rep.body))
	}
	h.fence, h.waited = g.Fence, time.Since(begin)
	return nil
}

// giveUp takes an acquisition back whose answer nobody waits for any more: the
// same request without waiting leaves the queue, or gets the grant that was
// made meanwhile, which is then released. The session's end does it otherwise.
func (h *Held) giveUp(o Options) {
	defer h.local.leave()
	o.Try, o.Wait = true, 0
	ctx, cancel := context.WithTimeout(h.s.ctx, h.s.ttl)
	defer cancel()
	if h.acquire(ctx, o, time.Now()) == nil {
		_ = h.release(h.s.ctx)
	}
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
func (h *Held) Context() context.Context { return h.ctx }

// Done is closed when the lock is over.
func (h *Held) Done() <-chan struct{} { return h.ctx.Done() }

// Deadline returns the local instant at which the lock ends unless its session
// is renewed; it moves with each renewal.
func (h *Held) Deadline() time.Time { return time.Now().Add(h.s.Remaining()) }

// Err returns nil while the lock is certainly held. It looks at the clock, so
// it tells the truth even just after the process or machine was stopped.
func (h *Held) Err() error {
	if h.ctx.Err() == nil && h.s.Remaining() <= 0 {
		h.s.lose(ErrSessionExpired)
		h.cancel(fmt.Errorf("%w: %w", ErrLockLost, ErrSessionExpired))
	}
	if h.ctx.Err() != nil {
		return context.Cause(h.ctx)
	}
	return nil
}

// Unlock releases the lock. After an error other than [ErrLockLost] the client
// goes on trying in the background for as long as the session lives, so that
// the lock does not stay held by nobody. A second Unlock does nothing.
func (h *Held) Unlock(ctx context.Context) error {
	err := h.Err()
	if errors.Is(err, ErrReleased) {
		return nil
	}
	if err != nil {
		_ = h.abandon()
		return err
	}
	h.cancel(ErrReleased)
	err = h.release(ctx)
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnknownOutcome) {
		go func() {
			defer h.once.Do(h.local.leave)
			_ = h.release(h.s.ctx)
		}()
		return err
	}
	h.once.Do(h.local.leave)
	return err
}

// abandon lets other goroutines of this client have a try after a loss.
func (h *Held) abandon() error {
	h.once.Do(h.local.leave)
	return nil
}

// release gives the fence back. That the grant is over already is what was
// wanted.
func (h *Held) release(ctx context.Context) error {
	wait := time.Duration(0)
	if _, ok := ctx.Deadline(); !ok && ctx == h.s.ctx {
		wait = -1
	}
	_, err := h.s.c.do(ctx, request{
		method: http.MethodDelete, path: "locks/" + escape(h.name), change: true, wait: wait,
		header: http.Header{"If-Match": {api.FormatETag(h.fence)}},
	})
	if errors.Is(err, ErrStaleFence) {
		return fmt.Errorf("%w: %w", ErrLockLost, err)
	}
	return err
}
