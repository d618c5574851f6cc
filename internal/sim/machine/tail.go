package machine

import "github.com/prytany/prytany/locks"

// A Tail reads what a machine tells of the log as that grows. All that it tells,
// and that it tells nothing, must be so by the account.
type Tail struct {
	Told      uint64 // everything up to this revision is told
	what      string
	matters   func(*locks.Event) bool
	subscribe func(locks.View) (locks.Ring, func())
	ring      locks.Ring // rings at the first change that matters after Told
	stop      func()
}

// NewTail returns a tail that tells of what matters after revision since; what names it.
func NewTail(what string, since uint64, matters func(*locks.Event) bool, subscribe func(locks.View) (locks.Ring, func())) *Tail {
	return &Tail{Told: since, what: what, matters: matters, subscribe: subscribe, stop: func() {}}
}

// Stop ends t.
func (t *Tail) Stop() { t.stop() }

// Read returns what matters of what is new at r. missed says that the machine no
// longer has all of it; then Told jumps to the present.
func (t *Tail) Read(r *Recorder) (out []locks.Change, missed bool) {
	account := r.audit
	r.Locks.View(func(v locks.View) {
		now := max(v.Meta().Revision, t.Told)
		if t.ring.C != nil && !t.ring.Rung() {
			account.Told(t.what, t.Told, now, nil, t.matters)
			t.Told = now
			return
		}
		if t.ring.C != nil {
			if at := t.ring.At(); at > t.Told {
				account.Told(t.what, t.Told, at-1, nil, t.matters)
				t.Told = at - 1
			}
		}
		changes, oldest := v.Changes(t.Told)
		if r.changes != nil {
			changes = r.changes(changes)
		}
		account.Oldest(r.owner.Who().Name, r.Count, oldest)
		if missed = oldest > t.Told+1; !missed {
			out = t.pick(changes)
			account.Told(t.what, t.Told, now, out, t.matters)
		}
		t.Told = now
		t.stop()
		t.ring, t.stop = t.subscribe(v)
	})
	return out, missed
}

// pick returns what matters of changes.
func (t *Tail) pick(changes []*locks.Change) (out []locks.Change) {
	for _, c := range changes {
		var events []locks.Event
		for i := range c.Events {
			if t.matters(&c.Events[i]) {
				events = append(events, c.Events[i])
			}
		}
		if len(events) > 0 {
			out = append(out, locks.Change{Revision: c.Revision, Events: events})
		}
	}
	return out
}
