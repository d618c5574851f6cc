// Command profile makes tables of what perf(1) recorded for bench -perf: where the
// nodes of each system spent their time for one operation, and how many calls of
// the kernel they made for it.
//
//	go run ./profile -dir DIR -run RUN.json
//
// RUN.json is what the same run of bench wrote with -json.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// A part is some of what a server does: a sample belongs to the first part that
// one of its frames names.
type part struct {
	name   string
	frames []string // substrings of symbols
}

var parts = []part{
	{"collecting garbage", []string{"runtime.gcBgMarkWorker", "runtime.gcAssistAlloc", "runtime.bgsweep", "runtime.bgscavenge", "runtime.gcStart"}},
	{"fdatasync in the kernel", []string{"__x64_sys_fdatasync", "__x64_sys_fsync"}},
	{"the rest of durable writes", []string{"internal/storage.(*Store).Save", "go.etcd.io/bbolt.", "storage/wal.", "backend.(*"}},
	{"applying commands", []string{"(*Machine).Apply", "(*EtcdServer).apply", "uberApplier", "etcdserver/apply."}},
	{"the rest of the event loop", []string{"replica.(*Host).Run", "raft/v3.", "etcdserver.(*raftNode)", "etcdserver.(*EtcdServer).run"}},
	{"messages between nodes", []string{"internal/transport.", "rafthttp."}},
	{"finding the route", []string{"gorilla/mux.", "httpapi.(*Server).find"}},
	{"locks/service, and its like", []string{"locks/service.", "etcdserver.(*EtcdServer).", "v3rpc."}},
	{"the rest of the handler", []string{"httpapi.", "httpapi/internal"}},
	{"connections that requests share", []string{"internal/multiplex."}},
	{"net/http or gRPC", []string{"net/http.", "google.golang.org/grpc", "http2"}},
	{"gossip", []string{"memberlist.", "prytany/fd."}},
	{"the runtime's monitor", []string{"runtime.sysmon"}},
	{"the scheduler and waiting for sockets", []string{"runtime.schedule", "runtime.findRunnable", "runtime.mcall", "runtime.park_m", "runtime.mstart", "runtime.netpoll"}},
	{"everything else", []string{""}},
}

// across are costs that belong to other parts, too.
var across = []part{
	{"of all this: allocating", []string{"runtime.mallocgc", "runtime.newobject", "runtime.growslice", "runtime.makeslice"}},
	{"of all this: futexes", []string{"__x64_sys_futex"}},
	{"of all this: sending and receiving by TCP", []string{"tcp_sendmsg", "tcp_recvmsg"}},
}

// A sample is what bench says of one cell.
type sample struct {
	System string `json:"system"`
	Cell   struct {
		Kind    string `json:"kind"`
		Clients int    `json:"clients"`
	} `json:"cell"`
	Round int     `json:"round"`
	Done  int64   `json:"done"`
	CPU   float64 `json:"server_cpu_us"`
}

func main() {
	dir := flag.String("dir", "", "where bench -perf left what it recorded")
	run := flag.String("run", "", "what bench -json wrote in the same run")
	flag.Parse()
	if err := tables(*dir, *run); err != nil {
		fmt.Fprintln(os.Stderr, "profile:", err)
		os.Exit(1)
	}
}

func tables(dir, run string) error {
	body, err := os.ReadFile(run)
	if err != nil {
		return err
	}
	var out struct {
		Samples []sample `json:"samples"`
	}
	if err := json.Unmarshal(body, &out); err != nil {
		return err
	}
	last := 0
	for _, s := range out.Samples {
		last = max(last, s.Round)
	}
	var systems []string
	of := map[string][]sample{}
	for _, s := range out.Samples {
		if s.Round == last {
			if of[s.System] == nil {
				systems = append(systems, s.System)
			}
			of[s.System] = append(of[s.System], s)
		}
	}
	for _, name := range systems {
		if err := table(dir, name, of[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// table prints what one system costs for each operation, in µs of all its nodes
// together, and its calls of the kernel.
func table(dir, system string, cells []sample) error {
	lines := make([]string, len(parts)+len(across))
	calls := map[string][]string{}
	var names []string
	head, rule, total := "| "+system+", µs per operation |", "|---|", "| together |"
	for _, c := range cells {
		base := filepath.Join(dir, fmt.Sprintf("%s-%s-%d", system, c.Cell.Kind, c.Cell.Clients))
		shares, err := shares(base + ".data")
		if err != nil {
			return err
		}
		head += fmt.Sprintf(" %s %d |", c.Cell.Kind, c.Cell.Clients)
		rule += "---|"
		total += fmt.Sprintf(" %.0f |", c.CPU)
		for i, s := range shares {
			lines[i] += fmt.Sprintf(" %.1f |", s*c.CPU)
		}
		counts, order, err := counted(base + ".stat")
		if err != nil {
			return err
		}
		names = order
		for _, n := range order {
			calls[n] = append(calls[n], fmt.Sprintf(" %.2f |", counts[n]/float64(c.Done)))
		}
	}
	fmt.Printf("\n%s\n%s\n", head, rule)
	for i, p := range parts {
		fmt.Printf("| %s |%s\n", p.name, lines[i])
	}
	fmt.Println(total)
	for i, p := range across {
		fmt.Printf("| %s |%s\n", p.name, lines[len(parts)+i])
	}
	for _, n := range names {
		fmt.Printf("| calls: %s |%s\n", n, strings.Join(calls[n], ""))
	}
	return nil
}

// shares reads a recording: which share of all samples each part and each of
// across has.
func shares(path string) ([]float64, error) {
	cmd := exec.Command("perf", "script", "-i", path, "-F", "ip,sym")
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	out := make([]float64, len(parts)+len(across))
	all := 0.0
	var stack []string
	flush := func() {
		if len(stack) == 0 {
			return
		}
		all++
		for i, p := range parts {
			if matches(stack, p) {
				out[i]++
				break
			}
		}
		for i, p := range across {
			if matches(stack, p) {
				out[len(parts)+i]++
			}
		}
		stack = stack[:0]
	}
	in := bufio.NewScanner(pipe)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		if line := strings.TrimSpace(in.Text()); line != "" {
			_, symbol, _ := strings.Cut(line, " ")
			stack = append(stack, symbol)
		} else {
			flush()
		}
	}
	flush()
	if err := cmd.Wait(); err != nil {
		return nil, err
	}
	if err := in.Err(); err != nil {
		return nil, err
	}
	if all == 0 {
		return nil, fmt.Errorf("%s has no samples", path)
	}
	for i := range out {
		out[i] /= all
	}
	return out, nil
}

func matches(stack []string, p part) bool {
	for _, symbol := range stack {
		for _, f := range p.frames {
			if strings.Contains(symbol, f) {
				return true
			}
		}
	}
	return false
}

// counted reads what perf stat counted, by event, in the order of the file.
func counted(path string) (counts map[string]float64, order []string, err error) {
	body, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	counts = map[string]float64{}
	for line := range strings.Lines(string(body)) {
		fields := strings.Split(line, ";")
		if len(fields) < 3 {
			continue
		}
		n, err := strconv.ParseFloat(fields[0], 64)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
		name := strings.TrimPrefix(fields[2], "syscalls:sys_enter_")
		if fields[2] == "raw_syscalls:sys_enter" {
			name = "all"
		}
		counts[name] = n
		order = append(order, name)
	}
	return counts, order, nil
}
