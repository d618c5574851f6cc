package ops

import (
	"cmp"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/jepsen/history"
)

// A Life is what a history tells of one session.
type Life struct {
	ID      string
	TTL     time.Duration
	Opened  *Op           // nil if nobody was told of it
	AtLeast time.Duration // no lease that was acknowledged ends before
	Renewed *Op           // the call that says so; nil if there is none
	Last    time.Duration // end of the last call that may have renewed the lease
	Closed  *Op           // the first call that may have ended it at its owner's wish, if one may
	Told    *Op           // the first answer that says that it is over
}

// About returns the session that o is about, "" if it is about none.
func (o *Op) About() string {
	if o.Session == "" && (o.F == history.KeepAlive || o.F == history.CloseS) {
		return o.Key
	}
	return o.Session
}

// Lives collects what a history tells of sessions, by their ids. rho is how much
// slower a clock may run than it should.
func Lives(h *History, rho float64) map[string]*Life {
	out := map[string]*Life{}
	for _, o := range h.Ops {
		id := o.About()
		if id == "" || !o.Service() {
			continue
		}
		l := out[id]
		if l == nil {
			l = &Life{ID: id, TTL: h.Run.TTL}
			out[id] = l
		}
		if o.F == history.Open || o.F == history.KeepAlive || o.F == history.Acquire || o.F == history.AcquireAll {
			l.Last = max(l.Last, o.Ended)
		}
		if o.F == history.CloseS && o.Kind != history.Fail && l.Closed == nil {
			l.Closed = o
		}
		if o.IsOver() && (l.Told == nil || o.End < l.Told.End) {
			l.Told = o
		}
		if ttl := renewal(o, l.TTL); ttl > 0 {
			if o.F == history.Open {
				l.Opened, l.TTL = o, ttl
			}
			if at := o.Call + time.Duration(float64(ttl)*(1-rho)); at > l.AtLeast {
				l.AtLeast, l.Renewed = at, o
			}
		}
	}
	return out
}

// renewal returns how long the lease lasts, counted from when o was sent, if o is an
// acknowledged renewal; else 0. A grant of a lock may be one, too, and nobody is told
// whether it was.
func renewal(o *Op, ttl time.Duration) time.Duration {
	if o.Kind != history.OK {
		return 0
	}
	switch o.F {
	case history.Open:
		r, _ := history.Decode[history.OpenResult](o.Result)
		return cmp.Or(time.Duration(r.TTL), ttl)
	case history.KeepAlive:
		r, _ := history.Decode[history.KeepAliveResult](o.Result)
		return cmp.Or(time.Duration(r.TTL), ttl)
	}
	return 0
}

// IsOver reports whether o tells that its session is over.
func (o *Op) IsOver() bool {
	return o.Kind == history.Fail && o.Code == string(api.CodeSessionExpired) || o.Kind == history.OK && o.F == history.CloseS
}
