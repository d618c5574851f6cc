package locks

import "time"

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
	LimitMismatch    Code = 15 // the lock is in use with another number of slots; Error.Slots is it
	UpgradeRefused   Code = 16 // others read under the lock that was to become exclusive
	SessionNeeded    Code = 17 // several holders have the fence: say which session's grant is meant
	NotCandidate     Code = 18 // the session does not stand in the election's queue
	Compacted        Code = 19 // events are kept only from Error.Current on

	NumCodes = 20
)

// Error is the only error type that Service returns.
type Error struct {
	Op      string // "acquire"
	Name    string // lock, key or session, if any
	Code    Code
	Field   string     // Invalid, TooLarge: the field that is wrong
	Detail  string     // for people: what, the limit and the value
	Current uint64     // StaleFence, RevisionMismatch; NotApplied: the revision reached; Compacted: the oldest
	Slots   int        // LimitMismatch: of the lock
	Step    int        // of a transaction: which operation, from 1; else 0
	Held    *HeldInfo  // LockHeld
	All     []HeldLock // LockHeld by AcquireAll: each lock that is not to be had
	Err     error      // cause, for logs; may be nil
}

// A HeldLock is one of several locks that were asked for together.
type HeldLock struct {
	Name string
	HeldInfo
}

// HeldInfo says why a lock was not granted.
type HeldInfo struct {
	Holder             *Holder       // one of them; nil while only a lock-delay or the queue keeps the lock
	QueuePosition      int           // of the caller, from 1, had it waited
	LockDelayRemaining time.Duration // -1 if there is one of length not known here
}
