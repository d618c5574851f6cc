package client

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prytany/prytany/client/internal/link"
	"github.com/prytany/prytany/internal/api"
)

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
	// Shared asks for the lock together with others who share it; see
	// [Client.RLock].
	Shared bool
	// Slots is how many may hold the lock at a time; see [Client.Semaphore]. 0
	// means 1.
	Slots int
	// Session is the session to hold the lock with. nil means the one that
	// this client's locks share, and with Shared or more Slots than one a
	// session of the lock's own.
	Session *Session
}

// own reports whether the lock gets a session of its own. The server grants a
// lock to a session once, while each goroutine that reads under a lock, or
// takes a slot, needs a grant that is counted for itself alone.
func (o Options) own() bool { return o.Session == nil && (o.Shared || o.Slots > 1) }

// An acquisition is one request for a lock, or for several, or for the
// leadership of an election. Its key is its identity at the server: over lost
// connections and new leaders it keeps its place in the queue, and gets its one
// answer.
type acquisition struct {
	c       *Client
	given   *Session // to ask with; nil: the shared one, or one of its own
	own     bool
	config  SessionConfig // with own
	names   []string
	method  string
	path    string
	release string // path before a name at which a grant is given back
	note    string
	mode    string
	slots   int
	body    func(session string) any
	read    func(rep link.Reply) ([]grant, error)
	leave   map[string]func() // by name: passes the turn on to other goroutines

	s     *Session
	key   string
	try   bool
	until time.Duration // reading of the clock at which the waiting ends; 0: never

	// Guarded by Session.mu; see listen.go.
	ended map[string]grant // by name: the newest grant to s that was heard to be over
	doubt bool             // there may be more
}

// A grant is what the server gave.
type grant struct {
	name   string
	fence  uint64
	reason string // why it is over
}

// Acquire acquires the lock called name as o says. Errors: [ErrHeld] after
// Try or Wait; [ErrLimitMismatch] if the lock is in use with another number of
// slots; [ErrSessionExpired] if Options.Session is over; [ErrClosed];
// [ErrUnavailable] if no session could be opened or nothing was asked for yet,
// and [ErrUnknownOutcome] otherwise when ctx ends. What was asked for and is
// not waited for any more, the place in the queue or the lock, is given back in
// the background.
func (c *Client) Acquire(ctx context.Context, name string, o Options) (*Held, error) {
	if o.Session != nil {
		c = o.Session.c
	}
	begin := c.now()
	a := &acquisition{
		c: c, given: o.Session, own: o.own(), names: []string{name}, try: o.Try,
		method: http.MethodPut, path: "locks/" + link.Escape(name), release: "locks/",
		note: o.Note, mode: api.ModeExclusive, slots: o.Slots, leave: map[string]func(){},
	}
	if o.Shared {
		a.mode = api.ModeShared
	}
	a.body = func(session string) any {
		in := api.Acquire{Session: session, Slots: a.slots, Note: a.note}
		if a.mode != api.ModeExclusive {
			in.Mode = a.mode
		}
		return in
	}
	a.read = func(rep link.Reply) ([]grant, error) { return grantOf(name, rep) }
	if o.Wait > 0 && !o.Try {
		a.until = begin + o.Wait
	}
	if !a.own {
		leave, err := c.enterLocal(ctx, name, o)
		if err != nil {
			return nil, err
		}
		a.leave[name] = leave
	}
	held, err := a.claim(ctx, begin)
	if err != nil {
		return nil, err
	}
	return held[0], nil
}

// AcquireAll acquires all locks of names in one step, or none, and does not
// wait. Of o it takes Note and Session. The locks are released one by one. If
// some are not to be had the error matches [ErrHeld], and as a [*ProblemError]
// lists who has them. Other errors as [Client.Acquire].
func (c *Client) AcquireAll(ctx context.Context, names []string, o Options) ([]*Held, error) {
	if o.Session != nil {
		c = o.Session.c
	}
	if o.Shared || o.Slots > 1 || o.Wait != 0 {
		return nil, fmt.Errorf("%w: several locks are exclusive, and not waited for", errRequest)
	}
	begin := c.now()
	a := &acquisition{
		c: c, given: o.Session, names: names, try: true,
		method: http.MethodPost, path: "locks:acquire", release: "locks/",
		note: o.Note, mode: api.ModeExclusive, leave: map[string]func(){},
		read: func(rep link.Reply) ([]grant, error) { return grantsOf(names, rep) },
	}
	a.body = func(session string) any { return api.AcquireAll{Session: session, Names: names, Note: o.Note} }
	for _, name := range names {
		if a.leave[name] != nil {
			a.pass()
			return nil, fmt.Errorf("%w: the lock %q is named twice", errRequest, name)
		}
		leave, err := c.enterLocal(ctx, name, Options{Try: true, Session: o.Session})
		if err != nil {
			a.pass()
			return nil, err
		}
		a.leave[name] = leave
	}
	return a.claim(ctx, begin)
}

