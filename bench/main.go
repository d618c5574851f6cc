// Command bench measures Prytany and etcd side by side: real nodes of each, three by default,
// on loopback and on one disk, driven by the Go client of each with the same
// closed loops, in rounds that take turns. While one system is measured, the
// nodes of the other are stopped. Every acknowledged write is read back and
// counted.
//
// What it prints are ratios of one run on one machine. The clients share the
// machine's cores with the servers, and so do all three nodes: the figures say
// how the two compare, not what either can do.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prytany/prytany/bench/peer"
)

// A bench is one run.
type bench struct {
	prytanyPath, etcdPath string
	dir                   string
	systems               string
	kinds, clients        string
	extras                string
	rounds, extraRounds   int
	warmup, duration      time.Duration
	size                  int
	nodes, keys           int
	sessions              int
	rate                  float64
	at                    string
	conns                 int
	perf                  string
	jsonPath, docPath     string

	out results
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b := &bench{}
	b.flags()
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (b *bench) flags() {
	flag.StringVar(&b.prytanyPath, "prytany", "", "`binary` of Prytany (default: built from the source around this module)")
	flag.StringVar(&b.etcdPath, "etcd", "", "`binary` of etcd (default: built from the module of etcd.mod)")
	flag.StringVar(&b.dir, "dir", "", "`directory` for data, on the disk to measure (default: a temporary one)")
	flag.StringVar(&b.systems, "systems", "prytany,prytany-bolt,etcd", "what to measure; ratios are to the last")
	flag.StringVar(&b.kinds, "work", "put,get,lock", "kinds of work")
	flag.StringVar(&b.clients, "clients", "1,64,256", "numbers of clients")
	flag.StringVar(&b.extras, "extras", "start,failover,memory,idle", "what else to measure; none: nothing")
	flag.IntVar(&b.rounds, "rounds", 5, "how often each")
	flag.IntVar(&b.extraRounds, "extra-rounds", 5, "how often start and failover; memory and idle are measured once, for longer")
	flag.DurationVar(&b.warmup, "warmup", time.Second, "before each measurement")
	flag.DurationVar(&b.duration, "duration", 4*time.Second, "of each measurement")
	flag.IntVar(&b.size, "size", 256, "bytes of a value")
	flag.IntVar(&b.nodes, "nodes", 3, "nodes of each cluster")
	flag.IntVar(&b.keys, "keys", 0, "keys that are there already, each with a value of that size, before anything is measured")
	flag.IntVar(&b.sessions, "sessions", 2000, "sessions that do nothing but live")
	flag.Float64Var(&b.rate, "rate", 300, "puts a second while memory is compared")
	flag.StringVar(&b.at, "at", "all", "nodes that clients talk to: all, or leader")
	flag.IntVar(&b.conns, "conns", 1, "connections of etcd's clients to each node")
	flag.StringVar(&b.perf, "perf", "", "profile the last round of each cell with perf(1) into this `directory`")
	flag.StringVar(&b.jsonPath, "json", "", "write everything that was measured to this `file`")
	flag.StringVar(&b.docPath, "doc", "", "replace the table between the marks in this `file`")
	flag.Parse()
}

func (b *bench) run(ctx context.Context) error {
	cells, err := b.check()
	if err != nil {
		return err
	}
	if b.dir == "" {
		if b.dir, err = os.MkdirTemp("", "prytany-bench-"); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(b.dir) }()
	}
	if err := b.build(ctx); err != nil {
		return err
	}
	b.out.machine()
	if len(cells) > 0 {
		if err := b.cells(ctx, cells); err != nil {
			return err
		}
	}
	for _, x := range split(b.extras) {
		if err := b.extra(ctx, x); err != nil {
			return err
		}
	}
	return b.publish()
}

// check turns the flags into cells.
func (b *bench) check() (cells []cell, err error) {
	if flag.NArg() > 0 {
		return nil, fmt.Errorf("too many arguments: %q", flag.Arg(0))
	}
	for _, kind := range split(b.kinds) {
		if !slices.Contains([]string{"put", "get", "lock"}, kind) {
			return nil, fmt.Errorf("-work %s: want put, get or lock", kind)
		}
		for _, text := range split(b.clients) {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 || n > 4096 {
				return nil, fmt.Errorf("-clients %s: want 1 to 4096", text)
			}
			cells = append(cells, cell{kind, n})
		}
	}
	switch {
	case len(split(b.systems)) == 0:
		return nil, errors.New("-systems is empty")
	case b.at != "all" && b.at != "leader":
		return nil, fmt.Errorf("-at %s: want all or leader", b.at)
	case b.size < 64 || b.size > 1<<18:
		return nil, fmt.Errorf("-size %d: want 64 to %d", b.size, 1<<18)
	case b.nodes < 1 || b.nodes > 9 || b.keys < 0 || b.keys > 2_000_000:
		return nil, fmt.Errorf("-nodes %d -keys %d: want 1 to 9 nodes and no more than two million keys", b.nodes, b.keys)
	case b.rounds < 1 || b.extraRounds < 1 || b.duration <= 0 || b.warmup < 0 || b.sessions < 1 || b.rate <= 0 || b.conns < 1:
		return nil, errors.New("-rounds, -extra-rounds, -duration, -sessions, -rate and -conns want more than nothing")
	}
	for _, x := range split(b.extras) {
		if !slices.Contains([]string{"start", "failover", "memory", "idle"}, x) {
			return nil, fmt.Errorf("-extras %s: want start, failover, memory or idle", x)
		}
	}
	return cells, nil
}

// split is a list without what is empty and without "none".
func split(list string) (out []string) {
	for part := range strings.SplitSeq(list, ",") {
		if part = strings.TrimSpace(part); part != "" && part != "none" {
			out = append(out, part)
		}
	}
	return out
}

// build makes the binaries that were not given, with symbols, for profiles.
func (b *bench) build(ctx context.Context) error {
	for _, x := range []struct {
		to   *string
		name string
		args []string
	}{
		{&b.prytanyPath, "prytany", []string{"github.com/prytany/prytany/cmd/prytany"}},
		{&b.etcdPath, "etcd", []string{"-modfile=etcd.mod", "go.etcd.io/etcd/server/v3"}},
	} {
		if *x.to != "" {
			continue
		}
		*x.to = filepath.Join(b.dir, x.name)
		args := append([]string{"build", "-trimpath", "-o", *x.to}, x.args...)
		cmd := exec.CommandContext(ctx, "go", args...)
		if x.name == "prytany" {
			cmd = exec.CommandContext(ctx, "go", "build", "-C", "..", "-trimpath", "-o", *x.to, "./cmd/prytany")
		}
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		say("building %s", x.name)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w: %s", x.name, err, out)
		}
	}
	return nil
}

// start starts a fresh cluster of a system by its name.
func (b *bench) start(name string) (peer.System, error) {
	switch name {
	case "prytany":
		return peer.StartPrytany(b.prytanyPath, b.dir, name, b.nodes)
	case "prytany-bolt":
		return peer.StartPrytany(b.prytanyPath, b.dir, name, b.nodes, "--log-store", "bolt")
	case "etcd":
		return peer.StartEtcd(b.etcdPath, b.dir, name, b.nodes, b.conns)
	}
	return nil, fmt.Errorf("-systems %s: want prytany, prytany-bolt or etcd", name)
}

// say tells of progress.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
