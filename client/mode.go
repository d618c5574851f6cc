package client

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"

	"github.com/prytany/prytany/client/internal/link"
	"github.com/prytany/prytany/internal/api"
)

// Downgrade lets others share a lock that is held alone, without letting go of
// it: nobody else has it alone in between, and the fence stays. After
// [ErrUnknownOutcome] others may or may not share it. Errors beside the usual:
// [ErrLockLost].
func (h *Held) Downgrade(ctx context.Context) error {
	h.changing.Lock()
	defer h.changing.Unlock()
	if err := h.Err(); err != nil || h.Mode() == api.ModeShared {
		return err
	}
	a := h.change(api.ModeShared)
	h.s.expect(a)
	grants, err := a.ask(ctx, false)
	h.s.settle(a, nil)
	switch {
	case err == nil && grants[0].fence != h.Fence(), errors.Is(err, ErrHeld):
		return h.gone(a)
	case err == nil || !certain(err):
		h.mu.Lock()
		h.mode = api.ModeShared
		h.mu.Unlock()
	}
	return err
}

// Upgrade makes a lock that is shared with nobody else exclusive, with a new
// fence: what others wrote under the lock may carry a higher one than the old.
// Nobody else has it alone in between. With other readers it fails at once with
// [ErrUpgradeRefused], since two who wait for each other would wait for ever:
// release the lock and acquire it anew. After an error that leaves the outcome
// open the lock is lost, and given back in the background.
func (h *Held) Upgrade(ctx context.Context) error {
	h.changing.Lock()
	defer h.changing.Unlock()
	if err := h.Err(); err != nil || h.Mode() == api.ModeExclusive {
		return err
	}
	a := h.change(api.ModeExclusive)
	h.s.expect(a)
	grants, err := a.ask(ctx, false)
	switch {
	case err == nil && h.upgraded(a, grants[0].fence):
		return h.Err()
	case err == nil, errors.Is(err, ErrHeld):
		return h.gone(a)
	}
	h.s.settle(a, nil)
	if !certain(err) {
		return errors.Join(err, h.gone(a))
	}
	return err
}

// change returns the request for another mode of the same lock.
func (h *Held) change(mode string) *acquisition {
	return &acquisition{
		c: h.s.c, s: h.s, given: h.s, names: []string{h.name}, try: true, key: rand.Text(),
		method: http.MethodPut, path: "locks/" + link.Escape(h.name), release: "locks/", note: h.note, mode: mode,
		body: func(session string) any { return api.Acquire{Session: session, Mode: mode, Note: h.note} },
		read: func(rep link.Reply) ([]grant, error) { return grantOf(h.name, rep) },
	}
}

// upgraded takes over the fence that an upgrade gave, and reports whether the
// lock lasts.
func (h *Held) upgraded(a *acquisition, fence uint64) bool {
	h.mu.Lock()
	lasts := h.ctx.Err() == nil
	if lasts {
		h.before, h.fence, h.mode = h.fence, fence, api.ModeExclusive
	}
	h.mu.Unlock()
	if lasts {
		h.s.settle(a, []*Held{h})
	}
	return lasts
}

// gone ends a lock of which a change of mode found that it was lost, or that
// is not known to be held any more, and gives back what may be left of it.
// Until that is done no other goroutine has its turn: what is given back could
// be theirs.
func (h *Held) gone(a *acquisition) error {
	h.s.settle(a, nil)
	h.end(&LostError{Name: h.name, Fence: h.Fence()})
	if h.own {
		h.s.c.discard(h.s)
	} else {
		h.s.background(func() {
			defer h.leave()
			a.takeBack()
			h.s.releaseSurely(h.release, h.Fence())
		})
	}
	return context.Cause(h.ctx)
}
