package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

func reopen(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

var update = []paxos.Update{{Group: 1, Dirty: true, Header: paxos.Header{Membership: paxos.Membership{ID: 1}}}}

func TestAFailedWriteSticks(t *testing.T) {
	s := reopen(t, t.TempDir())
	if err := s.Save(update); err != nil {
		t.Fatal(err)
	}
	if err := s.votes.Close(); err != nil {
		t.Fatal(err)
	}
	first := s.Save(update)
	if first == nil {
		t.Fatal("saved into a closed file")
	}
	_, load := s.Load(1)
	_, groups := s.Groups()
	_, _, snapshot := s.LoadSnapshot(1)
	for name, err := range map[string]error{
		"Save": s.Save(update), "Load": load, "Groups": groups, "LoadSnapshot": snapshot,
		"SaveSnapshot": s.SaveSnapshot(1, paxos.Snapshot{Slot: 1}), "Trim": s.Trim(1, 0),
	} {
		if !errors.Is(err, first) {
			t.Errorf("%s after a failed Save: %v; want the same error", name, err)
		}
	}
}

func TestTrimBeforeTheHeaderSaysSo(t *testing.T) {
	s := reopen(t, t.TempDir())
	if err := s.Save(update); err != nil {
		t.Fatal(err)
	}
	if err := s.Trim(1, 5); err == nil {
		t.Error("trimmed below 5 although no saved header says so")
	}
}

// TestAnInterruptedSnapshot: the bytes are there in part, the switch is not.
func TestAnInterruptedSnapshot(t *testing.T) {
	dir := t.TempDir()
	s := reopen(t, dir)
	if err := s.SaveSnapshot(1, paxos.Snapshot{Slot: 5, Data: []byte("five")}); err != nil {
		t.Fatal(err)
	}
	if err := s.writeChunks(snapshotBucket(1, 7), make([]byte, 3*chunkBytes)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, dir)
	if got, ok, err := s.LoadSnapshot(1); err != nil || !ok || string(got.Data) != "five" {
		t.Errorf("LoadSnapshot = %q, %v, %v; want the one before", got.Data, ok, err)
	}
	for _, slot := range []paxos.Slot{7, 8} {
		if err := s.SaveSnapshot(1, paxos.Snapshot{Slot: slot, Data: []byte("new")}); err != nil {
			t.Fatal(err)
		}
		if got, ok, err := s.LoadSnapshot(1); err != nil || !ok || got.Slot != slot || string(got.Data) != "new" {
			t.Errorf("LoadSnapshot = %q of slot %d, %v, %v; want the new one", got.Data, got.Slot, ok, err)
		}
		buckets := 0
		if err := s.node.View(func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketSnapshots).ForEachBucket(func([]byte) error { buckets++; return nil })
		}); err != nil || buckets != 1 {
			t.Errorf("%d snapshots take room, %v; want 1", buckets, err)
		}
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&fs.PathError{Op: "open", Path: "log.db", Err: syscall.EACCES}, "make the directory writable"},
		{&fs.PathError{Op: "open", Path: "log.db", Err: syscall.EROFS}, "make the directory writable"},
		{&fs.PathError{Op: "write", Path: "log.db", Err: syscall.ENOSPC}, "make room"},
		{fmt.Errorf("file sync error: %s", syscall.ENOSPC), "make room"},
		{syscall.EIO, "log.db: input/output error"},
	} {
		if got := explain("log.db", tt.err).Error(); !strings.Contains(got, tt.want) || strings.Contains(got, "\n") {
			t.Errorf("%v becomes %q; want it to say %q", tt.err, got, tt.want)
		}
	}
}

func TestWhatDoesNotFit(t *testing.T) {
	for _, u := range []paxos.Update{
		{Group: 0}, {Group: maxGroup + 1}, {Group: 1, Votes: []paxos.SlotVote{{Slot: 0}}}, {Group: 1, Votes: []paxos.SlotVote{{Slot: maxSlot + 1}}},
	} {
		u.Dirty = true
		if err := reopen(t, t.TempDir()).Save([]paxos.Update{u}); err == nil {
			t.Errorf("saved %+v", u)
		}
	}
}

