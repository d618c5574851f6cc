//go:build linux

package workload

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/jepsen/history"
)

// Objects live for so many calls of one worker and so long, whichever ends first: with
// six workers that is at most 200 calls to each.
const (
	lifeCalls = 30
	lifeTime  = 4 * time.Second
)

// register works on a few entries at a time.
func register(ctx context.Context, w *worker) {
	keys := &rota{prefix: "reg/", width: 4, calls: lifeCalls, every: lifeTime}
	registers(ctx, w, keys, call{}, 12*time.Millisecond)
}

// retries does, too, with many tries of little patience.
func retries(ctx context.Context, w *worker) {
	keys := &rota{prefix: "retry/", width: 2, calls: lifeCalls, every: lifeTime}
	const tries, patience = 8, 150 * time.Millisecond
	registers(ctx, w, keys, call{tries: tries, perTry: patience}, 20*time.Millisecond)
}

// registers puts, gets, deletes, compares and sets.
func registers(ctx context.Context, w *worker, keys *rota, how call, between time.Duration) {
	seen := map[string]uint64{} // the revisions that it has heard of
	for ctx.Err() == nil {
		key := keys.next(w)
		if len(seen) > 64 {
			clear(seen)
		}
		var e history.Event
		switch d := w.dice.IntN(20); {
		case d < 8:
			e = w.getAs(ctx, key, how)
			if r, ok := e.Result.(history.GetResult); ok {
				seen[key] = r.Revision
			}
		case d < 13:
			e = w.put(ctx, key, nil, how)
		case d < 18:
			r := seen[key]
			e = w.put(ctx, key, &r, how)
		case d < 19:
			e = w.delete(ctx, key, nil, how)
		default:
			r := seen[key]
			if r == 0 {
				continue // a delete of nothing under a condition is refused by the API
			}
			e = w.delete(ctx, key, &r, how)
		}
		switch r := e.Result.(type) {
		case history.PutResult:
			seen[key] = r.Revision + r.Current // one of them is 0
		case history.DeleteResult:
			seen[key] = r.Current
		}
		w.pause(ctx, between)
	}
}

func (w *worker) get(ctx context.Context, key string) history.Event {
	const tries = 10
	return w.getAs(ctx, key, call{tries: tries})
}

func (w *worker) getAs(ctx context.Context, key string, c call) history.Event {
	c.f, c.key, c.method, c.path = history.Get, key, http.MethodGet, "config/"+client.EscapeName(key)
	c.missing = api.CodeKeyNotFound
	c.says = func(a *answer, e *history.Event) {
		if a.problem != nil {
			e.Result = history.GetResult{}
			return
		}
		e.Result = got(read[api.Entry](a, e))
	}
	return w.do(ctx, c)
}

func got(e api.Entry) history.GetResult {
	r := history.GetResult{Found: true, Revision: e.Revision}
	if e.Value != nil {
		r.Value = *e.Value
	}
	return r
}

// condition is the header for a change under a condition.
func condition(ifRevision *uint64) map[string]string {
	switch {
	case ifRevision == nil:
		return nil
	case *ifRevision == 0:
		return map[string]string{"If-None-Match": "*"}
	}
	return map[string]string{"If-Match": api.FormatETag(*ifRevision)}
}

// current is the revision that a refusal tells.
func current(a *answer) uint64 {
	if a.problem == nil || a.problem.CurrentRevision == nil {
		return 0
	}
	return *a.problem.CurrentRevision
}

func (w *worker) put(ctx context.Context, key string, ifRevision *uint64, c call) history.Event {
	value := fmt.Sprintf("v%d", w.unique())
	c.f, c.key, c.args = history.Put, key, history.PutArgs{Value: value, IfRevision: ifRevision}
	c.method, c.path, c.body, c.header = http.MethodPut, "config/"+client.EscapeName(key), []byte(value), condition(ifRevision)
	c.says = func(a *answer, e *history.Event) {
		if a.problem != nil {
			e.Result = history.PutResult{Current: current(a)}
			return
		}
		e.Result = history.PutResult{Revision: read[api.Put](a, e).Revision}
	}
	return w.do(ctx, c)
}

