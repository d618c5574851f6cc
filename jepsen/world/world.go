//go:build linux

// Package world is where a run takes place: hosts with a network each, joined by a
// switch that can break any way between them, nodes as processes on them, and disks
// of their own. What it makes is gone when it is closed, and when its process ends
// in whatever way: namespaces have no names and live as long as the process, nodes
// die with it. Only mounted disks and control groups outlive a process that was
// killed; Sweep takes away those of worlds whose process is gone.
package world

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prytany/prytany/internal/crashfs"
	"github.com/prytany/prytany/internal/fault"
	"github.com/prytany/prytany/internal/fault/clockfile"
	"github.com/prytany/prytany/jepsen/wire"
)

// Options say what world to make.
type Options struct {
	Binary  string // of the nodes
	Seed    uint64 // of the switch
	Nodes   int    // that vote
	Spares  int    // nodes that are not started
	Clients int    // hosts for clients
	Disks   bool   // each node's data on a file system of its own
	Clocks  bool   // each node's clock can be broken: Binary was built for that
	FUSE    bool   // such file systems are of package crashfs, every other one if Disks is set
	Level   string // of the nodes' logs
	Args    []string
	Logs    string // directory for the nodes' logs
}

// A World is a cluster and what surrounds it.
type World struct {
	Options
	Prefix  string // of everything that has a name
	Wire    *wire.Switch
	Nodes   []*Node // the spares last
	Clients []*Host

	dir string
}

// prefix begins the names of whatever worlds make.
const prefix = "prytany-jepsen-"

// diskSize is of a node's file system, in bytes.
const diskSize = 192 << 20

// Abilities are what worlds here can have.
type Abilities struct {
	Network string // why there are no namespaces; "" if there are
	Disk    string // why there are no file systems of their own
	FUSE    string // why there are none of package crashfs
	CPU     string // why there are no control groups
	Clock   string // why clocks cannot be broken
}

// Probe finds out what can be had here, by trying, with a binary of the service.
func Probe(binary string) (a Abilities) {
	if err := probeClock(binary); err != nil {
		a.Clock = err.Error()
	}
	sw := wire.New(0)
	h, err := newHost("probe", netip.MustParseAddr("10.77.0.1"), sw)
	if err != nil {
		a.Network = err.Error()
	} else {
		_ = h.Close()
	}
	if err := probeDisk(); err != nil {
		a.Disk = err.Error()
	}
	if err := crashfs.Probe(); err != nil {
		a.FUSE = err.Error()
	}
	t, err := fault.MakeThrottle(prefix+strconv.Itoa(os.Getpid())+"-probe", time.Millisecond, 100*time.Millisecond)
	if err != nil {
		a.CPU = err.Error()
	} else if err := t.Release(os.Getpid()); err != nil {
		a.CPU = err.Error()
	}
	return a
}

// clockTag is the build tag of binaries whose clocks can be broken.
const clockTag = "clockfault"

// probeClock looks in what the compiler has noted of a binary.
func probeClock(binary string) error {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return fmt.Errorf("how %s was built is not known: %w", binary, err)
	}
	for _, s := range info.Settings {
		if s.Key == "-tags" && slices.Contains(strings.Split(s.Value, ","), clockTag) {
			return nil
		}
	}
	return fmt.Errorf("the binary was built without -tags %s, as releases are", clockTag)
}

func probeDisk() error {
	if err := fault.CheckTools(fault.Tools); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", prefix+strconv.Itoa(os.Getpid())+"-probe-")
	if err != nil {
		return err
	}
	const small = 8 << 20
	fs, err := fault.MakeFileSystem(filepath.Join(dir, "d"), small)
	return errors.Join(err, fs.Remove(), os.RemoveAll(dir))
}

