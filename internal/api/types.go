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

	// With ?hold= only.
	HeldMS   int64   `json:"held_ms,omitempty"`  // the answer was held back so long, and the lease begins at the end of it
	Revision uint64  `json:"revision,omitempty"` // for ?since= of the next keepalive
	Events   []Event `json:"events,omitempty"`   // news of the session, in order
	Missed   bool    `json:"missed,omitempty"`   // there may have been more: read the session anew
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
	Mode    string `json:"mode,omitempty"`  // one of the modes; "" means exclusive
	Slots   int    `json:"slots,omitempty"` // more than 1: a semaphore; absence means 1
	Note    string `json:"note,omitempty"`
}

// The modes of a grant.
const (
	ModeExclusive = "exclusive"
	ModeShared    = "shared"
)

// Grant answers Acquire.
type Grant struct {
	Name        string `json:"name"`
	Session     string `json:"session"`
	Fence       uint64 `json:"fence"`
	Mode        string `json:"mode"`
	Slots       int    `json:"slots,omitempty"`         // of a semaphore
	ExpiresInMS *int64 `json:"expires_in_ms,omitempty"` // absent: not known to the answering node
	WaitedMS    int64  `json:"waited_ms"`
}

// AcquireAll is the body of POST /v1/locks:acquire.
type AcquireAll struct {
	Session string   `json:"session"`
	Names   []string `json:"names"`
	Note    string   `json:"note,omitempty"`
}

// Grants answers it.
type Grants struct {
	Locks []Held `json:"locks"`
}

// AskYield is the body of POST /v1/locks/{name}:yield.
type AskYield struct {
	Within string `json:"within,omitempty"` // then the grants are ended; absent: the holders are only asked
	Reason string `json:"reason,omitempty"`
}

// Fence is the body of PUT /v1/fences/{resource}.
type Fence struct {
	Fence uint64 `json:"fence"`
}

// Highest answers PUT and GET /v1/fences/{resource}.
type Highest struct {
	Highest uint64 `json:"highest"`
}

// Campaign is the body of PUT /v1/elections/{name}. TTL goes only without
// Session.
type Campaign struct {
	Session string `json:"session,omitempty"`
	TTL     string `json:"ttl,omitempty"`
	Value   string `json:"value,omitempty"`
	Note    string `json:"note,omitempty"`
}

// Proclaim is the body of PATCH /v1/elections/{name}.
type Proclaim struct {
	Value string `json:"value"`
}

// Transfer is the body of POST /v1/elections/{name}:transfer.
type Transfer struct {
	To string `json:"to"` // the session of a candidate
}

// Term answers a campaign, a proclamation and a transfer.
type Term struct {
	Name        string `json:"name"`
	Session     string `json:"session,omitempty"` // absent of a proclamation
	Term        uint64 `json:"term"`              // the fence of the leader's grant
	ExpiresInMS *int64 `json:"expires_in_ms,omitempty"`
	WaitedMS    int64  `json:"waited_ms"`
}

// An Election as it is read.
type Election struct {
	Name            string      `json:"name"`
	Leader          *Leader     `json:"leader,omitempty"` // absent: nobody leads
	Candidates      []Candidate `json:"candidates"`       // in the order in which they would be elected
	Past            []Past      `json:"past"`             // newest first
	ChangedRevision uint64      `json:"changed_revision"` // the ETag
}

// A Leader of an election.
type Leader struct {
	Session     string `json:"session"`
	Owner       string `json:"owner"`
	Term        uint64 `json:"term"`
	Value       string `json:"value"`
	HeldMS      *int64 `json:"held_ms,omitempty"`
	ExpiresInMS *int64 `json:"expires_in_ms,omitempty"`
}

// A Candidate of an election.
type Candidate struct {
	Session string `json:"session"`
	Owner   string `json:"owner"`
	Value   string `json:"value"`
	Since   uint64 `json:"since"` // revision
}

// A Lock as it is read.
type Lock struct {
	Name                 string   `json:"name"`
	Slots                int      `json:"slots,omitempty"` // of a semaphore
	Holders              []Holder `json:"holders"`
	Waiters              []Waiter `json:"waiters"` // in the order in which they are served
	Past                 []Past   `json:"past"`    // newest first
	Yield                *Yield   `json:"yield,omitempty"`
	ChangedRevision      uint64   `json:"changed_revision"` // the ETag
	LockDelayRemainingMS int64    `json:"lock_delay_remaining_ms,omitempty"`
}

// A Holder of a lock.
type Holder struct {
	Session     string `json:"session"`
	Owner       string `json:"owner"` // the session's name, or its id
	Fence       uint64 `json:"fence"`
	Mode        string `json:"mode"`
	Note        string `json:"note,omitempty"`
	Value       string `json:"value,omitempty"`   // what the leader of an election publishes
	Since       uint64 `json:"since"`             // revision
	HeldMS      *int64 `json:"held_ms,omitempty"` // how long the answering node has seen it held
	ExpiresInMS *int64 `json:"expires_in_ms,omitempty"`
}

// A Waiter in a lock's queue.
type Waiter struct {
	Session string `json:"session"`
	Owner   string `json:"owner"`
	Mode    string `json:"mode"`
	Note    string `json:"note,omitempty"`
	Since   uint64 `json:"since"` // revision
}

// A Yield tells that holders have been asked to let go.
type Yield struct {
	Since       uint64 `json:"since"` // revision
	Reason      string `json:"reason,omitempty"`
	RemainingMS *int64 `json:"remaining_ms,omitempty"` // until their grants are ended; absent: never, or not known here
}

