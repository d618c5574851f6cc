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
	Groups   []GroupStatus `json:"groups"`
	Links    []Link        `json:"links"`
	Disk     Disk          `json:"disk"`
}

// GroupStatus is a node's part in one group.
type GroupStatus struct {
	Group     string   `json:"group"`
	Role      string   `json:"role"`
	Leader    string   `json:"leader,omitempty"`     // name of the node followed, if known
	LeaderURL string   `json:"leader_url,omitempty"` // and where it is
	Content   bool     `json:"content"`              // this node sees no reason for another leader
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
	Healthy    bool  `json:"healthy"`
	FreeBytes  int64 `json:"free_bytes,omitempty"`
	StoreBytes int64 `json:"store_bytes,omitempty"`
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
	Roles   map[string]string `json:"roles"` // group to role
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
