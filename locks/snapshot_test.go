package locks

import (
	"testing"

	"github.com/prytany/prytany/locks/internal/history"
)

// What commands cannot make of a state is not restored, since the machine counts
// on it. The lock is held by the readers a and b, c and d wait, a and b are asked
// to yield.
func TestUnsoundSnapshotsAreRefused(t *testing.T) {
	of := func(m *Machine, name string) *lock {
		l, _ := m.locks.Get(name)
		return l
	}
	tests := []struct {
		name string
		harm func(m *Machine, l *lock)
	}{
		{"a writer among readers", func(m *Machine, l *lock) { l.holders[0].shared = false }},
		{"slots for readers", func(m *Machine, l *lock) { l.slots = 2 }},
		{"no slots", func(m *Machine, l *lock) { of(m, "slots").slots = 0 }},
		{"more holders than slots", func(m *Machine, l *lock) {
			s := of(m, "slots")
			s.holders = append(s.holders, &grant{lock: s, session: l.waiters[0].session, fence: m.revision})
		}},
		{"two writers", func(m *Machine, l *lock) { of(m, "slots").slots = 1 }},
		{"a reader leads", func(m *Machine, l *lock) { l.holders[0].elected = true }},
		{"a value without election", func(m *Machine, l *lock) { l.holders[0].value = "v" }},
		{"no fence", func(m *Machine, l *lock) { l.holders[0].fence = 0 }},
		{"fences out of order", func(m *Machine, l *lock) { l.holders[0].fence = l.holders[1].fence + 1 }},
		{"a fence of the future", func(m *Machine, l *lock) { l.holders[1].fence = m.revision + 1 }},
		{"a change of the future", func(m *Machine, l *lock) { l.changed = m.revision + 1 }},
		{"held twice by one", func(m *Machine, l *lock) { l.holders[1].session = l.holders[0].session }},
		{"a holder waits", func(m *Machine, l *lock) { l.waiters[0].session = l.holders[0].session }},
		{"a stranger holds", func(m *Machine, l *lock) { l.holders[0].session = &session{id: "x"} }},
		{"a stranger waits", func(m *Machine, l *lock) { l.waiters[0].session = &session{id: "x"} }},
		{"a stranger's entry", func(m *Machine, l *lock) { m.entries.Set("k", &Entry{Key: "k", Session: "x"}) }},
		{"idle and in use", func(m *Machine, l *lock) { l.idle = 1 }},
		{"neither", func(m *Machine, l *lock) { of(m, "both").idle = 0 }},
		{"nobody is asked", func(m *Machine, l *lock) { l.yield.since = 1 }},
		{"a time without a request", func(m *Machine, l *lock) { l.yield.since = 0 }},
		{"a delay without a length", func(m *Machine, l *lock) { of(m, "delayed").delayFor = 0 }},
		{"a length without a delay", func(m *Machine, l *lock) { l.delayFor = 1 }},
		{"no name", func(m *Machine, l *lock) { l.name = "" }},
		{"names out of order", func(m *Machine, l *lock) { l.name = "a" }},
		{"no id", func(m *Machine, l *lock) { l.holders[0].session.id = "" }},
		{"alive and over", func(m *Machine, l *lock) { m.ended.Add("a", "", 10) }},
		{"over twice", func(m *Machine, l *lock) { m.ended.Add("late", "", 10) }},
		{"an answer of the future", func(m *Machine, l *lock) { m.own.Get("3").Revision = m.revision + 1 }},
		{"an entry of the future", func(m *Machine, l *lock) { m.entries.Set("k", &Entry{Key: "k", Revision: m.revision + 1}) }},
		{"events of the future", func(m *Machine, l *lock) {
			m.history.Add(&Change{Revision: m.revision + 1, Events: []Event{{Type: EventDelete}}}, 100, 1<<20)
		}},
		{"events out of order", func(m *Machine, l *lock) {
			m.history.Add(&Change{Revision: 1, Events: []Event{{Type: EventDelete}}}, 100, 1<<20)
		}},
		{"a change of nothing", func(m *Machine, l *lock) {
			m.history = history.History{}
			m.history.Add(&Change{Revision: 1}, 100, 1<<20)
		}},
		{"an unknown event", func(m *Machine, l *lock) {
			m.history = history.History{}
			m.history.Add(&Change{Revision: 1, Events: []Event{{Type: NumEventTypes}}}, 100, 1<<20)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := busy(t)
			restored(t, w.m)
			tt.harm(w.m, of(w.m, "shared"))
			data, err := encoded(w.m.Snapshot())
			if err != nil {
				t.Fatal(err)
			}
			m := NewMachine()
			if err := install(m, data); err == nil {
				t.Error("restored")
			}
			if m.Revision() != 0 {
				t.Error("what was refused has left something")
			}
		})
	}
}

// install makes data the state of m.
func install(m *Machine, data []byte) error {
	become, err := m.Restore(data)
	if err == nil {
		become()
	}
	return err
}
