package node

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A keeper keeps warnings, or what is at least as grave as least.
type keeper struct {
	slog.Handler
	least slog.Leveler // nil means warnings
	mu    sync.Mutex
	lines []string
}

func (k *keeper) Enabled(_ context.Context, l slog.Level) bool {
	if k.least != nil {
		return l >= k.least.Level()
	}
	return l >= slog.LevelWarn
}
func (k *keeper) WithAttrs([]slog.Attr) slog.Handler { return k }
func (k *keeper) WithGroup(string) slog.Handler      { return k }
func (k *keeper) Handle(_ context.Context, r slog.Record) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lines = append(k.lines, r.Message)
	return nil
}

func (k *keeper) all() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.lines)
}

func (k *keeper) count(text string) (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, line := range k.lines {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// TestNamesakeIsToldOfOnce joins a node under the name of a voter: it stays a
// learner, whether more voters are wanted or not, and the leader's log says so.
func TestNamesakeIsToldOfOnce(t *testing.T) {
	for _, voters := range []int{1, 3} {
		log := &keeper{Handler: slog.DiscardHandler}
		a := runNode(t, Config{Name: "n1", Bootstrap: true, Voters: voters, Log: slog.New(log)})
		await(t, "a leader", a.Leads)
		b := runNode(t, Config{Name: "n1", Join: []string{a.GossipAddr()}, Voters: voters})
		await(t, "a warning", func() bool { return log.count("under the name of a voter") > 0 })
		c := runNode(t, Config{Name: "n2", Join: []string{a.GossipAddr()}, Voters: voters})
		await(t, "the third node", func() bool { return c.Ready() && (voters == 1 || c.Voter()) })
		if n := log.count("under the name of a voter"); n != 1 {
			t.Errorf("%d warnings; want 1", n)
		}
		if b.Voter() {
			t.Error("the second n1 is a voter")
		}
	}
}

// runNode runs a node on ports of its own until the test ends.
func runNode(t *testing.T, cfg Config) *Node {
	t.Helper()
	cfg.DataDir = t.TempDir()
	cfg.HTTP, cfg.Peer, cfg.Gossip = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := n.Run(ctx); err != nil {
			t.Errorf("node %s: %v", cfg.Name, err)
		}
	})
	t.Cleanup(func() { stop(); running.Wait() })
	return n
}

// await waits for ok, patiently.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("not within a minute: %s", what)
		}
	}
}