// claim asks until it is granted or refused for good.
func (a *acquisition) claim(ctx context.Context, begin time.Duration) ([]*Held, error) {
	for attempt := 0; ; attempt++ {
		if err := a.session(ctx); err != nil {
			a.pass()
			return nil, err
		}
		a.key = rand.Text()
		a.s.expect(a)
		grants, err := a.ask(ctx, false)
		if err == nil && a.s.check() {
			return a.got(ctx, grants, begin), nil
		}
		a.s.settle(a, nil)
		if err == nil {
			err = a.over() // the answer came too late
		}
		if a.again(err) && link.Pause(ctx, attempt) {
			continue
		}
		switch {
		case a.own:
			a.c.discard(a.s)
		case certain(err) || !a.s.check():
			a.pass()
		default:
			a.s.background(func() {
				defer a.pass()
				a.takeBack()
			})
		}
		return nil, err
	}
}

// session chooses the session to ask with.
func (a *acquisition) session(ctx context.Context) (err error) {
	switch {
	case a.given != nil:
		a.s = a.given
	case !a.own:
		a.s, err = a.c.sharedSession(ctx)
	case a.s == nil || !a.s.check():
		a.s, err = a.c.ownSession(ctx, a.config)
	}
	return err
}

// pass passes the turn on to other goroutines.
func (a *acquisition) pass() {
	for _, leave := range a.leave {
		leave()
	}
}

// got makes locks of what the server has granted.
func (a *acquisition) got(ctx context.Context, grants []grant, begin time.Duration) []*Held {
	var out []*Held
	for _, g := range grants {
		h := newHeld(ctx, a, g)
		h.waited = a.c.now() - begin
		out = append(out, h)
	}
	a.s.settle(a, out)
	return out
}

// again reports whether to ask anew: with another session if the one that was
// not the caller's turns out to be over, because then nothing was held by it
// that matters here; and at the end of the queue if the server lost patience
// before the caller.
func (a *acquisition) again(err error) bool {
	switch {
	case errors.Is(err, ErrSessionExpired):
		return a.given == nil
	case errors.Is(err, ErrHeld):
		return !a.try && (a.until == 0 || a.until > a.c.now())
	}
	return false
}

// ask asks the server until it grants or refuses. It may be called again, for
// the same answer.
func (a *acquisition) ask(ctx context.Context, patient bool) ([]grant, error) {
	s := a.s // a may go on with another before the hook below has run
	body, err := json.Marshal(a.body(s.id))
	if err != nil {
		return nil, fmt.Errorf("prytany: %w", err)
	}
	if !a.s.check() {
		return nil, a.over()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.ctx, func() { cancel(context.Cause(s.ctx)) })()
	r := link.Request{
		Method: a.method, Path: a.path, Body: body, Header: jsonHeader(),
		Change: true, Key: a.key, Timeless: true, Patient: patient, Small: true,
	}
	if !a.try {
		r.Queue, r.Until, r.Wait = true, a.until, link.MaxWait
		r.Patient = a.until == 0
		if a.until > 0 {
			r.Wait = max(a.until-a.c.now(), 0)
		}
	}
	rep, err := a.c.do(ctx, r)
	switch {
	case err == nil:
		return a.read(rep)
	case a.s.ctx.Err() != nil:
		return nil, a.over()
	case errors.Is(err, ErrSessionExpired):
		a.s.lose(ErrSessionExpired)
	}
	return nil, err
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
		grants, err := a.ask(a.s.ctx, true)
		for _, g := range grants {
			a.s.releaseSurely(a.release+link.Escape(g.name), g.fence)
		}
		if err == nil || certain(err) || !link.Pause(a.s.ctx, attempt) {
			return
		}
	}
}

// grantOf reads the server's yes to one lock.
func grantOf(name string, rep link.Reply) ([]grant, error) {
	var g api.Grant
	if err := json.Unmarshal(rep.Body, &g); err != nil || g.Fence == 0 {
		return nil, senseless("grant of "+name, rep)
	}
	return []grant{{name: name, fence: g.Fence}}, nil
}

// grantsOf reads the server's yes to several, in the order of names.
func grantsOf(names []string, rep link.Reply) (out []grant, err error) {
	var all api.Grants
	if err := json.Unmarshal(rep.Body, &all); err != nil {
		return nil, senseless("grant of several locks", rep)
	}
	fences := map[string]uint64{}
	for _, l := range all.Locks {
		fences[l.Name] = l.Fence
	}
	for _, name := range names {
		if fences[name] == 0 {
			return nil, senseless("grant of "+name, rep)
		}
		out = append(out, grant{name: name, fence: fences[name]})
	}
	return out, nil
}

func senseless(what string, rep link.Reply) error {
	return fmt.Errorf("prytany: the server's %s makes no sense: %q", what, clip(rep.Body))
}
