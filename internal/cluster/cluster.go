// Package cluster runs several complete nodes in one process, on loopback,
// with real sockets and real disks, and breaks them on demand. It is what
// `prytany dev` and the in-process test cluster are made of.
package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/prytany/prytany/internal/node"
	"github.com/prytany/prytany/internal/port"
)

// Config configures a Cluster. Fields without a stated default are required.
type Config struct {
	// Nodes is how many there are. 0 means 3; at most 9.
	Nodes int
	// Dir holds one data directory per node.
	Dir string
	// HTTP is the address of the first node's API, host:port; the others take
	// the ports that follow. Port 0, the default, lets the system choose.
	HTTP string
	// Zones are where the nodes stand, in turn. None means nowhere.
	Zones []string
	// Node is the template for every node; names, directories and addresses
	// are filled in.
	Node node.Config
	// Log receives what an operator should see. nil means silence.
	Log *slog.Logger
}

// A Cluster is a set of nodes named n1, n2, ... in this process.
type Cluster struct {
	cfg    Config
	Faults node.Faults

	mu      sync.Mutex
	members []*member
}

// A member is one node, running or not.
type member struct {
	name   string
	cfg    node.Config
	node   *node.Node   // nil while down
	ports  []*port.Port // of the loopback, which stay its own while it is down
	cancel context.CancelFunc
	end    *end // of the present or last run
	paused bool
}

// An end is how a node's run ended. err is written before done is closed.
type end struct {
	done chan struct{}
	err  error
}

// failed returns why the node stopped by itself; nil while it runs.
func (e *end) failed() error {
	select {
	case <-e.done:
		return cmp.Or(e.err, errors.New("no reason given"))
	default:
		return nil
	}
}

// ErrNoNode says that there is no node of that name.
var ErrNoNode = errors.New("no such node")

