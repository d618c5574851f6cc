//go:build linux

// Package nemesis breaks a world by a plan that follows from a seed: processes, the
// network, disks, the processor, the membership. Every fault ends, and after each the
// cluster has to come to rest by itself.
package nemesis

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/prytany/prytany/jepsen/world"
)

// A Need is what a fault cannot do without.
type Need string

// The needs.
const (
	Network  Need = "network"  // hosts with networks of their own
	Disk     Need = "disk"     // file systems of their own
	FUSE     Need = "fuse"     // such that are of our making
	CPU      Need = "cpu"      // control groups
	Clock    Need = "clock"    // a binary whose clock can be broken
	Sessions Need = "sessions" // a workload whose clients hold something
)

// A Fault is one kind.
type Fault struct {
	Name  string
	Group string // process, network, disk, fuse, cpu, membership, clock
	What  string // a sentence
	Needs []Need
	Roles []Role // whom it may hit
	Least time.Duration
	Most  time.Duration
	begin func(context.Context, *strike) (end, error)
}

// An end takes a fault away. It is called once, also when the run is over.
type end func(context.Context) error

// A strike is one step as it is carried out.
type strike struct {
	Step
	world   *world.World
	clients Clients
	nodes   []*world.Node // whom it hits
	dice    *rand.Rand
	archive func(*world.Node) error
	breach  func(format string, args ...any) // something that may not be
	note    func(format string, args ...any)
	// whom names who is hit, if it is not nodes.
	whom []string
}

// others are the nodes that vote and are not hit.
func (s *strike) others() []*world.Node {
	return slices.DeleteFunc(slices.Clone(s.world.Voters()), func(n *world.Node) bool { return slices.Contains(s.nodes, n) })
}

func names(nodes []*world.Node) (out []string) {
	for _, n := range nodes {
		out = append(out, n.Name)
	}
	return out
}

// Clients are the processes of the clients.
type Clients interface {
	// Pause stops one that holds a lock, or another if none does in time.
	Pause(context.Context) (name string, resume func() error, err error)
	// ServedBy is the name of the node that served the newest grant which is still
	// held, or "".
	ServedBy() string
	// Names are those of the hosts.
	Names() []string
}

// Find returns the fault of that name.
func Find(name string) (Fault, bool) {
	all := Faults()
	i := slices.IndexFunc(all, func(f Fault) bool { return f.Name == name })
	if i < 0 {
		return Fault{}, false
	}
	return all[i], true
}

// Faults lists all kinds.
func Faults() []Fault {
	return slices.Concat(processFaults(), networkFaults(), diskFaults(), fuseFaults(), memberFaults(), clockFaults())
}

const second = time.Second

func processFaults() []Fault {
	one := []Role{Leader, Follower, Holder}
	return []Fault{
		{"kill", "process", "SIGKILL, and later a start", nil, one, second, 4 * second, killed},
		{"kill-all", "process", "SIGKILL of all nodes at once", nil, []Role{Majority, All}, second, 3 * second, killed},
		{"storm", "process", "nodes are killed and started again and again, several at a time", nil, []Role{All, Minority}, 3 * second, 6 * second, storm},
		{"stop", "process", "SIGTERM, and later a start", nil, one, second, 3 * second, stopped},
		{"rolling", "process", "each node is told to stop and started, one after the other", nil, []Role{All}, second, second, rolling},
		{"transfer", "process", "the lead is handed over, again and again", nil, []Role{Leader}, 2 * second, 4 * second, transfer},
		{"pause-leader", "process", "SIGSTOP of the leader", nil, []Role{Leader}, second / 5, 6 * second, paused},
		{"pause-follower", "process", "SIGSTOP of a follower", nil, []Role{Follower, Holder}, second / 5, 6 * second, paused},
		{"pause-many", "process", "SIGSTOP of most nodes or all", nil, []Role{Majority, All}, second / 5, 4 * second, paused},
		{"pause-client", "process", "SIGSTOP of the process of a client that holds a lock, for longer than its lease", []Need{Sessions}, []Role{Client}, 3500 * time.Millisecond, 5500 * time.Millisecond, pauseClient},
		{"starve", "cpu", "a node gets 3 % of a processor", []Need{CPU}, one, 3 * second, 6 * second, starve},
	}
}

