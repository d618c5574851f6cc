package locks

import (
	"time"

	"github.com/prytany/prytany/locks/internal/history"
)

// Meta goes with every reply: where in the group's history it belongs.
type Meta struct {
	Revision uint64        // of the effect, or the one read
	Slot     uint64        // of the effect, or applied when read
	Age      time.Duration // stale reads: upper bound since this node last heard the leader; else 0
}

// A Holder of a lock.
type Holder struct {
	Session   string
	Owner     string // the session's name, or its id
	Fence     uint64
	Mode      Mode
	Note      string
	Elected   bool          // it campaigned: it leads the election of this name
	Value     string        // Elected: what it publishes
	Since     uint64        // revision of the grant (equals Fence)
	Held      time.Duration // how long this node has seen it held; -1 if unknown
	ExpiresIn time.Duration // by the leader's clock; -1 if not known here
}

// A Waiter in a lock's queue.
type Waiter struct {
	Session  string
	Owner    string
	Mode     Mode
	Campaign bool   // it is a candidate of the election of this name
	Value    string // Campaign: what it would publish
	Note     string
	Since    uint64 // revision at which it queued
}

// A Yield is a request to the holders of a lock to let go.
type Yield struct {
	Since     uint64        // revision of the request
	Within    time.Duration // then the grants are ended; 0: they are only asked
	Remaining time.Duration // of Within, by the leader's clock; -1 if not known here
	Reason    string
}

// A Past holder of a lock.
type Past struct {
	Session string
	Owner   string
	Fence   uint64
	Ended   uint64 // revision
	Reason  string // see the constants, some followed by ": " and why
}

// Why a grant ended.
const (
	ReasonReleased    = "released"
	ReasonExpired     = "expired"     // with its session, whose lease ran out
	ReasonEnded       = "ended"       // with its session, at its owner's wish
	ReasonForced      = "forced"      // somebody broke the lock
	ReasonYielded     = "yielded"     // the holder was asked to yield and did not in time
	ReasonTransferred = "transferred" // leadership was handed to a candidate
	ReasonUpgraded    = "upgraded"    // to an exclusive grant of the same session, with a new fence
)

// Lock is the state of one lock.
type Lock struct {
	Name               string
	Slots              int           // how many may hold it at a time; 1 unless it is a semaphore. Fixed while it is in use
	Holders            []Holder      // in the order of their grants; none if free
	Waiters            []Waiter      // in the order in which they are served
	Past               []Past        // newest first
	Changed            uint64        // revision of the last change of Holders: its ETag, and the fence of one who alone holds it
	Yield              *Yield        // holders have been asked to let go; nil if not
	LockDelayRemaining time.Duration // by the leader's clock; -1 if there is one of length not known here
}

// Grant is the answer to Acquire.
type Grant struct {
	Name      string
	Session   string
	Fence     uint64
	Mode      Mode
	Slots     int
	ExpiresIn time.Duration // of the session; -1 if it could not be learned
	Waited    time.Duration
}

// Session is the state of one session.
type Session struct {
	ID        string
	Name      string
	TTL       time.Duration
	LockDelay time.Duration
	ExpiresIn time.Duration // by the leader's clock; -1 if not known here
	Created   uint64        // revision
	Holds     []Grant
	Waits     []string
	Keys      []string // ephemeral config entries
	Bound     string   // the one lock it was made for and ends with, if any
}

// Kept is the answer to KeepAlive.
type Kept struct {
	Session               // without what it holds and waits for
	Held    time.Duration // how long the answer was held back; the lease began anew at the end of it
	News    []Change      // of the session, in order
	Missed  bool          // there may have been more: read the session and its locks anew
}

type (
	// A Mode says who else may hold a lock at the same time.
	Mode = history.Mode
	// An Entry is one config entry.
	Entry = history.Entry
	// An EventType says what happened.
	EventType = history.EventType
	// An Event is one thing that a command did. Events never change.
	Event = history.Event
	// A Change is everything that one command did. Changes never change.
	Change = history.Change
	// An EventSet is a set of types; the zero set means all.
	EventSet = history.EventSet
)

// The modes.
const (
	Exclusive = history.Exclusive // nobody else, or in a semaphore as many as it has slots
	Shared    = history.Shared    // everybody who asks for the same
)

// The types of events.
const (
	EventPut     = history.Put     // a config entry was written: Entry
	EventDelete  = history.Delete  // a config entry was deleted
	EventExpire  = history.Expire  // a config entry went with its session
	EventLock    = history.Lock    // a lock was granted, or changed its mode: Session, Owner, Fence, Mode
	EventUnlock  = history.Unlock  // a grant ended, of a lock or of leadership: Session, Owner, Fence, Mode, Reason
	EventLeader  = history.Leader  // an election was won, or its leader proclaims: Session, Owner, Fence, Value
	EventSession = history.Session // a session was opened, or it ended: Reason is "opened", or why it ended
	EventYield   = history.Yield   // a holder is asked to let go: Session, Owner, Fence, Mode, Within, Reason

	NumEventTypes = history.NumEventTypes
)
