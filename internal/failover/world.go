package main

import (
	"bytes"
	"context"
	"errors"
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

	"github.com/prytany/prytany/internal/fault"
)

// The hosts: their names are those of the nodes, the suffixes of their
// namespaces and, in the bridge's namespace, of their wires.
var (
	hosts  = []string{"n1", "n2", "n3"}
	client = "c"
)

const bridge = "sw"

// tools are what must be installed: command to Debian package.
var tools = [][2]string{
	{"nft", "nftables"}, {"ip", "iproute2"}, {"nsenter", "util-linux"},
}

// A world is what was made for one measurement, all of it under one prefix that
// nothing else has.
type world struct {
	prefix string
	dir    string   // temporary
	made   []string // namespaces
}

func netns(prefix, host string) string { return "/run/netns/" + prefix + "-" + host }

// address is the host's, in its namespace.
func address(host string) string {
	if host == client {
		return "10.77.0.100"
	}
	return "10.77.0." + strconv.Itoa(slices.Index(hosts, host)+1)
}

func wire(host string) string { return "wire-" + host }

// checkTools fails with what to install.
func checkTools() error {
	if os.Geteuid() != 0 {
		return errors.New("network namespaces need root")
	}
	return fault.CheckTools(slices.Concat(tools, fault.Tools))
}

// makeWorld makes the namespaces and wires. What it returns must be swept, also
// after an error.
func makeWorld() (*world, error) {
	w := &world{prefix: fmt.Sprintf("prytany-fo-%d", os.Getpid())}
	dir, err := os.MkdirTemp("", w.prefix+"-")
	if err != nil {
		return w, err
	}
	w.dir = dir
	for _, host := range append([]string{bridge, client}, hosts...) {
		name := w.prefix + "-" + host
		if err := fault.Run("ip", "netns", "add", name); err != nil { // fails if there is one already
			return w, err
		}
		w.made = append(w.made, name)
		if err := fault.Run("ip", "-n", name, "link", "set", "lo", "up"); err != nil {
			return w, err
		}
	}
	sw := w.prefix + "-" + bridge
	steps := [][]string{
		{"ip", "-n", sw, "link", "add", "bridge", "type", "bridge", "forward_delay", "0", "stp_state", "0"},
		{"ip", "-n", sw, "link", "set", "bridge", "up"},
	}
	for _, host := range append([]string{client}, hosts...) {
		name := w.prefix + "-" + host
		steps = append(steps,
			[]string{"ip", "-n", sw, "link", "add", wire(host), "type", "veth", "peer", "name", "eth0", "netns", name},
			[]string{"ip", "-n", sw, "link", "set", wire(host), "master", "bridge", "up"},
			[]string{"ip", "-n", name, "addr", "add", address(host) + "/24", "dev", "eth0"},
			[]string{"ip", "-n", name, "link", "set", "eth0", "up"},
		)
	}
	for _, step := range steps {
		if err := fault.Run(step...); err != nil {
			return w, err
		}
	}
	return w, nil
}

// A childError is that the process within the world failed and has said why.
type childError struct{ err error }

func (e *childError) Error() string { return e.err.Error() }

