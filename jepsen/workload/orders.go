//go:build linux

package workload

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/jepsen/history"
)

// several takes two or three locks of a few at once, or one of them by itself, and asks
// holders to let go.
func several(ctx context.Context, w *worker) {
	h := &holder{worker: w, shape: shape{prefix: "many/"}, beat: w.aide("keepalive"), names: &rota{prefix: "many/", width: 3, calls: 12, every: 2 * lifeTime}}
	h.terms(ctx, h.severalTurn)
}

// severalTurn does one thing; false says that the session is not to be used any more.
func (h *holder) severalTurn(ctx context.Context) bool {
	switch h.dice.IntN(4) {
	case 0:
		return h.yield(ctx, h.names.next(h.worker)).Kind != history.Info
	case 1:
		return h.turn(ctx)
	}
	var locks []string
	for range 3 {
		if name := h.names.next(h.worker); !slices.Contains(locks, name) {
			locks = append(locks, name)
		}
	}
	e := h.acquireAll(ctx, locks)
	if e.Kind == history.Info || over(e) {
		return false
	}
	if e.Kind == history.OK {
		h.pause(ctx, 60*time.Millisecond)
		for name, fence := range e.Result.(history.AcquireAllResult).Fences {
			if h.release(ctx, name, fence).Kind == history.Info {
				return false
			}
		}
	}
	return true
}

func (h *holder) acquireAll(ctx context.Context, locks []string) history.Event {
	return h.do(ctx, call{
		f: history.AcquireAll, key: strings.Join(locks, "+"), session: h.session, args: history.AcquireAllArgs{Locks: locks},
		method: http.MethodPost, path: "locks:acquire", body: fill(api.AcquireAll{Session: h.session, Names: locks}),
		says: func(a *answer, e *history.Event) {
			r := history.AcquireAllResult{}
			if a.problem != nil {
				r.HeldBy = map[string]history.Hold{}
				for _, held := range a.problem.Held {
					one := history.Hold{}
					if held.Holder != nil {
						one.Session, one.Fence = held.Holder.Session, held.Holder.Fence
					}
					r.HeldBy[held.Name] = one
				}
			} else {
				r.Fences = map[string]uint64{}
				for _, g := range read[api.Grants](a, e).Locks {
					r.Fences[g.Name] = g.Fence
				}
			}
			e.Result = r
		},
	})
}

// yield asks whoever holds a lock to let go, mostly within a time.
func (h *holder) yield(ctx context.Context, name string) history.Event {
	within := time.Duration(h.dice.IntN(4)) * 100 * time.Millisecond
	body := api.AskYield{}
	if within > 0 {
		body.Within = within.String()
	}
	return h.do(ctx, call{
		f: history.Yield, key: name, args: history.YieldArgs{Within: int64(within)}, method: http.MethodPost,
		path: "locks/" + client.EscapeName(name) + ":yield", body: fill(body),
	})
}

// handover is the workload of elections whose leaders publish again and hand over.
func handover(ctx context.Context, w *worker) {
	h := &holder{worker: w, shape: shape{prefix: "hand/", election: true}, beat: w.aide("keepalive"), names: &rota{prefix: "hand/", width: 1, calls: 20, every: 2 * lifeTime}}
	h.terms(ctx, h.handoverTurn)
}

// handoverTurn campaigns, and leads for a while.
func (h *holder) handoverTurn(ctx context.Context) bool {
	name := h.names.next(h.worker)
	if h.dice.IntN(4) == 0 { // somebody who does not lead hands over
		return h.pass(ctx, name, 0)
	}
	got := h.acquire(ctx, name, time.Second)
	if got.Kind == history.Info || over(got) {
		return false
	}
	if got.Kind != history.OK {
		h.look(ctx, name)
		return true
	}
	h.pause(ctx, 60*time.Millisecond)
	if h.dice.IntN(2) == 0 {
		value := fmt.Sprintf("v%d", h.unique())
		e := h.do(ctx, call{
			f: history.Proclaim, key: name, session: h.session, args: history.ProclaimArgs{Fence: got.Fence, Value: value}, method: http.MethodPatch,
			path: h.path(name), header: map[string]string{"If-Match": api.FormatETag(got.Fence)}, body: fill(api.Proclaim{Value: value}),
			says: func(_ *answer, e *history.Event) { e.Fence = got.Fence },
		})
		if e.Kind == history.Info {
			return false
		}
	}
	h.look(ctx, name)
	h.pause(ctx, 60*time.Millisecond)
	if h.dice.IntN(2) == 0 {
		return h.pass(ctx, name, got.Fence)
	}
	return h.release(ctx, name, got.Fence).Kind != history.Info
}

