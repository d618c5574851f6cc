package history

import (
	"time"

	"github.com/prytany/prytany/locks/internal/wire"
)

// A Mode says who else may hold a lock at the same time.
type Mode uint8

// The modes.
const (
	Exclusive Mode = 0 // nobody, or in a semaphore as many as it has slots
	Shared    Mode = 1 // everybody who asks for the same
)

// Entry is one config entry.
type Entry struct {
	Key         string
	Value       []byte
	ContentType string
	Revision    uint64 // of its last change: its ETag
	Created     uint64
	Version     uint64 // number of changes since Created, from 1
	Session     string // it goes with this session, if any
}

// Size returns what e counts in bytes.
func (e *Entry) Size() int64 { return int64(len(e.Key) + len(e.Value) + len(e.ContentType)) }

// Wire writes or reads e.
func (e *Entry) Wire(c *wire.Coder) {
	c.String(&e.Key)
	c.Bytes(&e.Value)
	c.String(&e.ContentType)
	c.Uint(&e.Revision)
	c.Uint(&e.Created)
	c.Uint(&e.Version)
	c.String(&e.Session)
}

// An EventType says what happened.
type EventType uint8

// The types of events.
const (
	Put     EventType = 1 // a config entry was written: Entry
	Delete  EventType = 2 // a config entry was deleted
	Expire  EventType = 3 // a config entry went with its session
	Lock    EventType = 4 // a lock was granted, or changed its mode: Session, Owner, Fence, Mode
	Unlock  EventType = 5 // a grant ended, of a lock or of leadership: Session, Owner, Fence, Mode, Reason
	Leader  EventType = 6 // an election was won, or its leader proclaims: Session, Owner, Fence, Value
	Session EventType = 7 // a session was opened, or it ended: Reason is "opened", or why it ended
	Yield   EventType = 8 // a holder is asked to let go: Session, Owner, Fence, Mode, Within, Reason

	NumEventTypes = 9
)

// An Event is one thing that a command did. Events never change.
type Event struct {
	Type    EventType
	Name    string // the config key, lock, election or session's id
	Entry   *Entry // Put; not to be changed
	Session string
	Owner   string
	Fence   uint64
	Mode    Mode
	Value   string
	Within  time.Duration
	Reason  string
}

// A Change is everything that one command did. Changes never change.
type Change struct {
	Revision uint64
	Events   []Event
}

// EventSet is a set of types; the zero set means all.
type EventSet uint16

// With returns e with t.
func (e EventSet) With(t EventType) EventSet { return e | 1<<t }

// Has reports whether t is in e.
func (e EventSet) Has(t EventType) bool { return e == 0 || e&(1<<t) != 0 }

// Overhead stands for what an event takes beside its strings, in bytes.
const Overhead = 128

// Size returns what e counts in bytes.
func (e *Event) Size() int64 {
	n := int64(Overhead + len(e.Name) + len(e.Session) + len(e.Owner) + len(e.Value) + len(e.Reason))
	if e.Entry != nil {
		n += e.Entry.Size()
	}
	return n
}

// Size returns what c counts in bytes.
func (c *Change) Size() (n int64) {
	for i := range c.Events {
		n += c.Events[i].Size()
	}
	return n
}

// wire writes or reads e. An entry that is still the present one is coded as a
// reference to it, so that it is there once, in the snapshot and in memory.
func (e *Event) wire(c *wire.Coder, revision uint64, present func(key string) *Entry) {
	c.Byte((*uint8)(&e.Type))
	c.String(&e.Name)
	c.String(&e.Session)
	c.String(&e.Owner)
	c.Uint(&e.Fence)
	c.Byte((*uint8)(&e.Mode))
	c.String(&e.Value)
	c.Duration(&e.Within)
	c.String(&e.Reason)
	if c.Reading && (e.Type == 0 || e.Type >= NumEventTypes || e.Mode > Shared) {
		c.Fail()
		return
	}
	if e.Type != Put {
		return
	}
	now := present(e.Name)
	refer := now != nil && now == e.Entry
	c.Bool(&refer)
	switch {
	case !refer && c.Reading:
		e.Entry = &Entry{}
		e.Entry.Wire(c)
	case !refer:
		e.Entry.Wire(c)
	case c.Reading && (now == nil || now.Revision != revision):
		c.Fail()
	case c.Reading:
		e.Entry = now
	}
}
