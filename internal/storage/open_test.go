package storage_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/prytany/prytany/internal/codec"
	"github.com/prytany/prytany/internal/storage"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

func TestIdentity(t *testing.T) { both(t, identity) }

func identity(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "data")
	first := open(t, dir)
	id := first.Identity()
	if id.Node == 0 || id.Incarnation != 1 || id.Cluster != "" || id.Name != "n" {
		t.Errorf("new directory: %+v; want a node in its first incarnation", id)
	}
	if err := first.SetCluster("c1"); err != nil {
		t.Fatal(err)
	}
	for _, lease := range []int64{5, 7, 6} {
		if err := first.RaiseLease(lease); err != nil {
			t.Fatal(err)
		}
	}
	book := map[synod.NodeID]storage.Address{1 << 63: {Name: "b", Peer: "b:1", HTTP: "b:2", Gossip: "b:3"}}
	if err := first.SaveAddress(1<<63, book[1<<63]); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	id.Cluster, id.Lease = "c1", 7
	for range 3 {
		s := open(t, dir)
		id.Incarnation++
		if got := s.Identity(); got != id {
			t.Errorf("identity = %+v; want %+v", got, id)
		}
		if got, err := s.Addresses(); err != nil || !reflect.DeepEqual(got, book) {
			t.Errorf("addresses = %v, %v; want %v", got, err, book)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := open(t, t.TempDir()).Identity().Node, open(t, t.TempDir()).Identity().Node; a == b {
		t.Errorf("two directories have one identity, %v", a)
	}
}

// refused checks that err is one line, is want, and says what to do.
func refused(t *testing.T, err, want error, says string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("err = %v; want %v", err, want)
	}
	if strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), says) {
		t.Errorf("err = %q; want one line that says %q", err, says)
	}
}

func TestADirectoryInUse(t *testing.T) { both(t, aDirectoryInUse) }

func aDirectoryInUse(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	_, err := storage.Open(dir, storage.Options{LockWait: 10 * time.Millisecond})
	refused(t, err, storage.ErrInUse, "stop it")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := open(t, dir).Identity().Incarnation; got != 2 {
		t.Errorf("incarnation = %d; want 2: the refused opening must not count", got)
	}
}

func TestADirectoryOfAnotherCluster(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for range 2 {
		if err := s.SetCluster("ours"); err != nil {
			t.Fatal(err)
		}
	}
	refused(t, s.SetCluster("theirs"), storage.ErrForeign, "directory of its own")
	if got := s.Identity().Cluster; got != "ours" {
		t.Errorf("cluster = %q; want it unchanged", got)
	}
}

func TestADirectoryOfAnotherVersion(t *testing.T) {
	dir := t.TempDir()
	if err := open(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	put := func(record []byte) {
		db, err := bbolt.Open(filepath.Join(dir, "node.db"), 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte("node")).Put([]byte("identity"), record) })
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
	}
	b, err := json.Marshal(storage.Identity{Format: 99, Node: 1})
	if err != nil {
		t.Fatal(err)
	}
	put(codec.AppendRecord(nil, b))
	_, err = storage.Open(dir, storage.Options{})
	refused(t, err, storage.ErrFuture, "newer version")
	record := codec.AppendRecord(nil, b)
	record[0]++
	put(record)
	_, err = storage.Open(dir, storage.Options{})
	refused(t, err, storage.ErrFuture, "newer one")
	if b, err = json.Marshal(storage.Identity{Format: 1, Node: 1, Name: "old"}); err != nil {
		t.Fatal(err)
	}
	put(codec.AppendRecord(nil, b))
	_, err = storage.Open(dir, storage.Options{})
	refused(t, err, storage.ErrPast, "member replace old")
}

func TestADirectoryThatIsNone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := storage.Open(filepath.Join(file, "data"), storage.Options{})
	refused(t, err, syscall.ENOTDIR, "not a directory")
}

// TestAnInterruptedFirstStart: what a first start left half made is made anew.
func TestAnInterruptedFirstStart(t *testing.T) { both(t, anInterruptedFirstStart) }

func anInterruptedFirstStart(t *testing.T) {
	for _, name := range []string{"node.db.new", "log.db.new", "log.wal.new"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, 100), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := open(t, dir).Close(); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	if err := open(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	name := map[string]string{storage.LogBolt: "log.db", storage.LogAppend: "log.wal"}[kind]
	if err := os.RemoveAll(filepath.Join(dir, name)); err != nil { // not made yet: no group is known
		t.Fatal(err)
	}
	open(t, dir)
	if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
		t.Error(err)
	}
}

// TestTheMappingTakesNoRoom: log.db is mapped far beyond its end.
func TestTheMappingTakesNoRoom(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads blocks as Linux counts them")
	}
	dir := t.TempDir()
	s := open(t, dir)
	if err := s.Save([]paxos.Update{{Group: 1, Dirty: true, Header: header(1)}}); err != nil {
		t.Fatal(err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(filepath.Join(dir, "log.db"), &st); err != nil {
		t.Fatal(err)
	}
	if used := st.Blocks * 512; used > 1<<20 {
		t.Errorf("log.db takes %d bytes of disk; want less than 1 MiB", used)
	}
}
