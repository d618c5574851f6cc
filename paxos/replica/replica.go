package replica

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// Storage keeps what a node must not forget, for all its groups. Calls come
// from one goroutine, but that one SaveSnapshot and one ReadSnapshot may run beside
// all others.
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
	// ReadSnapshot returns up to most bytes of g's snapshot from offset on, without
	// looking at the others; ok is false if there is none.
	ReadSnapshot(g paxos.GroupID, offset uint64, most int) (p SnapshotPart, ok bool, err error)
	// Trim may drop votes of g below slot, never the promise they implied.
	// The caller has saved a Header with Trimmed = below before.
	Trim(g paxos.GroupID, below paxos.Slot) error
	// Drop forgets g, durably, but for a [Tombstone] with that floor, or the highest
	// one that g ever had: Groups does not list g any more, Load and LoadSnapshot find
	// nothing. Storage need not know g. No SaveSnapshot of g may run meanwhile.
	//
	// Save makes g anew if Swept is true and the Header has the floor, or a higher one,
	// and refuses otherwise. What SaveSnapshot saves before that is no group.
	Drop(g paxos.GroupID, floor paxos.ConfigID) error
	// Dropped returns the tombstone of g; ok is false if g was never dropped, or was
	// made anew.
	Dropped(g paxos.GroupID) (t Tombstone, ok bool, err error)
	// Sweep gives back some of the room that dropped groups took, and reports
	// whether there is more. It does so little that the loop may wait for it.
	Sweep() (more bool, err error)
}

// A Tombstone is what is left of a group that was dropped.
type Tombstone struct {
	Floor paxos.ConfigID // see [paxos.Header]; [paxos.Forever] if there is no way back
	Swept bool           // nothing else of it is on the disk any more
}

// A Beginner is a Storage that can make many groups begin with one write: what
// SaveSnapshot of each and then one Save would do.
type Beginner interface {
	Begin([]Beginning) error
}

// A Streamer is a Storage that takes a snapshot while it is encoded: what SaveSnapshot
// does, without all of it in memory. s has no Data; encode writes that, size is its
// length. An error of encode is returned as it is.
type Streamer interface {
	StreamSnapshot(g paxos.GroupID, s paxos.Snapshot, encode func(w io.Writer) error) (size int, err error)
}

// A Beginning is the first state of a group that storage knows nothing of.
type Beginning struct {
	Group    paxos.GroupID
	Snapshot paxos.Snapshot
	Header   paxos.Header
}

// A SnapshotPart is a part of a snapshot's Data, and what is to be known of the whole.
type SnapshotPart struct {
	Slot       paxos.Slot
	Membership paxos.Membership
	Size       uint64 // of all Data
	Sum        uint32 // the CRC32C of all Data
	Data       []byte
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
	To      uint64 // incarnation of the process that it is for
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
	// Snapshot fixes the present state and returns what encodes it. It must not
	// take long; encode may, and may run on another goroutine while Apply goes on. It
	// writes the snapshot to w in pieces, as it goes, and keeps none of them.
	Snapshot() (encode func(w io.Writer) error)
	// Restore checks and decodes a snapshot and returns what makes it the state.
	// It may run on another goroutine while Apply goes on; install is called where
	// Apply is, and must not take long. Whoever has an error, or does not call
	// install, has changed nothing.
	Restore(data []byte) (install func(), err error)

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

	TickEvery     time.Duration // of groups and machines, or up to a fifth more where nothing else wakes the loop. 0 means 50 ms
	MaxPending    int           // requests without an answer, per node; more are refused, but for a quarter more if they are KindAsk. 0 means 16384
	MaxInbox      int           // packets waiting for the loop. 0 means 16384
	MaxBatch      int           // commands in one slot. 0 means 512
	MaxBatchBytes int           // bytes in one slot. 0 means 256 KiB
	Pipeline      int           // slots that may be under way when one is proposed that is not full: see ADR 20. 0 means 1
	SnapshotSlots int           // applied slots between snapshots. 0 means 10000
	SnapshotBytes int           // or log bytes. 0 means 64 MiB. Up to four times both, if the state is above 1 MiB and twice what was applied, or a peer fetches it
	TailSlots     int           // slots kept below a snapshot. 0 means 10000
	TailBytes     int           // or fewer, if their values have more bytes, but at least those since the snapshot before; of slots from before a start nothing is known. 0 means 256 MiB
	RetryAfter    time.Duration // a request without an answer ends, see [Host.Submit]. 0 means 5 s

	// LeaseReads lets this node, while it leads, answer reads by its lease
	// instead of asking a quorum. It rests on clocks: see [leader.Node.Leased].
	LeaseReads bool

	// Clock is the process's monotonic clock, read by Run alone. It goes on
	// from the now that NewHost was given. nil means Go's, which stands still
	// while the machine is suspended.
	Clock func() time.Duration

	Log     *slog.Logger             // nil means silence
	Observe func(paxos.GroupID, any) // gets each paxos.Event, leader.Event and HandOverEvent; nil means nobody
	Forget  func(paxos.GroupID)      // is called on the loop when a group has been dropped; nil means nobody
}

// A Result is the end of a request.
type Result struct {
	Payload []byte
	Slot    paxos.Slot
	Err     error // nil, *paxos.NotLeaderError, paxos.ErrOverloaded, paxos.ErrStopped, paxos.ErrUnknownOutcome
}

// withDefaults returns c with defaults for its zero fields, or what is wrong
// with it.
func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Self == 0:
		return c, errors.New("replica: config: Self is required")
	case c.Leader.Self != c.Self:
		return c, fmt.Errorf("replica: config: Leader.Self is %v; want %v", c.Leader.Self, c.Self)
	case c.Storage == nil || c.Transport == nil || c.NewMachine == nil:
		return c, errors.New("replica: config: Storage, Transport and NewMachine are required")
	}
	c.TickEvery = cmp.Or(c.TickEvery, 50*time.Millisecond)
	c.MaxPending = cmp.Or(c.MaxPending, 16384)
	c.MaxInbox = cmp.Or(c.MaxInbox, 16384)
	c.MaxBatch = cmp.Or(c.MaxBatch, 512)
	c.MaxBatchBytes = cmp.Or(c.MaxBatchBytes, 256<<10)
	c.Pipeline = max(c.Pipeline, 1)
	c.SnapshotSlots = cmp.Or(c.SnapshotSlots, 10000)
	c.SnapshotBytes = cmp.Or(c.SnapshotBytes, 64<<20)
	c.TailSlots = cmp.Or(c.TailSlots, 10000)
	c.TailBytes = cmp.Or(c.TailBytes, 256<<20)
	c.RetryAfter = cmp.Or(c.RetryAfter, 5*time.Second)
	c.Leader = c.Leader.WithDefaults()
	c.Log = cmp.Or(c.Log, slog.New(slog.DiscardHandler))
	if c.Observe == nil {
		c.Observe = func(paxos.GroupID, any) {}
	}
	if c.Forget == nil {
		c.Forget = func(paxos.GroupID) {}
	}
	return c, nil
}
