package directory

import (
	"fmt"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// A Command changes the directory. Commands are made by Encode and begin with a byte
// that no command of package locks begins with.
type Command interface {
	kind() uint8
	wire(c *coder)
}

// Create makes a group. Its ID is given when it is applied. Members must be alive and
// reachable for all the proposer knows; the directory checks only their number (1 to
// Replicas), that they are distinct, and that none was removed. In the first
// configuration they stand, with ordinals from 1, in order of their node ids. The same
// Request again makes no second group: while there is the first one it gets that, as it
// is by then. Answers that refuse are not remembered. "" is no request.
type Create struct {
	Request  string
	Name     string
	Replicas int
	Zones    []string
	Near     string
	Members  []paxos.Member // Ordinals are given when it is applied
}

// Delete forgets a group for ever. main cannot be deleted. The same Request again gets
// the first answer while it is remembered, which is until MaxDeleted other groups have
// been deleted, whatever ID it has then: whoever repeats the request and does not find
// the group's name any more asks with ID 0. "" is no request.
type Delete struct {
	Request string
	ID      paxos.GroupID
}

// Resize sets the wanted number of voters, of main too.
type Resize struct {
	ID       paxos.GroupID
	Replicas int
}

// Begin starts a Plan for a group that has none, if it is still in configuration
// Config: of two changes at once one wins. Before main has reported, it has none.
type Begin struct {
	ID     paxos.GroupID
	Config paxos.ConfigID
	Plan   Plan // without ID
	// Replicas is the wanted number of voters from then on, if more are wanted than now.
	// The change must not be undone before the group is known to want it.
	Replicas int
}

// Cancel gives up the plan with that number.
type Cancel struct {
	ID   paxos.GroupID
	Plan uint64
}

// Report says what the voters of a group are in configuration Config. Older reports
// change nothing. A plan that is carried out by it ends.
type Report struct {
	ID      paxos.GroupID
	Config  paxos.ConfigID
	Members []paxos.Member
}

// Remove says that a node is to have no part in anything any more. It starts no plans:
// leaders do, group by group. It gives up those that would add the node.
type Remove struct {
	Node synod.NodeID
	Name string
	By   synod.NodeID // the node that takes its places; 0: whoever suits
}

func (*Create) kind() uint8 { return 1 }
func (*Delete) kind() uint8 { return 2 }
func (*Resize) kind() uint8 { return 3 }
func (*Begin) kind() uint8  { return 4 }
func (*Cancel) kind() uint8 { return 5 }
func (*Report) kind() uint8 { return 6 }
func (*Remove) kind() uint8 { return 7 }

// newCommand returns an empty command of a kind, nil if there is no such kind.
func newCommand(kind uint8) Command {
	switch kind {
	case 1:
		return &Create{}
	case 2:
		return &Delete{}
	case 3:
		return &Resize{}
	case 4:
		return &Begin{}
	case 5:
		return &Cancel{}
	case 6:
		return &Report{}
	case 7:
		return &Remove{}
	}
	return nil
}

// A Code says why a command changed nothing.
type Code uint8

// The codes. Never renumber.
const (
	OK          Code = 0
	Exists      Code = 1  // a group of that name: Result.Group
	Unknown     Code = 2  // no such group
	Busy        Code = 3  // another change of the group is under way: Result.Group tells which
	Stale       Code = 4  // the configuration or plan is another than was meant: Result.Group tells which
	Full        Code = 5  // MaxGroups or MaxGone
	Invalid     Code = 6  // see Detail
	NodeRemoved Code = 7  // a member of the new group or plan was removed
	IsMain      Code = 8  // main cannot be deleted
	Unneeded    Code = 9  // nothing to do: it is so already
	Unreadable  Code = 10 // not a command of this version

	numCodes = 11
)

// String names the code.
func (c Code) String() string {
	names := [numCodes]string{"ok", "exists", "unknown", "busy", "stale", "full", "invalid", "node-removed", "is-main", "unneeded", "unreadable"}
	if c < numCodes {
		return names[c]
	}
	return fmt.Sprintf("code %d", uint8(c))
}

// A Result is the answer to a command.
type Result struct {
	Code    Code
	Detail  string // for people, if Code is not OK
	Version uint64 // of the state after the command; of a repeated Delete, after the first one
	Group   *Group // as it is after the command, if there is one
}
