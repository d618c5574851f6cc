package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"sync"

	"github.com/prytany/prytany/client/internal/link"
	"github.com/prytany/prytany/internal/api"
)

// ErrNotLeading says that this process does not lead the election.
var ErrNotLeading = errors.New("prytany: this process does not lead")

// errRunning says that Run was called while it runs.
var errRunning = errors.New("prytany: the election is being run by this Election already")

// ElectionConfig says who campaigns. The zero ElectionConfig is usable.
type ElectionConfig struct {
	Value   string        // what the leader publishes, up to 4 KiB: an address, say
	Note    string        // for people
	Session SessionConfig // of the session to campaign with
}

// An Election is one process's part in an election. It is a lock with a
// published value: whoever holds the lock of that name leads, and the fence is
// the term. It is safe for concurrent use; making one does no I/O.
type Election struct {
	c    *Client
	name string
	cfg  ElectionConfig

	mu      sync.Mutex
	running bool
	session *Session // with which Run campaigns, or has
	held    *Held    // this process's newest leadership
	term    *term    // what Run is at
}

// A Term is one leadership, from its election to its end.
type Term struct {
	Name  string
	Fence uint64 // larger in every later term; pass it to whatever the leader writes to
	Held  *Held  // for WhileHeld and Yield; to let go return from the callback
}

// A Leader is who leads an election, as others see it. The zero Leader says
// that nobody does.
type Leader struct {
	Session string
	Owner   string
	Term    uint64
	Value   string
}

// A Candidate waits to lead.
type Candidate struct {
	Session string
	Owner   string
	Value   string
	Since   uint64 // revision
}

// A term is what Run knows of its callback.
type term struct {
	stop context.CancelCauseFunc
	done chan struct{} // closed when the callback has returned and the term is over
	to   string        // session to hand over to
	err  error         // of the end, once done
}

// Election returns this process's part in the election called name.
func (c *Client) Election(name string, cfg ElectionConfig) *Election {
	return &Election{c: c, name: name, cfg: cfg}
}

// Run campaigns, and calls f once for each term that it wins. The context that
// f gets ends with the term, before the server could elect another, and with
// ctx. Run waits for f to return, then resigns, and campaigns again, behind the
// candidates that wait already. It goes on for as long as ctx, over lost
// sessions and nodes, and pauses a little longer after each failure.
//
// Run returns the cause of ctx's end, or the first error that f returns and that
// does not only say that its context is over, or what would fail for ever, such
// as a name that is none; by then it leads no more. It has a session of its
// own, so several processes, or several Elections in one, are rivals.
func (e *Election) Run(ctx context.Context, f func(ctx context.Context, t Term) error) error {
	e.mu.Lock()
	running := e.running
	e.running = true
	e.mu.Unlock()
	if running {
		return errRunning
	}
	r := &run{e: e, f: f}
	defer func() {
		r.drop(ctx)
		e.mu.Lock()
		e.running = false
		e.mu.Unlock()
	}()
	for attempt := 0; ; attempt++ {
		began := e.c.now()
		own, err := r.once(ctx)
		switch {
		case own:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case hopeless(err):
			return err
		case err != nil:
			e.c.cfg.Log.Debug("campaign failed", "election", e.name, "attempt", attempt+1, "err", err)
		}
		if e.c.now()-began > link.MaxBackoff {
			attempt = 0
		}
		link.Backoff(ctx, attempt)
	}
}

// hopeless reports whether a campaign that failed with err would always fail.
func hopeless(err error) bool {
	var p *ProblemError
	switch {
	case errors.Is(err, ErrClosed), errors.Is(err, errRequest):
		return true
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrUnknownOutcome), errors.Is(err, ErrLimitMismatch), errors.Is(err, ErrSessionExpired):
		return false
	}
	return errors.As(err, &p) && p.Status/100 == 4 && !p.Retryable
}

// A run is one call of Election.Run.
type run struct {
	e *Election
	f func(ctx context.Context, t Term) error
	s *Session // kept from term to term
}

