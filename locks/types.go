package locks

import (
	"context"
	"time"
)

// Log is the replicated log as the Service needs it. Errors are those of
// package paxos: *NotLeaderError and ErrOverloaded mean that nothing happened,
// ErrUnknownOutcome that the command may still take effect.
type Log interface {
	// Propose replicates cmd and returns what Machine.Apply returned for it,
	// and its slot.
	Propose(ctx context.Context, cmd []byte) (result []byte, slot uint64, err error)
	// Barrier returns once the local Machine has applied everything that was
	// chosen before the call: reading the Machine then is linearizable.
	Barrier(ctx context.Context) error
	// Ask has the leader's Machine answer req under fresh proof of leadership.
	Ask(ctx context.Context, req []byte) (answer []byte, err error)
}

// Limits bounds everything a client can make the service keep or do. A zero
// field means its default.
//
// The bounds of replicated state (MaxSessions, MaxLocks, MaxWaiters,
// MaxPerSession, MaxState, MaxAnswers, KeepAnswers, History) are the same on
// all nodes for all time, because they influence what commands do: their
// defaults are constants of the log's format, and values given here for them
// are not looked at.
type Limits struct {
	MaxName       int           // bytes of a lock name or config key. 512
	MaxValue      int           // bytes of a config value. 256 KiB
	MaxNote       int           // bytes of a lock's note, a session's name. 1 KiB
	MinTTL        time.Duration // 2 s
	MaxTTL        time.Duration // 24 h
	DefaultTTL    time.Duration // 15 s
	MaxWait       time.Duration // of one request. 5 min
	MaxLockDelay  time.Duration // 60 s
	MaxSessions   int           // 200,000
	MaxLocks      int           // locks and config entries together. 1,000,000
	MaxWaiters    int           // of one lock. 10,000
	MaxPerSession int           // locks held and waited for, and ephemeral entries, of one session. 10,000
	MaxState      int64         // bytes of names, values and notes together. 1 GiB
	MaxAnswers    int           // answers kept for Idempotency-Key. 100,000
	KeepAnswers   time.Duration // at least, unless MaxAnswers is reached. 10 min
	History       int           // last holders remembered per lock. 8
	MaxList       int           // items in one page. 1000
}

// The codes. Their names on the wire are in package httpapi.
const (
	Internal         Code = 0  // a bug or a broken machine
	Invalid          Code = 1  // the request can never succeed as written
	LockHeld         Code = 2  // somebody else holds the lock; Error.Held tells who
	LockUnknown      Code = 3  // nobody holds or waits for it, nothing is remembered
	SessionUnknown   Code = 4  // no such session was ever seen
	SessionExpired   Code = 5  // the caller's lease is over; all its locks are gone
	StaleFence       Code = 6  // the grant of that fence is over; Error.Current is the present fence, 0 if free
	RevisionMismatch Code = 7  // a condition on a config entry failed; Error.Current is its revision, 0 if absent
	KeyNotFound      Code = 8  // no such config entry
	KeyReused        Code = 9  // the Idempotency-Key was used with another request
	NoLeader         Code = 10 // nothing happened; safe to retry
	Overloaded       Code = 11 // nothing happened; safe to retry later
	OutcomeUnknown   Code = 12 // the change may still take effect
	TooLarge         Code = 13 // a value or the whole state would grow beyond its limit
	NotApplied       Code = 14 // min_revision was not reached in time

	NumCodes = 15
)

// Error is the only error type that Service returns.
type Error struct {
	Op      string // "acquire"
	Name    string // lock, key or session, if any
	Code    Code
	Field   string    // Invalid, TooLarge: the field that is wrong
	Detail  string    // for people: what, the limit and the value
	Current uint64    // StaleFence, RevisionMismatch; NotApplied: the revision reached
	Held    *HeldInfo // LockHeld
	Err     error     // cause, for logs; may be nil
}

// HeldInfo says why a lock was not granted.
type HeldInfo struct {
	Holder             *Holder       // nil while only a lock-delay keeps the lock
	QueuePosition      int           // of the caller, from 1, had it waited
	LockDelayRemaining time.Duration // -1 if there is one of length not known here
}

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
	Note      string
	Since     uint64        // revision of the grant (equals Fence)
	Held      time.Duration // how long this node has seen it held; -1 if unknown
	ExpiresIn time.Duration // by the leader's clock; -1 if not known here
}

