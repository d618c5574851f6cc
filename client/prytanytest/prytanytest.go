// Package prytanytest runs a Prytany cluster inside a test: real nodes, real
// sockets on loopback, real disks in a temporary directory, and faults on
// demand. A cluster of three is ready in about half a second.
//
//	func TestBilling(t *testing.T) {
//		cluster := prytanytest.NewCluster(t, 3)
//		c := cluster.Client(client.Config{})
//		...
//		cluster.KillLeader() // does the work survive that?
//	}
//
// Nodes are called n1, n2, ... Sessions may live as short as 200 ms, so that
// tests need not wait for them to expire.
package prytanytest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/internal/cluster"
)

const (
	readyWithin  = time.Minute
	leaderWithin = time.Minute
	minTTL       = 200 * time.Millisecond
)

// A Cluster runs in this process. Its methods are safe for concurrent use. An
// order that cannot be carried out, such as killing a node that is down, fails
// the test, or panics where there is none.
type Cluster struct {
	tb      testing.TB // nil outside tests
	cluster *cluster.Cluster
	dir     string // to remove; "" if it is somebody else's

	mu      sync.Mutex
	clients []*client.Client
}

// NewCluster starts n nodes, 1 to 9, and waits until they serve. The cluster
// and its clients end with the test.
func NewCluster(tb testing.TB, n int) *Cluster {
	tb.Helper()
	c, err := start(tb, n, tb.TempDir())
	if err != nil {
		tb.Fatalf("prytanytest: %v", err)
	}
	tb.Cleanup(c.Stop)
	return c
}

// Start is [NewCluster] for examples and programs, which call [Cluster.Stop] at
// the end.
func Start(n int) (*Cluster, error) {
	dir, err := os.MkdirTemp("", "prytanytest-")
	if err != nil {
		return nil, fmt.Errorf("prytanytest: %w", err)
	}
	c, err := start(nil, n, dir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prytanytest: %w", err), os.RemoveAll(dir))
	}
	c.dir = dir
	return c, nil
}

func start(tb testing.TB, n int, dir string) (*Cluster, error) {
	if n < 1 {
		return nil, fmt.Errorf("a cluster of %d nodes", n)
	}
	cfg := cluster.Config{Nodes: n, Dir: dir}
	cfg.Node.Limits.MinTTL = minTTL
	inner, err := cluster.Start(cfg)
	if err != nil {
		return nil, err
	}
	c := &Cluster{tb: tb, cluster: inner}
	ctx, cancel := context.WithTimeout(context.Background(), readyWithin)
	defer cancel()
	if err := inner.Ready(ctx); err != nil {
		inner.Stop()
		return nil, err
	}
	return c, nil
}

// Stop closes the clients, stops all nodes and waits for them. NewCluster does
// it at the end of the test.
func (c *Cluster) Stop() {
	c.cluster.Heal()
	c.mu.Lock()
	clients := c.clients
	c.clients = nil
	c.mu.Unlock()
	var closing sync.WaitGroup
	for _, cl := range clients {
		closing.Go(func() { _ = cl.Close() }) // without a quorum nobody hears of it
	}
	closing.Wait()
	c.cluster.Stop()
	if c.dir != "" {
		_ = os.RemoveAll(c.dir)
	}
}

// check fails the test if an order could not be carried out.
func (c *Cluster) check(err error) {
	switch {
	case err == nil:
	case c.tb == nil:
		panic(fmt.Errorf("prytanytest: %w", err))
	default:
		c.tb.Helper()
		c.tb.Errorf("prytanytest: %v", err)
	}
}

// Client returns a client of the cluster, which is closed with it. Without
// Endpoints in cfg it uses all nodes.
func (c *Cluster) Client(cfg client.Config) *client.Client {
	if len(cfg.Endpoints) == 0 {
		cfg.Endpoints = c.Endpoints()
	}
	cl, err := client.New(cfg)
	if err != nil {
		c.check(err)
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clients = append(c.clients, cl)
	return cl
}

// Endpoints returns the URLs of all nodes, of those that are down too: n1's
// comes first. They stay the same over restarts.
func (c *Cluster) Endpoints() (urls []string) {
	for _, s := range c.cluster.States() {
		urls = append(urls, s.URL)
	}
	return urls
}

// Endpoint returns the URL of one node.
func (c *Cluster) Endpoint(name string) string {
	i := slices.Index(c.Nodes(), name)
	if i < 0 {
		c.check(fmt.Errorf("there is no node %q", name))
		return ""
	}
	return c.Endpoints()[i]
}

// Nodes returns the names of all nodes.
func (c *Cluster) Nodes() (names []string) {
	for _, s := range c.cluster.States() {
		names = append(names, s.Name)
	}
	return names
}

// Leader returns the name of the node that leads, "" if none does at present.
func (c *Cluster) Leader() string { return c.cluster.Leader() }

// AwaitLeader waits until some node leads and returns its name; "" if none does
// within a minute, which fails the test.
func (c *Cluster) AwaitLeader() string {
	end := time.After(leaderWithin)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if name := c.Leader(); name != "" {
			return name
		}
		select {
		case <-tick.C:
		case <-end:
			c.check(errors.New("no leader"))
			return ""
		}
	}
}

// Ready waits until every node that is neither down nor paused serves.
func (c *Cluster) Ready() {
	ctx, cancel := context.WithTimeout(context.Background(), readyWithin)
	defer cancel()
	c.check(c.cluster.Ready(ctx))
}

// Kill takes a node away without a word, as kill -9 would: its sockets close,
// and what it had not written to disk is lost.
func (c *Cluster) Kill(name string) { c.check(c.cluster.Kill(name)) }

// KillLeader kills the node that leads, waiting for one if need be, and returns
// its name.
func (c *Cluster) KillLeader() string {
	name := c.AwaitLeader()
	if name != "" {
		c.Kill(name)
	}
	return name
}

// Restart starts a node on its old data and addresses; one that is running is
// killed first.
func (c *Cluster) Restart(name string) { c.check(c.cluster.Restart(name)) }

// Pause stops a node as SIGSTOP would: its sockets stay open and nothing moves.
func (c *Cluster) Pause(name string) { c.check(c.cluster.Pause(name)) }

// Resume lets a paused node go on.
func (c *Cluster) Resume(name string) { c.check(c.cluster.Resume(name)) }

// Cut breaks the link between two nodes in both directions. Clients still reach
// both.
func (c *Cluster) Cut(a, b string) { c.check(c.cluster.Cut(a, b)) }

// Partition breaks every link between nodes of different sides. Nodes that are
// named on no side form one more.
func (c *Cluster) Partition(sides ...[]string) { c.check(c.cluster.Partition(sides...)) }

// Heal mends all links and lets paused nodes go on. Nodes that are down stay
// down.
func (c *Cluster) Heal() { c.cluster.Heal() }
