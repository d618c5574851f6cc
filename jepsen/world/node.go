//go:build linux

package world

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/fault"
	"github.com/prytany/prytany/internal/fault/ask"
	"github.com/prytany/prytany/internal/fault/clockfile"
	"github.com/prytany/prytany/jepsen/wire"
)

const (
	statusTime = 700 * time.Millisecond // for one question to a node about itself
	awaitTime  = 40 * time.Second       // until a node that was started is ready
	endTime    = 20 * time.Second       // until a process that was told to has ended
)

// A Node is one process, or one after another, on one host.
type Node struct {
	Name  string
	URL   string
	Host  *Host
	Spare bool

	world *World
	dir   string
	fs    Disk            // nil: it has none of its own
	clock *clockfile.File // nil: the machine's
	http  *http.Client
	log   *os.File

	mu   sync.Mutex
	cmd  *exec.Cmd
	gone chan struct{} // closed when cmd has ended
}

// Data is the node's data directory.
func (n *Node) Data() string { return filepath.Join(n.dir, "data") }

// Disk is the node's file system, or nil if it has none of its own.
func (n *Node) Disk() Disk { return n.fs }

// Mount is where Disk is mounted.
func (n *Node) Mount() string { return n.dir }

// Format makes the node's disk, if it has one of its own.
func (n *Node) Format() (err error) {
	if n.fs == nil && (n.world.Disks || n.world.FUSE) {
		n.fs, err = n.makeDisk()
		return err
	}
	return os.MkdirAll(n.dir, 0o700)
}

// Wipe removes the node's data. Its process must have ended.
func (n *Node) Wipe() error { return os.RemoveAll(n.Data()) }

// Join is the argument with which a node without data finds the others.
func (n *Node) Join() []string {
	var others []string
	for _, o := range n.world.Voters() {
		if o != n {
			others = append(others, fmt.Sprintf("%s:%d", o.Host.At, wire.GossipPort))
		}
	}
	return []string{"--join", strings.Join(others, ",")}
}

// Start starts the process; how says how it comes to its cluster, nothing if it has data.
func (n *Node) Start(how ...string) (err error) {
	if n.Running() {
		return fmt.Errorf("%s runs already", n.Name)
	}
	if n.log == nil {
		if n.log, err = os.OpenFile(filepath.Join(n.world.Logs, n.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
			return err
		}
	}
	at := n.Host.At.String()
	args := append([]string{
		"serve", "--name", n.Name, "--data-dir", n.Data(), "--advertise", at, "--log-level", n.world.Level, "--voters", strconv.Itoa(n.world.Options.Nodes),
		"--http", fmt.Sprintf("%s:%d", at, wire.HTTPPort), "--peer", fmt.Sprintf("%s:%d", at, wire.PeerPort),
		"--gossip", fmt.Sprintf("%s:%d", at, wire.GossipPort),
	}, how...)
	cmd := exec.Command(n.world.Binary, append(args, n.world.Args...)...)
	cmd.Env, cmd.Stderr = fault.Environ(), n.log
	if n.clock != nil {
		cmd.Env = append(cmd.Env, clockfile.Variable+"="+filepath.Join(n.world.dir, n.Name+".clock"))
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true} // Ctrl-C is for us alone
	if err := n.Host.Start(cmd); err != nil {
		return err
	}
	gone := make(chan struct{})
	go func() { _ = cmd.Wait(); close(gone) }()
	n.mu.Lock()
	n.cmd, n.gone = cmd, gone
	n.mu.Unlock()
	return nil
}

// Clock changes how the node's clock runs: do is given it, and what the machine's
// reads now. The world must have been made with Clocks.
func (n *Node) Clock(do func(c *clockfile.File, machine time.Duration)) error {
	if n.clock == nil {
		return fmt.Errorf("%s: its clock cannot be broken", n.Name)
	}
	machine, err := clockfile.Machine()
	if err == nil {
		do(n.clock, machine)
	}
	return err
}

// Running reports whether the process has not ended.
func (n *Node) Running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return false
	}
	select {
	case <-n.gone:
		return false
	default:
		return true
	}
}

// PID is that of the process, 0 if it has ended.
func (n *Node) PID() int {
	if !n.Running() {
		return 0
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cmd.Process.Pid
}

// Gone returns a channel that is closed when the present process has ended.
func (n *Node) Gone() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.gone
}

// Signal sends s to the process; one that has ended does not mind.
func (n *Node) Signal(s syscall.Signal) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return nil
	}
	if err := n.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("%s: %w", n.Name, err)
	}
	return nil
}

// End sends s and waits for the end of the process.
func (n *Node) End(ctx context.Context, s syscall.Signal) error {
	if !n.Running() {
		return nil
	}
	if err := n.Signal(s); err != nil {
		return err
	}
	select {
	case <-n.Gone():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(endTime):
		return fmt.Errorf("%s does not end on %v", n.Name, s)
	}
}

// kill ends the process, whatever it is about.
func (n *Node) kill() {
	if n.Running() {
		_ = n.Signal(syscall.SIGKILL)
		<-n.Gone()
	}
}

// Await waits until the node is ready to serve.
func (n *Node) Await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, awaitTime)
	defer cancel()
	var last error
	for {
		status, _, err := n.Ask(ctx, http.MethodGet, "/readyz", "")
		switch {
		case err == nil && status < http.StatusMultipleChoices:
			return nil
		case err != nil && ctx.Err() == nil:
			last = err
		case err == nil:
			last = fmt.Errorf("status %d", status)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not ready in time: %w", n.Name, cmp.Or(last, context.Cause(ctx)))
		case <-n.Gone():
			return fmt.Errorf("%s: the process ended", n.Name)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Ask sends the node one request that no fault of the network meets.
func (n *Node) Ask(ctx context.Context, method, path, body string) (status int, reply []byte, err error) {
	return ask.Do(ctx, n.http, n.URL, method, path, body)
}

// Status asks the node how it stands, and how in group main.
func (n *Node) Status(ctx context.Context) (api.Status, api.GroupStatus, error) {
	return ask.Status(ctx, n.http, n.URL)
}

// LogMark is how long the log is, in bytes; LogSince reads what came after.
func (n *Node) LogMark() int64 {
	if n.log == nil {
		return 0
	}
	info, err := n.log.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// LogSince is what the node has logged since a LogMark.
func (n *Node) LogSince(mark int64) string {
	f, err := os.Open(filepath.Join(n.world.Logs, n.Name+".log"))
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Seek(mark, io.SeekStart); err != nil {
		return ""
	}
	text, _ := io.ReadAll(f)
	return string(text)
}
