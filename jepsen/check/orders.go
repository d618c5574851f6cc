package check

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/jepsen/model"
	"github.com/prytany/prytany/jepsen/ops"
	"github.com/prytany/prytany/jepsen/verdict"
	"github.com/prytany/prytany/locks"
)

// otherOrder is otherwise for what is asked of several locks, of holders, of leaders and
// of the registers of fences. kind is what the command is called.
func otherOrder(o *ops.Op, cmd locks.Command) (kind, bad string, err error) {
	differ := func(what string, is, asked any) {
		if bad == "" && is != asked {
			bad = fmt.Sprintf("%s is %v there, and %v was asked for", what, is, asked)
		}
	}
	fence := func(f, resource string, is uint64) {
		a, e := history.Decode[history.FenceArgs](o.Args)
		kind, err = f, e
		differ("the resource", resource, o.Key)
		differ("the fence", is, a.Fence)
	}
	switch c := cmd.(type) {
	case *locks.AcquireAllCommand:
		a, e := history.Decode[history.AcquireAllArgs](o.Args)
		kind, err = history.AcquireAll, e
		differ("the list of locks", strings.Join(c.Locks, " "), strings.Join(a.Locks, " "))
		differ("the session", c.Session, o.Session)
	case *locks.YieldCommand:
		a, e := history.Decode[history.YieldArgs](o.Args)
		kind, err = history.Yield, e
		differ("the lock", c.Lock, o.Key)
		differ("the time", int64(c.Within), a.Within)
	case *locks.ProclaimCommand:
		a, e := history.Decode[history.ProclaimArgs](o.Args)
		kind, err = history.Proclaim, e
		differ("the election", c.Lock, o.Key)
		differ("the term", c.Fence, a.Fence)
		differ("the value", c.Value, a.Value)
	case *locks.TransferCommand:
		a, e := history.Decode[history.TransferArgs](o.Args)
		kind, err = history.Transfer, e
		differ("the election", c.Lock, o.Key)
		differ("the term", c.Fence, a.Fence)
		differ("the heir", c.To, a.To)
	case *locks.AdvanceCommand:
		fence(history.Advance, c.Resource, c.Fence)
	case *locks.ForgetFenceCommand:
		fence(history.ForgetFence, c.Resource, c.Fence)
	}
	return kind, bad, err
}

// mistoldOrder is mismatch for them: differ notes what is otherwise in the log.
func mistoldOrder(o *ops.Op, a model.Answer, differ func(what string, got, want any)) error {
	switch o.F {
	case history.Transfer:
		differ("session", o.Session, a.Session)
		differ("fence", o.Fence, a.Fence)
	case history.Proclaim:
		differ("fence", o.Fence, a.Fence)
	case history.Advance:
		r, err := history.Decode[history.FenceResult](o.Result)
		differ("highest fence", r.Highest, a.Fence)
		return err
	case history.AcquireAll:
		r, err := history.Decode[history.AcquireAllResult](o.Result)
		differ("number of locks", len(r.Fences), len(a.All))
		for name, fence := range r.Fences {
			differ("fence of "+name, fence, a.All[name].Fence)
		}
		return err
	}
	return nil
}

// sameWhy reports whether a refusal of one of them tells what was in the way.
func sameWhy(o *ops.Op, a model.Answer) bool {
	switch o.F {
	case history.Advance, history.ForgetFence:
		r, err := history.Decode[history.FenceResult](o.Result)
		return err == nil && r.Highest == a.Current
	case history.AcquireAll:
		if o.Code != string(api.CodeLockHeld) {
			return true
		}
		r, err := history.Decode[history.AcquireAllResult](o.Result)
		same := err == nil && len(r.HeldBy) == len(a.All)
		for name, h := range r.HeldBy {
			g, held := a.All[name]
			same = same && held && h.Session == g.Session && h.Fence == g.Fence
		}
		return same
	}
	return true
}

// yielded is the part of L4 that is about those who were asked to let go: none is made
// to before the time that it was given, counted from when it was asked.
func (f *facts) yielded(c *verdict.Check) {
	asked := map[uint64]*ops.Op{} // by revision
	for _, o := range f.h.Ops {
		if o.F == history.Yield && o.Kind == history.OK && o.Revision != 0 {
			asked[o.Revision] = o
		}
	}
	latest := map[string][]yield{} // requests to each lock, with the time they give
	for _, ch := range f.changes {
		for i := range ch.Events {
			e := &ch.Events[i]
			if e.Type == locks.EventYield && e.Within > 0 {
				latest[e.Name] = append(latest[e.Name], yield{ch.Revision, e.Within, asked[ch.Revision]})
			}
			if e.Type == locks.EventUnlock && strings.HasPrefix(e.Reason, locks.ReasonYielded) {
				c.Counts["yielded"]++
				f.tooSoon(c, e, ch.Revision, latest[e.Name])
			}
		}
	}
}

// A yield is a request at a revision, and the call that made it if that is known.
type yield struct {
	revision uint64
	within   time.Duration
	op       *ops.Op
}

// tooSoon looks whether the end of a grant by yielding may have come by then: some
// request that came after the grant must have given no more time than has passed.
func (f *facts) tooSoon(c *verdict.Check, e *locks.Event, revision uint64, requests []yield) {
	at, known := f.knownBy(revision)
	if !known || f.wild {
		return
	}
	var who []verdict.About
	for _, y := range slices.Backward(requests) {
		if y.revision < e.Fence {
			break
		}
		if y.op == nil || at >= y.op.Call+time.Duration(float64(y.within)*(1-f.h.Run.Drift)) {
			return
		}
		who = append(who, about(y.op))
	}
	c.Fail(fmt.Sprintf("the grant of %s with fence %d had ended by %v for who asked it to yield, and was given more time", e.Name, e.Fence, at), who...)
}