// New makes a world whose nodes do not run yet. networks says whether hosts have
// networks of their own. Close must be called, also after an error.
func New(o Options, networks bool) (w *World, err error) {
	w = &World{Options: o, Prefix: prefix + strconv.Itoa(os.Getpid()), Wire: wire.New(o.Seed)}
	if w.dir, err = os.MkdirTemp("", w.Prefix+"-"); err != nil {
		return w, err
	}
	pid := os.Getpid() // worlds of other processes may be on this machine
	host := func(name string, last byte) (*Host, error) {
		if !networks {
			return &Host{Name: name, At: netip.AddrFrom4([4]byte{127, 64 | byte(pid>>8)&63, byte(pid), last})}, nil
		}
		return newHost(name, netip.AddrFrom4([4]byte{10, 77, 0, last}), w.Wire)
	}
	for i := range o.Nodes + o.Spares {
		h, err := host(fmt.Sprintf("n%d", i+1), byte(i+1))
		if err != nil {
			return w, err
		}
		n := &Node{Name: h.Name, Host: h, Spare: i >= o.Nodes, world: w}
		n.dir = filepath.Join(w.dir, n.Name)
		n.URL = fmt.Sprintf("http://%s:%d", h.At, wire.HTTPPort)
		n.http = h.Client(statusTime)
		if o.Clocks {
			if n.clock, err = clockfile.Create(filepath.Join(w.dir, n.Name+".clock")); err != nil {
				return w, err
			}
		}
		w.Nodes = append(w.Nodes, n)
	}
	for i := range o.Clients {
		h, err := host(fmt.Sprintf("c%d", i+1), byte(100+i))
		if err != nil {
			return w, err
		}
		w.Clients = append(w.Clients, h)
	}
	return w, nil
}

// Dir is a directory for files of the run; it goes with the world.
func (w *World) Dir() string { return w.dir }

// Voters are the nodes that are no spares.
func (w *World) Voters() []*Node { return w.Nodes[:w.Options.Nodes] }

// Node returns the node of that name, or nil.
func (w *World) Node(name string) *Node {
	i := slices.IndexFunc(w.Nodes, func(n *Node) bool { return n.Name == name })
	if i < 0 {
		return nil
	}
	return w.Nodes[i]
}

// URLs are where the nodes that vote answer clients.
func (w *World) URLs() (all []string) {
	for _, n := range w.Voters() {
		all = append(all, n.URL)
	}
	return all
}

// Form starts the nodes that vote as a new cluster, and returns when all do.
func (w *World) Form(ctx context.Context) error {
	for i, n := range w.Voters() {
		if err := n.Format(); err != nil {
			return err
		}
		how := []string{"--bootstrap"}
		if i > 0 {
			how = n.Join()
		}
		if err := n.Start(how...); err != nil {
			return err
		}
		if err := n.Await(ctx); err != nil {
			return err
		}
	}
	_, err := w.Settle(ctx, time.Minute)
	return err
}

// Close ends all processes and takes away what was made.
func (w *World) Close() error {
	var errs []error
	mounts, err := fault.MountsUnder(w.dir)
	errs = append(errs, err)
	for _, m := range mounts {
		_ = fault.Run("fsfreeze", "--unfreeze", m) // fails if it is not frozen
	}
	for _, n := range w.Nodes {
		if fs := n.FUSE(); fs != nil {
			_ = fs.Thaw() // is never an error
		}
		n.kill()
		if n.log != nil {
			errs = append(errs, n.log.Close())
		}
		if n.fs != nil {
			errs = append(errs, n.fs.Remove())
		}
		if n.clock != nil {
			errs = append(errs, n.clock.Close())
		}
		errs = append(errs, n.Host.Close())
	}
	for _, h := range w.Clients {
		errs = append(errs, h.Close())
	}
	return errors.Join(append(errs, sweep(w.Prefix), removeDir(w.dir))...)
}

// removeDir removes a world's directory, unless something is mounted there.
func removeDir(dir string) error {
	if dir == "" {
		return nil
	}
	if left, err := fault.MountsUnder(dir); err != nil || len(left) > 0 {
		return errors.Join(err, fmt.Errorf("left in place, something is mounted there: %s", dir))
	}
	return os.RemoveAll(dir)
}

// sweep removes the control groups whose names begin with prefix and a hyphen.
func sweep(prefix string) (err error) {
	for _, name := range fault.Groups(prefix + "-") {
		err = errors.Join(err, fault.RemoveGroup(name))
	}
	return err
}

// Sweep takes away what worlds have left whose process was killed.
func Sweep() (err error) {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	for _, dir := range dirs {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), prefix), "-")
		n, bad := strconv.Atoi(pid)
		if bad != nil || n == os.Getpid() || !errors.Is(syscall.Kill(n, 0), syscall.ESRCH) {
			continue
		}
		mounts, e := fault.MountsUnder(dir)
		err = errors.Join(err, e)
		for _, m := range mounts {
			_ = fault.Run("fsfreeze", "--unfreeze", m)
			err = errors.Join(err, fault.Run("umount", m))
		}
		err = errors.Join(err, sweep(prefix+pid), removeDir(dir))
	}
	return err
}
