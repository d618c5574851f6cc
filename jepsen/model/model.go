// Package model is a small second account of what the lock machine does: registers,
// sessions, locks with queues, semaphores, elections and fences, written from their
// description and as plainly as possible. A checker replays a log through it and
// compares each answer that a client got with the answer here.
//
// It shares with package locks how commands are coded, and nothing else. Limits of
// size are not in it: what the machine refuses because of them is passed over with
// [State.Skip].
package model

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
)

// An Answer is what a client must be told.
type Answer struct {
	Code     string // of the refusal; "" if there is none
	Revision uint64 // of the command that brought it about
	Session  string
	Fence    uint64
	TTL      time.Duration
	Queued   bool   // the caller has a place in the queue: another answer follows
	Current  uint64 // revision of the entry, or fence of the lock, that was in the way
	Repeated bool   // the request was answered before: nothing has happened again

	Done  bool             // of a transaction: the conditions held
	Reads map[string]Entry // of a transaction: by key; Revision 0 if there was none

	// Of several locks at once, by name: what was granted, or a holder of each that is
	// not to be had, the empty one if it is only waited for or delayed.
	All map[string]Grant
}

// An Entry is a register.
type Entry struct {
	Value    string
	Revision uint64
	Session  string // it goes with this session; "" if with none
}

// A Session is one that lives.
type Session struct {
	TTL       time.Duration
	LockDelay time.Duration
	Bound     string // it lives for this lock alone
	Renewals  uint64
}

// A Grant is one holder's.
type Grant struct {
	Session string
	Fence   uint64
	Shared  bool
	Elected bool
	Value   string
}

// A place in a queue.
type place struct {
	session, request string
	own              bool
	shared, campaign bool
	value            string
}

// A Lock is one that is held, waited for or delayed.
type Lock struct {
	Slots   int
	Holders []Grant
	Yield   Yield
	queue   []place
	delay   uint64 // the revision since when a lock-delay runs
}

// request names a client's request.
type request struct {
	id  string
	own bool
}

// A State is what a log comes to. The zero State is not usable; see [New].
type State struct {
	Revision uint64
	Entries  map[string]Entry
	Sessions map[string]*Session
	Dead     map[string]uint64 // sessions that are over: since which revision
	Locks    map[string]*Lock  // free ones are not in it
	Fences   map[string]uint64 // the highest that each resource has seen
	Changed  []string          // names of the locks that the last command changed, perhaps some twice

	known   map[string]bool // names of locks that were ever in use
	lead    uint64
	answers map[request][]Answer // the newest is last
}

// New returns the empty state.
func New() *State {
	return &State{
		Entries: map[string]Entry{}, Sessions: map[string]*Session{}, Dead: map[string]uint64{},
		Locks: map[string]*Lock{}, Fences: map[string]uint64{}, known: map[string]bool{}, answers: map[request][]Answer{},
	}
}

// Answers returns all answers that the request of a caller ever had, in order.
func (s *State) Answers(id string) []Answer { return s.answers[request{id, false}] }

// Skip takes a command that the machine refused because of a limit.
func (s *State) Skip() {
	s.Revision++
	s.Changed = nil
}

// Apply does what a command says; nil is one that cannot be read. known is false if
// the command is not modelled.
func (s *State) Apply(cmd locks.Command) (a Answer, known bool) {
	s.Skip()
	switch c := cmd.(type) {
	case nil:
		return s.no(api.CodeInternal), true
	case *locks.LeadCommand:
		s.lead = c.Ballot.Pack()
	case *locks.ForgetCommand, *locks.CompactCommand:
	case *locks.ExpireCommand:
		if x := s.Sessions[c.Session]; x != nil && c.Ballot.Pack() == s.lead && c.Renewals == x.Renewals {
			s.end(c.Session, true)
		}
	case *locks.DelayCommand:
		if l := s.Locks[c.Lock]; l != nil && l.delay != 0 && l.delay == c.Since && c.Ballot.Pack() == s.lead {
			l.delay = 0
			s.serve(c.Lock)
		}
	case *locks.CancelCommand:
		return s.cancel(c), true
	case *locks.OpenCommand:
		return s.once(c.Request, func() Answer { return s.open(c) }), true
	case *locks.EndCommand:
		return s.once(c.Request, func() Answer { return s.close(c) }), true
	case *locks.AcquireCommand:
		return s.once(c.Request, func() Answer { return s.acquire(c) }), true
	case *locks.ReleaseCommand:
		return s.once(c.Request, func() Answer { return s.release(c) }), true
	case *locks.PutCommand:
		return s.once(c.Request, func() Answer { return s.put(c) }), true
	case *locks.DeleteCommand:
		return s.once(c.Request, func() Answer { return s.delete(c) }), true
	case *locks.TxnCommand:
		return s.once(c.Request, func() Answer { return s.txn(c) }), true
	default:
		return s.order(cmd)
	}
	return s.yes(), true
}

// once does a request that has not been done yet, and answers as before if it has.
func (s *State) once(r locks.Request, do func() Answer) Answer {
	k := request{r.ID, r.Own}
	if had := s.answers[k]; r.ID != "" && len(had) > 0 {
		a := had[len(had)-1]
		a.Repeated = true
		return a
	}
	a := do()
	if r.ID != "" {
		s.answers[k] = append(s.answers[k], a)
	}
	return a
}

func (s *State) yes() Answer { return Answer{Revision: s.Revision} }

func (s *State) no(code api.Code) Answer { return Answer{Code: string(code), Revision: s.Revision} }