// A Past holder of a lock.
type Past struct {
	Session string `json:"session"`
	Owner   string `json:"owner"`
	Fence   uint64 `json:"fence"`
	Ended   uint64 `json:"ended"`  // revision
	Reason  string `json:"reason"` // "released", "expired", "ended", "forced", "yielded", "transferred", "upgraded"; some with ": " and why
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
	Entries  []Entry  `json:"entries"`
	Prefixes []string `json:"prefixes,omitempty"` // with ?delimiter=: keys up to and with the first one after the prefix, each once
	Revision uint64   `json:"revision"`
	Next     string   `json:"next,omitempty"`
}

// A Transaction is the body of POST /v1/transactions.
type Transaction struct {
	If   []If `json:"if,omitempty"`
	Then []Op `json:"then,omitempty"`
	Else []Op `json:"else,omitempty"`
}

// An If is a condition: one of Key, Session and Lock, and for a Key one of
// Revision (0: absent), Exists, Value and ValueBase64, for a Lock its Fence.
type If struct {
	Key         *string `json:"key,omitempty"`
	Revision    *uint64 `json:"revision,omitempty"`
	Exists      *bool   `json:"exists,omitempty"`
	Value       *string `json:"value,omitempty"`
	ValueBase64 *string `json:"value_base64,omitempty"`
	Session     *string `json:"session,omitempty"` // is alive
	Lock        *string `json:"lock,omitempty"`    // its grant of Fence is current
	Fence       *uint64 `json:"fence,omitempty"`
}

// An Op is one operation: one of Put, Get, Delete and DeletePrefix; the other
// fields go with Put.
type Op struct {
	Put          *string `json:"put,omitempty"`
	Get          *string `json:"get,omitempty"`
	Delete       *string `json:"delete,omitempty"`
	DeletePrefix *string `json:"delete_prefix,omitempty"`
	Value        *string `json:"value,omitempty"`
	ValueBase64  *string `json:"value_base64,omitempty"`
	ContentType  string  `json:"content_type,omitempty"`
	Session      string  `json:"session,omitempty"` // the entry goes with it
}

// Transacted answers a Transaction.
type Transacted struct {
	Succeeded bool     `json:"succeeded"`
	Revision  uint64   `json:"revision"`
	Failed    []Failed `json:"failed,omitempty"` // every condition that did not hold
	Results   []Result `json:"results"`          // one for each operation that was run
}

// A Failed condition.
type Failed struct {
	Index   int    `json:"index"`   // in if, from 0
	Current uint64 `json:"current"` // revision of the entry or fence of the lock; 0 if there is none
}

// A Result is what one operation did.
type Result struct {
	Op      string `json:"op"` // "put", "get", "delete" or "delete_prefix"
	Key     string `json:"key"`
	Entry   *Entry `json:"entry,omitempty"`   // put and get; of a put without its value. Absent: no such entry
	Deleted *int   `json:"deleted,omitempty"` // delete and delete_prefix: how many entries
}

// The types of events.
const (
	EventPut      = "put"      // a config entry was written
	EventDelete   = "delete"   // a config entry was deleted
	EventExpire   = "expire"   // a config entry went with its session
	EventLock     = "lock"     // a lock was granted, or changed its mode
	EventUnlock   = "unlock"   // a grant ended, of a lock or of leadership
	EventLeader   = "leader"   // an election was won, or its leader proclaims
	EventSession  = "session"  // a session was opened, or ended
	EventYield    = "yield"    // a holder is asked to let go
	EventBookmark = "bookmark" // everything up to the revision has been told
	EventError    = "error"    // the stream ends; Problem says why, Revision where to go on
)

// An Event is one line of a stream: the data of an SSE message, whose event is
// Type and whose id is Revision, or a line of NDJSON.
//
// One revision's events come together. All but the last have More, and in SSE
// no id, so that who resumes after an id has missed nothing.
type Event struct {
	Type     string   `json:"type"`
	Revision uint64   `json:"revision"` // of news in a keepalive, that of the answer
	More     bool     `json:"more,omitempty"`
	Name     string   `json:"name,omitempty"`  // config key, lock, election or session
	Entry    *Entry   `json:"entry,omitempty"` // put
	Session  string   `json:"session,omitempty"`
	Owner    string   `json:"owner,omitempty"`
	Fence    uint64   `json:"fence,omitempty"` // of an election: the term
	Mode     string   `json:"mode,omitempty"`
	Value    string   `json:"value,omitempty"` // leader: what is published
	WithinMS int64    `json:"within_ms,omitempty"`
	Reason   string   `json:"reason,omitempty"`
	Problem  *Problem `json:"problem,omitempty"`
}

// An Explanation answers GET /v1/explain/locks/{name}: why the lock is not
// granted to whoever asks for it now.
type Explanation struct {
	Name     string   `json:"name"`
	Free     bool     `json:"free"`               // it would be granted at once, in exclusive mode
	Reasons  []Reason `json:"reasons"`            // why not, the first to end first
	Position int      `json:"position,omitempty"` // with ?session=: its place in the queue, from 1
	Lock     *Lock    `json:"lock,omitempty"`     // absent: nothing is known of the lock
}

// A Reason why a lock is not granted.
type Reason struct {
	Code string `json:"code"` // one of the reasons
	Text string `json:"text"` // for people
}

// The reasons.
const (
	ReasonHeld      = "held"       // somebody holds it
	ReasonShared    = "shared"     // readers hold it
	ReasonFull      = "full"       // all slots are taken
	ReasonQueue     = "queue"      // others wait for longer
	ReasonLockDelay = "lock-delay" // a holder expired, and its lock-delay runs
)
