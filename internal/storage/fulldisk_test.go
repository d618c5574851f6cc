//go:build linux || darwin

package storage_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/prytany/prytany/paxos"
)

// fullDiskDir tells the test binary to be the process that runs out of room.
const fullDiskDir = "STORAGE_TEST_FULL_DISK_DIR"

// fullDiskBy tells it what to write.
const fullDiskBy = "STORAGE_TEST_FULL_DISK_BY"

// TestNoRoomLeft runs a node into the limit of what its files may hold, in a
// process of its own, since the limit is one of processes. What was saved
// before is there after.
func TestNoRoomLeft(t *testing.T) {
	if dir := os.Getenv(fullDiskDir); dir != "" {
		runOutOfRoom(t, dir, os.Getenv(fullDiskBy))
		return
	}
	for _, by := range []string{"votes", "snapshot"} {
		t.Run(by, func(t *testing.T) {
			both(t, func(t *testing.T) { noRoomLeft(t, by) })
		})
	}
}

func noRoomLeft(t *testing.T, by string) {
	dir := t.TempDir()
	s := open(t, dir)
	want := paxos.Durable{Header: header(3), Votes: []paxos.SlotVote{vote(1, 3, "kept")}}
	snap := paxos.Snapshot{Slot: 1, Data: bytes.Repeat([]byte("kept"), 5000)}
	if err := errors.Join(s.Save([]paxos.Update{{Group: 1, Dirty: true, Header: want.Header, Votes: want.Votes}}), s.SaveSnapshot(1, snap), s.Close()); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestNoRoomLeft$", "-test.v")
	cmd.Env = append(os.Environ(), fullDiskDir+"="+dir, fullDiskBy+"="+by)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestNoRoomLeft") {
		t.Fatalf("the process without room: %v\n%s", err, out)
	}
	s = open(t, dir)
	if got, err := s.Load(1); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Load after the failed write = %+v, %v; want %+v", got, err, want)
	}
	if got, ok, err := s.LoadSnapshot(1); err != nil || !ok || !bytes.Equal(got.Data, snap.Data) {
		t.Errorf("LoadSnapshot after the failed write = %d bytes, %v, %v; want %d", len(got.Data), ok, err, len(snap.Data))
	}
	if names := snapshotFiles(t, dir); len(names) != 1 {
		t.Errorf("files of snapshots: %v; want one", names)
	}
}

func runOutOfRoom(t *testing.T, dir, by string) {
	s := open(t, dir)
	signal.Ignore(syscall.SIGXFSZ) // an error instead of the end of the process
	limit := syscall.Rlimit{Cur: 1 << 20, Max: 1 << 20}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	var first error
	if by == "snapshot" {
		first = s.SaveSnapshot(1, paxos.Snapshot{Slot: 2, Data: make([]byte, 4<<20)})
	} else {
		big := paxos.Update{Group: 1, Dirty: true, Header: header(9), Votes: []paxos.SlotVote{vote(2, 9, strings.Repeat("x", 64<<20))}}
		first = s.Save([]paxos.Update{big})
	}
	if first == nil || strings.Contains(first.Error(), "\n") {
		t.Fatalf("a write beyond the limit: %q; want an error of one line", first)
	}
	t.Log(first)

	small := []paxos.Update{{Group: 1, Dirty: true, Header: header(9)}}
	if err := s.Save(small); err == nil || err.Error() != first.Error() {
		t.Errorf("Save after a failed write: %v; want %v", err, first)
	}
}
