// Package replica is replaced by its implementation; the exported names below
// are agreed.
package replica

import (
	"context"
	"log/slog"
	"time"

	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// Storage keeps what a node must not forget, for all its groups. Calls come
// from one goroutine.
//
// Save and SaveSnapshot must be durable when they return nil. After any error
// the caller gives up on the process: an acceptor that is unsure what it wrote
// must not speak.
type Storage interface {
	// Groups lists the groups that have anything saved, in order.
	Groups() ([]paxos.GroupID, error)
	// Load returns what was saved for g; the zero Durable if nothing was.
	Load(g paxos.GroupID) (paxos.Durable, error)
	// Save makes all updates durable in one atomic write.
	Save(updates []paxos.Update) error
	// SaveSnapshot replaces g's snapshot, atomically.
	SaveSnapshot(g paxos.GroupID, s paxos.Snapshot) error
	// LoadSnapshot returns g's snapshot; ok is false if there is none.
	LoadSnapshot(g paxos.GroupID) (s paxos.Snapshot, ok bool, err error)
	// Trim may drop votes of g below slot, never the promise they implied.
	// The caller has saved a Header with Trimmed = below before.
	Trim(g paxos.GroupID, below paxos.Slot) error
}

// A Packet is what nodes send each other. Msg is a paxos.Message of Group, a
// leader.Message (Group 0), a Forward or an Answer.
type Packet struct {
	Group paxos.GroupID
	Msg   any
}

// A Forward is a client's request on its way to the leader.
type Forward struct {
	ID      uint64 // chosen by the sender, for the Answer
	Hops    uint8  // forwards left: 1 lets a neighbour pass it on
	Kind    RequestKind
	Payload []byte
}

// A RequestKind says what a request wants.
type RequestKind uint8

// The kinds of requests.
const (
	KindPropose RequestKind = 1 // replicate Payload, answer with what applying it returned
	KindBarrier RequestKind = 2 // answer with the slot that a linearizable read must have applied
	KindAsk     RequestKind = 3 // Machine.Ask on the leader, under fresh proof of leadership
)

// An Answer to a Forward.
type Answer struct {
	ID      uint64
	Outcome Outcome
	Slot    paxos.Slot
	Leader  synod.NodeID // with NotLeader: who may know better, 0 if unknown
	Payload []byte
}

// An Outcome of a request.
type Outcome uint8

// The outcomes.
const (
	Done       Outcome = 0
	NotLeader  Outcome = 1 // nothing happened
	Overloaded Outcome = 2 // nothing happened
	Unknown    Outcome = 3 // it may still take effect
)

// Transport sends packets to peers. Send never blocks, may drop, and must not
// keep p.Msg's memory writable after it returns.
type Transport interface {
	Send(to synod.NodeID, p Packet)
}

// A Machine is a replicated state machine. All calls come from the host's
// goroutine. Apply must be a function of the machine's replicated state and
// the arguments alone: same log, same state, on every node. now is this
// process's monotonic clock; it may influence only what is not replicated.
type Machine interface {
	// Apply runs one command. It must not panic on any bytes.
	Apply(slot paxos.Slot, cmd []byte, now time.Duration) (result []byte)
	// Applied says that everything up to slot is applied.
	Applied(slot paxos.Slot)
	Snapshot() ([]byte, error)
	Restore(data []byte) error

	// Lead is called when this node has begun to lead with ballot b and has
	// applied everything it inherited, and every TickEvery from then on. What
	// it returns is proposed.
	Lead(b synod.Ballot, now time.Duration) (cmds [][]byte)
	// Follow is called when leadership has ended.
	Follow()
	// Ask serves a request to the leader that is not replicated, such as a
	// session's keepalive. Leadership was confirmed after it arrived.
	Ask(req []byte, now time.Duration) (answer []byte)
}

// Config configures a Host. Fields without a stated default are required.
type Config struct {
	Self      synod.NodeID
	Leader    leader.Config
	Storage   Storage
	Transport Transport
	// NewMachine returns the empty machine of a group.
	NewMachine func(paxos.GroupID) Machine

	TickEvery     time.Duration // of groups and machines. 0 means 50 ms
	MaxPending    int           // requests waiting for the loop, per node. 0 means 16384
	MaxInbox      int           // packets waiting for the loop. 0 means 16384
	MaxBatch      int           // commands in one slot. 0 means 512
	MaxBatchBytes int           // bytes in one slot. 0 means 256 KiB
	SnapshotSlots int           // applied slots between snapshots. 0 means 10000
	SnapshotBytes int           // or log bytes. 0 means 64 MiB
	TailSlots     int           // slots kept below a snapshot. 0 means 10000
	RetryAfter    time.Duration // a forward without an answer is Unknown. 0 means 5 s

	Log     *slog.Logger             // nil means silence
	Observe func(paxos.GroupID, any) // gets each paxos.Event and leader.Event; nil means nobody
}

// A Result is the end of a request.
type Result struct {
	Payload []byte
	Slot    paxos.Slot
	Err     error // nil, *paxos.NotLeaderError, paxos.ErrOverloaded, paxos.ErrUnknownOutcome
}

// A Host runs all groups of a node in one event loop: one inbox, one durable
// write per turn for all groups, the heartbeat in the same loop.
type Host struct{}

// NewHost loads every group that Storage knows.
func NewHost(cfg Config, now time.Duration) (*Host, error) { panic("skeleton") }

// Bootstrap creates group g with configuration m on an empty storage. Call it
// before Run.
func (h *Host) Bootstrap(g paxos.GroupID, m paxos.Membership) error { return nil }

// Learn makes this node a learner of group g, if it has no part in it yet;
// from are members to catch up from.
func (h *Host) Learn(g paxos.GroupID, from []synod.NodeID) {}

// Run owns the host until ctx ends or storage fails.
func (h *Host) Run(ctx context.Context) error { return nil }

// Poll handles everything that has arrived and is due at now, carries out the
// effects in their only safe order, and returns when it wants to be called
// again at the latest. Run calls it; so does the simulator, which has no Run.
func (h *Host) Poll(now time.Duration) (next time.Duration, err error) { return 0, nil }

// Deliver hands over a packet from a peer. It never blocks; what does not fit
// in the inbox is dropped, as a network would.
func (h *Host) Deliver(from synod.NodeID, p Packet) {}

// Disconnected says that peer's process is gone: connection reset, redial refused.
func (h *Host) Disconnected(peer synod.NodeID) {}

// Gossip says what gossip thinks of peer.
func (h *Host) Gossip(peer synod.NodeID, g leader.Gossip) {}

// SetHealth says how this node is.
func (h *Host) SetHealth(hl leader.Health) {}

// Submit hands over a request; done is called exactly once, from the loop, and
// must not block. A node that does not lead forwards to the leader.
func (h *Host) Submit(g paxos.GroupID, k RequestKind, payload []byte, done func(Result)) {}

// Propose is Submit of KindPropose that waits. See the errors of [Result];
// when ctx ends first the outcome is unknown.
func (h *Host) Propose(ctx context.Context, g paxos.GroupID, cmd []byte) (Result, error) {
	return Result{}, nil
}

// Barrier waits until a linearizable read may be served by the local machine.
func (h *Host) Barrier(ctx context.Context, g paxos.GroupID) (paxos.Slot, error) { return 0, nil }

// Ask is Submit of KindAsk that waits.
func (h *Host) Ask(ctx context.Context, g paxos.GroupID, req []byte) ([]byte, error) { return nil, nil }

// Reconfigure proposes the configuration that follows the present one with
// node added as a voter. Only the leader can; errors as Propose.
func (h *Host) Reconfigure(ctx context.Context, g paxos.GroupID, change func(paxos.Membership) (paxos.Membership, error)) error {
	return nil
}

// A GroupStatus is what a node knows about one of its groups.
type GroupStatus struct {
	paxos.Status
	Applied paxos.Slot
	Leader  synod.NodeID // 0 if unknown
	Content bool
	Waiting int // requests without an answer yet
}

// Status returns the present state of all groups and links, as of the end of
// a recent turn. Safe for concurrent use.
func (h *Host) Status() ([]GroupStatus, []leader.Link) { return nil, nil }
