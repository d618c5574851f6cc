package api

import "fmt"

// A Code names a kind of problem, for programs. Codes never change.
type Code string

// The codes that come from the service.
const (
	CodeInternal         Code = "internal"
	CodeInvalid          Code = "invalid"
	CodeLockHeld         Code = "lock-held"
	CodeLockUnknown      Code = "lock-unknown"
	CodeSessionUnknown   Code = "session-unknown"
	CodeSessionExpired   Code = "session-expired"
	CodeStaleFence       Code = "stale-fence"
	CodeRevisionMismatch Code = "revision-mismatch"
	CodeKeyNotFound      Code = "key-not-found"
	CodeKeyReused        Code = "idempotency-key-reused"
	CodeNoLeader         Code = "no-leader"
	CodeOverloaded       Code = "overloaded"
	CodeOutcomeUnknown   Code = "outcome-unknown"
	CodeTooLarge         Code = "too-large"
	CodeNotApplied       Code = "not-applied"
)

// The codes that come from the HTTP server itself.
const (
	CodeNotFound         Code = "not-found"            // no such path
	CodeMethodNotAllowed Code = "method-not-allowed"   // Allow lists what is
	CodeGroupUnknown     Code = "group-unknown"        // no such group on this node
	CodeFenceRequired    Code = "fence-required"       // a release without If-Match
	CodeNotLeader        Code = "not-leader"           // asked not to be forwarded
	CodeForbiddenOrigin  Code = "forbidden-origin"     // a browser's request from another site
	CodeForbiddenHost    Code = "forbidden-host"       // the Host header names somebody else
	CodeEncoding         Code = "unsupported-encoding" // Content-Encoding
	CodeTimeout          Code = "request-timeout"      // the body came too slowly
	CodeStopping         Code = "stopping"             // the node is going down; ask another
	CodeNotReady         Code = "not-ready"            // of /readyz
)

// Applied says whether a change that failed has taken effect.
type Applied string

// The outcomes.
const (
	AppliedNo      Applied = "no"
	AppliedYes     Applied = "yes"
	AppliedUnknown Applied = "unknown" // it may have, or may still
)

// A Problem is the body of every reply that is an error (RFC 9457), and the
// error itself for those who get one. Members beyond RequestID are present
// where they mean something.
type Problem struct {
	Type      string  `json:"type"`
	Title     string  `json:"title"`
	Status    int     `json:"status"`
	Detail    string  `json:"detail,omitempty"`
	Code      Code    `json:"code"`
	Applied   Applied `json:"applied"`
	Retryable bool    `json:"retryable"` // the same request may be sent again without harm
	RequestID string  `json:"request_id"`

	Name   string `json:"name,omitempty"`   // the lock, key or session
	Field  string `json:"field,omitempty"`  // what is wrong: a JSON field, query parameter or header
	Limit  string `json:"limit,omitempty"`  // the bound it broke
	Value  string `json:"value,omitempty"`  // what was sent, shortened
	Leader string `json:"leader,omitempty"` // URL, if known

	CurrentRevision      *uint64 `json:"current_revision,omitempty"` // 0: there is no entry
	CurrentFence         *uint64 `json:"current_fence,omitempty"`    // 0: the lock is free
	Holder               *Holder `json:"holder,omitempty"`
	QueuePosition        int     `json:"queue_position,omitempty"` // from 1
	LockDelayRemainingMS int64   `json:"lock_delay_remaining_ms,omitempty"`
}

// Error is "409 lock-held: detail".
func (p *Problem) Error() string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	return fmt.Sprintf("%d %s: %s", p.Status, p.Code, text)
}

// ProblemType returns the URL that explains c.
func ProblemType(c Code) string {
	return "https://github.com/prytany/prytany/blob/main/docs/problems.md#" + string(c)
}
