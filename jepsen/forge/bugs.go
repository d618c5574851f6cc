package forge

import (
	"strings"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/locks"
)

// mistold is the answer to a change, as the service with its bug gives it.
func (w *world) mistold(e history.Event, a answer) answer {
	switch {
	case e.F == history.AcquireAll && a.code == string(api.CodeLockHeld) && w.strike(AllDespiteHeld, 0.5):
		out := history.AcquireAllResult{Fences: map[string]uint64{}}
		for _, name := range e.Args.(history.AcquireAllArgs).Locks {
			out.Fences[name] = a.revision
		}
		a.kind, a.code, a.result = history.OK, "", out
	case e.F == history.Put && a.kind == history.OK && w.strike(FailedApplied, 0.05):
		return answer{kind: history.Fail, code: string(api.CodeOverloaded)}
	case e.F == history.Put && a.kind == history.OK && w.strike(FalseRevision, 0.05):
		a.revision++
		a.result = history.PutResult{Revision: a.revision}
	}
	return a
}

// dropped reports whether a change is acknowledged and dropped.
func (w *world) dropped(e history.Event, done func(locks.Result, uint64)) bool {
	if e.F != history.Put || !w.strike(LostUpdate, 0.05) {
		return false
	}
	w.asks = append(w.asks, func() { done(locks.Result{Revision: w.machine.Revision()}, w.slot) })
	return true
}

// misgranted is the answer to an acquire.
func (w *world) misgranted(e history.Event, a answer) answer {
	before := w.fences[e.Key]
	switch {
	case a.code == string(api.CodeLockHeld) && w.strike(DoubleGrant, 0.3):
		return answer{kind: history.OK, slot: a.slot, revision: a.revision, session: e.Session, fence: a.revision}
	case a.kind == history.OK && len(before) > 1 && w.strike(FenceReuse, 0.3):
		a.fence = before[len(before)-2]
	case a.kind == history.OK && w.stuck[e.Key].Session != "" && w.opts.Bug == ExpiryLeavesHeld:
		w.bugs++
		h := w.stuck[e.Key]
		return answer{
			kind: history.Fail, code: string(api.CodeLockHeld), slot: a.slot, revision: a.revision,
			result: history.AcquireResult{HeldBy: []history.Hold{h}},
		}
	}
	return a
}

// stale is the answer to a read of a register.
func (w *world) stale(key string, a answer) answer {
	got := a.result.(history.GetResult)
	for i := len(w.old) - 1; i >= 0; i-- {
		o := w.old[i]
		if o.key != key || !got.Found || o.entry.Revision == got.Revision || a.revision < o.revision+30 {
			continue
		}
		old := history.GetResult{Found: true, Value: string(o.entry.Value), Revision: o.entry.Revision}
		switch {
		case w.strike(StaleRead, 0.2):
			a.result = old
		case w.strike(ReadIndexReused, 0.2):
			a.result, a.slot, a.revision = old, o.slot, o.revision
		case w.strike(LostAfterInfo, 0.2):
			a.result = history.GetResult{Found: true, Value: w.neverApplied(key, old.Value), Revision: got.Revision}
		}
		break
	}
	return a
}

// neverApplied returns the value of a put of which nobody knows, and which was lost
// before the service had it; that of another if there is none.
func (w *world) neverApplied(key, otherwise string) string {
	known := map[uint64]bool{}
	for _, e := range w.events {
		known[e.Op] = known[e.Op] || e.Kind == history.Info && e.F == history.Put && e.Key == key
	}
	for i := len(w.events) - 1; i >= 0; i-- {
		e := w.events[i]
		if e.Kind == history.Invoke && known[e.Op] {
			return e.Args.(history.PutArgs).Value
		}
	}
	return otherwise
}

// keepHeld notes what a session holds that expires now.
func (w *world) keepHeld(session string) {
	w.machine.View(func(v locks.View) {
		s, _ := v.Session(session, true)
		for _, h := range s.Holds {
			if h.Slots == 1 {
				w.stuck[h.Name] = history.Hold{Session: session, Fence: h.Fence}
			}
		}
	})
}

// expireEarly proposes the end of a session whose lease lasts.
func (w *world) expireEarly() {
	if !w.strike(EarlyExpiry, 0.1) {
		return
	}
	w.machine.View(func(v locks.View) {
		for s := range v.Sessions("") {
			for renewals := range uint64(20) { // only one of them is right
				w.pending = append(w.pending, pending{cmd: &locks.ExpireCommand{Session: s.ID, Ballot: w.ballot, Renewals: renewals}})
			}
			return
		}
	})
}

// A watcher is told of what happens to registers.
type watcher struct {
	w    *world
	id   int
	told uint64 // the service has told everything up to here
	last uint64 // the watcher was told of this
	from uint64
}

func (w *world) watcher() {
	x := &watcher{w: w, from: 1}
	w.procs++
	x.id = w.procs
	w.watch = append(w.watch, x)
	w.after(w.upTo(30*time.Millisecond), x.turn)
}

// turn tells what is new.
func (x *watcher) turn() {
	w := x.w
	var changes []*locks.Change
	var at uint64
	w.machine.View(func(v locks.View) {
		changes, _ = v.Changes(x.told)
		at = v.Meta().Revision
	})
	for _, ch := range changes {
		for i := range ch.Events {
			e := &ch.Events[i]
			types := map[locks.EventType]string{locks.EventPut: api.EventPut, locks.EventDelete: api.EventDelete, locks.EventExpire: api.EventExpire}
			if types[e.Type] == "" || !strings.HasPrefix(e.Name, "k") {
				continue
			}
			r := history.WatchResult{Type: types[e.Type], Key: e.Name, Revision: ch.Revision}
			if e.Entry != nil {
				r.Value = string(e.Entry.Value)
			}
			if w.strike(ToldTooMuch, 0.05) {
				r.Value += "?"
			}
			x.tell(history.OK, r)
		}
	}
	x.told = at
	switch {
	case w.chance(0.1):
		x.tell(history.OK, history.WatchResult{Type: api.EventBookmark, Revision: at})
	case w.chance(0.02):
		x.tell(history.Info, nil) // the connection breaks
		x.from, x.told = x.last+1, x.last
	}
	if w.now < w.end+500*time.Millisecond {
		w.after(w.upTo(60*time.Millisecond), x.turn)
	}
}

func (x *watcher) tell(kind history.Kind, r any) {
	if told, ok := r.(history.WatchResult); ok {
		x.last = max(x.last, told.Revision)
	}
	x.w.record(history.Event{
		Kind: kind, F: history.Watched, Process: x.id, Args: history.WatchArgs{Prefix: "k", From: x.from}, Result: r,
	})
}