// A Waiter in a lock's queue.
type Waiter struct {
	Session string
	Owner   string
	Since   uint64 // revision at which it queued
}

// A Past holder of a lock.
type Past struct {
	Session string
	Owner   string
	Fence   uint64
	Ended   uint64 // revision
	Reason  string // "released", "expired", "ended", "forced" or "forced: " and why
}

// Lock is the state of one lock.
type Lock struct {
	Name               string
	Holder             *Holder // nil if free
	Waiters            []Waiter
	Past               []Past        // newest first
	Changed            uint64        // revision of the last change of holder; its ETag while free
	LockDelayRemaining time.Duration // by the leader's clock; -1 if there is one of length not known here
}

// Grant is the answer to Acquire.
type Grant struct {
	Name      string
	Session   string
	Fence     uint64
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

// Common goes with every changing request.
type Common struct {
	IdempotencyKey string // "" means none; at most 255 bytes
	RequestHash    uint64 // of everything in the request that must not change in a retry
}

// CreateSession asks for a new session. A zero TTL means the default.
type CreateSession struct {
	Common
	Name      string
	TTL       time.Duration
	LockDelay time.Duration
}

// Acquire asks for a lock. With Session empty the service makes one with TTL
// that lives for this lock alone.
type Acquire struct {
	Common
	Name    string
	Session string
	TTL     time.Duration // only without Session
	Note    string
	Wait    time.Duration // 0: try once
}

// Release gives a lock back. With Force, Fence is not looked at, and Reason is
// recorded.
type Release struct {
	Common
	Name   string
	Fence  uint64
	Force  bool
	Reason string
}

// Put changes a config entry.
type Put struct {
	Common
	Key         string
	Value       []byte
	ContentType string
	IfRevision  *uint64 // nil: no condition; 0: only if absent
	IfPresent   bool    // If-Match: *
	Session     string  // ephemeral
	Guard       *Guard
}

// Delete removes a config entry; it succeeds if there is none.
type Delete struct {
	Common
	Key        string
	IfRevision *uint64
	Guard      *Guard
}

// Read says how a read is to be done.
type Read struct {
	Stale       bool
	MinRevision uint64        // wait until this node has applied it
	Wait        time.Duration // long poll: how long to wait for a change
	Not         uint64        // long poll: wait while the revision (ETag) equals this
	HasNot      bool          // Not was given; with Wait and without it, wait for the thing to exist
}

// A Page of a listing. Token continues it; it is empty at the end.
//
// All pages of config entries show the state of one revision. Pages of locks
// and sessions, which change with every grant, show the revision of their own
// Meta: what exists throughout the listing is in it exactly once.
type Page[T any] struct {
	Items []T
	Token string
}

// List selects what to list.
type List struct {
	Prefix string
	Limit  int    // 0 means Limits.MaxList
	After  string // names after this one
	Token  string // of the page before, with the same Prefix; then After is not looked at
}

// Locks is everything that can be asked of the service; *Service implements it.
type Locks interface {
	CreateSession(ctx context.Context, r CreateSession) (Session, Meta, error)
	KeepAlive(ctx context.Context, id string) (Session, Meta, error)
	GetSession(ctx context.Context, id string, rd Read) (Session, Meta, error)
	ListSessions(ctx context.Context, l List, rd Read) (Page[Session], Meta, error)
	EndSession(ctx context.Context, id string, c Common) (Meta, error)

	Acquire(ctx context.Context, r Acquire) (Grant, Meta, error)
	Release(ctx context.Context, r Release) (Meta, error)
	GetLock(ctx context.Context, name string, rd Read) (Lock, Meta, error)
	CheckFence(ctx context.Context, name string, fence uint64, rd Read) (Meta, error)
	ListLocks(ctx context.Context, l List, rd Read) (Page[Lock], Meta, error)

	Put(ctx context.Context, r Put) (e Entry, created bool, m Meta, err error)
	Get(ctx context.Context, key string, rd Read) (Entry, Meta, error)
	Delete(ctx context.Context, r Delete) (Meta, error)
	ListEntries(ctx context.Context, l List, rd Read) (Page[Entry], Meta, error)
}
