package api

// Bounds of what is said of groups. Package directory has the same.
const (
	MaxGroupName = 64    // bytes
	MaxReplicas  = 9     // voters of a group
	MaxZones     = 16    // of a group
	MaxSteps     = 1_000 // of a rebalance
)

// GroupName says in words which names a group may have.
const GroupName = "1 to 64 of a-z, 0-9, '.', '_' and '-', the first a letter or a digit"

// ValidGroupName reports whether a group may have this name. A name that begins with a
// dot could be taken for a step of a path.
func ValidGroupName(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case i > 0 && (c == '.' || c == '_' || c == '-'):
		default:
			return false
		}
	}
	return s != "" && len(s) <= MaxGroupName
}

// A Group is one group of the cluster: GET /v1/groups/{group}.
type Group struct {
	Name      string        `json:"name"`
	ID        uint64        `json:"id"`
	Replicas  int           `json:"replicas"` // wanted number of voters
	Zones     []string      `json:"zones,omitempty"`
	Near      string        `json:"near,omitempty"`
	Config    uint32        `json:"config"`               // configuration that the members are of, from 1
	Members   []GroupMember `json:"members"`              // voters
	Leader    string        `json:"leader,omitempty"`     // as far as this node knows
	LeaderURL string        `json:"leader_url,omitempty"` // and where it is
	Move      *Move         `json:"move,omitempty"`       // the change under way
	Here      *GroupStatus  `json:"here,omitempty"`       // this node's part in it
}

// A GroupMember is a voter of a group.
type GroupMember struct {
	ID     string `json:"id"` // 16 hexadecimal digits
	Name   string `json:"name"`
	Zone   string `json:"zone,omitempty"`
	Gossip string `json:"gossip"` // as in Link
}

// A Move is a change of the voters of a group that is under way.
type Move struct {
	Add    string `json:"add,omitempty"`    // name of the node that becomes a voter
	Remove string `json:"remove,omitempty"` // name of the node that ceases to be one
	Why    string `json:"why,omitempty"`
}

// Groups answers GET /v1/groups: by name.
type Groups struct {
	Groups []Group `json:"groups"`
	Cursor string  `json:"cursor,omitempty"` // there are more: ask again with it
}

// CreateGroup is the body of POST /v1/groups.
type CreateGroup struct {
	Name     string   `json:"name"`
	Replicas int      `json:"replicas,omitempty"` // 0 means 3, or as many as there are nodes
	Zones    []string `json:"zones,omitempty"`
	Near     string   `json:"near,omitempty"` // name or id of a node
}

// ResizeGroup is the body of PATCH /v1/groups/{group}.
type ResizeGroup struct {
	Replicas int `json:"replicas"`
}

// MoveMember is the body of POST /v1/groups/{group}:move.
type MoveMember struct {
	From string `json:"from"`         // name or id of a member
	To   string `json:"to,omitempty"` // name or id of a node; "" means whichever suits best
}

// Rebalance is the body of POST /v1/groups:rebalance.
type Rebalance struct {
	DryRun bool `json:"dry_run,omitempty"`
	Limit  int  `json:"limit,omitempty"` // steps at most; 0 means 100
}

// A RebalanceStep is one thing that a rebalance does, or would do.
type RebalanceStep struct {
	Group string `json:"group"`
	Kind  string `json:"kind"` // "lead" or "member"
	From  string `json:"from"`
	To    string `json:"to"`
	Why   string `json:"why"`
	Error string `json:"error,omitempty"` // why it was not begun
}

// Rebalanced answers POST /v1/groups:rebalance.
type Rebalanced struct {
	DryRun bool            `json:"dry_run"`
	Steps  []RebalanceStep `json:"steps"`
}

// AddMember is the body of POST /v1/members: the node becomes a voter of main, for
// which one more is wanted than before.
type AddMember struct {
	Node string `json:"node"` // name or id
}

// ReplaceMember is the body of POST /v1/members/{id}:replace: another node takes all
// its places.
type ReplaceMember struct {
	By string `json:"by,omitempty"` // name or id; "" means the node with an empty disk that has the same name, else whichever suits best
}

// A MemberChange answers what changes a member of the cluster.
type MemberChange struct {
	Node   string   `json:"node"`           // id of the node that it is about
	Name   string   `json:"name,omitempty"` // and its name
	By     string   `json:"by,omitempty"`   // name of the node that takes its places, if it is one
	Groups []string `json:"groups"`         // whose members are to change
}

// GroupCounts sums up the groups on one node.
type GroupCounts struct {
	Here       int `json:"here"`       // in which it has a part
	Leads      int `json:"leads"`      // which it leads
	Leaderless int `json:"leaderless"` // of those here, for which it knows no leader
	Known      int `json:"known"`      // in the directory
}
