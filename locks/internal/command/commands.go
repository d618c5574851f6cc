package command

import (
	"time"

	"github.com/prytany/prytany/synod"
)

// Lead is a new leader's first: from here on only its expiries count.
type Lead struct{ Ballot synod.Ballot }

// Forget drops the answers given up to revision UpTo.
type Forget struct {
	Own  bool // those to the service's own ids, or those to callers' keys
	UpTo uint64
}

// EndDelay ends the lock-delay that began at revision Since, by the clock of the
// leader of Ballot. It is void if another leader has begun since: that one has
// started the delay in full, and may have told how much is left.
type EndDelay struct {
	Lock   string
	Since  uint64
	Ballot synod.Ballot
}

// Expire ends a session whose lease ran out by the clock of the leader
// of Ballot, after Renewals renewals in the log. It is void if another leader
// has begun since, or the session was renewed.
type Expire struct {
	Session  string
	Ballot   synod.Ballot
	Renewals uint64
}

// Open makes a session. ID is the proposer's choice: unguessable.
type Open struct {
	Request   Request
	ID        string
	Name      string
	TTL       time.Duration
	LockDelay time.Duration
}

// End ends a session at its owner's wish.
type End struct {
	Request Request
	ID      string
}

// Acquire asks for a lock, and for a place in its queue if Wait. With
// Open, Session does not exist yet: it is made with TTL if the lock is granted
// or a place given, and lives for this lock alone.
type Acquire struct {
	Request  Request
	Lock     string
	Session  string
	Open     bool
	TTL      time.Duration
	Note     string
	Wait     bool
	Shared   bool
	Slots    uint64 // how many may hold the lock at a time, 0 means 1
	Campaign bool   // the lock is an election,
	Value    string // and this is what the leader publishes
}

// AcquireAll asks for all of Locks, which are free or the session's own, or
// for none.
type AcquireAll struct {
	Request Request
	Session string
	Locks   []string
	Note    string
}

// Cancel gives up the place that Request got in the queue of Lock. If
// Request has not been applied yet, it never will be.
type Cancel struct {
	Request Request
	Lock    string
	Session string
}

// Release ends the grant of Fence, or with Force every grant.
type Release struct {
	Request Request
	Lock    string
	Fence   uint64
	Session string // "" unless several sessions hold the lock with Fence
	Force   bool
	Reason  string // recorded with Force
}

// Yield asks the holders of Lock to let go. Their grants end when Within has
// passed by the leader's clock, unless it is 0.
type Yield struct {
	Request Request
	Lock    string
	Within  time.Duration
	Reason  string
}

// EndYield ends the grants that the request to yield of revision Since was
// about, by the clock of the leader of Ballot. It is void like an EndDelay.
type EndYield struct {
	Lock   string
	Since  uint64
	Ballot synod.Ballot
}

// Proclaim changes what the holder of Fence publishes.
type Proclaim struct {
	Request Request
	Lock    string
	Fence   uint64
	Value   string
}

// Transfer ends the grant of Fence, or whichever there is if it is 0, and
// grants the lock to the candidate To out of its turn.
type Transfer struct {
	Request Request
	Lock    string
	Fence   uint64
	To      string
}

// Advance makes Fence the highest that Resource has seen, unless it has seen a
// higher one.
type Advance struct {
	Request  Request
	Resource string
	Fence    uint64
}

// ForgetFence removes the register of Resource if its highest fence is Fence.
type ForgetFence struct {
	Request  Request
	Resource string
	Fence    uint64
}

// Compact drops the events of revisions up to UpTo.
type Compact struct{ UpTo uint64 }

// Put changes a config entry; under conditions.
type Put struct {
	Request     Request
	Key         string
	Value       []byte
	ContentType string
	IfRevision  *uint64
	IfPresent   bool
	Session     string
	Guard       *Guard
}

// Delete removes a config entry; under conditions.
type Delete struct {
	Request    Request
	Key        string
	IfRevision *uint64
	Guard      *Guard
}
