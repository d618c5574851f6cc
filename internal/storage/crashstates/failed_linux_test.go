package crashstates

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/crashfs"
	"github.com/prytany/prytany/internal/roster"
	"github.com/prytany/prytany/internal/storage"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// asLoser is the variable of the environment that makes a process one whose disk fails.
const asLoser = "CRASHSTATES_LOSER"

// calls are those that write, each on a store that has group 1.
var calls = map[string]func(*storage.Store) error{
	"Save":         vote,
	"SaveSnapshot": func(s *storage.Store) error { return s.SaveSnapshot(1, paxos.Snapshot{Slot: 3, Data: []byte("few")}) },
	"large snapshot": func(s *storage.Store) error {
		return s.SaveSnapshot(1, paxos.Snapshot{Slot: 3, Data: make([]byte, 50_000)})
	},
	"SaveAddress": func(s *storage.Store) error { return s.SaveAddress(7, storage.Address{Name: "seven"}) },
	"SaveSightings": func(s *storage.Store) error {
		return s.SaveSightings(map[synod.NodeID]roster.Sighting{7: {Incarnation: 3}})
	},
	"RaiseLease": func(s *storage.Store) error { return s.RaiseLease(1 << 40) },
	"Quarantine": func(s *storage.Store) error { return s.Quarantine("a test") },
	"Drop":       func(s *storage.Store) error { return s.Drop(1, 2) },
}

func vote(s *storage.Store) error {
	h := paxos.Header{Membership: paxos.Membership{ID: 1}, Promised: synod.Ballot{Round: 2, Member: 1}}
	return s.Save([]paxos.Update{{Group: 1, Dirty: true, Header: h, Votes: []paxos.SlotVote{{Slot: 2, Config: 1, Vote: synod.Vote{Ballot: h.Promised, Value: "v"}}}}})
}

// lose makes a call while the disk fails, and then others. It says what they return.
func lose(text string) error {
	var t task
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return err
	}
	call, _, _ := strings.Cut(filepath.Base(t.Mount), "@")
	s, err := storage.Open(filepath.Join(t.Mount, dataDir), options(t.Kind))
	if err != nil {
		return err
	}
	if err := vote(s); err != nil {
		return err
	}
	// The next segment is made beside, and would take the failure.
	for next := filepath.Join(t.Mount, dataDir, "log.wal", "0000000000000002.seg"); t.Kind == storage.LogAppend; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(next); err == nil {
			break
		}
	}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	for _, f := range []func() error{func() error { return calls[call](s) }, func() error { return vote(s) }, s.Probe} {
		fmt.Println(f())
	}
	return s.Close()
}

// TestAFailedSyncSticks: after a sync that has failed once, of whatever call and file, the
// store does nothing more, though the disk would; and what the disk has is a good
// directory.
func TestAFailedSyncSticks(t *testing.T) {
	needFUSE(t)
	for _, kind := range kinds {
		for call := range calls {
			t.Run(kind+"/"+call, func(t *testing.T) { failedSync(t, kind, call) })
		}
	}
}

func failedSync(t *testing.T, kind, call string) {
	dir := filepath.Join(scratch(t), call+"@")
	fs, err := crashfs.Mount(dir, crashfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := fs.Remove(); err != nil {
			t.Error(err)
		}
	})
	text, err := json.Marshal(task{Mount: dir, Kind: kind})
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env, cmd.Stderr = append(os.Environ(), asLoser+"="+string(text)), os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("%q, %v", lines.Text(), cmd.Wait())
	}
	fs.Set(crashfs.Faults{Sync: syscall.EIO})
	if _, err := io.WriteString(in, "\n"); err != nil {
		t.Fatal(err)
	}
	said := 0
	for ; lines.Scan(); said++ {
		if !strings.Contains(lines.Text(), syscall.EIO.Error()) {
			t.Errorf("%d calls after the failure: %q; want the error that sticks", said, lines.Text())
		}
	}
	if err := cmd.Wait(); err != nil || said != 3 {
		t.Errorf("%d answers, %v", said, err)
	}
	if hits, last := fs.Hits(); hits != 1 {
		t.Errorf("%d syncs failed, %s", hits, last)
	}
	fs.Crash()
	if err := fs.Repair(); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(scratch(t), "copy")
	if err := os.CopyFS(copied, os.DirFS(filepath.Join(dir, dataDir))); err != nil {
		t.Fatal(err)
	}
	s, err := storage.Open(copied, options(kind))
	if err != nil {
		t.Fatalf("what the disk has: %v", err)
	}
	defer func() { _ = s.Close() }()
	if d, err := s.Load(1); err != nil || call != "Drop" && len(d.Votes) != 1 {
		t.Errorf("what was acknowledged: %+v, %v", d, err)
	}
}
