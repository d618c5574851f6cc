package leader

import "github.com/prytany/prytany/synod"

// An Instant is a reading of this node's monotonic clock in nanoseconds. Only
// differences between readings of one process mean anything.
type Instant int64

// never is later than all instants.
const never Instant = 1<<63 - 1

// Config configures a Node. Fields without a stated default are required.
type Config struct {
	Self        synod.NodeID
	Incarnation uint64 // +1 at each start of the process
	Seed        uint64 // randomness is an input

	Heartbeat  int64 // ns between heartbeats (T). 0 means 50 ms
	Silence    int64 // ns without an answer after which a link is down. 0 means 400 ms
	Lease      int64 // ns an acceptor stays bound to a leader it hears. 0 means 150 ms
	ClaimDelay int64 // ns per rank before a claim. 0 means 10 ms
}

const millisecond = 1_000_000

func (c Config) withDefaults() Config {
	if c.Heartbeat == 0 {
		c.Heartbeat = 50 * millisecond
	}
	if c.Silence == 0 {
		c.Silence = 400 * millisecond
	}
	if c.Lease == 0 {
		c.Lease = 150 * millisecond
	}
	if c.ClaimDelay == 0 {
		c.ClaimDelay = 10 * millisecond
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
}

// Health is what a node knows about itself.
type Health struct {
	Disk     bool // no write outstanding for longer than 500 ms
	Loop     bool // the event loop is not late
	Draining bool
}

// fit reports whether a node in this state should lead or claim.
func (h Health) fit() bool { return h.Disk && h.Loop && !h.Draining }
