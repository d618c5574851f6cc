package client

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/prytany/prytany/internal/api"
)

// The errors of this package, for errors.Is. Refusals of the server are
// [*ProblemError]s that match one of them.
var (
	ErrHeld           = errors.New("prytany: somebody else holds the lock")
	ErrLockLost       = errors.New("prytany: the lock is lost")
	ErrLimitMismatch  = errors.New("prytany: the lock is in use with another number of slots")
	ErrUpgradeRefused = errors.New("prytany: others share the lock")
	ErrNotCandidate   = errors.New("prytany: the session is no candidate of the election")
	ErrSessionExpired = errors.New("prytany: the session is over")
	ErrNotFound       = errors.New("prytany: not found")
	ErrConflict       = errors.New("prytany: the entry has another revision")
	ErrStaleFence     = errors.New("prytany: the grant of that fence is over")
	ErrCompacted      = errors.New("prytany: the events asked for are not kept any more")
	ErrUnavailable    = errors.New("prytany: unavailable; nothing happened")
	ErrUnknownOutcome = errors.New("prytany: outcome unknown; it may have happened or may still")
	ErrClosed         = errors.New("prytany: the client is closed")
	ErrReleased       = errors.New("prytany: the lock was released")
)

// A ProblemError is a refusal by the server (RFC 9457).
type ProblemError struct {
	Status    int    // HTTP
	Code      string // stable, for programs: "lock-held"
	Detail    string // for people
	Retryable bool
	Applied   string // "no", "yes" or "unknown"
	Field     string // what was wrong with the request, if anything
	RequestID string // to find it in the server's log

	Name     string // the lock, key or session that it is about
	Revision uint64 // at which it was decided, 0 if unknown

	CurrentRevision uint64        // of a conflicting entry, 0 if there is none
	CurrentFence    uint64        // of the present grant, or the highest a resource has seen; 0 if there is none
	OldestRevision  uint64        // with code compacted: events are kept from here on
	Holder          *Holder       // with code lock-held
	QueuePosition   int           // with code lock-held: the place in line, from 1
	Held            []HeldBy      // with code lock-held, of AcquireAll: the locks that are not to be had
	Slots           int           // with code limit-mismatch: of the lock
	RequestedSlots  int           // with code limit-mismatch: asked for
	Operation       int           // of a transaction: index of the one that was refused; -1: none
	LockDelay       time.Duration // what remains of a lock-delay
	RetryAfter      time.Duration
}

// A HeldBy is one of several locks that were asked for together: why it is not
// to be had.
type HeldBy struct {
	Name          string
	Holder        *Holder // nil while only a queue or a lock-delay is in the way
	QueuePosition int
	LockDelay     time.Duration
}

// A LostError is the cause of the end of a lock whose session goes on. It
// matches [ErrLockLost].
type LostError struct {
	Name   string
	Fence  uint64
	Reason string // as the server keeps it: "forced: stuck", "yielded: deploy", "transferred"; "" if it is unknown
}

func (e *LostError) Error() string {
	return fmt.Sprintf("%v: %s (fence %d): %s", ErrLockLost, e.Name, e.Fence, cmp.Or(e.Reason, "the server does not know it"))
}

// Is makes the error match [ErrLockLost].
func (e *LostError) Is(target error) bool { return target == ErrLockLost }

// A Holder of a lock.
type Holder struct {
	Session   string
	Owner     string
	Fence     uint64
	Note      string
	ExpiresIn time.Duration // -1 if unknown
}

func holderOf(h *api.Holder) *Holder {
	if h == nil {
		return nil
	}
	out := &Holder{Session: h.Session, Owner: h.Owner, Fence: h.Fence, Note: h.Note, ExpiresIn: -1}
	if h.ExpiresInMS != nil {
		out.ExpiresIn = milliseconds(*h.ExpiresInMS)
	}
	return out
}

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

func (e *ProblemError) Error() string {
	if e.RequestID != "" {
		return fmt.Sprintf("prytany: %s: %s (request %s)", e.Code, e.Detail, e.RequestID)
	}
	return fmt.Sprintf("prytany: %s: %s", e.Code, e.Detail)
}

// Is makes a refusal match the error of its kind.
func (e *ProblemError) Is(target error) bool {
	switch api.Code(e.Code) {
	case api.CodeLockHeld:
		return target == ErrHeld
	case api.CodeSessionUnknown, api.CodeSessionExpired:
		return target == ErrSessionExpired
	case api.CodeKeyNotFound, api.CodeLockUnknown, api.CodeNotFound, api.CodeGroupUnknown:
		return target == ErrNotFound
	case api.CodeLimitMismatch:
		return target == ErrLimitMismatch
	case api.CodeUpgradeRefused:
		return target == ErrUpgradeRefused
	case api.CodeNotCandidate:
		return target == ErrNotCandidate
	case api.CodeCompacted:
		return target == ErrCompacted
	case api.CodeRevisionMismatch:
		return target == ErrConflict
	case api.CodeStaleFence:
		return target == ErrStaleFence
	case api.CodeOutcomeUnknown:
		return target == ErrUnknownOutcome
	case api.CodeNoLeader, api.CodeOverloaded, api.CodeStopping, api.CodeNotApplied, api.CodeNotReady, api.CodeNotLeader, api.CodeTimeout:
		return target == ErrUnavailable
	}
	return e.Applied == string(api.AppliedUnknown) && target == ErrUnknownOutcome
}

// problemError turns what came over the wire into an error.
func problemError(p *api.Problem, retryAfter time.Duration) *ProblemError {
	e := &ProblemError{
		Status: p.Status, Code: string(p.Code), Detail: cmp.Or(p.Detail, p.Title), Retryable: p.Retryable, Applied: string(p.Applied),
		Field: p.Field, RequestID: p.RequestID, Name: p.Name, OldestRevision: p.OldestRevision,
		Holder: holderOf(p.Holder), QueuePosition: p.QueuePosition, Slots: p.Slots, RequestedSlots: p.RequestedSlots,
		Operation: -1, LockDelay: milliseconds(p.LockDelayRemainingMS), RetryAfter: retryAfter,
	}
	if p.CurrentRevision != nil {
		e.CurrentRevision = *p.CurrentRevision
	}
	if p.CurrentFence != nil {
		e.CurrentFence = *p.CurrentFence
	}
	if p.Operation != nil {
		e.Operation = *p.Operation
	}
	for _, h := range p.Held {
		e.Held = append(e.Held, HeldBy{h.Name, holderOf(h.Holder), h.QueuePosition, milliseconds(h.LockDelayRemainingMS)})
	}
	return e
}
