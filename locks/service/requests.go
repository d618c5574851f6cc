package service

import (
	"context"
	"time"

	"github.com/prytany/prytany/locks"
)

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
	Mode    locks.Mode
	Slots   int // 0 and 1 mean a lock, more a semaphore, which is Exclusive
	Note    string
	Wait    time.Duration // 0: try once

	// Campaign makes it an election: whoever holds the lock leads, and publishes
	// Value. It is Exclusive and has one slot.
	Campaign bool
	Value    string
}

// AcquireAll asks for several locks, all or none, at once or not at all.
type AcquireAll struct {
	Common
	Session string
	Names   []string
	Note    string
}

// Release gives a lock back. With Force all its grants end; Fence is not looked
// at, and Reason is recorded.
type Release struct {
	Common
	Name    string
	Fence   uint64
	Session string // needed only if several sessions hold the lock with this fence
	Force   bool
	Reason  string
}

// AskYield asks the holders of a lock to let go.
type AskYield struct {
	Common
	Name   string
	Within time.Duration // then their grants are ended; 0: never
	Reason string
}

// Proclaim changes what the leader of an election publishes.
type Proclaim struct {
	Common
	Name  string
	Fence uint64 // the term
	Value string
}

// Transfer hands the leadership of an election to one of its candidates.
type Transfer struct {
	Common
	Name  string
	Fence uint64 // the term that ends; 0: whichever it is
	To    string // session
}

// AdvanceFence raises the highest fence that a resource has seen.
type AdvanceFence struct {
	Common
	Resource string
	Fence    uint64
}

// ForgetFence removes the register of a resource.
type ForgetFence struct {
	Common
	Resource string
	Fence    uint64 // the highest it has seen
}

// KeepAlive begins a lease anew.
type KeepAlive struct {
	ID string
	// Hold holds the answer back, until there is news or it is time to renew
	// again; 0: at once.
	Hold time.Duration
	// Since is the revision up to which the caller has heard of news, as of an
	// earlier answer's Meta. 0: from now on. One that the group has not reached is
	// answered at once, as if there had been news that is no longer kept.
	Since uint64
}

// Txn runs Then if all of If hold, else Else: all of it or nothing.
type Txn struct {
	Common
	If   []locks.If
	Then []locks.Op
	Else []locks.Op
}

// Watch says what to watch.
type Watch struct {
	Prefix string // names that begin with it
	Exact  bool   // only Prefix itself
	From   uint64 // the first revision to tell about; 0: the next
	Types  locks.EventSet
}

// A Stream tells of changes in order, each once.
type Stream interface {
	// Next returns the next changes, with their events that are watched for, and
	// the revision up to which all is told; none after wait, which is then a
	// bookmark. Errors: Compacted if the caller has fallen behind what is kept;
	// NoLeader if nothing has come for several waits, and the group does not answer
	// this node either; those of ctx.
	Next(ctx context.Context, wait time.Duration) (changes []locks.Change, upTo uint64, err error)
	// Close frees what the stream takes.
	Close()
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
	Guard       *locks.Guard
}

// Delete removes a config entry; it succeeds if there is none.
type Delete struct {
	Common
	Key        string
	IfRevision *uint64
	Guard      *locks.Guard
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

	// Delimiter rolls up config keys: those that have it after Prefix are
	// listed once, as an Entry that has only a Key, which ends with it. "" means
	// none.
	Delimiter string
}

// Locks is everything that can be asked of the service; *Service implements it.
type Locks interface {
	CreateSession(ctx context.Context, r CreateSession) (locks.Session, locks.Meta, error)
	KeepAlive(ctx context.Context, r KeepAlive) (locks.Kept, locks.Meta, error)
	GetSession(ctx context.Context, id string, rd Read) (locks.Session, locks.Meta, error)
	ListSessions(ctx context.Context, l List, rd Read) (Page[locks.Session], locks.Meta, error)
	EndSession(ctx context.Context, id string, c Common) (locks.Meta, error)

	Acquire(ctx context.Context, r Acquire) (locks.Grant, locks.Meta, error)
	AcquireAll(ctx context.Context, r AcquireAll) ([]locks.Grant, locks.Meta, error)
	Release(ctx context.Context, r Release) (locks.Meta, error)
	GetLock(ctx context.Context, name string, rd Read) (locks.Lock, locks.Meta, error)
	CheckFence(ctx context.Context, name string, fence uint64, rd Read) (locks.Meta, error)
	AskYield(ctx context.Context, r AskYield) (locks.Meta, error)
	Proclaim(ctx context.Context, r Proclaim) (locks.Meta, error)
	Transfer(ctx context.Context, r Transfer) (locks.Grant, locks.Meta, error)

	AdvanceFence(ctx context.Context, r AdvanceFence) (highest uint64, m locks.Meta, err error)
	GetFence(ctx context.Context, resource string, rd Read) (highest uint64, m locks.Meta, err error)
	ForgetFence(ctx context.Context, r ForgetFence) (locks.Meta, error)
	ListLocks(ctx context.Context, l List, rd Read) (Page[locks.Lock], locks.Meta, error)

	Put(ctx context.Context, r Put) (e locks.Entry, created bool, m locks.Meta, err error)
	Get(ctx context.Context, key string, rd Read) (locks.Entry, locks.Meta, error)
	Delete(ctx context.Context, r Delete) (locks.Meta, error)
	ListEntries(ctx context.Context, l List, rd Read) (Page[locks.Entry], locks.Meta, error)
	Txn(ctx context.Context, r Txn) (locks.TxnResult, locks.Meta, error)

	Watch(ctx context.Context, w Watch) (Stream, locks.Meta, error)
}
