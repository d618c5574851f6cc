package leader

import "github.com/prytany/prytany/synod"

// An Instant is a reading of this node's monotonic clock in nanoseconds. Only
// differences between readings of one process mean anything.
type Instant int64

// never is later than all instants.
const never Instant = 1<<63 - 1

// past is earlier than all instants.
const past Instant = -1 << 63

// Config configures a Node. Fields without a stated default are required.
type Config struct {
	Self        synod.NodeID
	Incarnation uint64 // +1 at each start of the process
	Seed        uint64 // randomness is an input

	Heartbeat  int64 // ns between heartbeats (T). 0 means 50 ms
	Silence    int64 // ns without an answer after which a link is down. 0 means 400 ms
	Lease      int64 // ns an acceptor stays bound to a leader it hears. 0 means 100 ms
	ClaimDelay int64 // ns per rank before a claim. 0 means 10 ms

	// Mute is how many ns after its start the acceptor of this process helps
	// nobody but by a release token: as long as any lease that the process
	// before it may have given, which nothing durable tells of; so at least as long
	// as that process's Lease, and at least Lease. 0 means not at all: there was no
	// such process.
	Mute int64
	// Drift is by how many parts per million the rates of two nodes' clocks may
	// differ (ε). 0 means 10,000, which is 1 %.
	Drift int64
	// MoveAfter is how many ns another voter must have stood nearer to a quorum
	// before this node advises to hand the lead over to it. 0 means 10 min.
	MoveAfter int64
}

const millisecond = 1_000_000

// WithDefaults returns c with the defaults for its zero fields.
func (c Config) WithDefaults() Config {
	if c.Heartbeat == 0 {
		c.Heartbeat = 50 * millisecond
	}
	if c.Silence == 0 {
		c.Silence = 400 * millisecond
	}
	if c.Lease == 0 {
		c.Lease = 100 * millisecond
	}
	if c.ClaimDelay == 0 {
		c.ClaimDelay = 10 * millisecond
	}
	if c.Mute > 0 {
		c.Mute = max(c.Mute, c.Lease)
	}
	if c.Drift == 0 {
		c.Drift = 10_000
	}
	if c.MoveAfter == 0 {
		c.MoveAfter = 600_000 * millisecond
	}
	return c
}

// A Gossip state is what the gossip layer says about a peer. It is a hint.
type Gossip uint8

// The gossip states.
const (
	GossipUnknown Gossip = 0
	GossipAlive   Gossip = 1
	GossipDead    Gossip = 2
	GossipLeaving Gossip = 3
)

// A Voter of a group.
type Voter struct {
	Node    synod.NodeID
	Ordinal synod.Ordinal
}

// Facts is what the owner of a group tells the machine after each turn in
// which any of it changed. Quorums are majorities of Voters.
type Facts struct {
	Config   uint32
	Voters   []Voter // at most synod.MaxSeats. Self may be missing: then this node never claims
	Promised synod.Ballot
	Own      synod.Ballot // own ballot while Leading or Campaigning, else zero
	Leading  bool         // phase 1 complete
	Sealed   bool         // leader: a stop-sign is proposed, or was inherited: no lease any more in this configuration
	Decided  uint64       // a watermark of the log, as coarse as the owner likes: ranks candidates
}

// Health is what a node knows about itself.
type Health struct {
	Disk     bool // no write outstanding for longer than 500 ms
	Loop     bool // the event loop is not late
	Draining bool
	Score    int // how badly it keeps up with the gossip, 0 is well ("Lifeguard"); above 1 it does not claim, unless nobody else has for 5 Silence
}
