package locks

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/prytany/prytany/locks/internal/command"
	"github.com/prytany/prytany/locks/internal/history"
)

// applyTxn runs c: all of it, or nothing. Whatever could refuse an operation is
// looked at before the first is done.
func (m *Machine) applyTxn(c *TxnCommand) Result {
	var out TxnResult
	for i := range c.If {
		if current, ok := m.holds(&c.If[i]); !ok {
			out.Failed = append(out.Failed, Failed{Index: i, Current: current})
		}
	}
	out.Succeeded = len(out.Failed) == 0
	steps := c.Then
	if !out.Succeeded {
		steps = c.Else
	}
	if no, ok := m.mayRun(steps); ok {
		return no
	}
	for i := range steps {
		out.Steps = append(out.Steps, m.step(&steps[i]))
	}
	return Result{Body: out.Encode()}
}

// holds reports whether a condition holds, and what it was compared with.
func (m *Machine) holds(c *If) (current uint64, ok bool) {
	e, _ := m.entries.Get(c.Name)
	if e != nil {
		current = e.Revision
	}
	switch c.Kind {
	case command.IfRevision:
		return current, current == c.Revision
	case command.IfExists:
		return current, e != nil
	case command.IfAbsent:
		return current, e == nil
	case command.IfValue:
		return current, e != nil && bytes.Equal(e.Value, c.Value)
	case command.IfAlive:
		_, ok := m.sessions.Get(c.Name)
		return 0, ok
	case command.IfCurrent:
		l, ok := m.locks.Get(c.Name)
		if !ok {
			return 0, false
		}
		if l.current(c.Revision) {
			return c.Revision, true
		}
		return l.newest(), false
	}
	return 0, false
}

// A plan counts what the operations of a transaction would need together. It
// counts on nothing that earlier ones delete.
type plan struct {
	fresh     int              // entries that are made
	more      int              // bytes that the state grows by
	results   int              // bytes that are returned
	deleted   int              // entries deleted by prefix
	ephemeral map[*session]int // new entries of sessions
	values    map[string]int   // bytes of entries that are put
}

// mayRun says why one of the steps cannot be done.
func (m *Machine) mayRun(steps []Op) (Result, bool) {
	p := plan{ephemeral: map[*session]int{}, values: map[string]int{}}
	for i := range steps {
		if no, ok := m.mayDo(&p, &steps[i]); ok {
			no.Step = i + 1
			return no, true
		}
	}
	return Result{}, false
}

// mayDo adds o to p, and says why it cannot be done after what is there.
func (m *Machine) mayDo(p *plan, o *Op) (Result, bool) {
	p.results += len(o.Key) + history.Overhead
	switch o.Kind {
	case command.OpPut:
		if no, ok := m.mayPut(p, o); ok {
			return no, true
		}
	case command.OpGet:
		size, put := p.values[o.Key]
		if e, ok := m.entries.Get(o.Key); ok && !put {
			size = int(e.Size())
		}
		p.results += size
	case command.OpDelete:
	case command.OpDeletePrefix:
		for key := range m.entries.From(o.Key) {
			if !strings.HasPrefix(key, o.Key) || p.deleted > m.bounds.prefix {
				break
			}
			p.deleted++
		}
		if p.deleted > m.bounds.prefix {
			return refused(TooLarge, fmt.Sprintf("a transaction may delete %d entries by prefixes; up to here there are more", m.bounds.prefix)), true
		}
	default:
		return refused(Invalid, "there is no such operation"), true
	}
	if p.results > m.bounds.results {
		return refused(TooLarge, fmt.Sprintf("a transaction may return %d bytes; up to here it would return %d", m.bounds.results, p.results)), true
	}
	return Result{}, false
}

func (m *Machine) mayPut(p *plan, o *Op) (Result, bool) {
	if o.Session != "" {
		s, no := m.alive(o.Session)
		if s == nil {
			return no, true
		}
		if !s.keys[o.Key] {
			p.ephemeral[s]++
		}
		if n := p.ephemeral[s]; n > 0 && s.load()+n > m.bounds.perSession {
			return refused(Overloaded, "the session would have more locks and entries than it may"), true
		}
	}
	size := len(o.Key) + len(o.Value) + len(o.ContentType)
	old := 0
	if e, ok := m.entries.Get(o.Key); ok {
		old = int(e.Size())
	} else {
		p.fresh++
		if no, ok := m.crowded(p.fresh); ok {
			return no, true
		}
	}
	p.values[o.Key] = max(p.values[o.Key], size)
	if size <= old {
		return Result{}, false
	}
	p.more += size - old
	return m.full(p.more)
}

// step does one operation.
func (m *Machine) step(o *Op) Done {
	d := Done{Kind: o.Kind, Key: o.Key}
	e, exists := m.entries.Get(o.Key)
	switch o.Kind {
	case command.OpPut:
		e = &Entry{Key: o.Key, Value: o.Value, ContentType: o.ContentType, Session: o.Session}
		m.write(e)
		d.Revision, d.Created, d.Version, d.Session = e.Revision, e.Created, e.Version, e.Session
	case command.OpGet:
		if exists {
			d.Found, d.Value, d.ContentType = true, e.Value, e.ContentType
			d.Revision, d.Created, d.Version, d.Session = e.Revision, e.Created, e.Version, e.Session
		}
	case command.OpDelete:
		if exists {
			m.drop(o.Key, EventDelete)
			d.Deleted = 1
		}
	case command.OpDeletePrefix:
		for key := range m.entries.From(o.Key) { // of the entries as they are now
			if !strings.HasPrefix(key, o.Key) {
				break
			}
			m.drop(key, EventDelete)
			d.Deleted++
		}
	}
	return d
}
