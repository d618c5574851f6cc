package locks

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prytany/prytany/locks/internal/command"
)

// A model is the simplest thing that should behave like a Machine: it looks at
// everything at every command. What locks do is in model_locks_test.go, how the
// two are compared in model_check_test.go.
type model struct {
	revision uint64
	sessions map[string]*modelSession
	dead     map[string]bool
	locks    map[string]*modelLock
	entries  map[string]modelEntry
	fences   map[string]uint64
	answers  map[string]Result
	events   []string            // of the present command
	told     map[uint64][]string // of all commands, by revision
}

type modelSession struct {
	renewals uint64
	bound    string
	delay    time.Duration
}

type modelEntry struct {
	value    string
	revision uint64
	created  uint64
	version  uint64
	session  string
}

// What the model is run with: little, so that it is reached.
const (
	modelPast    = 3
	modelChanges = 25
)

func newModel() *model {
	return &model{
		sessions: map[string]*modelSession{}, dead: map[string]bool{}, locks: map[string]*modelLock{},
		entries: map[string]modelEntry{}, fences: map[string]uint64{}, answers: map[string]Result{},
		told: map[uint64][]string{},
	}
}

// alive returns the refusal of a session that is not.
func (m *model) alive(id string) (Result, bool) {
	switch {
	case m.sessions[id] != nil:
		return Result{}, true
	case m.dead[id]:
		return no(SessionExpired), false
	}
	return no(SessionUnknown), false
}

func no(c Code) Result { return Result{Refused: true, Code: c} }

func (m *model) tell(format string, args ...any) {
	m.events = append(m.events, fmt.Sprintf(format, args...))
}

// apply returns the result as essence shows it.
func (m *model) apply(cmd Command) Result {
	m.revision++
	m.events = nil
	var r Result
	if q := command.RequestOf(cmd); q == nil {
		r = m.do(cmd)
	} else if a, ok := m.answers[q.ID]; ok {
		r = a
		r.Repeated = true
	} else {
		r = m.do(cmd)
		m.answers[q.ID] = r
	}
	if len(m.events) > 0 {
		m.told[m.revision] = m.events
	}
	for len(m.told) > modelChanges {
		delete(m.told, slices.Min(slices.Collect(maps.Keys(m.told))))
	}
	return r
}

func (m *model) do(cmd Command) Result {
	switch c := cmd.(type) {
	case *OpenCommand:
		return m.open(c.ID, &modelSession{delay: c.LockDelay})
	case *EndCommand:
		r, ok := m.alive(c.ID)
		if ok {
			m.end(c.ID, "ended")
			r = Result{Session: c.ID}
		}
		return r
	case *ExpireCommand: // generated with the right ballot
		if s := m.sessions[c.Session]; s != nil && s.renewals == c.Renewals {
			m.end(c.Session, "expired")
		}
	case *DelayCommand:
		if l := m.lock(c.Lock); l.delayed != 0 && l.delayed == c.Since {
			l.delayed, l.delayFor = 0, 0
			m.serve(c.Lock)
		}
	case *EndYieldCommand:
		m.endYield(c)
	case *CompactCommand:
		maps.DeleteFunc(m.told, func(r uint64, _ []string) bool { return r <= c.UpTo })
	case *CancelCommand:
		return m.cancel(c)
	case *AcquireCommand:
		return m.acquire(c)
	case *AcquireAllCommand:
		return m.acquireAll(c)
	case *ReleaseCommand:
		return m.release(c)
	case *YieldCommand:
		return m.yield(c)
	case *ProclaimCommand:
		return m.proclaim(c)
	case *TransferCommand:
		return m.transfer(c)
	case *AdvanceCommand:
		if highest := m.fences[c.Resource]; c.Fence < highest {
			return Result{Refused: true, Code: StaleFence, Current: highest}
		}
		m.fences[c.Resource] = c.Fence
		return Result{Fence: c.Fence}
	case *ForgetFenceCommand:
		if highest, ok := m.fences[c.Resource]; !ok || c.Fence != highest {
			return Result{Refused: true, Code: StaleFence, Current: highest}
		}
		delete(m.fences, c.Resource)
		return Result{Fence: c.Fence}
	case *PutCommand:
		return m.put(c)
	case *DeleteCommand:
		if r := m.admit(c.Key, c.IfRevision, c.Guard); r.Refused {
			return r
		}
		m.remove(c.Key, "delete")
	case *TxnCommand:
		return m.txn(c)
	}
	return Result{}
}

func (m *model) open(id string, s *modelSession) Result {
	if m.dead[id] {
		return no(SessionExpired)
	}
	if m.sessions[id] == nil {
		m.sessions[id] = s
		m.tell("session %s opened", id)
	}
	return Result{Session: id}
}

