//go:build linux || darwin

package storage_test

import (
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

// TestNoRoomLeft runs a node into the limit of what its files may hold, in a
// process of its own, since the limit is one of processes. What was saved
// before is there after.
func TestNoRoomLeft(t *testing.T) {
	if dir := os.Getenv(fullDiskDir); dir != "" {
		runOutOfRoom(t, dir)
		return
	}
	dir := t.TempDir()
	s := open(t, dir)
	want := paxos.Durable{Header: header(3), Votes: []paxos.SlotVote{vote(1, 3, "kept")}}
	if err := s.Save([]paxos.Update{{Group: 1, Dirty: true, Header: want.Header, Votes: want.Votes}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestNoRoomLeft$", "-test.v")
	cmd.Env = append(os.Environ(), fullDiskDir+"="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestNoRoomLeft") {
		t.Fatalf("the process without room: %v\n%s", err, out)
	}
	if got, err := open(t, dir).Load(1); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Load after the failed write = %+v, %v; want %+v", got, err, want)
	}
}

func runOutOfRoom(t *testing.T, dir string) {
	s := open(t, dir)
	signal.Ignore(syscall.SIGXFSZ) // an error instead of the end of the process
	limit := syscall.Rlimit{Cur: 1 << 20, Max: 1 << 20}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	big := paxos.Update{Group: 1, Dirty: true, Header: header(9), Votes: []paxos.SlotVote{vote(2, 9, strings.Repeat("x", 64<<20))}}
	first := s.Save([]paxos.Update{big})
	if first == nil || strings.Contains(first.Error(), "\n") {
		t.Fatalf("Save beyond the limit: %q; want an error of one line", first)
	}
	t.Log(first)

	small := []paxos.Update{{Group: 1, Dirty: true, Header: header(9)}}
	if err := s.Save(small); err == nil || err.Error() != first.Error() {
		t.Errorf("Save after a failed one: %v; want %v", err, first)
	}
}
