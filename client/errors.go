package client

import (
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
	ErrSessionExpired = errors.New("prytany: the session is over")
	ErrNotFound       = errors.New("prytany: not found")
	ErrConflict       = errors.New("prytany: the entry has another revision")
	ErrStaleFence     = errors.New("prytany: the grant of that fence is over")
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

	CurrentRevision uint64  // of a conflicting entry, 0 if there is none
	CurrentFence    uint64  // of the present grant, 0 if there is none
	Holder          *Holder // with code lock-held
	QueuePosition   int     // with code lock-held: the place in line, from 1
	RetryAfter      time.Duration
}

// A Holder of a lock.
type Holder struct {
	Session   string
	Owner     string
	Fence     uint64
	Note      string
	ExpiresIn time.Duration // -1 if unknown
}

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
		Status: p.Status, Code: string(p.Code), Detail: p.Detail, Retryable: p.Retryable, Applied: string(p.Applied),
		Field: p.Field, RequestID: p.RequestID, QueuePosition: p.QueuePosition, RetryAfter: retryAfter,
	}
	if e.Detail == "" {
		e.Detail = p.Title
	}
	if p.CurrentRevision != nil {
		e.CurrentRevision = *p.CurrentRevision
	}
	if p.CurrentFence != nil {
		e.CurrentFence = *p.CurrentFence
	}
	if h := p.Holder; h != nil {
		e.Holder = &Holder{Session: h.Session, Owner: h.Owner, Fence: h.Fence, Note: h.Note, ExpiresIn: -1}
		if h.ExpiresInMS != nil {
			e.Holder.ExpiresIn = time.Duration(*h.ExpiresInMS) * time.Millisecond
		}
	}
	return e
}
