// Package fleet runs nodes as processes of their own on loopback, for what measures
// them from outside.
package fleet

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prytany/prytany/internal/api"
)

// A Cluster is some nodes on loopback, named n1, n2 and so on.
type Cluster struct {
	Nodes  []*Process
	binary string
	dir    string
}

// A Process is one node.
type Process struct {
	Name  string
	URL   string
	HTTP1 *http.Client
	HTTP2 *http.Client // many requests share a connection

	args []string // to start it again
	cmd  *exec.Cmd
	log  *tail
}

// Start starts n nodes of which all, up to nine, vote in main, and returns when they
// do. more are further arguments of each. Stop must be called, unless it fails.
func Start(ctx context.Context, binary string, n int, more ...string) (*Cluster, error) {
	dir, err := os.MkdirTemp("", "prytany-fleet-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir, binary: binary}
	if err := c.grow(ctx, n, more); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

// grow starts one node after the other.
func (c *Cluster) grow(ctx context.Context, n int, more []string) error {
	var first string
	for i := range n {
		ports, err := freePorts(3)
		if err != nil {
			return err
		}
		p := &Process{Name: fmt.Sprintf("n%d", i+1), URL: "http://" + ports[0], HTTP1: newClient(false), HTTP2: newClient(true)}
		how := []string{"--bootstrap"}
		if i > 0 {
			how = []string{"--join", first}
		} else {
			first = ports[2]
		}
		p.args = append(append([]string{
			"serve", "--name", p.Name, "--data-dir", filepath.Join(c.dir, p.Name), "--voters", strconv.Itoa(n),
			"--http", ports[0], "--peer", ports[1], "--gossip", ports[2],
		}, how...), more...)
		c.Nodes = append(c.Nodes, p)
		if _, err := c.Run(ctx, p); err != nil {
			return err
		}
	}
	return c.awaitVoters(ctx)
}

// Run starts a node that does not run, and returns when it is ready, and after what
// time it was.
func (c *Cluster) Run(ctx context.Context, p *Process) (took time.Duration, err error) {
	p.log = &tail{}
	p.cmd = exec.Command(c.binary, p.args...)
	p.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "PRYTANY_") })
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.Stderr = p.log
	begin := time.Now()
	if err := p.cmd.Start(); err != nil {
		return 0, err
	}
	if err := p.await(ctx, "/readyz"); err != nil {
		return 0, fmt.Errorf("%s: %w: %s", p.Name, err, p.log)
	}
	return time.Since(begin), nil
}

// End sends a node a signal and waits for its process to end.
func (p *Process) End(sig os.Signal) error {
	if p.cmd == nil || p.cmd.Process == nil {
		return nil
	}
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	_ = p.cmd.Wait() // killed processes end with an error
	return nil
}

// Signal sends a node a signal. It does not wait for what comes of it.
func (p *Process) Signal(sig os.Signal) error { return p.cmd.Process.Signal(sig) }

// PID is the process of a node that runs.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Dir is where a node keeps its data.
func (c *Cluster) Dir(p *Process) string { return filepath.Join(c.dir, p.Name) }

// Log is the end of what a node has written since it was started last.
func (p *Process) Log() string { return p.log.String() }

// A tail keeps the end of what was written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(b []byte) (int, error) {
	const most = 16 << 10
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	t.text = t.text[max(len(t.text)-most, 0):]
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

func newClient(two bool) *http.Client {
	t := &http.Transport{MaxIdleConnsPerHost: 2048, DisableCompression: true}
	if two {
		t.Protocols = new(http.Protocols)
		t.Protocols.SetUnencryptedHTTP2(true)
	}
	return &http.Client{Transport: t}
}

// freePorts finds loopback addresses that nobody listens at, for TCP and UDP.
func freePorts(n int) (addrs []string, err error) {
	for len(addrs) < n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }()
		u, err := net.ListenPacket("udp", l.Addr().String())
		if err != nil {
			continue
		}
		_ = u.Close()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

// await waits until the node answers a path with success.
func (p *Process) await(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		if _, err := p.Get(ctx, path); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("not ready in time")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// awaitVoters waits until all vote.
func (c *Cluster) awaitVoters(ctx context.Context) error {
	for range 1200 {
		st, err := Ask[api.Status](ctx, c.Nodes[0], c.Nodes[0].HTTP1, http.MethodGet, "/v1/status", "")
		if err == nil && len(st.Groups) > 0 && len(st.Groups[0].Voters) == len(c.Nodes) {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return errors.New("the nodes did not become voters")
}

// Stop kills all nodes and removes what they wrote.
func (c *Cluster) Stop() {
	for _, p := range c.Nodes {
		_ = p.End(syscall.SIGKILL)
	}
	_ = os.RemoveAll(c.dir)
}

// Get reads a path.
func (p *Process) Get(ctx context.Context, path string) ([]byte, error) {
	return p.Do(ctx, p.HTTP1, http.MethodGet, path, "")
}

// Do sends one request; an answer beyond 299 is an error.
func (p *Process) Do(ctx context.Context, c *http.Client, method, path, body string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, p.URL+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	out, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode > 299 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, bytes.TrimSpace(out))
	}
	return out, err
}

// Ask is Do that reads JSON.
func Ask[T any](ctx context.Context, p *Process, c *http.Client, method, path, body string) (T, error) {
	var v T
	out, err := p.Do(ctx, c, method, path, body)
	if err == nil {
		err = json.Unmarshal(out, &v)
	}
	return v, err
}

// A Usage is what a node has taken of the machine.
type Usage struct {
	Resident int64         // bytes
	CPU      time.Duration // since it began
}

// Usage reads what the kernel says of the process.
func (p *Process) Usage() (u Usage, err error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return u, err
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if kb, ok := strings.CutPrefix(lines.Text(), "VmRSS:"); ok {
			n, err := strconv.ParseInt(strings.Fields(kb)[0], 10, 64)
			if err != nil {
				return u, err
			}
			u.Resident = n << 10
		}
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return u, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+2:]))
	for _, i := range []int{11, 12} { // utime and stime, in hundredths of a second
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return u, err
		}
		u.CPU += time.Duration(n) * 10 * time.Millisecond
	}
	return u, nil
}

// Usages is the usage of all nodes.
func (c *Cluster) Usages() (all []Usage, err error) {
	for _, p := range c.Nodes {
		u, err := p.Usage()
		if err != nil {
			return nil, err
		}
		all = append(all, u)
	}
	return all, nil
}

// Node returns the node for the i-th client.
func (c *Cluster) Node(i int) *Process { return c.Nodes[i%len(c.Nodes)] }
