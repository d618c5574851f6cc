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
	CodeLimitMismatch    Code = "limit-mismatch"
	CodeUpgradeRefused   Code = "upgrade-refused"
	CodeSessionNeeded    Code = "session-required"
	CodeNotCandidate     Code = "not-candidate"
	CodeCompacted        Code = "compacted"
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
	CodeVoterUnknown     Code = "voter-unknown"        // the lead was to go to somebody without a vote
	CodeNoHeir           Code = "no-heir"              // nobody could take the lead over now
	CodeHandingOver      Code = "handing-over"         // the lead is being handed over already
	CodeGroupExists      Code = "group-exists"         // a group of that name
	CodeGroupBusy        Code = "group-busy"           // another change of its members is under way
	CodeTooFewNodes      Code = "too-few-nodes"        // alive and suitable
	CodeNodeUnknown      Code = "node-unknown"         // no node of that name or id
	CodeNodeRemoved      Code = "node-removed"         // it was removed from the cluster
	CodeQuorumAtRisk     Code = "quorum-at-risk"       // those who stay and live would be no quorum
	CodeMainGroup        Code = "main-group"           // that cannot be done to main
	CodeTooManyGroups    Code = "too-many-groups"      // as many as the directory takes
	CodeNotMember        Code = "not-member"           // a relayed request reached a node without a part in the group
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

	CurrentRevision      *uint64  `json:"current_revision,omitempty"` // 0: there is no entry
	CurrentFence         *uint64  `json:"current_fence,omitempty"`    // 0: the lock is free
	Holder               *Holder  `json:"holder,omitempty"`
	Held                 []HeldBy `json:"held,omitempty"`            // of several locks asked for together: those not to be had
	QueuePosition        int      `json:"queue_position,omitempty"`  // from 1
	Slots                int      `json:"slots,omitempty"`           // limit-mismatch: of the lock
	RequestedSlots       int      `json:"requested_slots,omitempty"` // limit-mismatch: asked for
	OldestRevision       uint64   `json:"oldest_revision,omitempty"` // compacted
	OldestID             uint64   `json:"oldest_id,omitempty"`       // compacted, of a node's events
	Operation            *int     `json:"operation,omitempty"`       // of a transaction: index of the one that was refused
	LockDelayRemainingMS int64    `json:"lock_delay_remaining_ms,omitempty"`
}

// A HeldBy is one lock that was not to be had.
type HeldBy struct {
	Name                 string  `json:"name"`
	Holder               *Holder `json:"holder,omitempty"`
	QueuePosition        int     `json:"queue_position,omitempty"`
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