func (m *model) end(id, reason string) {
	s := m.sessions[id]
	delete(m.sessions, id)
	m.dead[id] = true
	m.tell("session %s %s", id, reason)
	for _, key := range slices.Sorted(maps.Keys(m.entries)) {
		if m.entries[key].session == id {
			m.remove(key, "expire")
		}
	}
	var waits, holds []string
	for name, l := range m.locks {
		if slices.ContainsFunc(l.queue, func(p modelPlace) bool { return p.session == id }) {
			waits = append(waits, name)
		}
		if l.grantOf(id) != nil {
			holds = append(holds, name)
		}
	}
	slices.Sort(waits)
	slices.Sort(holds)
	for _, name := range waits {
		l := m.locks[name]
		l.queue = slices.DeleteFunc(l.queue, func(p modelPlace) bool {
			if p.session == id {
				m.answers[p.request] = no(SessionExpired)
			}
			return p.session == id
		})
		m.serve(name)
	}
	for _, name := range holds {
		l := m.locks[name]
		m.free(name, l.grantOf(id), reason)
		if reason == "expired" && s.delay > 0 {
			l.delayed, l.delayFor = m.revision, max(l.delayFor, s.delay)
		}
		m.serve(name)
	}
}

// admit checks the conditions of a change of an entry.
func (m *model) admit(key string, revision *uint64, g *Guard) Result {
	if g != nil {
		if l := m.lock(g.Lock); !l.current(g.Fence) {
			return Result{Refused: true, Code: StaleFence, Current: l.newest()}
		}
	}
	if e := m.entries[key]; revision != nil && *revision != e.revision {
		return Result{Refused: true, Code: RevisionMismatch, Current: e.revision}
	}
	return Result{}
}

func (m *model) put(c *PutCommand) Result {
	if r := m.admit(c.Key, c.IfRevision, c.Guard); r.Refused {
		return r
	}
	if _, ok := m.entries[c.Key]; c.IfPresent && !ok {
		return no(RevisionMismatch)
	}
	if r, ok := m.alive(c.Session); c.Session != "" && !ok {
		return r
	}
	e := m.write(c.Key, string(c.Value), c.Session)
	return Result{Version: e.version, Created: e.created}
}

func (m *model) write(key, value, session string) modelEntry {
	e, ok := m.entries[key]
	if !ok {
		e.created = m.revision
	}
	e.value, e.session, e.revision, e.version = value, session, m.revision, e.version+1
	m.entries[key] = e
	m.tell("put %s %v", key, e)
	return e
}

func (m *model) remove(key, event string) bool {
	e, ok := m.entries[key]
	if ok {
		delete(m.entries, key)
		m.tell("%s %s %s", event, key, e.session)
	}
	return ok
}

// txn does what it should and takes it back if it cannot go on.
func (m *model) txn(c *TxnCommand) Result {
	var out TxnResult
	for i, g := range c.If {
		if current, ok := m.holds(g); !ok {
			out.Failed = append(out.Failed, Failed{Index: i, Current: current})
		}
	}
	ops := c.Then
	if out.Succeeded = len(out.Failed) == 0; !out.Succeeded {
		ops = c.Else
	}
	before := maps.Clone(m.entries)
	for i, o := range ops {
		if r, ok := m.alive(o.Session); o.Session != "" && !ok {
			m.entries, m.events = before, nil
			r.Step = i + 1
			return r
		}
		d := Done{Kind: o.Kind, Key: o.Key}
		e, ok := m.entries[o.Key]
		switch o.Kind {
		case OpPut:
			e = m.write(o.Key, string(o.Value), o.Session)
		case OpGet:
			d.Found, d.Value = ok, []byte(e.value)
		case OpDelete:
			if e = (modelEntry{}); m.remove(o.Key, "delete") {
				d.Deleted = 1
			}
		case OpDeletePrefix:
			e = modelEntry{}
			for _, key := range slices.Sorted(maps.Keys(m.entries)) {
				if strings.HasPrefix(key, o.Key) && m.remove(key, "delete") {
					d.Deleted++
				}
			}
		}
		d.Revision, d.Created, d.Version, d.Session = e.revision, e.created, e.version, e.session
		out.Steps = append(out.Steps, d)
	}
	return Result{Body: out.Encode()}
}

func (m *model) holds(g If) (current uint64, ok bool) {
	e, exists := m.entries[g.Name]
	switch g.Kind {
	case IfRevision:
		return e.revision, e.revision == g.Revision
	case IfExists:
		return e.revision, exists
	case IfAbsent:
		return e.revision, !exists
	case IfValue:
		return e.revision, exists && e.value == string(g.Value)
	case IfAlive:
		return 0, m.sessions[g.Name] != nil
	}
	l := m.lock(g.Name)
	return l.newest(), l.current(g.Revision)
}
