// Package peer runs clusters of nodes of Prytany and of etcd as processes
// on loopback, and drives both through the Go client of each, in the same way.
package peer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// A System is one thing to measure.
type System interface {
	// Name is what tables call it.
	Name() string
	// Nodes are its processes.
	Nodes() *Nodes
	// Ready reports whether all nodes serve and vote, once.
	Ready(ctx context.Context) error
	// Leader returns the index of the node that leads.
	Leader(ctx context.Context) (int, error)
	// Clients connects one client to each of the nodes at, or with whole one
	// client to all of them, as an application would be set up.
	Clients(at []int, whole bool) (Clients, error)
}

// Clients are connections to a cluster, for many workers. Safe for concurrent use.
type Clients interface {
	Put(ctx context.Context, worker int, key string, value []byte) error
	// Get reads linearizably, and tells how often the key was written.
	Get(ctx context.Context, worker int, key string) (value []byte, writes int64, err error)
	// Fill writes the same value under all keys, at most MaxFill, in one transaction.
	Fill(ctx context.Context, worker int, keys []string, value []byte) error
	Open(ctx context.Context, worker int, ttl time.Duration) (Session, error)
	Close()
}

// MaxFill is what a transaction of either system takes with its defaults.
const MaxFill = 128

// A Session keeps itself alive until it ends.
type Session interface {
	// Cycle acquires a lock and releases it, and returns its fence.
	Cycle(ctx context.Context, lock string) (fence uint64, err error)
	// Alive reports whether the session is certainly not over.
	Alive() bool
	End(ctx context.Context) error
}

// Nodes are the processes of one cluster.
type Nodes struct {
	All []*Process
	dir string
}

// newNodes makes a directory for a cluster below dir.
func newNodes(dir, name string) (*Nodes, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	own, err := os.MkdirTemp(dir, name+"-")
	return &Nodes{dir: own}, err
}

// start starts all nodes at once.
func (n *Nodes) start() error {
	for _, p := range n.All {
		if err := p.start(); err != nil {
			n.Stop()
			return err
		}
	}
	return nil
}

// Stop kills all nodes and removes what they wrote.
func (n *Nodes) Stop() {
	for _, p := range n.All {
		p.Kill()
	}
	_ = os.RemoveAll(n.dir)
}

// Restart starts a node that was killed.
func (n *Nodes) Restart(i int) error { return n.All[i].start() }

// signal sends sig to all nodes.
func (n *Nodes) signal(sig syscall.Signal) error {
	var errs []error
	for _, p := range n.All {
		errs = append(errs, p.Signal(sig))
	}
	return errors.Join(errs...)
}

// Freeze stops all nodes where they are: they cost nothing while others are
// measured.
func (n *Nodes) Freeze() error { return n.signal(syscall.SIGSTOP) }

// Thaw lets them go on.
func (n *Nodes) Thaw() error { return n.signal(syscall.SIGCONT) }

// path is the data directory of a node.
func (n *Nodes) path(node string) string { return filepath.Join(n.dir, node) }

// DiskBytes is how much all nodes have on disk.
func (n *Nodes) DiskBytes() (sum int64, err error) {
	err = filepath.Walk(n.dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}

// Await repeats check until it succeeds, for a minute at most.
func Await(ctx context.Context, s System, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not in time: %w; %s writes: %s", s.Name(), err, s.Nodes().All[0].Name, s.Nodes().All[0].Log())
		case <-time.After(5 * time.Millisecond):
		}
	}
}
