package client

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prytany/prytany/internal/api"
)

// maxWait is the longest that the server waits within one request.
const maxWait = 5 * time.Minute

// Options refine [Client.Acquire]. The zero Options wait as long as the
// context.
type Options struct {
	// Try refuses to wait.
	Try bool
	// Wait bounds the waiting, in the queue and for other goroutines of this
	// client. 0 means as long as the context.
	Wait time.Duration
	// Note is shown to people who look at the lock, up to 1 KiB.
	Note string
	// Session is the session to hold the lock with. nil means the one that
	// this client's locks share.
	Session *Session
}

// An acquisition is one request for a lock. Its key is its identity at the
// server: over lost connections and new leaders it keeps its place in the
// queue, and gets its one answer.
type acquisition struct {
	s     *Session
	name  string
	key   string
	note  string
	try   bool
	until time.Duration // reading of the clock at which the waiting ends; 0: never
}

// Acquire acquires the lock called name as o says. Errors: [ErrHeld] after
// Try or Wait; [ErrSessionExpired] if Options.Session is over; [ErrClosed];
// [ErrUnavailable] if no session could be opened or nothing was asked for yet,
// and [ErrUnknownOutcome] otherwise when ctx ends. What was asked for and is
// not waited for any more, the place in the queue or the lock, is given back in
// the background.
func (c *Client) Acquire(ctx context.Context, name string, o Options) (*Held, error) {
	if o.Session != nil {
		c = o.Session.c
	}
	begin := c.now()
	local, err := c.enterLocal(ctx, name, o)
	if err != nil {
		return nil, err
	}
	a := &acquisition{name: name, note: o.Note, try: o.Try}
	if o.Wait > 0 && !o.Try {
		a.until = begin + o.Wait
	}
	for attempt := 0; ; attempt++ {
		a.s = o.Session
		if a.s == nil {
			if a.s, err = c.sharedSession(ctx); err != nil {
				local.leave()
				return nil, err
			}
		}
		a.key = rand.Text()
		fence, err := a.ask(ctx, false)
		if err == nil && a.s.check() {
			h := newHeld(ctx, a.s, name, fence, local.leave)
			h.waited = c.now() - begin
			return h, nil
		}
		if err == nil {
			err = a.over() // the answer came too late
		}
		if a.again(err, o.Session == nil) && pause(ctx, attempt, nil) {
			continue
		}
		if certain(err) || !a.s.check() {
			local.leave()
		} else {
			a.s.background(func() {
				defer local.leave()
				a.takeBack()
			})
		}
		return nil, err
	}
}

// again reports whether to ask anew: with another session if the shared one
// turns out to be over, because then nothing was held by it that matters here;
// and at the end of the queue if the server lost patience before the caller.
func (a *acquisition) again(err error, shared bool) bool {
	switch {
	case errors.Is(err, ErrSessionExpired):
		return shared
	case errors.Is(err, ErrHeld):
		return !a.try && (a.until == 0 || a.until > a.s.c.now())
	}
	return false
}

// ask asks the server until it grants or refuses. It may be called again, for
// the same answer.
func (a *acquisition) ask(ctx context.Context, patient bool) (fence uint64, err error) {
	s := a.s // a may go on with another before the hook below has run
	body, err := json.Marshal(api.Acquire{Session: s.id, Note: a.note})
	if err != nil {
		return 0, fmt.Errorf("prytany: %w", err)
	}
	if !a.s.check() {
		return 0, a.over()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.ctx, func() { cancel(context.Cause(s.ctx)) })()
	r := request{
		method: http.MethodPut, path: "locks/" + escape(a.name), body: body, header: jsonHeader(),
		change: true, key: a.key, timeless: true, patient: patient,
	}
	if !a.try {
		r.queue, r.until, r.wait = true, a.until, maxWait
		r.patient = a.until == 0
		if a.until > 0 {
			r.wait = max(a.until-a.s.c.now(), 0)
		}
	}
	rep, err := a.s.c.do(ctx, r)
	switch {
	case err == nil:
		return grantOf(a.name, rep)
	case a.s.ctx.Err() != nil:
		return 0, a.over()
	case errors.Is(err, ErrSessionExpired):
		a.s.lose(ErrSessionExpired)
	}
	return 0, err
}

// over is the error of a request whose session is over.
func (a *acquisition) over() error {
	if cause := context.Cause(a.s.ctx); errors.Is(cause, ErrClosed) {
		return ErrClosed
	}
	return ErrSessionExpired
}

// certain reports whether an acquisition that ended with err leaves nothing
// behind at the server.
func certain(err error) bool {
	var p *ProblemError
	switch {
	case errors.Is(err, ErrUnknownOutcome):
		return false
	case errors.Is(err, ErrUnavailable), errors.Is(err, errRequest):
		return true
	}
	return errors.As(err, &p) && p.Applied == string(api.AppliedNo)
}

// takeBack undoes an acquisition whose answer nobody waits for any more: the
// same request without waiting leaves the queue, or gets the grant that was
// made meanwhile, which is then released. The session's end does it otherwise.
func (a *acquisition) takeBack() {
	a.try = true
	for attempt := 0; ; attempt++ {
		fence, err := a.ask(a.s.ctx, true)
		if err == nil {
			a.s.releaseSurely(a.name, fence)
			return
		}
		if certain(err) || !pause(a.s.ctx, attempt, nil) {
			return
		}
	}
}
