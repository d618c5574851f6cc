package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/codec"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// kind is how new directories keep their log, while both runs a test.
var kind = LogBolt

// both runs f with each kind of log.
func both(t *testing.T, f func(t *testing.T)) {
	defer func() { kind = LogBolt }()
	for _, kind = range []string{LogBolt, LogAppend} {
		t.Run(kind, f)
	}
}

func reopen(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir, Options{LogStore: kind, SegmentBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

var update = []paxos.Update{{Group: 1, Dirty: true, Header: paxos.Header{Membership: paxos.Membership{ID: 1}}}}

func TestAFailedWriteSticks(t *testing.T) { both(t, aFailedWriteSticks) }

func aFailedWriteSticks(t *testing.T) {
	s := reopen(t, t.TempDir())
	if err := s.Save(update); err != nil {
		t.Fatal(err)
	}
	if err := s.votes.close(); err != nil {
		t.Fatal(err)
	}
	first := s.Save(update)
	if first == nil {
		t.Fatal("saved into a closed file")
	}
	_, load := s.Load(1)
	_, groups := s.Groups()
	_, _, snapshot := s.LoadSnapshot(1)
	_, _, part := s.ReadSnapshot(1, 0, 1)
	for name, err := range map[string]error{
		"Save": s.Save(update), "Load": load, "Groups": groups, "LoadSnapshot": snapshot, "ReadSnapshot": part,
		"SaveSnapshot": s.SaveSnapshot(1, paxos.Snapshot{Slot: 1}), "Trim": s.Trim(1, 0),
	} {
		if !errors.Is(err, first) {
			t.Errorf("%s after a failed Save: %v; want the same error", name, err)
		}
	}
}

func TestTrimBeforeTheHeaderSaysSo(t *testing.T) { both(t, trimBeforeTheHeaderSaysSo) }

func trimBeforeTheHeaderSaysSo(t *testing.T) {
	s := reopen(t, t.TempDir())
	if err := s.Save(update); err != nil {
		t.Fatal(err)
	}
	if err := s.Trim(1, 5); err == nil {
		t.Error("trimmed below 5 although no saved header says so")
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

func TestWhatDoesNotFit(t *testing.T) { both(t, whatDoesNotFit) }

func whatDoesNotFit(t *testing.T) {
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
func TestOpeningsThatEndEarly(t *testing.T) { both(t, openingsThatEndEarly) }

func openingsThatEndEarly(t *testing.T) {
	dir := t.TempDir()
	s := reopen(t, dir)
	if err := s.Save(update); err != nil {
		t.Fatal(err)
	}
	if err := s.drop(index(1, 1), index(1, 2)); err != nil { // of which there are none
		t.Fatal(err)
	}
	for i := range 6 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for range i % 4 { // opened, and ended before the root was written
			s = &Store{
				dir: dir, groups: map[paxos.GroupID]*groupFile{}, log: slog.New(slog.DiscardHandler),
				files: newSnapshotFiles(filepath.Join(dir, snapshotsDir)),
			}
			s.failed = errors.New("killed")
			err := s.open(Options{LockWait: time.Second, SegmentBytes: 64 << 10})
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
// deleted after a restart, too, by the next Trim: to load them costs no write.
func TestAnInterruptedTrimIsFinished(t *testing.T) { both(t, anInterruptedTrimIsFinished) }

func anInterruptedTrimIsFinished(t *testing.T) {
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
	if last := s.votes.last(); s.Trim(1, 1) != nil || s.votes.last() != last {
		t.Fatal("a Trim with nothing to do has written")
	}
	for _, below := range []paxos.Slot{2, 4} {
		if err := s.Trim(1, below); err != nil {
			t.Fatal(err)
		}
	}
	for slot := range paxos.Slot(5) {
		record, err := s.votes.get(index(1, slot+1))
		if gone := record == nil; err != nil || gone != (slot+1 < 4) {
			t.Errorf("the record of slot %d is gone: %v, %v", slot+1, gone, err)
		}
	}
}

// TestAnOldOrLostHeaderIsNoticed: all pages and records are sound and of the
// last transaction, but for one header.
func TestAnOldOrLostHeaderIsNoticed(t *testing.T) { both(t, anOldOrLostHeaderIsNoticed) }

func anOldOrLostHeaderIsNoticed(t *testing.T) {
	for name, harm := range map[string]func(s *Store, old entry) error{
		"old":  func(s *Store, old entry) error { return s.write([]entry{old}, false) },
		"lost": func(s *Store, old entry) error { return errors.Join(s.drop(old.index, old.index), s.write(nil, false)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := reopen(t, dir)
			if err := s.Save(update); err != nil {
				t.Fatal(err)
			}
			record, err := s.votes.get(index(1, 0))
			if err != nil {
				t.Fatal(err)
			}
			old := entry{index: index(1, 0), record: record}
			later := update[0]
			later.Header.Promised = synod.Ballot{Round: 9, Member: 1}
			if err := s.Save([]paxos.Update{later}); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(harm(s, old), s.Close()); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(dir, Options{}); !errors.Is(err, ErrDamaged) {
				t.Errorf("Open: %v; want ErrDamaged", err)
			}
		})
	}
}

func FuzzOpenRecords(f *testing.F) {
	f.Add(root{count: 3, sum: 1 << 63, txid: 9, deletes: true}.entry().record[5:])
	f.Add([]byte{5, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5})
	for _, h := range []snapshotHead{{group: 1, slot: 5, size: 9000, sum: 7, file: snapshotName(1, 5, 8)}, {group: 1, slot: 5, size: 1, sum: codec.Checksum([]byte("x")), data: []byte("x")}} {
		content, _ := unsealed(h.record())
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		record := sealed(content)
		if r, err := openRoot(record); err == nil {
			if again, err := openRoot(r.entry().record); err != nil || again != r {
				t.Fatalf("root %+v became %+v, %v", r, again, err)
			}
		}
		if h, err := openHead(record); err == nil {
			if again, err := openHead(h.record()); err != nil || !reflect.DeepEqual(again, h) {
				t.Fatalf("head %+v became %+v, %v", h, again, err)
			}
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

// probeAt has s write its probe to the file at path from now on.
func probeAt(t *testing.T, s *Store, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("no ", path)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	_ = s.probe.file.Close()
	s.probe.file = f
}

// TestProbeThatFails tells a disk without room from one that loses writes.
func TestProbeThatFails(t *testing.T) {
	s := reopen(t, t.TempDir())
	probeAt(t, s, "/dev/full")
	if err := s.Probe(); !errors.Is(err, ErrFull) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("no room: %v; want ErrFull", err)
	}
	probeAt(t, s, "/dev/null") // takes what is written, but does not know how to sync it
	if err := s.Probe(); err == nil || errors.Is(err, ErrFull) {
		t.Errorf("a sync that fails: %v; want an error that is not ErrFull", err)
	}
}
