package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
)

// large returns a snapshot of slot that takes three steps to write.
func large(slot paxos.Slot) paxos.Snapshot {
	return paxos.Snapshot{Slot: slot, Data: bytes.Repeat([]byte{byte(slot)}, 2*stepBytes+5)}
}

// snapshotsIn returns the names of the snapshots' files of s.
func snapshotsIn(t *testing.T, s *Store) (names []string) {
	t.Helper()
	there, err := os.ReadDir(s.files.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range there {
		names = append(names, e.Name())
	}
	return names
}

// A disk looks on while a store writes snapshots, and knows what a power cut would
// leave of their files.
type disk struct {
	t     *testing.T
	s     *Store
	lies  bool              // what is synced is lost all the same
	saved map[string][]byte // what was synced of each file
	names map[string]bool   // that were there when the directory was synced
	check func(what string)
}

// watch has a disk look on at s from now on, and call check around each step.
func watch(t *testing.T, s *Store, check func(*disk, string)) *disk {
	d := &disk{t: t, s: s, saved: map[string][]byte{}, names: map[string]bool{}}
	for _, name := range snapshotsIn(t, s) {
		d.names[name], d.saved[name] = true, d.read(name)
	}
	d.check = func(what string) { check(d, what) }
	real := s.files
	around := func(what string, f func() error) error {
		d.check("before " + what)
		err := f()
		d.check("after " + what)
		return err
	}
	s.files.sleep = func(time.Duration) {}
	s.files.sync = func(f *os.File) error {
		return around("sync", func() error {
			if name := filepath.Base(f.Name()); !d.lies {
				d.saved[name] = d.read(name)
			}
			return real.sync(f)
		})
	}
	s.files.syncDir = func(dir string) error {
		return around("sync of the directory", func() error {
			d.names = map[string]bool{}
			for _, name := range snapshotsIn(t, s) {
				d.names[name] = true
			}
			return real.syncDir(dir)
		})
	}
	s.files.truncate = func(path string, size int64) error {
		return around("truncate", func() error { return real.truncate(path, size) })
	}
	s.files.remove = func(path string) error {
		return around("remove", func() error { return real.remove(path) })
	}
	return d
}

func (d *disk) read(name string) []byte {
	d.t.Helper()
	b, err := os.ReadFile(d.s.files.path(name))
	if err != nil {
		d.t.Fatal(err)
	}
	return b
}

// copied returns a directory as a kill of the process leaves it now, or a power cut:
// of the snapshots' files then no more than what was synced.
func (d *disk) copied(cut bool) string {
	d.t.Helper()
	dir := filepath.Join(d.t.TempDir(), "copy")
	if err := os.MkdirAll(filepath.Join(dir, snapshotsDir), 0o700); err != nil {
		d.t.Fatal(err)
	}
	all := map[string][]byte{}
	for _, name := range []string{boltFile, nodeFile} {
		b, err := os.ReadFile(d.s.path(name))
		if err != nil {
			d.t.Fatal(err)
		}
		all[name] = b
	}
	names := slices.Values(snapshotsIn(d.t, d.s))
	if cut {
		names = maps.Keys(d.names)
	}
	for name := range names {
		if all[filepath.Join(snapshotsDir, name)] = d.saved[name]; !cut {
			all[filepath.Join(snapshotsDir, name)] = d.read(name)
		}
	}
	for name, b := range all {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			d.t.Fatal(err)
		}
	}
	return dir
}

// found returns the slot of group 1's snapshot in dir, which must be whole and the only
// one that takes room there.
func found(t *testing.T, dir string) (paxos.Slot, error) {
	t.Helper()
	s, err := Open(dir, Options{})
	if err != nil {
		return 0, err
	}
	defer func() { _ = s.Close() }()
	snap, ok, err := s.LoadSnapshot(1)
	if err != nil {
		return 0, err
	}
	if want := large(snap.Slot); !ok || !bytes.Equal(snap.Data, want.Data) {
		return 0, fmt.Errorf("found %v, slot %d, %d bytes", ok, snap.Slot, len(snap.Data))
	}
	if names := snapshotsIn(t, s); len(names) != 1 {
		return 0, fmt.Errorf("files %v; want one", names)
	}
	return snap.Slot, nil
}

// TestAKillOrAPowerCutWithinASnapshot ends the process, or the power, before and after
// each step of writing a snapshot: there is the one before or the new one, and nothing
// of another takes room.
func TestAKillOrAPowerCutWithinASnapshot(t *testing.T) {
	for _, next := range []paxos.Slot{7, 5} { // also another one of the same slot
		s := reopen(t, t.TempDir())
		if err := s.SaveSnapshot(1, large(5)); err != nil {
			t.Fatal(err)
		}
		seen := map[paxos.Slot]int{}
		d := watch(t, s, func(d *disk, what string) {
			for _, cut := range []bool{false, true} {
				slot, err := found(t, d.copied(cut))
				if err != nil || slot != 5 && slot != next {
					t.Fatalf("%s, power cut %v: slot %d, %v", what, cut, slot, err)
				}
				seen[slot]++
			}
		})
		if err := s.SaveSnapshot(1, large(next)); err != nil {
			t.Fatal(err)
		}
		if len(seen) == 0 || next != 5 && (seen[5] < 16 || seen[next] < 4) {
			t.Fatalf("after %v steps the snapshot of that slot was found", seen)
		}
		for _, cut := range []bool{false, true} {
			if slot, err := found(t, d.copied(cut)); err != nil || slot != next {
				t.Errorf("at the end, power cut %v: slot %d, %v; want %d", cut, slot, err, next)
			}
		}
	}
}

