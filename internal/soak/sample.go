package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prytany/prytany/internal/api"
)

// A sample is what one node had at one moment.
type sample struct {
	At    time.Duration // since the run began
	Node  string
	Life  int           // how often the node had been started anew
	Age   time.Duration // of the process
	Error string        // it did not tell

	Goroutines float64
	Files      int     // open, and not of the log
	Segments   int     // of the log, open
	Resident   float64 // bytes
	Heap       float64 // bytes that the last collection left
	Collected  float64 // when that was, in seconds of Unix time
	Dir        float64 // bytes that the data directory takes of the disk
	State      float64 // bytes of names, values and notes
	Slots      float64 // kept below and above the newest snapshot
	First      float64 // the first of them
	Changes    float64 // revisions whose events are kept
	Entries    float64
	Fences     float64
	Led        float64            // how often this process has begun to lead
	Leads      bool               // now
	Tables     map[string]float64 // rows that go with clients
}

// tables are the rows that have to go when all clients have gone, as /metrics calls them.
var tables = map[string]string{
	`prytany_sessions{group="main"}`:                "sessions",
	`prytany_locks_held{group="main"}`:              "locks held",
	`prytany_waiters{group="main"}`:                 "waiters",
	`prytany_waiting_requests{group="main"}`:        "requests in the log",
	`prytany_in_flight_slots{group="main"}`:         "slots in flight",
	`prytany_subscriptions{group="main"}`:           "subscriptions",
	`prytany_kept_own_answers{group="main"}`:        "answers to own ids",
	`prytany_kept_answers{group="main"}`:            "answers to callers' keys",
	`prytany_http_open_requests{class="normal"}`:    "open requests",
	`prytany_http_open_requests{class="keepalive"}`: "open keepalives",
	`prytany_http_open_requests{class="held"}`:      "held keepalives",
	`prytany_http_open_requests{class="stream"}`:    "streams",
}

const callersAnswers = "answers to callers' keys"

// take samples n. What it could not learn is in Error.
func (n *node) take(ctx context.Context, begin time.Time) sample {
	n.mu.Lock()
	s := sample{At: time.Since(begin), Node: n.Name, Life: n.life, Age: time.Since(n.born)}
	pid, down := n.pid, n.down
	n.mu.Unlock()
	if down {
		s.Error = "down"
		return s
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err := s.scrape(ctx, n)
	if err == nil {
		err = s.status(ctx, n)
	}
	if err == nil {
		s.Files, s.Segments, err = openFiles(pid)
	}
	if err == nil {
		s.Dir, err = usage(n.dir)
	}
	n.mu.Lock()
	if n.down || n.life != s.Life {
		s.Error = "ended meanwhile"
	}
	n.mu.Unlock()
	if err != nil {
		s.Error = err.Error()
	}
	return s
}

// scrape reads /metrics.
func (s *sample) scrape(ctx context.Context, n *node) error {
	text, err := n.Do(ctx, n.probe, http.MethodGet, "/metrics", "")
	if err != nil {
		return err
	}
	return s.read(text)
}

// read takes what is wanted from a scrape. All of it must be there: a metric that was
// called otherwise would else be a table that is always empty.
func (s *sample) read(text []byte) error {
	s.Tables = map[string]float64{}
	led := 0.0
	want := map[string]*float64{
		"go_goroutines": &s.Goroutines, "process_resident_memory_bytes": &s.Resident,
		"go_gc_heap_live_bytes": &s.Heap, "go_memstats_last_gc_time_seconds": &s.Collected,
		`prytany_state_bytes{group="main"}`: &s.State, `prytany_kept_changes{group="main"}`: &s.Changes,
		`prytany_config_entries{group="main"}`: &s.Entries, `prytany_fence_registers{group="main"}`: &s.Fences,
	}
	found := 0
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		name, value, ok := cutLast(lines.Text())
		table := tables[name]
		to := want[name]
		if name == `prytany_leaderships_total{group="main"}` {
			led, _ = strconv.ParseFloat(value, 64) // absent until it leads
		}
		if !ok || table == "" && to == nil {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if found++; to != nil {
			*to = v
			continue
		}
		s.Tables[table] = v
	}
	s.Led = led
	if found != len(want)+len(tables) {
		return fmt.Errorf("/metrics has %d of the %d figures that are wanted", found, len(want)+len(tables))
	}
	return nil
}

// cutLast parts a line of a scrape into a name with its labels, and a value.
func cutLast(line string) (name, value string, ok bool) {
	i := strings.LastIndexByte(line, ' ')
	if i < 0 || strings.HasPrefix(line, "#") {
		return "", "", false
	}
	return line[:i], line[i+1:], true
}

// status asks for what the metrics do not have.
func (s *sample) status(ctx context.Context, n *node) error {
	text, err := n.Do(ctx, n.probe, http.MethodGet, "/v1/status", "")
	if err != nil {
		return err
	}
	var st api.Status
	if err := json.Unmarshal(text, &st); err != nil {
		return err
	}
	if len(st.Groups) == 0 {
		return fmt.Errorf("%s has no part in main", n.Name)
	}
	g := st.Groups[0]
	s.First, s.Slots = float64(g.First), float64(g.Decided+1-min(g.First, g.Decided+1))
	s.Leads = g.Role == api.RoleLeader && g.Leader == n.Name
	return nil
}

// openFiles counts the files that a process has open, those of the log by themselves:
// they come and go with what is written.
func openFiles(pid int) (others, log int, err error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	list, err := os.ReadDir(dir)
	for _, f := range list {
		switch to, err := os.Readlink(filepath.Join(dir, f.Name())); {
		case err != nil: // closed meanwhile
		case strings.Contains(to, "/log.wal/"):
			log++
		default:
			others++
		}
	}
	return others, log, err
}

// usage is what a data directory takes of the disk. Files that go while it is read are
// passed over.
func usage(dir string) (size float64, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return there(err)
		}
		info, err := d.Info()
		if err != nil {
			return there(err)
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			size += float64(st.Blocks * 512)
		}
		return nil
	})
	return size, err
}

// there is err, unless it says that something is not there any more.
func there(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
