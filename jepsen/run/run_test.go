//go:build linux

package run

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "github.com/prytany/prytany/internal/node" // the binary is built of it: a result is of no use once it has changed
	"github.com/prytany/prytany/jepsen/check"
	"github.com/prytany/prytany/jepsen/decided"
	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/jepsen/nemesis"
	"github.com/prytany/prytany/jepsen/ops"
	"github.com/prytany/prytany/jepsen/verdict"
	"github.com/prytany/prytany/jepsen/world"
)

// TestMain is also a process of clients: the runs of these tests start this program
// again.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == ClientCommand {
		if err := Client(context.Background(), os.Stdin, os.Stdout); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run())
}

// binary builds the service.
func binary(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "prytany")
	cmd := exec.Command("go", "build", "-o", name, "github.com/prytany/prytany/cmd/prytany")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return name
}

// A whole run with real processes, faults of processes and, where there are networks
// of the nodes' own, of those: it comes to its end, all that belongs to it is there,
// and nothing is wrong with the service.
func TestRun(t *testing.T) {
	service := binary(t)
	a := world.Probe(service)
	if a.Network != "" {
		if os.Getenv("REQUIRE_NETNS") == "1" {
			t.Fatalf("REQUIRE_NETNS is 1 and there are no networks: %s", a.Network)
		}
		t.Logf("without faults of the network: %s", a.Network)
	}
	faults, left, err := nemesis.Select("kill,isolate,loss,pause-client", func(n nemesis.Need) string {
		if n == nemesis.Network {
			return a.Network
		}
		return ""
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	o := Options{
		Binary: service, Nodes: 3, Clients: 2, Time: 15 * time.Second, Seed: 1, Faults: faults, Left: left, TTL: 2 * time.Second, Level: "info",
		Workloads: []string{"register", "txn", "lock", "sessions", "watch"}, Out: dir, Abilities: a, Name: "test", Say: t.Logf,
	}
	rec, err := Do(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	done := 0
	for _, n := range rec.Done {
		done += n
	}
	if len(rec.Breaches) > 0 || done == 0 {
		t.Errorf("%v faults were done; breaches: %q", rec.Done, rec.Breaches)
	}
	f, err := os.Open(filepath.Join(dir, "history.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	r, events, err := history.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	h := ops.Pair(r, events)
	noted := 0 // not those that the machine came up with
	for _, w := range h.Windows() {
		if w.Name != history.MachinePause {
			noted++
		}
	}
	if !h.Complete || len(h.Problems) > 0 || noted != done || strings.Join(r.Nodes, " ") != "n1 n2 n3" {
		t.Errorf("complete %t, problems %v, %d faults of %d, nodes %v", h.Complete, h.Problems, noted, done, r.Nodes)
	}
	var nodes []decided.Node
	for _, name := range r.Nodes {
		f, err := os.Open(DecidedFile(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		n, err := decided.Read(f)
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, n)
	}
	// How much is done in that time is the machine's affair.
	v := check.Run(h, decided.Merge(nodes), check.Options{MinBefore: 1, MinAfter: 1})
	for _, c := range v.Checks {
		if c.Outcome == verdict.Failed || c.Outcome == verdict.Rejected {
			t.Errorf("%s: %s %+v", c.Name, c.Detail, c.Offenders)
		}
	}
}

// replaced builds the service with one piece of a file replaced by another.
func replaced(t *testing.T, file, piece, by string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", file))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), piece); n != 1 {
		t.Fatalf("%s has this %d times, and not once: %s", file, n, piece)
	}
	dir := t.TempDir()
	other, overlay, name := filepath.Join(dir, "other.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "prytany")
	if err := os.WriteFile(other, []byte(strings.Replace(string(text), piece, by, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := json.Marshal(map[string]map[string]string{"Replace": {path: other}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, list, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-overlay", overlay, "-o", name, "github.com/prytany/prytany/cmd/prytany")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return name
}

// A leader that answers reads without asking whether it leads tells old values once
// another leads. Who stays with it while it is cut off from its peers hears them.
func TestStaleReadsOfALeaderAreCaught(t *testing.T) {
	service := replaced(t, "paxos/reads.go", "n := g.quorumth(g.lead.asked, func(p *peer) uint64 { return p.confirmed })", "n := g.lead.asked")
	a := world.Probe(service)
	faults := []string{"peers-cut"}
	if a.Network != "" {
		if os.Getenv("REQUIRE_NETNS") == "1" {
			t.Fatalf("REQUIRE_NETNS is 1 and there are no networks: %s", a.Network)
		}
		faults = []string{"pause-leader"}
	}
	// The machine may be slow, and the fault may hit a follower: some runs are enough.
	for seed := range uint64(6) {
		dir := t.TempDir()
		_, err := Do(context.Background(), Options{
			Binary: service, Nodes: 3, Clients: 2, Time: 15 * time.Second, Seed: seed, Faults: faults, TTL: 2 * time.Second, Level: "info",
			Workloads: []string{"stuck"}, Out: dir, Abilities: a, Name: "test", Say: t.Logf,
		})
		if err != nil {
			t.Fatal(err)
		}
		h, log, err := check.Load(filepath.Join(dir, "history.ndjson"), logs(t, dir))
		if err != nil {
			t.Fatal(err)
		}
		v := check.Run(h, log, check.Options{MinBefore: 1, MinAfter: 1, Patience: time.Minute, Steps: 100_000})
		if v.Check("real-time").Outcome == verdict.Failed && v.Check("linear-registers").Outcome == verdict.Failed {
			t.Logf("seed %d: %+v", seed, v.Check("real-time").Offenders[0])
			return
		}
	}
	t.Error("nobody notices that a leader that was replaced answers reads")
}

// logs are those of the nodes of a run.
func logs(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(DecidedFile(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	return files
}

// A run that is broken off leaves nothing but what it has written down.
func TestInterruptedRunCleansUp(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	service := binary(t)
	a := world.Probe(service)
	dir := t.TempDir()
	defer cancel()
	go func() { // while it works: it is not known how long the nodes take to start
		for ctx.Err() == nil {
			if _, err := os.Stat(filepath.Join(dir, "history.ndjson")); err == nil {
				time.AfterFunc(time.Second, cancel)
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	_, err := Do(ctx, Options{
		Binary: service, Nodes: 3, Clients: 1, Time: time.Minute, Seed: 1, Faults: []string{"pause-follower"}, TTL: 2 * time.Second, Level: "info",
		Workloads: []string{"register"}, Out: dir, Abilities: a, Name: "test", Say: t.Logf,
	})
	if err == nil {
		t.Error("a run that was broken off says nothing")
	}
	left, _ := filepath.Glob(filepath.Join(os.TempDir(), "prytany-jepsen-*"))
	for _, dir := range left {
		if strings.Contains(dir, "-"+strconv.Itoa(os.Getpid())+"-") {
			t.Errorf("left: %s", dir)
		}
	}
	f, err := os.Open(filepath.Join(dir, "history.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	r, events, err := history.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	if ops.Pair(r, events).Complete {
		t.Error("its history says that it came to its end")
	}
}