func (w *worker) delete(ctx context.Context, key string, ifRevision *uint64, c call) history.Event {
	c.f, c.key, c.args = history.Delete, key, history.DeleteArgs{IfRevision: ifRevision}
	c.method, c.path, c.header = http.MethodDelete, "config/"+client.EscapeName(key), condition(ifRevision)
	c.says = func(a *answer, e *history.Event) {
		if a.problem != nil {
			e.Result = history.DeleteResult{Current: current(a)}
			return
		}
		e.Result = history.DeleteResult{Revision: number(a.header, api.HeaderRevision)}
	}
	return w.do(ctx, c)
}

// transactions compare and write two or three entries of a small set at once.
func transactions(ctx context.Context, w *worker) {
	sets := &rota{prefix: "txn/", width: 2, calls: lifeCalls, every: lifeTime}
	const members = 3
	for ctx.Err() == nil {
		set := sets.next(w)
		args := history.TxnArgs{}
		if last := w.do(ctx, txn(set, history.TxnArgs{Reads: memberNames(set, members)})); last.Kind == history.OK {
			read, _ := last.Result.(history.TxnResult)
			args.Guards, args.Puts = map[string]uint64{}, map[string]string{}
			for key, r := range read.Read {
				if w.dice.IntN(2) == 0 {
					args.Guards[key] = r.Revision
				}
				if w.dice.IntN(2) == 0 {
					args.Puts[key] = fmt.Sprintf("v%d", w.unique())
				}
			}
		}
		w.pause(ctx, 10*time.Millisecond)
		args.Reads = memberNames(set, members)
		w.do(ctx, txn(set, args))
		w.pause(ctx, 25*time.Millisecond)
	}
}

func memberNames(set string, n int) (keys []string) {
	for i := range n {
		keys = append(keys, fmt.Sprintf("%s/%c", set, 'a'+i))
	}
	return keys
}

// txn is the call of one transaction: guards, then puts, then reads either way.
func txn(set string, args history.TxnArgs) call {
	var t api.Transaction
	for key, revision := range args.Guards {
		t.If = append(t.If, api.If{Key: &key, Revision: &revision})
	}
	for key, value := range args.Puts {
		t.Then = append(t.Then, api.Op{Put: &key, Value: &value})
	}
	for _, key := range args.Reads {
		t.Then, t.Else = append(t.Then, api.Op{Get: &key}), append(t.Else, api.Op{Get: &key})
	}
	return call{
		f: history.Txn, key: set, args: args, method: http.MethodPost, path: "transactions", body: fill(t),
		says: func(a *answer, e *history.Event) {
			if a.problem != nil {
				return
			}
			done := read[api.Transacted](a, e)
			r := history.TxnResult{Done: done.Succeeded, Revision: done.Revision, Read: map[string]history.GetResult{}}
			for _, one := range done.Results {
				if one.Op != "get" {
					continue
				}
				r.Read[one.Key] = history.GetResult{}
				if one.Entry != nil {
					r.Read[one.Key] = got(*one.Entry)
				}
			}
			e.Result = r
		},
	}
}

// stuck is a writer who goes where it is served, in the first worker of each process, and
// readers who stay with one node each, whatever that node is cut off from: what a leader
// that was replaced tells, only they hear.
func stuck(ctx context.Context, w *worker) {
	const readers, patience = 3, 400 * time.Millisecond // readers of each process
	keys := &rota{prefix: "stuck/", width: 4, calls: 2 * lifeCalls, every: lifeTime}
	if w.index == 0 {
		for ctx.Err() == nil {
			w.put(ctx, keys.next(w), nil, call{perTry: patience})
			w.pause(ctx, 25*time.Millisecond)
		}
		return
	}
	at := (w.Client*readers + w.index - 1) % len(w.Nodes)
	for ctx.Err() == nil {
		w.at = at
		w.getAs(ctx, keys.next(w), call{perTry: patience})
		w.pause(ctx, 60*time.Millisecond)
	}
}
