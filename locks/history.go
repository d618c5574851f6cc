package locks

import "slices"

// maxHappened is how many events there is room kept for between commands.
const maxHappened = 1024

// event notes what the present command does.
func (m *Machine) event(e Event) { m.happened = append(m.happened, e) }

// event returns an event of type t about g.
func (g *grant) event(t EventType) Event {
	e := Event{Type: t, Name: g.lock.name, Session: g.session.id, Owner: g.session.owner(), Fence: g.fence}
	if g.shared {
		e.Mode = Shared
	}
	if t == EventLeader {
		e.Value = g.value
	}
	return e
}

// record adds what the present command did to the history, and wakes those who
// watch.
func (m *Machine) record() {
	if len(m.happened) == 0 {
		return
	}
	c := &Change{Revision: m.revision, Events: slices.Clone(m.happened)}
	clear(m.happened)
	m.happened = m.happened[:0]
	if cap(m.happened) > maxHappened {
		m.happened = nil
	}
	m.history.Add(c, m.bounds.changes, m.bounds.eventSize)
	for i := range c.Events {
		m.news.tell(&c.Events[i], m.revision)
	}
}