// drop ends the session that there is.
func (r *run) drop(ctx context.Context) {
	if r.s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unlockFor)
	defer cancel()
	_ = r.s.end(ctx, errEnded) // else it ends by itself
	r.s = nil
}

// once campaigns, and serves one term. own says that the error is the
// callback's.
func (r *run) once(ctx context.Context) (own bool, err error) {
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if r.s != nil && !r.s.check() {
		r.s = nil
	}
	if r.s == nil {
		if r.s, err = r.e.c.ownSession(ctx, r.e.cfg.Session); err != nil {
			return false, err
		}
	}
	r.e.mu.Lock()
	r.e.session = r.s
	r.e.mu.Unlock()
	h, err := r.e.campaign(ctx, r.s)
	if err != nil {
		return false, err
	}
	return r.serve(ctx, h)
}

// serve runs the callback for the term of h, and then resigns.
func (r *run) serve(ctx context.Context, h *Held) (own bool, err error) {
	e := r.e
	t := &term{done: make(chan struct{})}
	work, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	t.stop = stop
	defer context.AfterFunc(h.ctx, func() { stop(context.Cause(h.ctx)) })()
	e.mu.Lock()
	e.term = t
	e.mu.Unlock()
	defer func() { // also when f panics
		t.err = r.resign(ctx, h, t)
		close(t.done)
	}()
	err = r.f(work, Term{Name: e.name, Fence: h.Fence(), Held: h})
	if cause := context.Cause(work); cause != nil && (errors.Is(err, cause) || errors.Is(err, work.Err())) {
		return false, nil
	}
	return err != nil, err
}

// resign ends the term of h, and hands over if somebody asked for it.
func (r *run) resign(ctx context.Context, h *Held, t *term) (err error) {
	r.e.mu.Lock()
	r.e.term = nil
	to := t.to
	r.e.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unlockFor)
	defer cancel()
	if to != "" && h.Err() == nil {
		if err = r.e.transfer(ctx, to, h.Fence()); err == nil {
			h.end(ErrReleased)
			return nil
		}
	}
	if lost := h.Unlock(ctx); lost != nil && !errors.Is(lost, ErrLockLost) {
		// Perhaps it still holds the lock. Another session would not get it as a
		// renewal, and then have it taken away by the release that is late.
		r.drop(ctx)
		err = errors.Join(err, lost)
	}
	return err
}

// Campaign waits to be elected, as long as ctx allows, for those who serve a
// term in another way than as a callback: Unlock resigns. Cancelling ctx after
// the election does not. Errors as [Client.Acquire].
func (e *Election) Campaign(ctx context.Context) (*Held, error) { return e.campaign(ctx, nil) }

// campaign acquires the lock of the election, with a session of its own if s is
// nil.
func (e *Election) campaign(ctx context.Context, s *Session) (*Held, error) {
	a := &acquisition{
		c: e.c, given: s, own: s == nil, config: e.cfg.Session, names: []string{e.name},
		method: http.MethodPut, path: e.path(), release: "elections/", note: e.cfg.Note, mode: api.ModeExclusive,
		body: func(session string) any {
			return api.Campaign{Session: session, Value: e.cfg.Value, Note: e.cfg.Note}
		},
		read: func(rep link.Reply) ([]grant, error) {
			t, err := termOf(e.name, rep)
			return []grant{{name: e.name, fence: t}}, err
		},
	}
	held, err := a.claim(ctx, e.c.now())
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	e.held = held[0]
	e.mu.Unlock()
	return held[0], nil
}

func (e *Election) path() string { return "elections/" + link.Escape(e.name) }

func termOf(name string, rep link.Reply) (uint64, error) {
	var t api.Term
	if err := json.Unmarshal(rep.Body, &t); err != nil || t.Term == 0 {
		return 0, senseless("term of "+name, rep)
	}
	return t.Term, nil
}

