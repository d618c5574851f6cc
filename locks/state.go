package locks

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/prytany/prytany/locks/internal/answers"
	"github.com/prytany/prytany/locks/internal/ended"
	"github.com/prytany/prytany/locks/internal/history"
	"github.com/prytany/prytany/locks/internal/ordered"
)

// bounds limits what the replicated state may grow to. They influence what a
// command does, so they must be the same on all nodes and for all time: they
// belong to the format of the log. A node's [Limits] may be tighter.
type bounds struct {
	sessions   int
	locks      int   // locks that are held, waited for or delayed, config entries, fence registers
	waiters    int   // of one lock
	holders    int   // of one lock
	perSession int   // locks held, places in queues and ephemeral entries
	bytes      int64 // of names, values and notes
	answers    int   // to callers' keys
	ownAnswers int   // to the service's own ids
	history    int   // last holders of a lock
	idle       int   // free locks whose history is remembered
	ended      int   // sessions remembered as ended
	answerSize int64 // bytes in answers to transactions that are remembered
	changes    int   // revisions of which events are kept
	eventSize  int64 // bytes of these
	prefix     int   // entries that a transaction may delete by their prefixes
	results    int   // bytes that a transaction may return
}

var formatBounds = bounds{
	sessions:   200_000,
	locks:      1_000_000,
	waiters:    10_000,
	holders:    10_000,
	perSession: 10_000,
	bytes:      1 << 30,
	answers:    100_000,
	ownAnswers: 65_536, // more than a leader takes at a time: none is forgotten before its request is old
	history:    8,
	idle:       10_000,
	ended:      10_000,
	answerSize: 64 << 20,
	changes:    10_000,
	eventSize:  64 << 20,
	prefix:     10_000,
	results:    1 << 20,
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
	fences   ordered.Map[uint64] // the highest that each resource has seen
	ended    ended.Sessions
	history  history.History // what the newest commands did
	answers  answers.Table   // to callers' keys
	own      answers.Table   // to the service's own ids

	bytes    int64               // derived: of names, values and notes
	grants   int                 // derived
	places   int                 // derived: in queues
	idle     ordered.Map[string] // derived: free locks by the revision since when
	delayed  map[string]*lock    // derived: with a lock-delay
	yielding map[string]*lock    // derived: whose holders are to yield in time
}

type session struct {
	id        string
	name      string
	ttl       time.Duration
	lockDelay time.Duration
	created   uint64
	renewals  uint64 // in the log; keepalives are not
	bound     string // the one lock it was made for

	holds map[string]*grant // derived
	waits map[string]int    // derived: places per lock
	keys  map[string]bool   // derived: ephemeral entries
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

// A lock with more than one slot is a semaphore. One whose holder campaigned is
// an election.
type lock struct {
	name     string
	slots    uint64   // how many may hold it at a time; fixed while it is in use
	holders  []*grant // in the order of their grants
	waiters  []waiter
	past     []Past // newest first
	changed  uint64 // revision of the last change of holders
	yield    yield
	delay    uint64 // revision since when a lock-delay runs; 0 if none does
	delayFor time.Duration
	idle     uint64 // revision since when it is only remembered; 0 if it is in use
}

type grant struct {
	lock    *lock
	session *session
	fence   uint64
	shared  bool
	elected bool
	value   string // elected: what the leader publishes
	note    string
	seen    time.Duration // not replicated: when this node saw the grant; -1 if it did not
}

type waiter struct {
	session  *session
	request  Request
	shared   bool
	campaign bool
	value    string
	note     string
	since    uint64
}

// A yield asks the holders from before revision since to let go.
type yield struct {
	since  uint64 // 0: nobody is asked
	within time.Duration
	reason string
}

// newest returns the highest fence of l's holders, 0 if there are none.
func (l *lock) newest() uint64 {
	if len(l.holders) == 0 {
		return 0
	}
	return l.holders[len(l.holders)-1].fence
}

func (l *lock) inUse() bool { return len(l.holders) > 0 || len(l.waiters) > 0 || l.delay != 0 }

func (w *waiter) is(session string, r Request) bool {
	return w.session.id == session && w.request.ID == r.ID && w.request.Own == r.Own
}

func (s *session) bytes() int64 { return int64(len(s.id) + len(s.name)) }

func (w *waiter) bytes() int64 { return int64(len(w.note) + len(w.value) + len(w.request.ID)) }

func (g *grant) bytes() int64 { return int64(len(g.note) + len(g.value)) }

func pastBytes(p Past) int64 { return int64(len(p.Session) + len(p.Owner) + len(p.Reason)) }

// lockBytes counts everything of l anew.
func lockBytes(l *lock) int64 {
	n := int64(len(l.name) + len(l.yield.reason))
	for _, g := range l.holders {
		n += g.bytes()
	}
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
	l := &lock{name: name, slots: 1, idle: m.revision}
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
	m.keep(l)
	m.news.Touch(LockTopic(l.name), m.revision)
	if len(l.holders) == 0 {
		l.holders = nil // nor is the room kept that a crowd took
	}
	if len(l.waiters) == 0 {
		l.waiters = nil
	}
	switch inUse := l.inUse(); {
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

// crowded is the same for n more locks, entries or fence registers.
func (m *Machine) crowded(n int) (Result, bool) {
	if m.locks.Len()-m.idle.Len()+m.entries.Len()+m.fences.Len()+n > m.bounds.locks {
		return refused(Overloaded, "the group has as many locks, config entries and fence registers as it may"), true
	}
	return Result{}, false
}

// alive returns the session id, or the refusal for one that is not.
func (m *Machine) alive(id string) (*session, Result) {
	if s, ok := m.sessions.Get(id); ok {
		return s, Result{}
	}
	if why, over := m.ended.Reason(id); over {
		return nil, refused(SessionExpired, "the session is over: "+why)
	}
	return nil, refused(SessionUnknown, "no such session")
}

// sortedKeys returns m's keys in order: the order of a map must not reach the
// state.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