// TestOpeningsThatEndEarly: a process may be killed between any two steps of
// opening, many times over, and after a deletion.
func TestOpeningsThatEndEarly(t *testing.T) {
	dir := t.TempDir()
	s := reopen(t, dir)
	if err := s.Save(update); err != nil {
		t.Fatal(err)
	}
	if err := s.drop(index(1, 1), index(1, 2)); err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for range i % 4 { // opened, and ended before the root was written
			s = &Store{dir: dir, groups: map[paxos.GroupID]*groupFile{}, log: slog.New(slog.DiscardHandler)}
			s.failed = errors.New("killed")
			err := s.open(Options{LockWait: time.Second})
			if err := errors.Join(s.Close()); err != nil {
				t.Fatal(err)
			}
			if !errors.Is(err, s.failed) {
				t.Fatalf("opening: %v; want it to end before the root is written", err)
			}
		}
		s = reopen(t, dir)
		if d, err := s.Load(1); err != nil || d.Header.Membership.ID != 1 {
			t.Fatalf("Load = %+v, %v; want what was saved", d, err)
		}
	}
}

// TestAnInterruptedTrimIsFinished: votes that a header has given up are
// deleted after a restart, too.
func TestAnInterruptedTrimIsFinished(t *testing.T) {
	dir := t.TempDir()
	s := reopen(t, dir)
	u := update[0]
	for slot := range paxos.Slot(5) {
		u.Votes = append(u.Votes, paxos.SlotVote{Slot: slot + 1, Config: 1, Chosen: true})
	}
	u.Header.Trimmed = 4
	if err := s.Save([]paxos.Update{u}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, dir)
	if d, err := s.Load(1); err != nil || len(d.Votes) != 2 {
		t.Fatalf("Load = %+v, %v; want the votes of slots 4 and 5", d, err)
	}
	for slot := range paxos.Slot(5) {
		record, err := s.record(index(1, slot+1))
		if gone := record == nil; err != nil || gone != (slot+1 < 4) {
			t.Errorf("the record of slot %d is gone: %v, %v", slot+1, gone, err)
		}
	}
}

// TestAnOldOrLostHeaderIsNoticed: all pages and records are sound and of the
// last transaction, but for one header.
func TestAnOldOrLostHeaderIsNoticed(t *testing.T) {
	for name, harm := range map[string]func(s *Store, old *raft.Log) error{
		"old":  func(s *Store, old *raft.Log) error { return s.write([]*raft.Log{old}, false) },
		"lost": func(s *Store, old *raft.Log) error { return s.drop(old.Index, old.Index) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := reopen(t, dir)
			if err := s.Save(update); err != nil {
				t.Fatal(err)
			}
			var old raft.Log
			if err := s.votes.GetLog(index(1, 0), &old); err != nil {
				t.Fatal(err)
			}
			later := update[0]
			later.Header.Promised = synod.Ballot{Round: 9, Member: 1}
			if err := s.Save([]paxos.Update{later}); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(harm(s, &old), s.Close()); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(dir, Options{}); !errors.Is(err, ErrDamaged) {
				t.Errorf("Open: %v; want ErrDamaged", err)
			}
		})
	}
}

// TestASnapshotIsNotWrittenOver: until the switch, the one before must stay,
// even if both are of one slot.
func TestASnapshotIsNotWrittenOver(t *testing.T) {
	s := reopen(t, t.TempDir())
	var before []byte
	for range 4 {
		if err := s.SaveSnapshot(1, paxos.Snapshot{Slot: 5, Data: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		name, err := s.presentSnapshot(1)
		if err != nil || string(name) == string(before) {
			t.Errorf("the new snapshot is in bucket %x, as the one before was; %v", name, err)
		}
		before = name
	}
}

func FuzzOpenRecords(f *testing.F) {
	f.Add(root{count: 3, sum: 1 << 63, txid: 9, deletes: true}.log().Data[5:])
	f.Add([]byte{5, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5})
	f.Fuzz(func(t *testing.T, content []byte) {
		record := sealed(content)
		if r, err := openRoot(record); err == nil {
			if again, err := openRoot(r.log().Data); err != nil || again != r {
				t.Fatalf("root %+v became %+v, %v", r, again, err)
			}
		}
		if h, err := openHead(record); err == nil && len(h.bucket)+len(h.membership) > len(content) {
			t.Fatalf("head %+v has more than there is", h)
		}
		_, _ = openVote(record, 5)
	})
}

func FuzzPage(f *testing.F) {
	f.Add(append(make([]byte, 8), 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 'k', 'v'))
	f.Fuzz(func(t *testing.T, page []byte) {
		if len(page) < pageHead {
			return
		}
		p := elements{page: page}
		if p.check() != nil {
			return
		}
		for i := range p.count() {
			_, _ = p.key(i), p.bucket(i)
		}
	})
}
