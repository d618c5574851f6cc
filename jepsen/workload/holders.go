//go:build linux

package workload

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/jepsen/history"
)

// A shape says what a workload over the plain API holds.
type shape struct {
	prefix   string
	slots    int  // of a semaphore
	election bool // campaign, do not lock
	lapse    bool // now and then let a session run out
}

// A holder has one session at a time and takes and leaves what its shape says.
type holder struct {
	*worker
	shape
	names   *rota
	session string
	beat    *worker // keeps the session alive, beside
	stop    func()  // ends that
	over    chan struct{}
}

// holders is the workload.
func holders(s shape) func(context.Context, *worker) {
	return func(ctx context.Context, w *worker) {
		h := &holder{worker: w, shape: s, beat: w.aide("keepalive"), names: &rota{prefix: s.prefix, width: 2, calls: 10, every: 2 * lifeTime}}
		h.terms(ctx, h.turn)
	}
}

// terms opens one session after the other, and has turn work with each for a while, as
// long as it returns true.
func (h *holder) terms(ctx context.Context, turn func(context.Context) bool) {
	for ctx.Err() == nil {
		if !h.open(ctx) {
			h.pause(ctx, 100*time.Millisecond)
			continue
		}
		h.term(ctx, turn)
		h.stop()
		if h.lapse && h.dice.IntN(3) == 0 {
			sleep(ctx, h.TTL+time.Duration(h.dice.Int64N(int64(2*time.Second))))
			h.acquire(ctx, h.names.next(h.worker), 0) // will it be told that it is over?
			continue
		}
		h.do(ctx, call{f: history.CloseS, session: h.session, method: http.MethodDelete, path: "sessions/" + h.session})
	}
}

// open opens a session and has it kept alive.
func (h *holder) open(ctx context.Context) bool {
	ttl := h.TTL
	e := h.do(ctx, call{
		f: history.Open, args: history.OpenArgs{TTL: int64(ttl)}, method: http.MethodPost, path: "sessions",
		body: fill(api.CreateSession{TTL: ttl.String()}),
		says: func(a *answer, e *history.Event) {
			if a.problem != nil {
				return
			}
			s := read[api.SessionCreated](a, e)
			e.Session, e.Result = s.ID, history.OpenResult{TTL: s.TTLMS * int64(time.Millisecond)}
		},
	})
	if e.Kind != history.OK || e.Session == "" {
		return false
	}
	h.session, h.over = e.Session, make(chan struct{})
	beating, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() { h.keepalive(beating) })
	h.stop = func() { cancel(); done.Wait() }
	return true
}

// keepalive renews the session until ctx ends, or the session.
func (h *holder) keepalive(ctx context.Context) {
	for {
		sleep(ctx, h.TTL/4)
		if ctx.Err() != nil {
			return
		}
		e := h.beat.do(ctx, call{
			f: history.KeepAlive, key: h.session, session: h.session, method: http.MethodPut, path: "sessions/" + h.session, perTry: h.TTL / 3,
			says: func(a *answer, e *history.Event) {
				if a.problem == nil {
					e.Result = history.KeepAliveResult{TTL: read[api.KeptAlive](a, e).ExpiresInMS * int64(time.Millisecond)}
				}
			},
		})
		if e.Code == string(api.CodeSessionExpired) || e.Code == string(api.CodeSessionUnknown) {
			close(h.over)
			return
		}
	}
}

// term uses one session for a while.
func (h *holder) term(ctx context.Context, turn func(context.Context) bool) {
	for range 3 + h.dice.IntN(8) {
		select {
		case <-h.over:
			return
		default:
		}
		if ctx.Err() != nil || !turn(ctx) {
			return
		}
		h.pause(ctx, 40*time.Millisecond)
	}
}

// turn takes and leaves one lock. It returns false when the session is over, or may hold
// what nobody knows of.
func (h *holder) turn(ctx context.Context) bool {
	name := h.names.next(h.worker)
	got := h.acquire(ctx, name, time.Duration(h.dice.IntN(3))*400*time.Millisecond)
	switch {
	case got.Kind == history.Info || over(got):
		return false
	case got.Kind != history.OK:
		h.look(ctx, name)
		return true
	}
	h.pause(ctx, 60*time.Millisecond)
	if h.dice.IntN(3) == 0 {
		h.look(ctx, name)
	}
	h.pause(ctx, 60*time.Millisecond)
	if h.dice.IntN(8) == 0 {
		return true // it goes with the session
	}
	return h.release(ctx, name, got.Fence).Kind != history.Info
}

func (h *holder) path(name string) string {
	if h.election {
		return "elections/" + client.EscapeName(name)
	}
	return "locks/" + client.EscapeName(name)
}

// acquire asks for the lock, a slot of it, or to lead.
func (h *holder) acquire(ctx context.Context, name string, wait time.Duration) history.Event {
	args := history.AcquireArgs{Wait: int64(wait), Slots: h.slots}
	body := fill(api.Acquire{Session: h.session, Slots: h.slots})
	if h.election {
		args.Value = fmt.Sprintf("v%d", h.unique())
		body = fill(api.Campaign{Session: h.session, Value: args.Value})
	}
	c := call{f: history.Acquire, key: name, session: h.session, args: args, method: http.MethodPut, path: h.path(name), body: body, wait: wait}
	if wait > 0 {
		c.query = url.Values{"wait": {wait.String()}}
	}
	c.says = func(a *answer, e *history.Event) {
		r := history.AcquireResult{}
		if a.problem == nil {
			e.Fence = number(a.header, api.HeaderFence)
		} else if p := a.problem.Holder; p != nil {
			r.HeldBy = []history.Hold{{Session: p.Session, Fence: p.Fence, Value: p.Value}}
		}
		e.Result = r
	}
	return h.do(ctx, c)
}

func (h *holder) release(ctx context.Context, name string, fence uint64) history.Event {
	header := map[string]string{"If-Match": api.FormatETag(fence)}
	if !h.election {
		header[api.HeaderSession] = h.session
	}
	return h.do(ctx, call{
		f: history.Release, key: name, session: h.session, args: history.ReleaseArgs{Fence: fence}, method: http.MethodDelete, path: h.path(name),
		header: header,
		says:   func(_ *answer, e *history.Event) { e.Fence = fence },
	})
}

// look reads who holds it.
func (h *holder) look(ctx context.Context, name string) {
	h.do(ctx, call{
		f: history.Holder, key: name, method: http.MethodGet, path: h.path(name), missing: api.CodeLockUnknown,
		says: func(a *answer, e *history.Event) {
			r := history.HolderResult{Holders: []history.Hold{}}
			switch {
			case a.problem != nil:
			case h.election:
				if l := read[api.Election](a, e).Leader; l != nil {
					r.Holders = append(r.Holders, history.Hold{Session: l.Session, Fence: l.Term, Value: l.Value})
				}
			default:
				for _, one := range read[api.Lock](a, e).Holders {
					r.Holders = append(r.Holders, history.Hold{Session: one.Session, Fence: one.Fence})
				}
			}
			e.Result = r
		},
	})
}
