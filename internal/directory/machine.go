package directory

import (
	"errors"
	"hash/fnv"
	"sync"
	"time"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

// A Machine is the state machine of group main: a directory beside another machine,
// which gets every command that is not the directory's.
type Machine struct {
	inner replica.Machine

	mu          sync.Mutex    // guards all below; whoever holds it is brief
	view        *View         // replicated; once shared it is not changed any more
	shared      bool          // somebody may hold view
	changed     chan struct{} // is closed when view is replaced; nil if nobody asked
	requests    map[string]paxos.GroupID
	unsupported error
}

// New returns a machine with an empty directory, in which there is main alone, around
// inner.
func New(inner replica.Machine) *Machine {
	m := &Machine{inner: inner}
	m.become(start())
	return m
}

// View returns the present state. Safe for concurrent use.
func (m *Machine) View() *View {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shared = true
	return m.view
}

// Changed returns a channel that is closed when View returns another state than v.
// Safe for concurrent use.
func (m *Machine) Changed(v *View) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v != m.view {
		done := make(chan struct{})
		close(done)
		return done
	}
	if m.changed == nil {
		m.changed = make(chan struct{})
	}
	return m.changed
}

// Unsupported returns an error once the log has held a command of the directory that
// only a newer version knows, or what the inner machine's method of that name returns,
// if it has one. The effect of the command is missing here, so the node must stop.
func (m *Machine) Unsupported() error {
	m.mu.Lock()
	err := m.unsupported
	m.mu.Unlock()
	if in, ok := m.inner.(interface{ Unsupported() error }); ok && err == nil {
		return in.Unsupported()
	}
	return err
}

// Hash returns a hash of the directory, without the inner machine: equal on nodes that
// have applied the same commands. It costs as much as a snapshot.
func (m *Machine) Hash() uint64 {
	h := fnv.New64a()
	h.Write(m.View().encode())
	return h.Sum64()
}

// Apply implements [replica.Machine]. What it returns for a command of the directory
// is for [DecodeResult].
func (m *Machine) Apply(slot paxos.Slot, cmd []byte, now time.Duration) []byte {
	if !Is(cmd) {
		return m.inner.Apply(slot, cmd, now)
	}
	c, err := decode(cmd)
	m.mu.Lock()
	defer m.mu.Unlock()
	var r Result
	if err != nil {
		if _, ok := errors.AsType[*UnsupportedError](err); ok && m.unsupported == nil {
			m.unsupported = err
		}
		r = Result{Code: Unreadable, Detail: err.Error()}
	} else {
		r = m.apply(c)
	}
	if r.Version == 0 {
		r.Version = m.view.Version
	}
	return r.encode()
}

// own returns a state that nobody else sees, to be changed, and makes it the present
// one. It wakes those who wait for a change.
func (m *Machine) own() *View {
	if m.shared {
		m.view, m.shared = m.view.clone(), false
	}
	if m.changed != nil {
		close(m.changed)
		m.changed = nil
	}
	m.view.Version++
	return m.view
}

// become makes v, which nobody else sees, the state.
func (m *Machine) become(v *View) {
	m.view, m.shared = v, false
	if m.changed != nil {
		close(m.changed)
		m.changed = nil
	}
	m.requests = map[string]paxos.GroupID{}
	for _, g := range v.byID {
		if g.Request != "" {
			m.requests[g.Request] = g.ID
		}
	}
}

// Applied implements [replica.Machine].
func (m *Machine) Applied(slot paxos.Slot) { m.inner.Applied(slot) }

// Lead implements [replica.Machine].
func (m *Machine) Lead(b synod.Ballot, now time.Duration) [][]byte { return m.inner.Lead(b, now) }

// Follow implements [replica.Machine].
func (m *Machine) Follow() { m.inner.Follow() }

// Ask implements [replica.Machine]. All questions are the inner machine's.
func (m *Machine) Ask(req []byte, now time.Duration) []byte { return m.inner.Ask(req, now) }
