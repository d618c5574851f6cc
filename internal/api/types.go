package api

// CreateSession is the body of POST /v1/sessions. All fields are optional.
type CreateSession struct {
	TTL       string `json:"ttl,omitempty"`
	Name      string `json:"name,omitempty"`
	LockDelay string `json:"lock_delay,omitempty"`
}

// SessionCreated answers it.
type SessionCreated struct {
	ID          string `json:"id"`
	TTLMS       int64  `json:"ttl_ms"`
	ExpiresInMS *int64 `json:"expires_in_ms,omitempty"` // absent: not known to the answering node
}

// KeptAlive answers PUT /v1/sessions/{id}.
type KeptAlive struct {
	TTLMS       int64 `json:"ttl_ms"`
	ExpiresInMS int64 `json:"expires_in_ms"`
}

// SessionInfo is what a listing tells of a session.
type SessionInfo struct {
	ID              string `json:"id"`
	Name            string `json:"name,omitempty"`
	TTLMS           int64  `json:"ttl_ms"`
	LockDelayMS     int64  `json:"lock_delay_ms"`
	ExpiresInMS     *int64 `json:"expires_in_ms,omitempty"`
	CreatedRevision uint64 `json:"created_revision"`
	Bound           string `json:"bound,omitempty"` // the lock it lives for
}

// A Session as it is read alone.
type Session struct {
	SessionInfo
	Holds []Held   `json:"holds"`
	Waits []string `json:"waits"`
	Keys  []string `json:"keys"` // ephemeral config entries
}

// Held is a lock that a session holds.
type Held struct {
	Name  string `json:"name"`
	Fence uint64 `json:"fence"`
}

// Acquire is the body of PUT /v1/locks/{name}. TTL goes only without Session.
type Acquire struct {
	Session string `json:"session,omitempty"`
	TTL     string `json:"ttl,omitempty"`
	Mode    string `json:"mode,omitempty"`  // "exclusive", which is also what "" means
	Slots   int    `json:"slots,omitempty"` // 1, which is also what absence means
	Note    string `json:"note,omitempty"`
}

// ModeExclusive is the mode of a lock with at most one holder.
const ModeExclusive = "exclusive"

// Grant answers Acquire.
type Grant struct {
	Name        string `json:"name"`
	Session     string `json:"session"`
	Fence       uint64 `json:"fence"`
	Mode        string `json:"mode"`
	ExpiresInMS *int64 `json:"expires_in_ms,omitempty"` // absent: not known to the answering node
	WaitedMS    int64  `json:"waited_ms"`
}

// A Lock as it is read.
type Lock struct {
	Name                 string   `json:"name"`
	Holders              []Holder `json:"holders"`
	Waiters              []Waiter `json:"waiters"` // in the order in which they are served
	Past                 []Past   `json:"past"`    // newest first
	ChangedRevision      uint64   `json:"changed_revision"`
	LockDelayRemainingMS int64    `json:"lock_delay_remaining_ms,omitempty"`
}

// A Holder of a lock.
type Holder struct {
	Session     string `json:"session"`
	Owner       string `json:"owner"` // the session's name, or its id
	Fence       uint64 `json:"fence"`
	Note        string `json:"note,omitempty"`
	Since       uint64 `json:"since"`             // revision
	HeldMS      *int64 `json:"held_ms,omitempty"` // how long the answering node has seen it held
	ExpiresInMS *int64 `json:"expires_in_ms,omitempty"`
}

// A Waiter in a lock's queue.
type Waiter struct {
	Session string `json:"session"`
	Owner   string `json:"owner"`
	Since   uint64 `json:"since"` // revision
}

// A Past holder of a lock.
type Past struct {
	Session string `json:"session"`
	Owner   string `json:"owner"`
	Fence   uint64 `json:"fence"`
	Ended   uint64 `json:"ended"`  // revision
	Reason  string `json:"reason"` // "released", "expired", "ended", "forced" or "forced: " and why
}

// An Entry is a config entry as JSON: in lists, and alone with
// Accept: application/json. Exactly one of Value and ValueBase64 is present,
// or neither with keys_only.
type Entry struct {
	Key             string  `json:"key"`
	Value           *string `json:"value,omitempty"`        // if it is UTF-8
	ValueBase64     *string `json:"value_base64,omitempty"` // else; standard encoding
	ContentType     string  `json:"content_type,omitempty"`
	Revision        uint64  `json:"revision"` // the ETag
	CreatedRevision uint64  `json:"created_revision"`
	Version         uint64  `json:"version"`
	Session         string  `json:"session,omitempty"`
}

// Put answers PUT /v1/config/{key}.
type Put struct {
	Key      string `json:"key"`
	Revision uint64 `json:"revision"`
	Version  uint64 `json:"version"`
	Created  bool   `json:"created"`
}

// Sessions, Locks and Entries are pages of a listing. Next, unless empty, goes
// into ?cursor= for the following page.
type Sessions struct {
	Sessions []SessionInfo `json:"sessions"`
	Revision uint64        `json:"revision"`
	Next     string        `json:"next,omitempty"`
}

// Locks is a page of locks.
type Locks struct {
	Locks    []Lock `json:"locks"`
	Revision uint64 `json:"revision"`
	Next     string `json:"next,omitempty"`
}

// Entries is a page of config entries.
type Entries struct {
	Entries  []Entry `json:"entries"`
	Revision uint64  `json:"revision"`
	Next     string  `json:"next,omitempty"`
}