func networkFaults() []Fault {
	net := []Need{Network}
	one := []Role{Leader, Follower, Holder}
	f := func(name, what string, roles []Role, most time.Duration, begin func(context.Context, *strike) (end, error)) Fault {
		return Fault{name, "network", what, net, roles, second, most, begin}
	}
	const long, short = 6 * second, 5 * second
	return []Fault{
		f("isolate", "a node is cut off from everybody", one, long, cut(isolate)),
		f("halves", "a minority of nodes and some clients are cut off from the rest", []Role{Leader, Minority}, long, cut(halves)),
		f("partial", "the link between two nodes is cut", []Role{Leader, Follower}, long, cut(partial)),
		f("ring", "every node hears only the one before it", []Role{All}, short, cut(ring)),
		f("one-way-out", "what a node sends to other nodes is lost", one, long, cut(oneWayOut)),
		f("one-way-in", "what other nodes send to a node is lost", one, long, cut(oneWayIn)),
		f("one-way-link", "one direction between two nodes is cut", []Role{Leader, Follower}, long, cut(oneWayLink)),
		f("peers-cut", "a node is cut off for Paxos, not for gossip and clients", one, long, cut(peersCut)),
		f("gossip-cut", "nodes are cut off for gossip alone", []Role{Leader, Follower, All}, long, cut(gossipCut)),
		f("clients-cut", "a node is cut off from the clients alone", []Role{Leader, Follower, Majority}, long, cut(clientsCut)),
		f("loss", "a part of all packets is lost", []Role{All}, long, cut(loss)),
		f("delay", "all packets come late, some more than others", []Role{All}, long, cut(delay)),
		f("reorder", "packets overtake each other", []Role{All}, long, cut(reorder)),
		f("duplicate", "packets come twice", []Role{All}, long, cut(duplicate)),
		f("slow-link", "the ways to and from a node take little", one, short, cut(slowLink)),
		f("flap", "a node is cut off and joined again several times a second", one, short, flap),
		f("swizzle", "links are cut one by one and mended in another order", []Role{All}, long, swizzle),
		f("weather", "loss, delay, reordering and doubles at once, while nodes are killed", []Role{All}, long, weather),
	}
}

func diskFaults() []Fault {
	disk := []Need{Disk}
	one := []Role{Leader, Follower}
	return []Fault{
		{"disk-full", "disk", "no room is left on a node's disk", disk, one, 2 * second, 5 * second, diskFull},
		{"disk-frozen", "disk", "no write of a node ends", disk, one, second, 4 * second, diskFrozen},
		{"disk-slow", "disk", "a node's writes end late, and fsync with them", disk, one, 2 * second, 6 * second, diskSlow},
		{"disk-eio", "disk", "a node's disk dies with EIO; the process has to end by itself", disk, one, second, 2 * second, diskDies},
		{"power-loss", "disk", "a node loses power: what fsync had not promised is lost", disk, []Role{Leader, Follower, Minority}, second, 3 * second, powerLoss},
		{"power-loss-all", "disk", "all nodes lose power at once", disk, []Role{All, Majority}, second, 2 * second, powerLoss},
		{"bit-flip", "disk", "a bit of a stopped node's file is wrong: it has to be refused, and is replaced", nil, one, second, second, bitFlip},
		{"wipe", "disk", "a node comes back under its name with an empty disk: it must not vote, and is replaced", nil, one, second, second, wiped},
	}
}

func memberFaults() []Fault {
	return []Fault{
		{"member-replace", "membership", "a node is lost for good, and one of the same name takes its places", nil, []Role{Leader, Follower}, second, second, replaced},
		{"member-add", "membership", "a fourth node becomes a voter, works for a while and is removed", nil, []Role{Spare}, 2 * second, 4 * second, added},
	}
}