// Start starts all nodes of a cluster and returns once they are running; see
// [Cluster.Ready] for when they serve.
func Start(cfg Config) (*Cluster, error) {
	if cfg.Nodes == 0 {
		cfg.Nodes = 3
	}
	if cfg.Nodes < 1 || cfg.Nodes > 9 {
		return nil, fmt.Errorf("a cluster in one process has 1 to 9 nodes, not %d", cfg.Nodes)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Cluster{cfg: cfg}
	for i := range cfg.Nodes {
		m, err := c.plan(i)
		if err == nil {
			c.members = append(c.members, m)
			err = c.start(m)
		}
		if err != nil {
			c.Stop()
			return nil, err
		}
	}
	return c, nil
}

// plan fills in the configuration of the i-th node.
func (c *Cluster) plan(i int) (*member, error) {
	m := &member{name: "n" + strconv.Itoa(i+1), cfg: c.cfg.Node}
	m.cfg.Name = m.name
	m.cfg.DataDir = filepath.Join(c.cfg.Dir, m.name)
	m.cfg.Peer, m.cfg.Gossip, m.cfg.HTTP = anyPort, anyPort, anyPort
	if c.cfg.HTTP != "" {
		host, first, err := net.SplitHostPort(c.cfg.HTTP)
		if err != nil {
			return nil, fmt.Errorf("address %q: %w", c.cfg.HTTP, err)
		}
		p, err := strconv.ParseUint(first, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("address %q: the port is no number below 65536", c.cfg.HTTP)
		}
		if p != 0 {
			p += uint64(i)
		}
		m.cfg.HTTP = net.JoinHostPort(host, strconv.FormatUint(p, 10))
	}
	if len(c.cfg.Zones) > 0 {
		m.cfg.Zone = c.cfg.Zones[i%len(c.cfg.Zones)]
	}
	m.cfg.Bootstrap = i == 0
	if i > 0 {
		m.cfg.Join = []string{c.members[0].cfg.Gossip}
	}
	m.cfg.Voters = cmp.Or(c.cfg.Node.Voters, c.cfg.Nodes)
	m.cfg.Faults = &c.Faults
	m.cfg.Log = c.cfg.Log.With("node", m.name)
	return m, m.keepPorts()
}

// anyPort leaves the port to the system.
const anyPort = "127.0.0.1:0"

// keepPorts chooses the ports of m that are left to the system, and keeps them until
// [Cluster.Stop]: while m is down nobody else may get them.
func (m *member) keepPorts() error {
	for _, addr := range []*string{&m.cfg.Peer, &m.cfg.Gossip, &m.cfg.HTTP} {
		if *addr != anyPort {
			continue
		}
		p, err := port.Keep()
		if err != nil {
			m.releasePorts()
			return err
		}
		m.ports = append(m.ports, p)
		*addr = p.Addr()
	}
	return nil
}

func (m *member) releasePorts() {
	for _, p := range m.ports {
		p.Release()
	}
	m.ports = nil
}

// start runs m, and keeps the addresses it got for the next start.
func (c *Cluster) start(m *member) error {
	n, err := node.New(m.cfg)
	if err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	m.cfg.HTTP, m.cfg.Peer, m.cfg.Gossip = n.Addrs()
	ctx, cancel := context.WithCancel(context.Background())
	e := &end{done: make(chan struct{})}
	m.node, m.cancel, m.end = n, cancel, e
	go func() {
		defer close(e.done)
		e.err = n.Run(ctx)
	}()
	return nil
}

// Ready waits until every running node would serve a request.
func (c *Cluster) Ready(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		waiting := ""
		for _, m := range c.snapshot() {
			if m.node == nil || m.paused {
				continue
			}
			if err := m.end.failed(); err != nil {
				return fmt.Errorf("%s stopped: %w", m.name, err)
			}
			if !m.node.Ready() || c.allVote() && !m.node.Voter() {
				waiting = m.name
				break
			}
		}
		if waiting == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w", waiting, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// allVote reports whether every node is to be a voter of main.
func (c *Cluster) allVote() bool {
	return len(c.cfg.Node.Join) == 0 && cmp.Or(c.cfg.Node.Voters, c.cfg.Nodes) >= c.cfg.Nodes
}

// snapshot copies the members under the lock.
func (c *Cluster) snapshot() []member {
	c.mu.Lock()
	defer c.mu.Unlock()
	ms := make([]member, len(c.members))
	for i, m := range c.members {
		ms[i] = *m
	}
	return ms
}

// with runs f on the member called name under the lock.
func (c *Cluster) with(name string, f func(*member) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.members {
		if m.name == name {
			return f(m)
		}
	}
	return fmt.Errorf("%w: %q", ErrNoNode, name)
}

// Kill takes a node away without a word, as kill -9 would: sockets close, what
// was not durable is lost.
func (c *Cluster) Kill(name string) error {
	return c.with(name, func(m *member) error {
		if m.node == nil {
			return fmt.Errorf("%s is down already", name)
		}
		if m.paused {
			m.node.Resume()
			c.Faults.Thaw(name)
			m.paused = false
		}
		m.node.Kill()
		m.cancel()
		<-m.end.done
		m.node = nil
		return nil
	})
}

// Leave stops a node as SIGTERM would: it hands over what it leads and takes leave.
func (c *Cluster) Leave(name string) error {
	return c.with(name, func(m *member) error {
		if m.node == nil || m.paused {
			return fmt.Errorf("%s is not running", name)
		}
		m.cancel()
		<-m.end.done
		m.node = nil
		return m.end.err
	})
}

// Restart starts a node that is down, on its old data and addresses; one that
// is running is killed first.
func (c *Cluster) Restart(name string) error {
	err := c.with(name, func(m *member) error {
		if m.node == nil {
			return c.start(m)
		}
		return errRunning
	})
	if !errors.Is(err, errRunning) {
		return err
	}
	if err := c.Kill(name); err != nil {
		return err
	}
	return c.Restart(name)
}

// Wipe starts a node that is down with an empty disk, under its old name and
// addresses: another node, as far as the others are concerned.
func (c *Cluster) Wipe(name string) error {
	var join []string
	for _, m := range c.snapshot() {
		if m.node != nil && m.name != name {
			join = append(join, m.cfg.Gossip)
		}
	}
	return c.with(name, func(m *member) error {
		if m.node != nil {
			return fmt.Errorf("%s is running", name)
		}
		if err := os.RemoveAll(m.cfg.DataDir); err != nil {
			return err
		}
		m.cfg.Bootstrap, m.cfg.Join = false, join
		return c.start(m)
	})
}

// Ended returns why a node's run ended, if it has.
func (c *Cluster) Ended(name string) (err error) {
	_ = c.with(name, func(m *member) error {
		if m.end != nil {
			err = m.end.failed()
		}
		return nil
	})
	return err
}

var errRunning = errors.New("the node is running")

// Pause stops a node as SIGSTOP would: its sockets stay open and nothing
// moves.
func (c *Cluster) Pause(name string) error {
	return c.with(name, func(m *member) error {
		if m.node == nil {
			return fmt.Errorf("%s is down", name)
		}
		if !m.paused {
			c.Faults.Freeze(name)
			m.node.Pause()
			m.paused = true
		}
		return nil
	})
}

// Resume lets a paused node go on.
func (c *Cluster) Resume(name string) error {
	return c.with(name, func(m *member) error {
		if m.node == nil || !m.paused {
			return fmt.Errorf("%s is not paused", name)
		}
		m.node.Resume()
		c.Faults.Thaw(name)
		m.paused = false
		return nil
	})
}

// Cut breaks the link between two nodes in both directions.
func (c *Cluster) Cut(a, b string) error {
	if a == b {
		return fmt.Errorf("a node has no link to itself: %q", a)
	}
	for _, name := range []string{a, b} {
		if err := c.with(name, func(*member) error { return nil }); err != nil {
			return err
		}
	}
	c.Faults.Cut(a, b)
	return nil
}

// Partition breaks every link between nodes of different sides. Nodes that are
// named on no side form one more.
func (c *Cluster) Partition(sides ...[]string) error {
	side := map[string]int{}
	for i, names := range sides {
		for _, name := range names {
			if err := c.with(name, func(*member) error { return nil }); err != nil {
				return err
			}
			if _, twice := side[name]; twice {
				return fmt.Errorf("%q is named twice", name)
			}
			side[name] = i + 1
		}
	}
	ms := c.snapshot()
	for i, a := range ms {
		for _, b := range ms[:i] {
			if side[a.name] != side[b.name] {
				c.Faults.Cut(a.name, b.name)
			}
		}
	}
	return nil
}

// Heal mends all links and lets paused nodes go on. Nodes that are down stay
// down.
func (c *Cluster) Heal() {
	c.Faults.Heal()
	for _, m := range c.snapshot() {
		if m.paused {
			_ = c.Resume(m.name)
		}
	}
}

// A State of one node of a cluster.
type State struct {
	Name   string
	URL    string
	State  string // "up", "down", "paused"
	Leader bool   // it leads group main, as far as it knows
}

// States tells how all nodes are.
func (c *Cluster) States() []State {
	ms := c.snapshot()
	out := make([]State, len(ms))
	for i, m := range ms {
		out[i] = State{Name: m.name, URL: "http://" + m.cfg.HTTP, State: "up"}
		switch {
		case m.node == nil:
			out[i].State = "down"
		case m.paused:
			out[i].State = "paused"
		default:
			out[i].Leader = m.node.Leads()
		}
	}
	return out
}

// Leader returns the name of the node that leads group main, "" if none does.
// Of two that believe it, the one with the higher ballot is meant.
func (c *Cluster) Leader() string {
	best, name := node.Standing{}, ""
	for _, m := range c.snapshot() {
		if m.node == nil || m.paused {
			continue
		}
		if s := m.node.Standing(); s.Leads && best.Ballot.Less(s.Ballot) {
			best, name = s, m.name
		}
	}
	return name
}

// Node returns the running node of that name, nil if it is down.
func (c *Cluster) Node(name string) *node.Node {
	for _, m := range c.snapshot() {
		if m.name == name {
			return m.node
		}
	}
	return nil
}

// Failed returns why the first node that stopped by itself did so; nil if none
// did.
func (c *Cluster) Failed() error {
	for _, m := range c.snapshot() {
		if m.node == nil {
			continue
		}
		if err := m.end.failed(); err != nil {
			return fmt.Errorf("%s stopped: %w", m.name, err)
		}
	}
	return nil
}

// Stop stops all nodes and waits for them.
func (c *Cluster) Stop() {
	c.Heal()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.members {
		if m.node != nil {
			m.node.Kill()
			m.cancel()
		}
	}
	for _, m := range c.members {
		if m.node != nil {
			<-m.end.done
			m.node = nil
		}
		m.releasePorts()
	}
}
