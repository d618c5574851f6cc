package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/fault"
	"github.com/prytany/prytany/internal/fault/ask"
)

const (
	httpPort   = "7480"
	peerPort   = "7481"
	gossipPort = "7482"

	fileSystemSize = 256 << 20 // bytes
)

// A cluster is three nodes, each on its own host.
type cluster struct {
	o     options
	dir   string
	board switchboard
	nodes []*node
}

// A node is one process, or one after another.
type node struct {
	name string
	url  string
	ns   string
	args []string
	fs   *fault.FileSystem // of its data; nil means the machine's
	log  *os.File
	cmd  *exec.Cmd
	gone chan struct{} // closed when cmd has ended
	http *http.Client  // for what is not measured
}

// startCluster starts a new cluster in dir; with ownDisks each node's data lies
// on a file system of its own. What it returns must be stopped, also after an
// error.
func startCluster(ctx context.Context, o options, dir string, ownDisks bool) (*cluster, error) {
	c := &cluster{o: o, dir: dir, board: switchboard{o.inside}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return c, err
	}
	for i, name := range hosts {
		at := address(name)
		n := &node{name: name, url: "http://" + at + ":" + httpPort, ns: netns(o.inside, name), http: &http.Client{Timeout: 2 * time.Second}}
		data := filepath.Join(dir, name)
		n.args = []string{
			o.binary, "serve", "--name", name, "--data-dir", data, "--advertise", at, "--log-level", o.level,
			"--http", at + ":" + httpPort, "--peer", at + ":" + peerPort, "--gossip", at + ":" + gossipPort,
		}
		if o.timing != "" {
			n.args = append(n.args, "--timing", o.timing)
		}
		if i == 0 {
			n.args = append(n.args, "--bootstrap")
		} else {
			n.args = append(n.args, "--join", address(hosts[0])+":"+gossipPort)
		}
		c.nodes = append(c.nodes, n)
		var err error
		if ownDisks {
			if n.fs, err = fault.MakeFileSystem(data, fileSystemSize); err != nil {
				return c, err
			}
			n.args[5] = filepath.Join(data, "node")
		}
		if n.log, err = os.Create(data + ".log"); err != nil {
			return c, err
		}
		if err := n.start(); err != nil {
			return c, err
		}
		if err := n.await(ctx); err != nil {
			return c, fmt.Errorf("%s: %w", name, err)
		}
	}
	return c, nil
}

// start starts the process.
func (n *node) start() error {
	n.cmd = exec.Command("nsenter", append([]string{"--net=" + n.ns, "--"}, n.args...)...)
	n.cmd.Env, n.cmd.Stderr = fault.Environ(), n.log
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := n.cmd.Start(); err != nil {
		return err
	}
	cmd, gone := n.cmd, make(chan struct{})
	n.gone = gone
	go func() { _ = cmd.Wait(); close(gone) }()
	return nil
}

// await waits until the node is ready.
func (n *node) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		if status, _, err := n.do(ctx, http.MethodGet, "/readyz", ""); err == nil && status < 300 {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("not ready in time")
		case <-n.gone:
			return errors.New("the process ended")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// running reports whether the process has not ended.
func (n *node) running() bool {
	select {
	case <-n.gone:
		return false
	default:
		return n.cmd != nil
	}
}

func (n *node) signal(s syscall.Signal) error { return n.cmd.Process.Signal(s) }

// end sends s and waits for the end of the process.
func (n *node) end(ctx context.Context, s syscall.Signal) error {
	if err := n.signal(s); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	select {
	case <-n.gone:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s does not end", n.name)
	}
}

// do sends one request that is not measured.
func (n *node) do(ctx context.Context, method, path, body string) (status int, reply []byte, err error) {
	return ask.Do(ctx, n.http, n.url, method, path, body)
}

// status asks the node how it stands in group main.
func (n *node) status(ctx context.Context) (api.Status, api.GroupStatus, error) {
	return ask.Status(ctx, n.http, n.url)
}

// A standing is what all nodes of a settled cluster say.
type standing struct {
	leader *node
	ballot string
	round  uint64
}

// settle waits until all nodes are healthy and have agreed for a while.
func (c *cluster) settle(ctx context.Context) (standing, error) {
	const (
		between = 50 * time.Millisecond
		enough  = 8 // times in a row
		limit   = 60 * time.Second
	)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last standing
	for same := 0; same < enough; {
		now, why := c.standing(ctx)
		switch {
		case why != nil:
			same = 0
		case now == last:
			same++
		default:
			last, same = now, 1
		}
		select {
		case <-ctx.Done():
			return last, fmt.Errorf("the cluster does not settle: %w", errors.Join(why, context.Cause(ctx)))
		case <-time.After(between):
		}
	}
	return last, nil
}

// standing asks all nodes once; an error says why they are not settled.
func (c *cluster) standing(ctx context.Context) (s standing, err error) {
	for i, n := range c.nodes {
		st, g, err := n.status(ctx)
		if err != nil {
			return s, err
		}
		if !g.Content || len(g.Voters) != len(c.nodes) || !st.Disk.Healthy || len(st.Links) != len(c.nodes)-1 {
			return s, fmt.Errorf("%s is not content, healthy and a voter", n.name)
		}
		for _, l := range st.Links {
			if !l.Up || l.Gossip != "alive" {
				return s, fmt.Errorf("%s: link to %s: up %t, gossip %s", n.name, l.Node, l.Up, l.Gossip)
			}
		}
		if i > 0 && g.Ballot != s.ballot {
			return s, fmt.Errorf("ballots differ: %s and %s", g.Ballot, s.ballot)
		}
		s.ballot = g.Ballot
		if g.Role == api.RoleLeader {
			s.leader = n
		}
	}
	if s.leader == nil {
		return s, errors.New("no leader")
	}
	s.round, err = round(s.ballot)
	return s, err
}

// stop ends all processes and removes the data. Disks must not be frozen.
func (c *cluster) stop() error {
	var errs []error
	for _, n := range c.nodes {
		if n.cmd != nil && n.cmd.Process != nil {
			_ = n.cmd.Process.Kill()
			<-n.gone
		}
		n.http.CloseIdleConnections()
		if n.log != nil {
			errs = append(errs, n.log.Close())
		}
		if n.fs != nil {
			errs = append(errs, n.fs.Remove())
		}
	}
	if c.o.logs != "" {
		for _, n := range c.nodes {
			errs = append(errs, c.keepLog(n))
		}
	}
	return errors.Join(append(errs, os.RemoveAll(c.dir))...)
}

// keepLog copies a node's log to where the user wants it.
func (c *cluster) keepLog(n *node) error {
	if n.log == nil {
		return nil
	}
	text, err := os.ReadFile(n.log.Name())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.o.logs, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(c.o.logs, filepath.Base(c.dir)+"-"+n.name+".log"), text, 0o600)
}
