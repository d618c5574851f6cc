package leader

import "github.com/prytany/prytany/synod"

// MaxReports bounds the reports in one Heartbeat. A node with more to say sends
// several heartbeats; a receiver passes over one with more.
const MaxReports = 256

// A Message goes between the leader machines of two nodes.
type Message interface{ message() }

// A Heartbeat is sent to every peer each Heartbeat interval, and answered at
// once by one with Reply set. Sent is the sender's clock and is echoed.
type Heartbeat struct {
	Reply       bool
	Seq         uint64
	Sent        Instant // of the request
	Clock       Instant // of a reply: the clock of who replies
	Lease       int64   // of a reply: for how many ns a request binds who replies
	Incarnation uint64
	Healthy     bool // disk and loop are well, not draining

	Have    uint64   // how far the sender has what the receiver says
	Since   uint64   // Groups are what has changed since this version of what the sender says; 0: everything
	Version uint64   // and up to this one
	Whole   bool     // there is nothing above that
	Taken   bool     // of a reply: the request has renewed what the sender of the reply says that it is bound to
	Groups  []Report // at most MaxReports
}

// A Report is what a node says about one group. It stands until another one is said.
// A node is told about the groups of which it is a voter, and about those of which it
// says that the receiver is one.
type Report struct {
	Group    uint64
	Config   uint32       // 0: there is nothing to say about this group any more
	Asks     bool         // the receiver is a voter
	Own      synod.Ballot // own ballot while leading or campaigning, else zero
	Followed synod.Ballot // ballot followed: never below the own promise
	Content  bool         // "happy" in OmniPaxos
	Leading  bool         // the owner of Followed has completed phase 1 and has a quorum in reach: binds acceptors, if the sender is the owner
	Bound    synod.Ballot // the ballot of the receiver by which the sender's acceptor stands, else zero: requests renew its lease
	Decided  uint64       // see Facts
	Distance int64        // ns in which the sender reaches a quorum and back; 0 if not known
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

// A Release is a token of the leader with Ballot: it leads no longer, and asks
// all to let To lead, whatever they have promised to itself. The leader sends it
// to all voters, and To passes it on before its first Prepare, because the
// Prepare may be faster.
type Release struct {
	Group  uint64
	Config uint32
	Ballot synod.Ballot // of the leader that releases
	To     synod.NodeID
}

func (Heartbeat) message() {}
func (Claim) message()     {}
func (Grant) message()     {}
func (Release) message()   {}

// An Envelope is a message and where it goes.
type Envelope struct {
	To  synod.NodeID
	Msg Message
}

// Advice is what the machine wants done.
type Advice struct {
	Group    uint64
	Campaign synod.Ballot // begin phase 1 with this ballot, unless zero
	Withdraw synod.Ballot // give up phase 1 of this ballot, unless zero
	HandOver synod.NodeID // hand the lead over to this voter, unless zero
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
	EvUnfit      EventKind = 9  // this node should not lead, or not claim
	EvFit        EventKind = 10 // it may again
	EvRelease    EventKind = 11 // the leader with Ballot has released its acceptors in favour of Node
	EvLeased     EventKind = 12 // this leader may answer reads by its lease
	EvUnleased   EventKind = 13 // it may not any more
	EvClock      EventKind = 14 // the clock of Node runs at another rate, or well again
	EvNearer     EventKind = 15 // Node has stood nearer to a quorum for long enough
	EvMend       EventKind = 16 // this leader begins Ballot anew, for Node has promised to another one
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
	reasonMute        = "has just started, and may have been bound before"
	reasonHandOver    = "hands over the lead"
	reasonReleased    = "has handed over"
	reasonDraining    = "draining"
	reasonDisk        = "the disk is slow"
	reasonLoop        = "the event loop is late"
	reasonScore       = "keeps up badly with the gossip"
	reasonWell        = "all is well"
	reasonBound       = "a quorum of acceptors is bound"
	reasonUnbound     = "no quorum of acceptors is bound"
	reasonNoLead      = "does not lead"
	reasonSealed      = "the configuration is about to end"
	reasonAside       = "a voter has promised to a ballot that nobody uses"
	reasonSkewed      = "a clock runs at another rate"
	reasonRate        = "the clock runs like ours again"
	reasonNearer      = "has been nearer to a quorum for long"
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
	refuseMute    = 8
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
	case refuseMute:
		return reasonMute
	}
	return reasonUnknown
}
