package node

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode"

	"github.com/prytany/prytany/internal/storage"
	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/locks"
)

// Config says what a node is and where it listens. Fields without a stated
// default are required.
type Config struct {
	// Name is the operator's name for the node: 1 to 64 bytes, without blanks,
	// commas and slashes. It is unique among the members of a cluster.
	Name string
	// DataDir is where the node keeps what it must not forget. It is created
	// if need be, and belongs to one node of one cluster for ever.
	DataDir string
	// LogStore is how a new DataDir keeps promises and votes: storage.LogBolt or
	// storage.LogAppend. Empty means storage.DefaultLogStore. A DataDir that has a
	// log keeps it.
	LogStore string

	// Bootstrap makes an empty DataDir the first node of a new cluster; with
	// a DataDir that has a cluster already it changes nothing.
	Bootstrap bool
	// Join lists gossip addresses of living nodes. A node with an empty
	// DataDir needs it, unless Bootstrap is set.
	Join []string

	// HTTP, Peer and Gossip are the addresses to listen on, host:port; port 0
	// lets the system choose. Empty means 127.0.0.1:7480, :7481 and :7482.
	HTTP   string
	Peer   string
	Gossip string
	// Advertise is the host that others reach this node by. Empty means the
	// host of the listening address.
	Advertise string
	// Zone is where the node stands, for people and for placement.
	Zone string
	// Version is what the node says it runs.
	Version string

	// Voters is the wanted number of voters of group main: the leader makes
	// nodes that have joined and caught up voters until there are so many.
	// 0 means 3.
	Voters int

	// ReplaceAfter is for how long gossip must have shown a voter dead until the
	// leader of its group has another node take its place, if there is one and a
	// quorum is alive without it. 0 means never.
	ReplaceAfter time.Duration
	// ReplaceFrom is the number of voters from which on a group has dead ones
	// replaced. 0 means 5.
	ReplaceFrom int

	// Timing is the failure detector's; see leader.Config for the defaults.
	Timing leader.Config
	// TickEvery is the length of a protocol tick, which may be late by a fifth of it. 0 means 50 ms.
	TickEvery time.Duration
	// LeaseReads lets this node, while it leads, answer reads without asking a
	// quorum, for as long as a quorum is bound to it by its leases. It rests on
	// clocks: their rates on any two voters must differ by less than 1 %.
	LeaseReads bool
	// SnapshotSlots is the number of slots between snapshots. 0 means 10000.
	SnapshotSlots int

	Limits locks.Limits
	// Faults, if not nil, can cut this node off from others; for tests and
	// demonstrations in one process.
	Faults *Faults
	// Hosts lists names under which browsers may reach the HTTP API, beside
	// the addresses it listens on.
	Hosts []string
	// Log receives what an operator should see. nil means silence.
	Log *slog.Logger
}

func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Name == "" || len(c.Name) > 64 || strings.ContainsFunc(c.Name, func(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) || r == ',' || r == '/' }):
		return c, fmt.Errorf("a node needs a name of 1 to 64 bytes without blanks, commas and slashes, not %q", c.Name)
	case c.DataDir == "":
		return c, errors.New("a node needs a data directory")
	case c.Voters < 0 || c.Voters > 9:
		return c, errors.New("the wanted number of voters is 1 to 9")
	case c.LogStore != "" && c.LogStore != storage.LogBolt && c.LogStore != storage.LogAppend:
		return c, fmt.Errorf("a node keeps its log as %s or %s, not as %q", storage.LogBolt, storage.LogAppend, c.LogStore)
	case c.ReplaceAfter < 0 || c.ReplaceFrom < 0 || c.ReplaceFrom > 9:
		return c, errors.New("dead voters are replaced after a time that is not negative, in groups of 1 to 9 voters or more")
	}
	c.HTTP = orDefault(c.HTTP, "127.0.0.1:7480")
	c.Peer = orDefault(c.Peer, "127.0.0.1:7481")
	c.Gossip = orDefault(c.Gossip, "127.0.0.1:7482")
	c.Version = orDefault(c.Version, "dev")
	if c.Voters == 0 {
		c.Voters = 3
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

func orDefault(s, d string) string {
	if s == "" {
		return d
	}
	return s
}
