package locks

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/prytany/prytany/paxos"
	"pgregory.net/rapid"
)

// A model is the simplest thing that should behave like a Machine.
type model struct {
	revision uint64
	sessions map[string]*modelSession
	dead     map[string]bool
	locks    map[string]*modelLock
	entries  map[string]modelEntry
	answers  map[string]Result
}

type modelSession struct {
	renewals uint64
	bound    string
	delay    bool
}

type modelLock struct {
	holder  string
	fence   uint64
	delayed uint64
	queue   [][2]string // session, request
}

type modelEntry struct {
	value    string
	revision uint64
	version  uint64
	session  string
}

func newModel() *model {
	return &model{
		sessions: map[string]*modelSession{}, dead: map[string]bool{}, locks: map[string]*modelLock{},
		entries: map[string]modelEntry{}, answers: map[string]Result{},
	}
}

func (m *model) lock(name string) *modelLock {
	if m.locks[name] == nil {
		m.locks[name] = &modelLock{}
	}
	return m.locks[name]
}

func (m *model) alive(id string) (Code, bool) {
	switch {
	case m.sessions[id] != nil:
		return 0, true
	case m.dead[id]:
		return SessionExpired, false
	}
	return SessionUnknown, false
}

func no(c Code) Result { return Result{Refused: true, Code: c} }

func (m *model) pass(l *modelLock) {
	l.holder, l.fence = "", 0
	if l.delayed != 0 || len(l.queue) == 0 {
		return
	}
	next := l.queue[0][0]
	l.holder, l.fence = next, m.revision
	l.queue = slices.DeleteFunc(l.queue, func(p [2]string) bool {
		if p[0] == next {
			m.answers[p[1]] = Result{Fence: l.fence}
		}
		return p[0] == next
	})
}

func (m *model) end(id string, expired bool) {
	s := m.sessions[id]
	delete(m.sessions, id)
	m.dead[id] = true
	maps.DeleteFunc(m.entries, func(_ string, e modelEntry) bool { return e.session == id })
	for _, l := range m.locks {
		l.queue = slices.DeleteFunc(l.queue, func(p [2]string) bool {
			if p[0] == id {
				m.answers[p[1]] = no(SessionExpired)
			}
			return p[0] == id
		})
		if l.holder == id {
			if expired && s.delay {
				l.delayed = l.fence
			}
			m.pass(l)
		}
	}
}

// apply returns what matters of the result: whether and why it was refused,
// the fence, whether there is a place in the queue, the current number.
func (m *model) apply(cmd Command) Result {
	m.revision++
	switch c := cmd.(type) {
	case *OpenCommand:
		return m.once(c.Request, func() Result {
			if m.dead[c.ID] {
				return no(SessionExpired)
			}
			if m.sessions[c.ID] == nil {
				m.sessions[c.ID] = &modelSession{delay: c.LockDelay > 0}
			}
			return Result{}
		})
	case *EndCommand:
		return m.once(c.Request, func() Result {
			if code, ok := m.alive(c.ID); !ok {
				return no(code)
			}
			m.end(c.ID, false)
			return Result{}
		})
	case *ExpireCommand: // generated with the right ballot
		if s := m.sessions[c.Session]; s != nil && s.renewals == c.Renewals {
			m.end(c.Session, true)
		}
	case *DelayCommand:
		if l := m.lock(c.Lock); l.delayed != 0 && l.delayed == c.Fence {
			l.delayed = 0
			m.pass(l)
		}
	case *AcquireCommand:
		return m.once(c.Request, func() Result { return m.acquire(c) })
	case *CancelCommand:
		return m.cancel(c)
	case *ReleaseCommand:
		return m.once(c.Request, func() Result { return m.release(c) })
	case *PutCommand:
		return m.once(c.Request, func() Result { return m.put(c) })
	}
	return Result{}
}

func (m *model) once(r Request, f func() Result) Result {
	if a, ok := m.answers[r.ID]; ok {
		return a
	}
	res := f()
	m.answers[r.ID] = res
	return res
}

func (m *model) acquire(c *AcquireCommand) Result {
	code, ok := m.alive(c.Session)
	if !ok && !c.Open {
		return no(code)
	}
	l := m.lock(c.Lock)
	if ok && l.holder == c.Session {
		m.sessions[c.Session].renewals++
		return Result{Fence: l.fence}
	}
	free := l.holder == "" && l.delayed == 0 && len(l.queue) == 0
	if !free && !c.Wait {
		return no(LockHeld)
	}
	if !ok {
		if m.dead[c.Session] {
			return no(SessionExpired)
		}
		m.sessions[c.Session] = &modelSession{bound: c.Lock}
	}
	if free {
		m.sessions[c.Session].renewals++
		l.holder, l.fence = c.Session, m.revision
		return Result{Fence: l.fence}
	}
	l.queue = append(l.queue, [2]string{c.Session, c.Request.ID})
	return Result{Queued: true}
}

