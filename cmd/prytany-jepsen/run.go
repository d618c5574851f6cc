//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prytany/prytany/jepsen/campaign"
	"github.com/prytany/prytany/jepsen/nemesis"
	"github.com/prytany/prytany/jepsen/run"
	"github.com/prytany/prytany/jepsen/verdict"
	"github.com/prytany/prytany/jepsen/workload"
	"github.com/prytany/prytany/jepsen/world"
)

// flags are those of run.
type flags struct {
	binary, nemesis, workload, out, level, args string
	time                                        time.Duration
	seed                                        uint64
	nodes, clients, runs                        int
	keep, snapshots, lose, discard              bool
}

func parse(args []string) (o flags, err error) {
	f := flag.NewFlagSet("run", flag.ContinueOnError)
	f.StringVar(&o.binary, "prytany", "bin/prytany", "the `binary` to test")
	f.DurationVar(&o.time, "time", time.Minute, "how long each run lasts, beside starting and checking")
	f.StringVar(&o.nemesis, "nemesis", "all", "faults, groups of them, all or none: a `list`, see the command list")
	f.StringVar(&o.workload, "workload", "all", "workloads, or all: a `list`, see the command list")
	f.Uint64Var(&o.seed, "seed", 0, "`seed` of the first run; the others have the next ones. 0: of the time")
	f.IntVar(&o.nodes, "nodes", 3, "how many nodes vote, from 3 to 9")
	f.IntVar(&o.clients, "clients", 3, "how many processes of clients")
	f.IntVar(&o.runs, "runs", 1, "how many runs")
	f.StringVar(&o.out, "out", "jepsen-out", "`directory` for what runs leave, each in one of its own")
	f.StringVar(&o.level, "log-level", "info", "of the nodes")
	f.StringVar(&o.args, "serve-args", "", "more `arguments` for the nodes, separated by blanks, such as --lease-reads")
	f.BoolVar(&o.keep, "keep-going", false, "go on with the next run after one that failed")
	f.BoolVar(&o.discard, "discard", false, "of runs that passed keep the verdict and the row for sums alone")
	f.BoolVar(&o.lose, "must-lose", false, "fail unless updates were lost where nobody looked at fences: for the negative control")
	f.BoolVar(&o.snapshots, "snapshots", false, "have clients make so many changes that nodes take snapshots; the log is not whole then, and not all can be checked")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.nodes < 3 || o.nodes > 9:
		return o, errors.New("--nodes is from 3 to 9")
	case o.clients < 1 || o.clients > 50:
		return o, errors.New("--clients is from 1 to 50")
	case o.runs < 1:
		return o, errors.New("--runs is at least 1")
	}
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano()) >> 10 & 0xffffffff
	}
	return o, nil
}