// pass looks who waits for an election, and hands the lead to the last of them: in a
// term, or in whichever there is if it is 0.
func (h *holder) pass(ctx context.Context, name string, term uint64) bool {
	heir := h.session // who leads already, or is none
	h.do(ctx, call{
		f: history.Holder, key: name, method: http.MethodGet, path: h.path(name), missing: api.CodeLockUnknown,
		says: func(a *answer, e *history.Event) {
			r := history.HolderResult{Holders: []history.Hold{}}
			if a.problem == nil {
				seen := read[api.Election](a, e)
				if l := seen.Leader; l != nil {
					r.Holders = append(r.Holders, history.Hold{Session: l.Session, Fence: l.Term, Value: l.Value})
				}
				if n := len(seen.Candidates); n > 0 {
					heir = seen.Candidates[n-1].Session
				}
			}
			e.Result = r
		},
	})
	var header map[string]string
	if term != 0 {
		header = map[string]string{"If-Match": api.FormatETag(term)}
	}
	e := h.do(ctx, call{
		f: history.Transfer, key: name, args: history.TransferArgs{Fence: term, To: heir}, method: http.MethodPost,
		path: h.path(name) + ":transfer", header: header, body: fill(api.Transfer{To: heir}),
		says: func(a *answer, e *history.Event) {
			if a.problem == nil {
				t := read[api.Term](a, e)
				e.Session, e.Fence = t.Session, t.Term
			}
		},
	})
	return e.Kind != history.Info
}

// over reports whether an answer tells that the session is.
func over(e history.Event) bool {
	return e.Code == string(api.CodeSessionExpired) || e.Code == string(api.CodeSessionUnknown)
}

// fences advances, reads and forgets the registers of fences of a few resources.
func fences(ctx context.Context, w *worker) {
	names := &rota{prefix: "thing/", width: 2, calls: lifeCalls, every: lifeTime}
	highest := map[string]uint64{}
	for ctx.Err() == nil {
		name := names.next(w)
		at := "fences/" + client.EscapeName(name)
		says := func(a *answer, e *history.Event) {
			r := history.FenceResult{}
			switch {
			case a.problem == nil && a.status != http.StatusNoContent:
				r.Highest = read[api.Highest](a, e).Highest
			case a.problem != nil && a.problem.CurrentFence != nil:
				r.Highest = *a.problem.CurrentFence
			}
			e.Result = r
			highest[name] = r.Highest
		}
		args := history.FenceArgs{Fence: max(1, highest[name]+uint64(w.dice.IntN(8))-min(highest[name], 3))}
		switch d := w.dice.IntN(10); {
		case d < 5:
			w.do(ctx, call{f: history.Advance, key: name, args: args, method: http.MethodPut, path: at, body: fill(api.Fence(args)), says: says})
		case d < 9:
			w.do(ctx, call{f: history.GetFence, key: name, method: http.MethodGet, path: at, missing: api.CodeKeyNotFound, says: says})
		case highest[name] > 0:
			args.Fence = highest[name]
			w.do(ctx, call{
				f: history.ForgetFence, key: name, args: args, method: http.MethodDelete, path: at,
				header: map[string]string{"If-Match": api.FormatETag(args.Fence)}, says: says,
			})
		}
		w.pause(ctx, 30*time.Millisecond)
	}
}