func (m *model) cancel(c *CancelCommand) Result {
	l := m.lock(c.Lock)
	i := slices.Index(l.queue, [2]string{c.Session, c.Request.ID})
	if i >= 0 {
		l.queue = slices.Delete(l.queue, i, i+1)
		m.answers[c.Request.ID] = no(LockHeld)
		if m.sessions[c.Session].bound == c.Lock {
			m.end(c.Session, false)
		}
		return no(LockHeld)
	}
	a, known := m.answers[c.Request.ID]
	switch {
	case l.holder != "" && l.holder == c.Session:
		return Result{Fence: l.fence}
	case !known:
		m.answers[c.Request.ID] = no(LockHeld)
	case a.Refused:
		return a
	default:
		if code, ok := m.alive(c.Session); !ok {
			return no(code)
		}
	}
	return no(LockHeld)
}

func (m *model) release(c *ReleaseCommand) Result {
	l := m.lock(c.Lock)
	switch {
	case c.Force && l.holder == "" && l.delayed != 0:
		l.delayed = 0
		m.pass(l)
		return Result{}
	case l.holder == "" || !c.Force && l.fence != c.Fence:
		return Result{Refused: true, Code: StaleFence, Current: l.fence}
	}
	id, fence := l.holder, l.fence
	m.pass(l)
	if m.sessions[id].bound == c.Lock {
		m.end(id, false)
	}
	return Result{Fence: fence}
}

func (m *model) put(c *PutCommand) Result {
	if g := c.Guard; g != nil {
		if l := m.lock(g.Lock); l.holder == "" || l.fence != g.Fence {
			return Result{Refused: true, Code: StaleFence, Current: l.fence}
		}
	}
	e, ok := m.entries[c.Key]
	if c.IfRevision != nil && *c.IfRevision != e.revision || c.IfPresent && !ok {
		return Result{Refused: true, Code: RevisionMismatch, Current: e.revision}
	}
	if code, ok := m.alive(c.Session); c.Session != "" && !ok {
		return no(code)
	}
	m.entries[c.Key] = modelEntry{string(c.Value), m.revision, e.version + 1, c.Session}
	return Result{Version: e.version + 1}
}

// check compares all of the machine's state with the model's.
func (m *model) check(t *rapid.T, x *Machine) {
	got, want := map[string]string{}, map[string]string{}
	for name, l := range x.locks.From("") {
		holder := ""
		if l.holder.session != nil {
			holder = l.holder.session.id
		}
		var queue [][2]string
		for _, w := range l.waiters {
			queue = append(queue, [2]string{w.session.id, w.request.ID})
		}
		got["lock "+name] = fmt.Sprint(holder, l.holder.fence, l.delay, queue)
	}
	for name, l := range m.locks {
		_, known := x.locks.Get(name)
		if known || l.holder != "" || l.delayed != 0 || len(l.queue) > 0 {
			want["lock "+name] = fmt.Sprint(l.holder, l.fence, l.delayed, l.queue)
		}
	}
	for id, s := range x.sessions.From("") {
		got["session "+id] = fmt.Sprint(s.renewals, s.bound)
	}
	for id, s := range m.sessions {
		want["session "+id] = fmt.Sprint(s.renewals, s.bound)
	}
	for key, e := range x.entries.From("") {
		got["entry "+key] = fmt.Sprint(string(e.Value), e.Revision, e.Version, e.Session)
	}
	for key, e := range m.entries {
		want["entry "+key] = fmt.Sprint(e.value, e.revision, e.version, e.session)
	}
	if !maps.Equal(got, want) || x.revision != m.revision {
		t.Fatalf("machine at %d: %v\nmodel at %d:   %v", x.revision, got, m.revision, want)
	}
}

// essence keeps of r what the model knows.
func essence(r Result) Result {
	return Result{Refused: r.Refused, Code: r.Code, Fence: r.Fence, Queued: r.Queued, Current: r.Current, Version: r.Version}
}

