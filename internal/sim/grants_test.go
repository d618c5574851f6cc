package sim

import (
	"iter"
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"
	"github.com/prytany/prytany/internal/sim/audit"
	"github.com/prytany/prytany/internal/sim/workload"
	"github.com/prytany/prytany/locks"
)

// A sighting is what a client was told at one moment of who holds a lock.
type sighting struct {
	holders []audit.Hold
	mode    sightMode
	at      uint64 // whole: no other grant with a fence up to this one is current
	over    bool   // the one holder has just let go
	wrong   bool   // so many cannot hold it together
}

// A sightMode says what is known of a holder that was seen.
type sightMode uint8

const (
	sawOne    sightMode = iota // some holder; others may hold the lock, too
	sawReader                  // the same, and it shares: no writer holds the lock
	sawWhole                   // all holders there are
)

// A lockValue is what clients can know of a lock.
type lockValue struct {
	high  uint64       // of grants with fences up to this one, only those in alive may be current
	alive []audit.Hold // may be current
	over  []audit.Hold // are not, with higher fences
}

// grants says that a grant that is over does not come back, that who has a lock
// for itself is alone with it, and that fences rise. Grants may end and begin at
// any moment, unseen.
var grants = porcupine.Model{
	Init: func() any { return lockValue{} },
	Step: func(state, in, _ any) (bool, any) {
		return state.(lockValue).step(in.(sighting))
	},
	Equal: func(x, y any) bool {
		a, b := x.(lockValue), y.(lockValue)
		return a.high == b.high && slices.Equal(a.alive, b.alive) && slices.Equal(a.over, b.over)
	},
}

func isGrant(h audit.Hold) func(audit.Hold) bool {
	return func(o audit.Hold) bool { return o.Session == h.Session && o.Fence == h.Fence }
}

func (s lockValue) step(v sighting) (bool, lockValue) {
	if v.wrong {
		return false, s
	}
	for _, h := range v.holders {
		i := slices.IndexFunc(s.alive, isGrant(h))
		switch {
		case h.Fence <= s.high && i < 0, slices.ContainsFunc(s.over, isGrant(h)):
			return false, s
		case i >= 0 && v.mode != sawOne && s.alive[i].Shared && !h.Shared:
			return false, s // an upgrade has a new fence
		}
	}
	if v.mode == sawWhole {
		high := max(s.high, v.at)
		return true, lockValue{high, v.holders, without(s.over, func(h audit.Hold) bool { return h.Fence <= high })}
	}
	h := v.holders[0]
	switch {
	case v.over:
		s.alive = without(s.alive, isGrant(h))
		if h.Fence > s.high {
			s.over = sorted(append(slices.Clone(s.over), h))
		}
	case v.mode == sawReader:
		s.alive = sorted(append(without(s.alive, func(o audit.Hold) bool { return !o.Shared || isGrant(h)(o) }), h))
	}
	return true, s
}

func without(hs []audit.Hold, which func(audit.Hold) bool) []audit.Hold {
	return slices.DeleteFunc(slices.Clone(hs), which)
}

// sorted puts grants in an order that does not tell how they came together.
func sorted(hs []audit.Hold) []audit.Hold {
	slices.SortFunc(hs, func(x, y audit.Hold) int {
		if x.Fence != y.Fence {
			return int(x.Fence) - int(y.Fence)
		}
		return strings.Compare(x.Session, y.Session)
	})
	return hs
}

// sighted yields what p tells of each lock.
func sighted(p *workload.Record) iter.Seq2[string, sighting] {
	return func(yield func(string, sighting) bool) {
		r := p.Result
		if p.Kind == workload.All {
			items, _ := locks.DecodeHeld(r.Body)
			for _, i := range items {
				h := audit.Hold{Session: i.Holder.Session, Fence: i.Holder.Fence}
				v := sighting{holders: []audit.Hold{h}, mode: sawWhole, at: r.Revision}
				if r.Refused {
					v.mode = sawOne
				}
				if h.Session != "" && !yield(i.Name, v) {
					return
				}
			}
			return
		}
		if v, ok := sight(p); ok {
			yield(p.Name, v)
		}
	}
}

// sight returns what p tells of its lock, if it tells anything.
func sight(p *workload.Record) (v sighting, ok bool) {
	r := p.Result
	switch {
	case p.Kind == workload.Look:
		l := p.Seen.Lock
		return sighting{holders: bare(l.Holders), mode: sawWhole, at: p.Seen.At, wrong: tooMany(l)}, true
	case r.Refused && p.Kind == workload.Cancel:
		return v, false // a later one repeats what the first was told, whoever has the lock now
	case r.Refused && r.Code == locks.LockHeld && r.Holder.Session != "":
		return sighting{holders: []audit.Hold{{Session: r.Holder.Session, Fence: r.Holder.Fence}}}, true
	case r.Refused || r.Queued:
		return v, false
	}
	h := audit.Hold{Session: r.Session, Fence: r.Fence, Shared: r.Shared}
	v = sighting{holders: []audit.Hold{h}, at: r.Revision}
	switch p.Kind {
	case workload.Acquire, workload.Campaign, workload.Borrow, workload.Cancel, workload.Proclaim, workload.Transfer:
		if r.Shared {
			v.mode = sawReader
		} else if r.Slots <= 1 {
			v.mode = sawWhole
		}
	case workload.Yield:
	case workload.Release:
		v.over = true
	case workload.Break: // whoever is next has this revision as fence
		return sighting{mode: sawWhole, at: r.Revision - 1}, true
	default:
		return v, false
	}
	return v, true
}

// tooMany reports whether more hold a lock than may: more than it has slots, and
// not all of them to read.
func tooMany(l audit.LockState) bool {
	writes := func(h audit.Hold) bool { return !h.Shared }
	return len(l.Holders) > max(l.Slots, 1) && slices.ContainsFunc(l.Holders, writes)
}

// bare leaves out of holders what grants do not look at.
func bare(holders []audit.Hold) (out []audit.Hold) {
	for _, h := range holders {
		out = append(out, audit.Hold{Session: h.Session, Fence: h.Fence, Shared: h.Shared})
	}
	return sorted(out)
}

func one(session string, fence uint64) sighting {
	return sighting{holders: []audit.Hold{{Session: session, Fence: fence}}, mode: sawWhole, at: fence}
}

func reader(session string, fence uint64) sighting {
	return sighting{holders: []audit.Hold{{Session: session, Fence: fence, Shared: true}}, mode: sawReader}
}

func slot(session string, fence uint64) sighting {
	return sighting{holders: []audit.Hold{{Session: session, Fence: fence}}}
}

func gone(session string, fence uint64) sighting {
	v := slot(session, fence)
	v.over = true
	return v
}

func all(at uint64, session string, fence uint64) sighting {
	v := one(session, fence)
	v.at = at
	return v
}
