package linear

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/jepsen/ops"
)

// each takes a call for several locks apart: what it says about each lock is judged
// with that lock. That they are granted together is for the certificate to see.
func each(o *ops.Op) (out []*ops.Op) {
	if o.F != history.AcquireAll {
		return []*ops.Op{o}
	}
	one := func(lock string, fence uint64, r history.AcquireResult) {
		c := *o
		c.F, c.Key, c.Fence, c.Args, c.Result = history.Acquire, lock, fence, history.AcquireArgs{}, r
		out = append(out, &c)
	}
	a, _ := history.Decode[history.AcquireAllArgs](o.Args)
	r, _ := history.Decode[history.AcquireAllResult](o.Result)
	for _, lock := range a.Locks {
		held := r.HeldBy[lock]
		switch {
		case o.Kind == history.OK:
			one(lock, r.Fences[lock], history.AcquireResult{})
		case o.Kind == history.Info, o.Code == string(api.CodeSessionExpired):
			one(lock, 0, history.AcquireResult{})
		case held.Session != "": // one that is only waited for says nothing about holders
			one(lock, 0, history.AcquireResult{HeldBy: []history.Hold{held}})
		}
	}
	return out
}

// order does what s asks of holders and leaders: whether it can be, and the state after.
func (l lock) order(k kind, s step) (bool, lock) {
	o := s.op
	switch o.F {
	case history.Yield:
		if s.ends {
			return true, l.dismissed(s)
		}
		return o.Kind == history.Info || (len(l.holds) > 0) == (o.Kind == history.OK), l.ask(s)
	case history.Proclaim:
		return l.proclaim(k, o)
	case history.Transfer:
		return l.transfer(k, o)
	}
	return true, l
}

// mark is how a hold notes that it was asked to let go.
func (s step) mark() string { return fmt.Sprintf("<%d>", s.op.Seq) }

// ask notes of all who hold l that s has asked them to let go after a while.
func (l lock) ask(s step) lock {
	if a, _ := history.Decode[history.YieldArgs](s.op.Args); a.Within == 0 {
		return l
	}
	l.holds = slices.Clone(l.holds)
	for i := range l.holds {
		l.holds[i].asked += s.mark()
	}
	return l
}

// dismissed is l after the time to let go is over, for one session or for all: of grants
// that there were when it was asked, and none that came later.
func (l lock) dismissed(s step) lock {
	l.holds = slices.DeleteFunc(slices.Clone(l.holds), func(h hold) bool {
		return strings.Contains(h.asked, s.mark()) && (s.kill == "" || s.kill == h.session)
	})
	return l
}

// term returns the place of the grant that has a fence, or may have it; -1 if none can.
// session is its own if that is known.
func (l lock) term(k kind, fence uint64, session string) int {
	return slices.IndexFunc(l.holds, func(h hold) bool {
		return h.fits(k, fence) && (h.fence != 0 || session == "" || h.session == session)
	})
}

func (l lock) proclaim(k kind, o *ops.Op) (bool, lock) {
	a, _ := history.Decode[history.ProclaimArgs](o.Args)
	i := l.term(k, a.Fence, o.Session)
	switch {
	case o.Kind == history.Fail:
		return i < 0 || l.holds[i].fence == 0, l
	case i < 0:
		return o.Kind == history.Info, l
	}
	h := l.holds[i]
	h.value, h.open = a.Value, false
	return true, l.with(h)
}

func (l lock) transfer(k kind, o *ops.Op) (bool, lock) {
	a, _ := history.Decode[history.TransferArgs](o.Args)
	i, leads := l.term(k, a.Fence, ""), l.find(a.To)
	_, dead := slices.BinarySearch(l.dead, a.To)
	possible := !dead && (a.Fence == 0 || i >= 0) && len(l.holds) <= 1
	next := lock{high: l.high, dead: l.dead, granted: l.granted, told: l.told}.with(hold{session: a.To, fence: o.Fence, open: true})
	switch {
	case o.Kind == history.Fail && o.Code == string(api.CodeStaleFence):
		return i < 0 || l.holds[i].fence == 0, l
	case o.Kind == history.Fail:
		return true, l
	case o.Kind == history.Info && (!possible || leads >= 0):
		return true, l
	case o.Kind == history.Info:
		next.holds[0].fence, next.holds[0].above = 0, l.high
		return true, next
	case leads >= 0: // it led already
		h := l.holds[leads]
		ok := h.fits(k, o.Fence) && (a.Fence == 0 || h.fits(k, a.Fence))
		h.fence = o.Fence
		return ok && !dead, l.with(h)
	}
	return possible && o.Fence > l.high, next
}

// ends adds to p that whoever was asked to let go may lose the lock once the time that
// it was given is over: by one operation if one holds it at a time, else by one for each
// session.
func (s *splitter) ends(p *partition, o *ops.Op, k kind, users []string) {
	a, _ := history.Decode[history.YieldArgs](o.Args)
	if a.Within == 0 || o.Kind == history.Fail {
		return
	}
	from := o.Call + time.Duration(float64(a.Within)*(1-s.h.Run.Drift))
	if s.wild {
		from = o.Call
	}
	if k.slots <= 1 && !k.shared {
		users = []string{""}
	}
	for _, session := range users {
		p.span(step{op: o, kill: session, ends: true}, len(s.h.Ops)+1, from, ops.Never)
	}
}

// A register of fences: the highest that a resource has seen, 0 if none.
func fenceStep(highest uint64, s step) (bool, uint64) {
	o := s.op
	a, _ := history.Decode[history.FenceArgs](o.Args)
	r, _ := history.Decode[history.FenceResult](o.Result)
	switch {
	case o.F == history.GetFence:
		return r.Highest == highest, highest
	case o.F == history.Advance && o.Kind == history.Fail:
		return a.Fence < highest && r.Highest == highest, highest
	case o.F == history.Advance && a.Fence < highest:
		return s.perhaps, highest
	case o.F == history.Advance:
		return s.perhaps || r.Highest == a.Fence, a.Fence
	case o.Kind == history.Fail: // to forget
		return (highest != a.Fence || highest == 0) && r.Highest == highest, highest
	case highest != a.Fence || highest == 0:
		return s.perhaps, highest
	}
	return true, 0
}

// fences makes a partition of each register of fences.
func (s *splitter) fences() []*partition {
	parts := map[string]*partition{}
	for _, o := range s.h.Ops {
		switch o.F {
		case history.Advance, history.ForgetFence:
			if o.Kind == history.Fail && o.Code != string(api.CodeStaleFence) {
				continue
			}
		case history.GetFence:
			if o.Kind != history.OK {
				continue
			}
		default:
			continue
		}
		if parts[o.Key] == nil {
			parts[o.Key] = &partition{name: o.Key, model: porcupine.Model{
				Init:              func() any { return uint64(0) },
				Step:              func(state, input, _ any) (bool, any) { return fenceStep(state.(uint64), input.(step)) },
				DescribeOperation: func(in, _ any) string { return in.(step).String() },
				DescribeState:     func(s any) string { return fmt.Sprintf("highest %d", s) },
			}}
		}
		parts[o.Key].add(o)
	}
	return group(parts)
}