// draw makes a random command over few names, so that they meet often.
func draw(t *rapid.T, m *model, n int) Command {
	one := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(t, label) }
	lock, session := one("lock", "k", "l"), one("session", "a", "b", "c", "o1", "o2")
	fresh := fmt.Sprintf("r%d", n)
	id := Request{ID: one("id", fresh, fresh, fresh, fmt.Sprintf("r%d", n-rapid.IntRange(1, 8).Draw(t, "back"))), Own: true}
	fence := m.lock(lock).fence
	switch one("kind", "open", "open", "end", "expire", "delay", "acquire", "acquire", "acquire", "acquire", "acquire", "acquire", "open acquire", "open acquire", "cancel", "release", "release", "put", "put", "put if") {
	case "open":
		return &OpenCommand{Request: id, ID: one("new", "a", "b", "c"), TTL: time.Second, LockDelay: time.Duration(rapid.IntRange(0, 1).Draw(t, "delay"))}
	case "end":
		return &EndCommand{Request: id, ID: session}
	case "expire":
		var renewals uint64
		if s := m.sessions[session]; s != nil {
			renewals = s.renewals + uint64(rapid.IntRange(0, 1).Draw(t, "off"))
		}
		return &ExpireCommand{Session: session, Ballot: b(0), Renewals: renewals}
	case "delay":
		return &DelayCommand{Lock: lock, Fence: m.lock(lock).delayed}
	case "open acquire":
		return &AcquireCommand{Request: id, Lock: lock, Session: one("o", "o1", "o2"), Open: true, Wait: rapid.Bool().Draw(t, "wait")}
	case "acquire":
		return &AcquireCommand{Request: id, Lock: lock, Session: session, Wait: rapid.Bool().Draw(t, "wait")}
	case "cancel":
		if q := m.lock(lock).queue; len(q) > 0 && rapid.Bool().Draw(t, "real") {
			p := q[rapid.IntRange(0, len(q)-1).Draw(t, "which")]
			return &CancelCommand{Request: Request{ID: p[1], Own: true}, Lock: lock, Session: p[0]}
		}
		return &CancelCommand{Request: id, Lock: lock, Session: session}
	case "release":
		return &ReleaseCommand{Request: id, Lock: lock, Fence: fence + uint64(rapid.IntRange(0, 3).Draw(t, "off")/3), Force: rapid.Bool().Draw(t, "force")}
	case "put if":
		revision := m.entries["x"].revision
		return &PutCommand{Request: id, Key: "x", IfRevision: &revision, Guard: &Guard{Lock: lock, Fence: fence}}
	}
	return &PutCommand{Request: id, Key: one("key", "x", "y"), Value: []byte(fresh), Session: one("ephemeral", "", session), IfPresent: rapid.Bool().Draw(t, "present")}
}

func TestMachineIsLikeTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, m := NewMachine(), newModel()
		lead := Encode(&LeadCommand{Ballot: b(0)})
		x.Apply(1, lead, 0)
		m.revision++
		log := [][]byte{lead}
		for _, id := range []string{"a", "b", "c"} { // so that queues form early
			cmd := &OpenCommand{ID: id, TTL: time.Second, Request: req("open " + id)}
			log = append(log, Encode(cmd))
			x.Apply(1, log[len(log)-1], 0)
			m.apply(cmd)
		}
		for n := range rapid.IntRange(20, 80).Draw(t, "length") {
			cmd := draw(t, m, n+10)
			log = append(log, Encode(cmd))
			res, err := DecodeResult(x.Apply(paxos.Slot(n), log[len(log)-1], time.Duration(n)))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := essence(res), m.apply(cmd); got != want {
				t.Fatalf("%T %+v\nmachine: %+v\nmodel:   %+v", cmd, cmd, got, want)
			}
			m.check(t, x)
			if rapid.IntRange(0, 9).Draw(t, "restart") == 0 {
				x = restored(t, x)
			}
		}
		replay := NewMachine()
		for _, cmd := range log {
			replay.Apply(0, cmd, time.Hour)
		}
		if replay.StateHash() != x.StateHash() {
			t.Fatal("snapshot and tail differ from the whole log")
		}
	})
}

// restored returns a copy of x made through a snapshot.
func restored(t interface{ Fatalf(string, ...any) }, x *Machine) *Machine {
	data, err := x.Snapshot()
	if err != nil {
		t.Fatalf("snapshot: %v", err)
	}
	y := NewMachine()
	y.bounds = x.bounds
	if err := y.Restore(data); err != nil {
		t.Fatalf("restore: %v", err)
	}
	if again, _ := y.Snapshot(); !reflect.DeepEqual(data, again) {
		t.Fatalf("a snapshot changes by restoring it")
	}
	if x.bytes != y.bytes {
		t.Fatalf("counted %d bytes; restored are %d", x.bytes, y.bytes)
	}
	return y
}