func (s *State) noSession(id string) Answer {
	if s.Dead[id] != 0 {
		return s.no(api.CodeSessionExpired)
	}
	return s.no(api.CodeSessionUnknown)
}

func (s *State) open(c *locks.OpenCommand) Answer {
	x := s.Sessions[c.ID]
	switch {
	case x == nil && s.Dead[c.ID] != 0:
		return s.no(api.CodeSessionExpired)
	case x == nil:
		x = &Session{TTL: c.TTL, LockDelay: c.LockDelay}
		s.Sessions[c.ID] = x
	}
	return Answer{Revision: s.Revision, Session: c.ID, TTL: x.TTL}
}

func (s *State) close(c *locks.EndCommand) Answer {
	if s.Sessions[c.ID] == nil {
		return s.noSession(c.ID)
	}
	s.end(c.ID, false)
	return Answer{Revision: s.Revision, Session: c.ID}
}

// end ends a session with all that is its own, in this one command.
func (s *State) end(id string, expired bool) {
	x := s.Sessions[id]
	delete(s.Sessions, id)
	s.Dead[id] = s.Revision
	maps.DeleteFunc(s.Entries, func(_ string, e Entry) bool { return e.Session == id })
	for _, name := range slices.Sorted(maps.Keys(s.Locks)) {
		l := s.Locks[name]
		held, waited := len(l.Holders), len(l.queue)
		l.queue = slices.DeleteFunc(l.queue, func(p place) bool {
			if p.session == id {
				s.tell(p, s.no(api.CodeSessionExpired))
			}
			return p.session == id
		})
		l.Holders = slices.DeleteFunc(l.Holders, func(g Grant) bool { return g.Session == id })
		if len(l.Holders) < held {
			l.settled()
		}
		if len(l.Holders) < held && expired && x.LockDelay > 0 {
			l.delay = s.Revision
		}
		if len(l.Holders) < held || len(l.queue) < waited {
			s.serve(name)
		}
	}
}

// tell gives the request of a place in a queue its next answer.
func (s *State) tell(p place, a Answer) {
	if k := (request{p.request, p.own}); p.request != "" && len(s.answers[k]) > 0 {
		s.answers[k] = append(s.answers[k], a)
	}
}

func (s *State) put(c *locks.PutCommand) Answer {
	e, a := s.admit(c.Key, c.IfRevision, c.Guard)
	switch {
	case a.Code != "":
		return a
	case c.IfPresent && e.Revision == 0:
		return s.no(api.CodeRevisionMismatch)
	case c.Session != "" && s.Sessions[c.Session] == nil:
		return s.noSession(c.Session)
	}
	s.Entries[c.Key] = Entry{string(c.Value), s.Revision, c.Session}
	return s.yes()
}

func (s *State) delete(c *locks.DeleteCommand) Answer {
	_, a := s.admit(c.Key, c.IfRevision, c.Guard)
	if a.Code == "" {
		delete(s.Entries, c.Key)
	}
	return a
}

// admit looks at the conditions of a change of one entry.
func (s *State) admit(key string, ifRevision *uint64, g *locks.Guard) (Entry, Answer) {
	if g != nil && !s.current(g.Lock, g.Fence) {
		a := s.no(api.CodeStaleFence)
		a.Current = s.newest(g.Lock)
		return Entry{}, a
	}
	e := s.Entries[key]
	if ifRevision != nil && *ifRevision != e.Revision {
		a := s.no(api.CodeRevisionMismatch)
		a.Current = e.Revision
		return e, a
	}
	return e, s.yes()
}

// current reports whether a grant of fence on a lock is current.
func (s *State) current(lock string, fence uint64) bool {
	l := s.Locks[lock]
	return l != nil && slices.ContainsFunc(l.Holders, func(g Grant) bool { return g.Fence == fence })
}

// newest returns the fence of the last holder of a lock, 0 if nobody holds it.
func (s *State) newest(lock string) uint64 {
	if l := s.Locks[lock]; l != nil && len(l.Holders) > 0 {
		return l.Holders[len(l.Holders)-1].Fence
	}
	return 0
}

func (s *State) txn(c *locks.TxnCommand) Answer {
	a := Answer{Revision: s.Revision, Done: true, Reads: map[string]Entry{}}
	for _, f := range c.If {
		a.Done = a.Done && s.holds(f)
	}
	steps := c.Then
	if !a.Done {
		steps = c.Else
	}
	for _, o := range steps {
		if o.Kind == locks.OpPut && o.Session != "" && s.Sessions[o.Session] == nil {
			return s.noSession(o.Session)
		}
	}
	for _, o := range steps {
		switch o.Kind {
		case locks.OpPut:
			s.Entries[o.Key] = Entry{string(o.Value), s.Revision, o.Session}
		case locks.OpGet:
			a.Reads[o.Key] = s.Entries[o.Key]
		case locks.OpDelete:
			delete(s.Entries, o.Key)
		case locks.OpDeletePrefix:
			maps.DeleteFunc(s.Entries, func(key string, _ Entry) bool { return strings.HasPrefix(key, o.Key) })
		}
	}
	return a
}

// holds reports whether a condition of a transaction holds.
func (s *State) holds(f locks.If) bool {
	e, exists := s.Entries[f.Name]
	switch f.Kind {
	case locks.IfRevision:
		return e.Revision == f.Revision
	case locks.IfExists:
		return exists
	case locks.IfAbsent:
		return !exists
	case locks.IfValue:
		return exists && bytes.Equal([]byte(e.Value), f.Value)
	case locks.IfAlive:
		return s.Sessions[f.Name] != nil
	case locks.IfCurrent:
		return s.current(f.Name, f.Revision)
	}
	return false
}
