package locks

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/prytany/prytany/locks/internal/answers"
	"github.com/prytany/prytany/locks/internal/ordered"
)

// bounds limits what the replicated state may grow to. They influence what a
// command does, so they must be the same on all nodes and for all time: they
// belong to the format of the log. A node's [Limits] may be tighter.
type bounds struct {
	sessions   int
	locks      int   // locks that are held, waited for or delayed, and config entries
	waiters    int   // of one lock
	perSession int   // locks held, places in queues and ephemeral entries
	bytes      int64 // of names, values and notes
	answers    int   // to callers' keys
	ownAnswers int   // to the service's own ids
	history    int   // last holders of a lock
	idle       int   // free locks whose history is remembered
	ended      int   // sessions remembered as ended
}

var formatBounds = bounds{
	sessions:   200_000,
	locks:      1_000_000,
	waiters:    10_000,
	perSession: 10_000,
	bytes:      1 << 30,
	answers:    100_000,
	ownAnswers: 65_536, // more than a leader takes at a time: none is forgotten before its request is old
	history:    8,
	idle:       10_000,
	ended:      10_000,
}

// state is what all nodes of a group agree on: a function of the commands
// applied. Fields marked derived are made again from the others by Restore.
type state struct {
	revision uint64
	lead     uint64 // ballot of the newest LeadCommand, packed
	sessions ordered.Map[*session]
	locks    ordered.Map[*lock]
	entries  ordered.Map[*Entry] // entries never change: a put makes a new one
	changed  uint64              // revision of the last change of any entry
	ended    []ended             // oldest first
	answers  answers.Table       // to callers' keys
	own      answers.Table       // to the service's own ids

	bytes   int64               // derived: of names, values and notes
	idle    ordered.Map[string] // derived: free locks by the revision since when
	delayed map[string]*lock    // derived: with a lock-delay
	dead    map[string]ended    // derived: of ended, by id
}

type session struct {
	id        string
	name      string
	ttl       time.Duration
	lockDelay time.Duration
	created   uint64
	renewals  uint64 // in the log; keepalives are not
	bound     string // the one lock it was made for

	holds map[string]*lock // derived
	waits map[string]int   // derived: places per lock
	keys  map[string]bool  // derived: ephemeral entries
}

// owner is how s is shown to people.
func (s *session) owner() string {
	if s.name != "" {
		return s.name
	}
	return s.id
}

func (s *session) load() int {
	return len(s.holds) + len(s.waits) + len(s.keys)
}

type lock struct {
	name     string
	holder   holder // holder.session is nil while it is free
	waiters  []waiter
	past     []Past // newest first
	changed  uint64 // revision of the last change of holder
	delay    uint64 // fence of the expired grant whose lock-delay runs; 0 if none
	delayFor time.Duration
	idle     uint64 // revision since when it is only remembered; 0 if it is in use
}

type holder struct {
	session *session
	fence   uint64
	note    string
	seen    time.Duration // not replicated: when this node saw the grant; -1 if it did not
}

type waiter struct {
	session *session
	request Request
	note    string
	since   uint64
}

func (w *waiter) is(session string, r Request) bool {
	return w.session.id == session && w.request.ID == r.ID && w.request.Own == r.Own
}

// ended remembers a session that is over.
type ended struct {
	id     string
	reason string
}

func (s *session) bytes() int64 { return int64(len(s.id) + len(s.name)) }

func (w *waiter) bytes() int64 { return int64(len(w.note) + len(w.request.ID)) }

func pastBytes(p Past) int64 { return int64(len(p.Session) + len(p.Owner) + len(p.Reason)) }

func entryBytes(e *Entry) int64 { return int64(len(e.Key) + len(e.Value) + len(e.ContentType)) }

// lockBytes counts everything of l anew.
func lockBytes(l *lock) int64 {
	n := int64(len(l.name) + len(l.holder.note))
	for i := range l.waiters {
		n += l.waiters[i].bytes()
	}
	for _, p := range l.past {
		n += pastBytes(p)
	}
	return n
}

// lock returns the lock name, made if there is none.
func (m *Machine) lock(name string) *lock {
	if l, ok := m.locks.Get(name); ok {
		return l
	}
	l := &lock{name: name, idle: m.revision}
	m.locks.Set(name, l)
	m.idle.Set(idleKey(l), name)
	m.bytes += int64(len(name))
	return l
}

// idleKey orders idle locks by since when they are.
func idleKey(l *lock) string {
	return string(binary.BigEndian.AppendUint64(nil, l.idle)) + l.name
}

// settle notes whether l is in use, after anything about it has changed, and
// tells whoever watches it. Of the locks that are not in use only the newest
// are remembered.
func (m *Machine) settle(l *lock) {
	m.news.Touch(lockTopic(l.name))
	inUse := l.holder.session != nil || len(l.waiters) > 0 || l.delay != 0
	switch {
	case inUse && l.idle != 0:
		m.idle.Delete(idleKey(l))
		l.idle = 0
	case !inUse && l.idle == 0:
		l.idle = m.revision
		m.idle.Set(idleKey(l), l.name)
	}
	for m.idle.Len() > m.bounds.idle {
		for key, name := range m.idle.From("") {
			m.idle.Delete(key)
			if old, ok := m.locks.Get(name); ok {
				m.bytes -= lockBytes(old)
				m.locks.Delete(name)
			}
			break
		}
	}
}

// full says why the state cannot take more bytes, or nothing.
func (m *Machine) full(more int) (Result, bool) {
	if m.bytes+int64(more) > m.bounds.bytes {
		return refused(TooLarge, "the group's whole state has reached its limit"), true
	}
	return Result{}, false
}

// crowded is the same for one more lock or entry.
func (m *Machine) crowded() (Result, bool) {
	if m.locks.Len()-m.idle.Len()+m.entries.Len() >= m.bounds.locks {
		return refused(Overloaded, "the group has as many locks and config entries as it may"), true
	}
	return Result{}, false
}

// alive returns the session id, or the refusal for one that is not.
func (m *Machine) alive(id string) (*session, Result) {
	if s, ok := m.sessions.Get(id); ok {
		return s, Result{}
	}
	if e, ok := m.dead[id]; ok {
		return nil, refused(SessionExpired, "the session is over: "+e.reason)
	}
	return nil, refused(SessionUnknown, "no such session")
}

// sortedKeys returns m's keys in order: the order of a map must not reach the
// state.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