// supervise makes a world, measures in it, and takes it away.
func supervise(o options) (err error) {
	if err := checkTools(); err != nil {
		return err
	}
	if _, err := os.Stat(o.binary); err != nil {
		return fmt.Errorf("no binary to measure: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	// The signals reach the process within too, or are passed on.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	apart, err := setAutogroups("")
	if err != nil {
		return err
	}
	w, err := makeWorld()
	defer func() {
		_, unset := setAutogroups(apart)
		err = errors.Join(err, unset, w.sweep())
	}()
	if err != nil {
		return err
	}
	cmd := exec.Command("nsenter", append([]string{"--net=" + netns(w.prefix, client), "--", self, "-inside", w.prefix}, os.Args[1:]...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(fault.Environ(), dirVariable+"="+w.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			_ = cmd.Process.Signal(s)
		case err := <-ended:
			if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 1 {
				return &childError{err}
			}
			return err
		}
	}
}

// dirVariable tells the process within where the world's files are.
const dirVariable = "PRYTANY_FAILOVER_DIR"

// sweep takes away what was made, and nothing else: file systems are let go
// before the processes that wait for them, and those before what they use.
func (w *world) sweep() error {
	mounts, err := fault.MountsUnder(w.dir)
	errs := []error{err}
	for _, m := range mounts {
		_ = fault.Run("fsfreeze", "--unfreeze", m) // fails if it is not frozen
	}
	for _, ns := range w.made {
		errs = append(errs, killAll(ns))
	}
	for _, m := range mounts {
		errs = append(errs, fault.Run("umount", m))
	}
	errs = append(errs, fault.RemoveGroup(w.prefix))
	for _, ns := range w.made {
		errs = append(errs, fault.Run("ip", "netns", "del", ns))
	}
	if w.dir != "" {
		if left, err := fault.MountsUnder(w.dir); err != nil || len(left) > 0 {
			return errors.Join(append(errs, fmt.Errorf("left in place, something is mounted there: %s", w.dir))...)
		}
		errs = append(errs, os.RemoveAll(w.dir))
	}
	return errors.Join(errs...)
}

// killAll kills the processes in a namespace and waits until they are gone.
func killAll(ns string) error {
	for range 500 {
		out, err := exec.Command("ip", "netns", "pids", ns).Output()
		if err != nil {
			return fmt.Errorf("ip netns pids %s: %w", ns, err)
		}
		pids := strings.Fields(string(out))
		if len(pids) == 0 {
			return nil
		}
		for _, p := range pids {
			if pid, err := strconv.Atoi(p); err == nil && pid > 1 {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("processes in %s do not end", ns)
}

// A switchboard breaks wires. It is a table of nftables in the namespace of the
// bridge.
type switchboard struct{ prefix string }

// install makes the table.
func (s switchboard) install(ctx context.Context) error {
	return s.arm(ctx, "table bridge fault {\n chain wires {\n  type filter hook forward priority 0;\n }\n}\n").fire()
}

// A charge is a command that has started and waits for its input, so that it
// acts within a few milliseconds also on a busy machine.
type charge struct {
	cmd   *exec.Cmd
	out   bytes.Buffer
	input string
	pipe  interface {
		Write([]byte) (int, error)
		Close() error
	}
	err error
}

// arm prepares a change of rules.
func (s switchboard) arm(ctx context.Context, rules string) *charge {
	c := &charge{input: rules}
	c.cmd = exec.CommandContext(ctx, "nsenter", "--net="+netns(s.prefix, bridge), "--", "nft", "-f", "-")
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.out
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if c.pipe, c.err = c.cmd.StdinPipe(); c.err == nil {
		c.err = c.cmd.Start()
	}
	return c
}

// fire makes the change.
func (c *charge) fire() error {
	if c.err != nil {
		return c.err
	}
	_, err := c.pipe.Write([]byte(c.input))
	err = errors.Join(err, c.pipe.Close(), c.cmd.Wait())
	if err != nil {
		return fmt.Errorf("nft: %w: %s", err, bytes.TrimSpace(c.out.Bytes()))
	}
	return nil
}

// A direction is that from one host to another; "" is any host.
type direction struct{ from, to string }

// cut loses whatever goes one of these ways, ARP too.
func (s switchboard) cut(ctx context.Context, ways ...direction) *charge {
	var rules strings.Builder
	for _, way := range ways {
		rules.WriteString("add rule bridge fault wires")
		if way.from != "" {
			fmt.Fprintf(&rules, " iifname %q", wire(way.from))
		}
		if way.to != "" {
			fmt.Fprintf(&rules, " oifname %q", wire(way.to))
		}
		rules.WriteString(" drop\n")
	}
	return s.arm(ctx, rules.String())
}

// lose loses so many in a hundred IP packets between nodes.
func (s switchboard) lose(ctx context.Context, percent int) *charge {
	all := make([]string, len(hosts))
	for i, h := range hosts {
		all[i] = strconv.Quote(wire(h))
	}
	set := "{ " + strings.Join(all, ", ") + " }"
	return s.arm(ctx, fmt.Sprintf("add rule bridge fault wires iifname %s oifname %s meta protocol ip numgen random mod 100 < %d drop\n", set, set, percent))
}

// heal mends all wires.
func (s switchboard) heal(ctx context.Context) *charge {
	return s.arm(ctx, "flush chain bridge fault wires\n")
}

// dirOf checks that the process within a world was told where it is.
func dirOf(o options) (string, error) {
	dir := os.Getenv(dirVariable)
	if !strings.HasPrefix(filepath.Base(dir), o.inside+"-") {
		return "", errors.New("-inside is for this program itself")
	}
	return dir, nil
}