// leading returns this process's leadership, nil if it does not lead.
func (e *Election) leading() *Held {
	e.mu.Lock()
	h := e.held
	e.mu.Unlock()
	if h == nil || h.Err() != nil {
		return nil
	}
	return h
}

// Proclaim publishes another value for the rest of this process's term. Errors:
// [ErrNotLeading]; [ErrStaleFence] if the term is over at the server;
// [ErrUnavailable], [ErrUnknownOutcome].
func (e *Election) Proclaim(ctx context.Context, value string) error {
	h := e.leading()
	if h == nil {
		return ErrNotLeading
	}
	body, err := json.Marshal(api.Proclaim{Value: value})
	if err != nil {
		return fmt.Errorf("prytany: %w", err)
	}
	header := jsonHeader()
	header.Set("If-Match", api.FormatETag(h.Fence()))
	_, err = e.c.do(ctx, link.Request{Method: http.MethodPatch, Path: e.path(), Header: header, Body: body, Change: true, Small: true})
	return err
}

// get reads the election.
func (e *Election) get(ctx context.Context) (api.Election, error) {
	var out api.Election
	rep, err := e.c.do(ctx, link.Request{Method: http.MethodGet, Path: e.path(), Small: true})
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal(rep.Body, &out); err != nil {
		return out, senseless("answer about the election "+e.name, rep)
	}
	return out, nil
}

// Leader returns who leads, linearizably. Errors: [ErrNotFound] if nobody does;
// [ErrUnavailable].
func (e *Election) Leader(ctx context.Context) (Leader, error) {
	out, err := e.get(ctx)
	switch {
	case err != nil:
		return Leader{}, err
	case out.Leader == nil:
		return Leader{}, fmt.Errorf("%w: nobody leads %s", ErrNotFound, e.name)
	}
	l := out.Leader
	return Leader{Session: l.Session, Owner: l.Owner, Term: l.Term, Value: l.Value}, nil
}

// Candidates returns who waits to lead, in the order in which they would be
// elected.
func (e *Election) Candidates(ctx context.Context) (list []Candidate, err error) {
	out, err := e.get(ctx)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	for _, c := range out.Candidates {
		list = append(list, Candidate{Session: c.Session, Owner: c.Owner, Value: c.Value, Since: c.Since})
	}
	return list, err
}

// Observe returns who leads: who does so at present, or the zero [Leader], and
// then each change, also of the published value. It goes on over lost
// connections and nodes, and does not go back to a term older than one it has
// told of. Of changes that follow each other while the connection is lost it
// tells the last. The pair that ends it has the error: the cause of ctx's end,
// or a refusal that will not go away.
func (e *Election) Observe(ctx context.Context) iter.Seq2[Leader, error] {
	return func(yield func(Leader, error) bool) {
		o := observer{}
		t := &link.Tail{Link: e.c.link, Path: e.path(), State: true}
		err := t.Follow(ctx, func(events []api.Event) bool {
			l, news := o.next(events)
			return !news || yield(l, nil)
		})
		if err != nil {
			yield(Leader{}, translate(err))
		}
	}
}

// An observer makes leaders of events.
type observer struct {
	told   bool
	last   Leader
	at     uint64 // highest revision told about
	newest uint64 // term
}

// next returns the leader after events, and whether that is news.
func (o *observer) next(events []api.Event) (Leader, bool) {
	l := o.last
	fresh := o.told
	for _, v := range events {
		switch {
		case v.Type == api.EventBookmark, v.Revision < o.at: // the latter of a node that lags behind
			continue
		case v.Type == api.EventLeader && v.Fence >= o.newest:
			o.newest = v.Fence
			l = Leader{Session: v.Session, Owner: v.Owner, Term: v.Fence, Value: v.Value}
		case v.Type == api.EventUnlock && (v.Session == "" || v.Fence >= l.Term):
			l = Leader{}
		default:
			continue
		}
		o.at, fresh = v.Revision, true
	}
	if !fresh || o.told && l == o.last {
		return l, false
	}
	o.told, o.last = true, l
	return l, true
}
