package leader

import "github.com/prytany/prytany/synod"

// MaxReports bounds the reports in one Heartbeat. A node with more groups
// sends several heartbeats; a receiver ignores the reports beyond.
const MaxReports = 256

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

// A Report is what a node says about one group. A request holds the groups in
// which the receiver is a voter, a reply those of the request that the sender
// of the reply knows.
type Report struct {
	Group    uint64
	Config   uint32
	Own      synod.Ballot // own ballot while leading or campaigning, else zero
	Followed synod.Ballot // ballot followed: never below the own promise
	Content  bool         // "happy" in OmniPaxos
	Leading  bool         // phase 1 is complete and a quorum in reach: binds acceptors
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

func (o *Output) send(to synod.NodeID, m Message) { o.Send = append(o.Send, Envelope{to, m}) }

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

// The reasons of events.
const (
	reasonReply       = "it answers"
	reasonSilence     = "no answer for too long"
	reasonReset       = "connection reset and redial refused"
	reasonRestarted   = "it has restarted"
	reasonNoLeader    = "no leader is known"
	reasonQuorum      = "a quorum is in reach"
	reasonNoQuorum    = "no quorum of neighbours follows this ballot"
	reasonUnfit       = "this node is not fit to lead"
	reasonNotLeading  = "the ballot is our own but we do not lead"
	reasonReplaced    = "a neighbour is content with a higher ballot"
	reasonLeaderWell  = "the leader says it is content"
	reasonLeaderSad   = "the leader is not content"
	reasonLeaderDown  = "no link to the leader"
	reasonGrace       = "has just promised, or entered the configuration"
	reasonPromised    = "has promised"
	reasonHeard       = "its owner says so"
	reasonConfig      = "another configuration"
	reasonNoVoter     = "not a voter"
	reasonContent     = "content with the leader"
	reasonLow         = "ballot is not above the one followed"
	reasonLease       = "bound to the leader"
	reasonOtherClaim  = "supports another claim"
	reasonSupported   = "supports the claim"
	reasonNeighbours  = "no neighbour is content"
	reasonUnknown     = "unknown reason"
	reasonNoSuchGroup = "unknown group"
)

// The codes of refusals in a Grant. Never renumber.
const (
	refuseGroup   = 1
	refuseConfig  = 2
	refuseVoter   = 3
	refuseContent = 4
	refuseLow     = 5
	refuseLease   = 6
	refuseClaim   = 7
)

// refusal returns the reason that stands for a code.
func refusal(code uint8) string {
	switch code {
	case refuseGroup:
		return reasonNoSuchGroup
	case refuseConfig:
		return reasonConfig
	case refuseVoter:
		return reasonNoVoter
	case refuseContent:
		return reasonContent
	case refuseLow:
		return reasonLow
	case refuseLease:
		return reasonLease
	case refuseClaim:
		return reasonOtherClaim
	}
	return reasonUnknown
}
