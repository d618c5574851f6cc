package audit

import "github.com/prytany/prytany/locks"

// A memory is the answers that the machine still has of one kind of requests. What it
// has forgotten cannot be repeated: whoever asks again is told so, for what he wanted may
// have happened.
type memory struct {
	queue   []remembered
	dropped uint64                   // up to the answer of that revision all are forgotten
	gone    map[string]bool          // requests whose answers are
	late    map[string]*locks.Result // of those that a cancellation has answered since
}

// A remembered answer was first given at a revision.
type remembered struct {
	id       string
	revision uint64
}

func newMemory() memory { return memory{gone: map[string]bool{}, late: map[string]*locks.Result{}} }

// memory returns where the answer to r is.
func (a *Account) memory(r locks.Request) *memory {
	if r.Own {
		return &a.memories[1]
	}
	return &a.memories[0]
}

// known returns the answer to r that the machine has, nil if it has none.
func (a *Account) known(r locks.Request) *locks.Result {
	if m := a.memory(r); m.gone[r.ID] {
		return m.late[r.ID]
	}
	return a.answers[r.ID]
}

// remember takes note of the first answer to r.
func (a *Account) remember(r locks.Request, g *locks.Result) {
	m := a.memory(r)
	m.queue = append(m.queue, remembered{r.ID, uint64(a.count)})
	if m.gone[r.ID] {
		m.late[r.ID] = g
		return
	}
	a.answers[r.ID] = g
}

// forgotten returns what is told to whoever makes request r that is older than what is
// remembered.
func (a *Account) forgotten(r locks.Request) (no locks.Result, ok bool) {
	switch {
	case r.Since >= a.memory(r).dropped:
		return no, false
	case r.Retry:
		return a.stamped(refuse(locks.OutcomeUnknown)), true
	}
	return a.stamped(refuse(locks.Overloaded)), true
}

// forget drops answers.
func (a *Account) forget(c *locks.ForgetCommand) {
	m := a.memory(locks.Request{Own: c.Own})
	for len(m.queue) > 0 && m.queue[0].revision <= c.UpTo {
		x := m.queue[0]
		m.queue = m.queue[1:]
		m.dropped = x.revision
		m.gone[x.id] = true
		delete(m.late, x.id)
		a.Ends.Forgotten++
	}
}
