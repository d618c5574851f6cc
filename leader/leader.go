// Package leader is replaced by its implementation; the exported names below
// are agreed.
package leader

import "github.com/prytany/prytany/synod"

// An Instant is a reading of this node's monotonic clock in nanoseconds. Only
// differences between readings of one process mean anything.
type Instant int64

// Config configures a Node. Fields without a stated default are required.
type Config struct {
	Self        synod.NodeID
	Incarnation uint64 // +1 at each start of the process
	Seed        uint64 // randomness is an input

	Heartbeat  int64 // ns between heartbeats (T). 0 means 50 ms
	Silence    int64 // ns without an answer after which a link is down (W*T). 0 means 400 ms
	Lease      int64 // ns an acceptor stays bound to a leader it hears (D). 0 means 150 ms
	ClaimDelay int64 // ns per rank before a claim. 0 means 10 ms
}

// A Message goes between the leader machines of two nodes.
type Message interface{ message() }

// A Heartbeat is sent to every peer each Heartbeat interval, and answered at
// once by one with Reply set. Sent is the sender's clock and is echoed.
type Heartbeat struct {
	Reply       bool
	Seq         uint64
	Sent        Instant // of the request
	Incarnation uint64
	Healthy     bool // disk and loop are well, not draining
	Groups      []Report
}

// A Report is what a node says about one group.
type Report struct {
	Group    uint64
	Config   uint32
	Own      synod.Ballot // own ballot while leading or campaigning, else zero
	Followed synod.Ballot // ballot followed: never below the own promise
	Content  bool         // "happy" in OmniPaxos
	Leading  bool         // renews the binding of acceptors (engine.md 2.9, L1)
}

// A Claim asks for support before phase 1 is begun with Ballot.
type Claim struct {
	Group  uint64
	Config uint32
	Ballot synod.Ballot
}

// A Grant answers a Claim.
type Grant struct {
	Group  uint64
	Config uint32
	Ballot synod.Ballot
	OK     bool
	Reason uint8 // why not, for people
}

func (Heartbeat) message() {}
func (Claim) message()     {}
func (Grant) message()     {}

// An Envelope is a message and where it goes.
type Envelope struct {
	To  synod.NodeID
	Msg Message
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
// which any of it changed.
type Facts struct {
	Config   uint32
	Voters   []Voter // Self may be missing: then this node never claims
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

// Advice is what the machine wants done.
type Advice struct {
	Group    uint64
	Campaign synod.Ballot // begin phase 1 with this ballot
}

// Output collects what a step wants done.
type Output struct {
	Send   []Envelope
	Advice []Advice
	Events []Event
}

// Reset empties o and keeps its memory.
func (o *Output) Reset() { *o = Output{Send: o.Send[:0], Advice: o.Advice[:0], Events: o.Events[:0]} }

// An EventKind says what happened. Never renumber.
type EventKind uint8

// The kinds of events.
const (
	EvLinkUp     EventKind = 1
	EvLinkDown   EventKind = 2
	EvDiscontent EventKind = 3 // this node has become unhappy with the group's leader
	EvClaim      EventKind = 4
	EvGrant      EventKind = 5
	EvRefuse     EventKind = 6
	EvFollow     EventKind = 7 // follows another leader now
	EvContent    EventKind = 8
)

// An Event is a fact with its reason, for people.
type Event struct {
	Kind   EventKind
	Group  uint64
	Node   synod.NodeID
	Ballot synod.Ballot
	Reason string // one of a fixed set of constants
}

// A Node is the leader machine of one node, for all its groups.
type Node struct{}

// NewNode returns a machine that knows no groups.
func NewNode(cfg Config, now Instant) *Node { return &Node{} }

// SetGroup adds a group or tells new facts about it.
func (n *Node) SetGroup(group uint64, f Facts, now Instant, out *Output) {}

// Tick does what is due at now, and returns when it wants to be called next.
func (n *Node) Tick(now Instant, h Health, out *Output) (next Instant) { return 0 }

// Receive handles one message from a peer.
func (n *Node) Receive(from synod.NodeID, m Message, now Instant, out *Output) {}

// Disconnected says that the connection to peer was reset and that a redial
// was refused: the process is gone. Its links count as down at once.
func (n *Node) Disconnected(peer synod.NodeID, now Instant, out *Output) {}

// SetGossip says what gossip thinks of peer.
func (n *Node) SetGossip(peer synod.NodeID, g Gossip, now Instant, out *Output) {}

// MayPromise reports whether this node's acceptor in group is free to answer a
// Prepare of from at now: it is not bound to another leader it hears.
func (n *Node) MayPromise(group uint64, from synod.NodeID, now Instant) bool { return true }

// Leader returns the node that this one believes leads group, 0 if none, and
// whether it is content with that.
func (n *Node) Leader(group uint64) (node synod.NodeID, content bool) { return 0, false }

// A Link is what a node knows of its direct link to a peer.
type Link struct {
	Peer   synod.NodeID
	Up     bool
	Gossip Gossip
	RTT    int64 // ns, smoothed; 0 if never measured
}

// Links returns all links, ordered by peer.
func (n *Node) Links() []Link { return nil }

// Relay returns a peer with a live link that is content with group's leader,
// for a node that cannot reach the leader itself; 0 if there is none.
func (n *Node) Relay(group uint64) synod.NodeID { return 0 }