// TestASnapshotThatWasNotSyncedIsNoticed is the test above on a disk that lies: it
// would notice a head that is switched too early.
func TestASnapshotThatWasNotSyncedIsNoticed(t *testing.T) {
	s := reopen(t, t.TempDir())
	d := watch(t, s, func(*disk, string) {})
	d.lies = true
	if err := s.SaveSnapshot(1, large(5)); err != nil {
		t.Fatal(err)
	}
	if slot, err := found(t, d.copied(true)); !errors.Is(err, ErrDamaged) {
		t.Errorf("slot %d, %v; want ErrDamaged", slot, err)
	}
}

// TestLeftOverFilesGo: what no snapshot needs is removed, what is not the store's own
// is not.
func TestLeftOverFilesGo(t *testing.T) {
	dir := t.TempDir()
	s := reopen(t, dir)
	if err := errors.Join(s.SaveSnapshot(1, large(5)), s.Close()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{snapshotName(1, 7, 3), snapshotName(9, 1, 4), "1-7-3.txt", "01-7-3", "notes"} {
		if err := os.WriteFile(s.files.path(name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = reopen(t, dir)
	names := snapshotsIn(t, s)
	if got := strings.Join(names, " "); len(names) != 4 || !strings.HasPrefix(got, "01-7-3 1-5-") || !strings.HasSuffix(got, " 1-7-3.txt notes") {
		t.Errorf("files %q; want that of the snapshot and what is not of the store", names)
	}
	if snap, ok, err := s.LoadSnapshot(1); err != nil || !ok || snap.Slot != 5 {
		t.Errorf("LoadSnapshot = slot %d, %v, %v", snap.Slot, ok, err)
	}
}

// TestASnapshotIsNotWrittenOver: until the switch, the one before must stay, even if
// both are of one slot. After it, the one before goes.
func TestASnapshotIsNotWrittenOver(t *testing.T) {
	s := reopen(t, t.TempDir())
	s.files.sleep = func(time.Duration) {}
	seen := map[string]bool{}
	for range 4 {
		if err := s.SaveSnapshot(1, large(5)); err != nil {
			t.Fatal(err)
		}
		names := snapshotsIn(t, s)
		if len(names) != 1 || seen[names[0]] {
			t.Errorf("files %v; want a new one, %v were there", names, seen)
		}
		seen[names[0]] = true
	}
	if err := s.SaveSnapshot(1, paxos.Snapshot{Slot: 6, Data: make([]byte, smallBytes)}); err != nil {
		t.Fatal(err)
	}
	if names := snapshotsIn(t, s); len(names) > 0 {
		t.Errorf("files %v; want none of a small snapshot", names)
	}
}

// TestALargeFileGoesInSteps: neither a snapshot that is replaced nor one that is swept
// goes at once.
func TestALargeFileGoesInSteps(t *testing.T) {
	for _, by := range []string{"replace", "sweep"} {
		s := reopen(t, t.TempDir())
		if err := s.SaveSnapshot(1, large(5)); err != nil {
			t.Fatal(err)
		}
		h, _, _, err := s.head(1)
		if err != nil {
			t.Fatal(err)
		}
		size, sizes := int64(2*shrinkBytes+shrinkBytes/2), []int64(nil)
		if err := os.Truncate(s.files.path(h.file), size); err != nil {
			t.Fatal(err)
		}
		s.files.truncate = func(path string, to int64) error {
			sizes = append(sizes, to)
			return os.Truncate(path, to)
		}
		if by == "replace" {
			err = s.SaveSnapshot(1, paxos.Snapshot{Slot: 6})
		} else {
			err = s.Drop(1, 1)
			for more := true; more && err == nil; {
				more, err = s.Sweep()
			}
		}
		if want := []int64{size - shrinkBytes, size - 2*shrinkBytes}; err != nil || !slices.Equal(sizes, want) {
			t.Errorf("%s: %v, cut to %v; want %v", by, err, sizes, want)
		}
		if names := snapshotsIn(t, s); len(names) > 0 {
			t.Errorf("%s: files %v are left", by, names)
		}
	}
}

// TestManyBeginInOneTransaction: new groups have small states.
func TestManyBeginInOneTransaction(t *testing.T) {
	s := reopen(t, t.TempDir())
	begin := []replica.Beginning{{Group: 3000, Header: update[0].Header, Snapshot: large(1)}}
	if err := s.SaveSnapshot(1, large(9)); err != nil { // of an attempt that a crash ended
		t.Fatal(err)
	}
	for g := range paxos.GroupID(1000) {
		begin = append(begin, replica.Beginning{Group: g + 1, Header: update[0].Header, Snapshot: paxos.Snapshot{Slot: 1, Data: make([]byte, 100)}})
	}
	_, before, _, err := s.head(1)
	if err == nil {
		err = s.Begin(begin)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, after, _, err := s.head(1); err != nil || after != before+1 {
		t.Errorf("transaction %d, %v; want the one after %d", after, err, before)
	}
	if names := snapshotsIn(t, s); len(names) != 1 || !strings.HasPrefix(names[0], "3000-1-") {
		t.Errorf("files %v; want one, of the large state", names)
	}
}

// TestAnEncoderThatFails has done nothing: the snapshot before is there, and the store
// goes on.
func TestAnEncoderThatFails(t *testing.T) {
	s := reopen(t, t.TempDir())
	if err := s.SaveSnapshot(1, large(5)); err != nil {
		t.Fatal(err)
	}
	cause := errors.New("it cannot be encoded")
	for _, size := range []int{0, 3 * stepBytes} {
		_, err := s.StreamSnapshot(1, paxos.Snapshot{Slot: 6}, func(w io.Writer) error {
			_, err := w.Write(make([]byte, size))
			return errors.Join(err, cause)
		})
		if !errors.Is(err, cause) {
			t.Errorf("StreamSnapshot: %v; want the encoder's error", err)
		}
		if snap, _, err := s.LoadSnapshot(1); err != nil || snap.Slot != 5 {
			t.Errorf("LoadSnapshot = slot %d, %v; want the one before", snap.Slot, err)
		}
		if names := snapshotsIn(t, s); len(names) != 1 {
			t.Errorf("files %v; want one", names)
		}
	}
}

// TestASnapshotThatCannotBeWritten: the failure sticks, also if the encoder says nothing
// of it.
func TestASnapshotThatCannotBeWritten(t *testing.T) {
	s := reopen(t, t.TempDir())
	cause := errors.New("the disk is broken")
	s.files.sync = func(*os.File) error { return cause }
	_, err := s.StreamSnapshot(1, paxos.Snapshot{Slot: 6}, func(w io.Writer) error {
		_, _ = w.Write(make([]byte, 3*stepBytes))
		return nil
	})
	if !errors.Is(err, cause) || !errors.Is(s.Save(update), cause) {
		t.Errorf("StreamSnapshot: %v; then Save: %v", err, s.Save(update))
	}
}

// TestPartsAreReadWhileSnapshotsAreReplaced: a part is of the snapshot that it says, and
// never missing.
func TestPartsAreReadWhileSnapshotsAreReplaced(t *testing.T) {
	s := reopen(t, t.TempDir())
	s.files.sleep = func(time.Duration) {}
	of := func(slot paxos.Slot) paxos.Snapshot {
		return paxos.Snapshot{Slot: slot, Data: bytes.Repeat([]byte{byte(slot)}, int(slot%3)*smallBytes+100)}
	}
	if err := s.SaveSnapshot(1, of(1)); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	done := make(chan struct{})
	reading.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			p, ok, err := s.ReadSnapshot(1, 50, smallBytes)
			if want := of(p.Slot).Data; err != nil || !ok || p.Size != uint64(len(want)) || !bytes.Equal(p.Data, want[50:min(50+smallBytes, len(want))]) {
				t.Errorf("ReadSnapshot = slot %d, %d of %d bytes, %v, %v", p.Slot, len(p.Data), p.Size, ok, err)
				return
			}
		}
	})
	for slot := range paxos.Slot(100) {
		if err := s.SaveSnapshot(1, of(slot+2)); err != nil {
			t.Error(err)
			break
		}
	}
	close(done)
	reading.Wait()
}

// TestAHeadOfAnotherGroupIsNoticed: it would lead to another group's state.
func TestAHeadOfAnotherGroupIsNoticed(t *testing.T) {
	for name, h := range map[string]snapshotHead{
		"small": {group: 2, slot: 5}, "large": {group: 1, slot: 5, size: 9000, file: snapshotName(2, 5, 1)},
	} {
		dir := t.TempDir()
		s := reopen(t, dir)
		err := updateNode(s.node, func(tx *bbolt.Tx) error { return tx.Bucket(bucketSnapshots).Put(key(1), h.record()) })
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, Options{}); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v; want ErrDamaged", name, err)
		}
	}
}

func TestPause(t *testing.T) {
	const every = time.Second * stepBytes / takeRate
	for _, tt := range []struct{ took, want time.Duration }{
		{0, every}, {every / 4, every - every/4}, {every / 2, every / 2}, {every, every}, {3 * every, 3 * every}, {time.Second, maxPause},
	} {
		if got := pause(tt.took, takeRate); got != tt.want {
			t.Errorf("after %v: %v; want %v", tt.took, got, tt.want)
		}
	}
}
