package api

// The roles of a node in a group.
const (
	RoleLeader    = "leader"
	RoleCandidate = "candidate"
	RoleFollower  = "follower"
	RoleLearner   = "learner" // applies the log and has no vote
	RoleNone      = "none"
)

// Status is what one node knows of itself: GET /v1/status.
type Status struct {
	ID       string        `json:"id"` // 16 hexadecimal digits
	Name     string        `json:"name"`
	Cluster  string        `json:"cluster,omitempty"` // "" until the node has joined
	Version  string        `json:"version"`
	Zone     string        `json:"zone,omitempty"`
	HTTP     string        `json:"http"` // URL
	UptimeMS int64         `json:"uptime_ms"`
	Groups   []GroupStatus `json:"groups"` // main alone; of others GET /v1/groups/{group} tells
	Counts   GroupCounts   `json:"group_counts"`
	Links    []Link        `json:"links"`
	Disk     Disk          `json:"disk"`
	Health   Health        `json:"health"`
}

// GroupStatus is a node's part in one group.
type GroupStatus struct {
	Group     string   `json:"group"`
	Role      string   `json:"role"`
	Leader    string   `json:"leader,omitempty"`     // name of the node followed, if known
	LeaderURL string   `json:"leader_url,omitempty"` // and where it is
	Content   bool     `json:"content"`              // this node sees no reason for another leader
	Why       string   `json:"why,omitempty"`        // why it is content, or not
	SinceMS   int64    `json:"since_ms,omitempty"`   // for how long it has been so
	Leased    bool     `json:"leased,omitempty"`     // this leader may answer reads by its lease
	Ballot    string   `json:"ballot"`               // highest promised, "round.member"
	Config    uint32   `json:"config"`               // configuration, from 1
	Voters    []string `json:"voters"`               // names
	Decided   uint64   `json:"decided"`              // slot up to which everything is chosen
	Applied   uint64   `json:"applied"`              // slot
	First     uint64   `json:"first"`                // first slot still in the log
	Revision  uint64   `json:"revision"`
	InFlight  int      `json:"in_flight"` // slots proposed and not yet chosen
	Sessions  int      `json:"sessions"`
	Locks     int      `json:"locks"`
}

// A Link is what a node knows of its direct connection to another.
type Link struct {
	Node   string  `json:"node"` // name
	Up     bool    `json:"up"`
	Gossip string  `json:"gossip"`           // "alive", "dead", "leaving" or "unknown"
	RTTMS  float64 `json:"rtt_ms,omitempty"` // smoothed; absent until measured
}

// Disk is how a node's disk fares.
type Disk struct {
	Healthy    bool    `json:"healthy"`            // no durable write is late now, or was a moment ago
	Reason     string  `json:"reason,omitempty"`   // why it is not healthy
	WriteMS    float64 `json:"write_ms,omitempty"` // what the last durable write took, or the present one has taken, if that is more
	FreeBytes  int64   `json:"free_bytes,omitempty"`
	StoreBytes int64   `json:"store_bytes,omitempty"`
	Log        string  `json:"log,omitempty"` // how promises and votes are kept: "append" or "bolt"
}

// Health is whether a node should lead, as it judges itself.
type Health struct {
	Fit    bool   `json:"fit"`
	Reason string `json:"reason,omitempty"` // why it is not
	Score  int    `json:"score"`            // how badly it keeps up with the gossip; 0 is well
}

// A Member is a node of the cluster: GET /v1/members. What gossip says and
// what the groups say are separate on purpose: neither follows from the other.
type Member struct {
	ID      string            `json:"id"`
	Name    string            `json:"name"`
	HTTP    string            `json:"http,omitempty"` // URL
	Peer    string            `json:"peer,omitempty"`
	Zone    string            `json:"zone,omitempty"`
	Version string            `json:"version,omitempty"`
	Gossip  string            `json:"gossip"` // as in Link
	Link    string            `json:"link"`   // "up", "down" or "self"
	RTTMS   float64           `json:"rtt_ms,omitempty"`
	Roles   map[string]string `json:"roles"`             // group to role: main alone
	Groups  int               `json:"groups"`            // in which it is a voter, as far as this node knows
	Removed bool              `json:"removed,omitempty"` // from the cluster, by an operator
}

// Members answers GET /v1/members.
type Members struct {
	Members []Member `json:"members"`
}

// A Check is one condition of readiness.
type Check struct {
	Name   string `json:"name"` // "joined"
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
}

// Ready answers GET /readyz?verbose for those who accept JSON.
type Ready struct {
	Ready  bool    `json:"ready"`
	Checks []Check `json:"checks"`
}

// A NodeEvent is something that a node saw or did about its peers and leaders, with
// its reason: GET /v1/events.
type NodeEvent struct {
	ID     uint64 `json:"id"`   // grows; of this process of this node
	Time   string `json:"time"` // RFC 3339, UTC, with nanoseconds; for people
	Node   string `json:"node"` // who saw it
	Kind   string `json:"kind"` // "link-down"
	Group  string `json:"group,omitempty"`
	Peer   string `json:"peer,omitempty"`   // whom it is about
	Ballot string `json:"ballot,omitempty"` // "round.member"
	Reason string `json:"reason,omitempty"`
	Text   string `json:"text"` // one line that says it all

	Problem *Problem `json:"problem,omitempty"` // of the kind "error"
}

// The kinds of node events that only streams have; their id is that of the last
// event told.
const (
	NodeBookmark = "bookmark" // everything up to the id has been told
	NodeError    = "error"    // the stream ends; Problem says why
)

// NodeEvents answers GET /v1/events.
type NodeEvents struct {
	Events []NodeEvent `json:"events"` // in order
	Next   uint64      `json:"next"`   // the id that the next one will have, or a lower one
}

// A RoundTrip is how far another node is: what was measured, beside what the
// coordinates predict.
type RoundTrip struct {
	Node        string  `json:"node"`
	MeasuredMS  float64 `json:"measured_ms,omitempty"` // median of the newest heartbeats; absent where none go
	P99MS       float64 `json:"p99_ms,omitempty"`
	PredictedMS float64 `json:"predicted_ms,omitempty"` // absent until known
	Error       float64 `json:"error,omitempty"`        // the coordinates' own estimate of their relative error, the worse of both ends
	QuorumMS    float64 `json:"quorum_ms,omitempty"`    // in which that node reaches a quorum of main and back
}

// RTT answers GET /v1/rtt.
type RTT struct {
	Node       string      `json:"node"` // who measured
	QuorumMS   float64     `json:"quorum_ms,omitempty"`
	RoundTrips []RoundTrip `json:"round_trips"` // by name
}

// HandOver asks POST /v1/leader:transfer. All fields are optional.
type HandOver struct {
	To string `json:"to,omitempty"` // name or id of a voter; "" means whichever suits best
}

// HandedOver answers POST /v1/leader:transfer.
type HandedOver struct {
	From   string  `json:"from"` // names
	To     string  `json:"to"`
	TookMS float64 `json:"took_ms"` // from the order to the new leader's beginning, as the old one saw it
}