// workloads are those that were asked for.
func (o flags) workloads() (names []string, err error) {
	for _, word := range strings.Split(o.workload, ",") {
		for _, k := range workload.Kinds() {
			if word == k.Name || word == "all" && k.Name != "lock-unfenced" {
				names = append(names, k.Name)
			}
		}
		if _, ok := workload.Find(word); !ok && word != "all" {
			return nil, fmt.Errorf("no workload %q; list tells which there are", word)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// inUserNamespace marks the process that has become root of a user namespace.
const inUserNamespace = "JEPSEN_USER_NAMESPACE"

// runs carries out all runs and returns the exit code of the worst.
func runs(ctx context.Context, args []string) (int, error) {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return verdict.ExitPassed, nil
	}
	if err != nil {
		return 0, err
	}
	if os.Geteuid() != 0 && os.Getenv(inUserNamespace) == "" {
		if code, ok := again(args); ok {
			return code, nil
		}
	}
	if os.Getenv(inUserNamespace) != "" {
		if err := world.Loopback(); err != nil {
			return 0, err
		}
	}
	base, err := prepare(o)
	if err != nil {
		return 0, err
	}
	if os.Geteuid() == 0 && os.Getenv(inUserNamespace) == "" {
		if err := world.Sweep(); err != nil {
			say("what an earlier run has left cannot be removed: %v", err)
		}
	}
	worst, lost, made := verdict.Passed, int64(0), []string{}
	for i := range o.runs {
		one := base
		one.Seed = o.seed + uint64(i)
		one.Name = fmt.Sprintf("run-%d", one.Seed)
		one.Out = filepath.Join(o.out, one.Name)
		v, err := once(ctx, one, o)
		if err != nil && o.keep && ctx.Err() == nil && os.MkdirAll(one.Out, 0o755) == nil {
			say("run %s could not be carried out: %v", one.Name, err)
			v, err = &verdict.Verdict{Outcome: verdict.Rejected}, campaign.Unmade(one.Name, one.Seed, one.Version, one.Workloads, err).Save(one.Out)
		}
		if err != nil {
			return 0, err
		}
		lost, made = lost+v.Lost, append(made, one.Out)
		if worst = verdict.Worse(worst, v.Outcome); worst == verdict.Failed && !o.keep {
			break
		}
	}
	if o.lose && lost == 0 {
		say("FAIL: the negative control has lost no update: these runs would not notice one")
		worst = verdict.Failed
	}
	if len(made) > 1 {
		if _, err := addUp(o.out, "", "", made); err != nil {
			return 0, err
		}
	}
	return worst.Exit(), nil
}

// prepare finds out what can be had, and what is left out.
func prepare(o flags) (run.Options, error) {
	base := run.Options{Binary: o.binary, Nodes: o.nodes, Clients: o.clients, Time: o.time, TTL: leaseTime, Level: o.level, Snapshots: o.snapshots, Args: strings.Fields(o.args), Say: say}
	version, err := exec.Command(o.binary, "version").Output()
	if err != nil {
		return base, fmt.Errorf("no binary to test: %w: make build", err)
	}
	base.Version = strings.TrimSpace(string(version))
	if base.Workloads, err = o.workloads(); err != nil {
		return base, err
	}
	base.Abilities = world.Probe(o.binary)
	a := base.Abilities
	if os.Getenv("REQUIRE_NETNS") == "1" && a.Network != "" {
		return base, fmt.Errorf("REQUIRE_NETNS is 1 and there are no networks: %s", a.Network)
	}
	if os.Getenv("REQUIRE_FUSE") == "1" && a.FUSE != "" {
		return base, fmt.Errorf("REQUIRE_FUSE is 1 and nothing can be mounted: %s", a.FUSE)
	}
	sessions := slices.ContainsFunc(base.Workloads, func(name string) bool { k, _ := workload.Find(name); return k.Session })
	base.Faults, base.Left, err = nemesis.Select(o.nemesis, func(n nemesis.Need) string {
		switch n {
		case nemesis.Network:
			return a.Network
		case nemesis.Disk:
			return a.Disk
		case nemesis.FUSE:
			return a.FUSE
		case nemesis.CPU:
			return a.CPU
		case nemesis.Clock:
			return a.Clock
		}
		if !sessions {
			return "no workload has clients that hold anything"
		}
		return ""
	})
	for _, left := range base.Left {
		say("left out: %s", left)
	}
	return base, err
}

// leaseTime is the shortest TTL that the service grants: leases have to run out often.
const leaseTime = 2 * time.Second

// once carries out one run and checks it.
func once(ctx context.Context, o run.Options, f flags) (*verdict.Verdict, error) {
	begin := time.Now()
	plan, err := o.Plan()
	if err != nil {
		return nil, err
	}
	say("run %s, seed %d: repeat it with", o.Name, o.Seed)
	say("  prytany-jepsen run --prytany %s --time %v --nodes %d --clients %d --seed %d --nemesis %s --workload %s%s",
		f.binary, f.time, f.nodes, f.clients, o.Seed, f.nemesis, f.workload, serveArgs(f))
	for i, step := range plan {
		say("  %2d. %s", i+1, step)
	}
	rec, err := run.Do(ctx, o)
	if err != nil && len(rec.Breaches) == 0 {
		return nil, fmt.Errorf("%w (see %s)", err, o.Out)
	}
	if err != nil {
		say("the run could not go on: %v", err) // after a breach; what is recorded of it is checked
	}
	say("checking")
	if err := writeBreaches(o.Out, rec.Breaches); err != nil {
		return nil, err
	}
	v, err := judge(filepath.Join(o.Out, historyFile), nil)
	if err != nil {
		return nil, err
	}
	if err := campaign.NewRow(v, rec.Done, time.Since(begin)).Save(o.Out); err != nil {
		return nil, err
	}
	if f.discard && v.Outcome == verdict.Passed {
		say("%s: run %s, seed %d", v.Outcome, o.Name, o.Seed)
		return v, discard(o.Out)
	}
	err = v.Text(os.Stdout)
	say("report: %s", filepath.Join(o.Out, reportFile))
	return v, err
}

// discard removes what a run has left but its verdict and its row.
func discard(dir string) error {
	all, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range all {
		if e.Name() == verdictFile || e.Name() == campaign.RowFile {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func serveArgs(f flags) string {
	if f.args == "" {
		return ""
	}
	return " --serve-args " + strconv.Quote(f.args)
}

// again runs this program as root of a user namespace of its own. ok is false if there
// are none to be had.
func again(args []string) (code int, ok bool) {
	cmd := exec.Command("/proc/self/exe", append([]string{"run"}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inUserNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET, // it may not come back to a network that is not its own
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		say("no user namespaces: %v", err)
		return 0, false
	}
	_ = cmd.Wait() // its code says it
	return cmd.ProcessState.ExitCode(), true
}

// say tells whoever watches how it goes.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s "+format+"\n", append([]any{time.Now().Format(time.TimeOnly)}, args...)...)
}
