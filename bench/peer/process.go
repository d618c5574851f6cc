package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Process is one node.
type Process struct {
	Name    string
	URL     string // of its API, and of /metrics
	command []string
	cmd     *exec.Cmd
	log     *tail
}

// start runs the process, which ends with this one.
func (p *Process) start() error {
	p.log = &tail{}
	p.cmd = exec.Command(p.command[0], p.command[1:]...)
	p.cmd.Env = plainEnv()
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	return nil
}

// plainEnv is the environment without what would change a server's settings.
func plainEnv() (env []string) {
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PRYTANY_") && !strings.HasPrefix(v, "ETCD_") {
			env = append(env, v)
		}
	}
	return env
}

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Log is the end of what the process wrote.
func (p *Process) Log() string { return p.log.String() }

// Signal sends sig.
func (p *Process) Signal(sig syscall.Signal) error { return p.cmd.Process.Signal(sig) }

// Kill ends the process as a crash would, and waits for it.
func (p *Process) Kill() {
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	_ = p.cmd.Process.Kill() // it may have ended by itself
	_ = p.cmd.Wait()         // killed processes end with an error
}

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

// A Usage is what processes have taken of the machine since they began, as the
// kernel says.
type Usage struct {
	CPU      time.Duration
	Resident int64 // bytes of memory, mapped files included
	Private  int64 // bytes of memory without files
}

// Sub is what was taken from before to u. Memory is u's.
func (u Usage) Sub(before Usage) Usage {
	u.CPU -= before.CPU
	return u
}

// Counts are what servers count themselves since they began. A busy server tells
// them late: ask when it has nothing to do.
type Counts struct {
	Mallocs float64
	Bytes   float64 // allocated
	Syncs   float64 // durable writes
}

// Sub is what was counted from before to c.
func (c Counts) Sub(before Counts) Counts {
	return Counts{c.Mallocs - before.Mallocs, c.Bytes - before.Bytes, c.Syncs - before.Syncs}
}

// tick is the kernel's unit of processor time for user space on Linux.
const tick = 10 * time.Millisecond

// usage reads what the kernel says of one process.
func (p *Process) usage() (u Usage, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		return u, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+2:]))
	for _, i := range []int{11, 12} { // utime and stime
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return u, err
		}
		u.CPU += time.Duration(n) * tick
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(status)) {
		name, rest, _ := strings.Cut(line, ":")
		if name != "VmRSS" && name != "RssAnon" {
			continue
		}
		kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		if err != nil {
			return u, err
		}
		if name == "VmRSS" {
			u.Resident = kb << 10
		} else {
			u.Private = kb << 10
		}
	}
	return u, nil
}

// count adds what the server counts itself.
func (p *Process) count(ctx context.Context, u *Counts) error {
	text, err := get(ctx, p.URL+"/metrics")
	if err != nil {
		return fmt.Errorf("%s: metrics: %w", p.Name, err)
	}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		var to *float64
		switch name {
		case "go_memstats_mallocs_total":
			to = &u.Mallocs
		case "go_memstats_alloc_bytes_total":
			to = &u.Bytes
		case "prytany_fsync_duration_seconds_count", "etcd_disk_wal_fsync_duration_seconds_count", "etcd_disk_backend_commit_duration_seconds_count":
			to = &u.Syncs
		default:
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return fmt.Errorf("%s: metrics: %w", p.Name, err)
		}
		*to += n
	}
	return nil
}

// Usages is what all nodes of s have taken together; memory is that of the node
// with most.
func Usages(s *Nodes) (sum Usage, err error) {
	for _, p := range s.All {
		u, err := p.usage()
		if err != nil {
			return sum, err
		}
		sum.CPU += u.CPU
		sum.Resident, sum.Private = max(sum.Resident, u.Resident), max(sum.Private, u.Private)
	}
	return sum, nil
}

// CountsOf is what all nodes of s have counted together.
func CountsOf(ctx context.Context, s *Nodes) (sum Counts, err error) {
	for _, p := range s.All {
		if err := p.count(ctx, &sum); err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// get reads a URL.
func get(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return string(body), err
}

// freePorts finds loopback addresses that nobody listens at, for TCP and UDP.
func freePorts(n int) (addrs []string, err error) {
	for len(addrs) < n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }() // all at the end, so that they differ
		u, err := net.ListenPacket("udp", l.Addr().String())
		if err != nil {
			continue
		}
		_ = u.Close()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}
