package storage_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/prytany/prytany/internal/storage"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

var every = flag.Int("every", 997, "damage one byte in so many; 1 takes ten minutes")

const pageSize = 4096

// fill writes a little of everything and returns the files before the last
// save and after it.
func fill(t *testing.T) (before, after files) {
	t.Helper()
	dir := t.TempDir()
	s := open(t, dir)
	if err := s.SetCluster("c"); err != nil {
		t.Fatal(err)
	}
	round := func(i int) {
		var us []paxos.Update
		for g := paxos.GroupID(1); g <= 3; g++ {
			u := paxos.Update{Group: g, Dirty: true, Header: header(uint64(i + 1))}
			for slot := i * 4; slot < i*4+8; slot++ {
				u.Votes = append(u.Votes, vote(slot+1, i+1, fmt.Sprintf("value %d %d %d %s", g, i, slot, bytes.Repeat([]byte{'x'}, 60))))
			}
			us = append(us, u)
		}
		if err := s.Save(us); err != nil {
			t.Fatal(err)
		}
		if err := s.SaveAddress(synod.NodeID(i+1), storage.Address{Name: "n", Peer: "p:1"}); err != nil {
			t.Fatal(err)
		}
		for g, size := range []int{9000, 90} { // in a file, and not
			if err := s.SaveSnapshot(paxos.GroupID(g+1), paxos.Snapshot{Slot: paxos.Slot(i + 1), Data: bytes.Repeat([]byte{byte(i)}, size)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range 7 {
		round(i)
	}
	before = read(t, dir)
	round(7)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return before, read(t, dir)
}

func header(round uint64) paxos.Header {
	return paxos.Header{
		Membership: paxos.Membership{ID: 1, Next: 2, Voters: []paxos.Member{{Node: 5, Ordinal: 1, Name: "a"}}},
		Promised:   synod.Ballot{Round: round, Member: 1},
	}
}

func vote(slot, round int, value string) paxos.SlotVote {
	return paxos.SlotVote{Slot: paxos.Slot(slot), Config: 1, Vote: synod.Vote{Ballot: synod.Ballot{Round: uint64(round), Member: 1}, Value: synod.Value(value)}}
}

// files are the files of a data directory by name, the databases without the empty
// pages at their ends.
type files map[string][]byte

func read(t *testing.T, dir string) files {
	t.Helper()
	fs := files{}
	segments, err := filepath.Glob(filepath.Join(dir, "log.wal", "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(segments, filepath.Join(dir, "log.db"), filepath.Join(dir, "node.db")) {
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // of the other kind of log, or given back meanwhile
		}
		name, err2 := filepath.Rel(dir, path)
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		if !segment(name) {
			b = b[:min((len(bytes.TrimRight(b, "\x00"))/pageSize+1)*pageSize, len(b))]
		}
		fs[name] = b
	}
	for _, name := range snapshotFiles(t, dir) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		fs[name] = b
	}
	return fs
}

// segment reports whether the file called name is one of an append-only log.
func segment(name string) bool { return filepath.Ext(name) == ".seg" }

// snapshotFiles returns the names of the snapshots' files in dir.
func snapshotFiles(t *testing.T, dir string) (names []string) {
	t.Helper()
	there, err := os.ReadDir(filepath.Join(dir, "snapshots"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range there {
		names = append(names, filepath.Join("snapshots", e.Name()))
	}
	return names
}

func (fs files) write(t *testing.T, dir string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "snapshots"), 0o700), os.RemoveAll(filepath.Join(dir, "log.wal"))); err != nil {
		t.Fatal(err)
	}
	for name, b := range fs {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, b, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

// state is all that a directory remembers and must not change by itself.
type state struct {
	identity  storage.Identity
	groups    map[paxos.GroupID]paxos.Durable
	snapshots map[paxos.GroupID]paxos.Snapshot
}

// contents returns what dir holds.
func contents(dir string) (state, error) {
	return visit(dir, func(*storage.Store) error { return nil })
}

// stateOf is contents with a save at the end: what is damaged must not make
// bbolt end the process then either.
func stateOf(dir string) (state, error) {
	return visit(dir, func(s *storage.Store) error {
		return s.Save([]paxos.Update{{Group: 1, Dirty: true, Header: header(99), Votes: []paxos.SlotVote{vote(1000, 99, "after")}}})
	})
}

func visit(dir string, last func(*storage.Store) error) (st state, err error) {
	s, err := storage.Open(dir, storage.Options{SegmentBytes: segmentBytes})
	if err != nil {
		return st, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	st = state{s.Identity(), map[paxos.GroupID]paxos.Durable{}, map[paxos.GroupID]paxos.Snapshot{}}
	gs, err := s.Groups()
	if err != nil {
		return st, err
	}
	for _, g := range gs {
		if st.groups[g], err = s.Load(g); err != nil {
			return st, err
		}
		snap, ok, err := s.LoadSnapshot(g)
		if err != nil {
			return st, err
		}
		if ok {
			st.snapshots[g] = snap
		}
	}
	if _, err := s.Addresses(); err != nil {
		return st, err
	}
	return st, last(s)
}

// noticed fails the test if the damage was neither noticed nor without effect.
func noticed(t *testing.T, dir, what string, fs files, want state) (ok bool) {
	t.Helper()
	fs.write(t, dir)
	got, err := stateOf(dir)
	switch {
	case errors.Is(err, storage.ErrDamaged):
		if text := err.Error(); strings.Contains(text, "\n") || !strings.Contains(text, "prytany member replace") {
			t.Fatalf("%s: %q; want one line that says what to do", what, text)
		}
		return true
	case errors.Is(err, storage.ErrFuture):
		return true
	case err != nil:
		t.Fatalf("%s: %v; want ErrDamaged", what, err)
	case !reflect.DeepEqual(got, want):
		t.Fatalf("%s: silently different: %+v\nwant %+v", what, got, want)
	}
	return false
}

func TestFlippedBytesAreNoticedOrHarmless(t *testing.T) { both(t, flippedBytesAreNoticedOrHarmless) }

func flippedBytesAreNoticedOrHarmless(t *testing.T) {
	_, good := fill(t)
	dir := filepath.Join(t.TempDir(), "data")
	good.write(t, dir)
	want, err := stateOf(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range good {
		hit, n := 0, 0
		for at := 0; at < len(b); at += *every {
			bad := maps.Clone(good)
			bad[name] = bytes.Clone(b)
			bad[name][at] ^= 1 << (at % 8)
			if n++; noticed(t, dir, fmt.Sprintf("%s byte %d", name, at), bad, want) {
				hit++
			}
		}
		t.Logf("%s: %d of %d flipped bits noticed, the others without effect", name, hit, n)
		for at := 16; at < 80 && !segment(name); at += 5 { // what the two meta pages hold
			for _, page := range []int{0, pageSize} {
				bad := maps.Clone(good)
				bad[name] = bytes.Clone(b)
				bad[name][page+at] ^= 1 << (at % 8)
				if !noticed(t, dir, fmt.Sprintf("%s byte %d", name, page+at), bad, want) {
					t.Errorf("%s: a flipped bit of the meta page at %d went unnoticed", name, page+at)
				}
			}
		}
	}
}

// TestLostAndWildWritesAreNoticed puts pages back as they were before the last
// save, empties them, and puts others in their place.
func TestLostAndWildWritesAreNoticed(t *testing.T) { both(t, lostAndWildWritesAreNoticed) }

func lostAndWildWritesAreNoticed(t *testing.T) {
	before, good := fill(t)
	dir := filepath.Join(t.TempDir(), "data")
	good.write(t, dir)
	want, err := stateOf(dir)
	if err != nil {
		t.Fatal(err)
	}
	page := func(b []byte, p int) []byte { return b[p*pageSize : (p+1)*pageSize] }
	for name, b := range good {
		for p := 2; p < len(b)/pageSize; p++ {
			for what, with := range map[string][]byte{
				"lost": before[name], "empty": make([]byte, len(b)), "misplaced": b[pageSize:],
			} {
				if (p+1)*pageSize > len(with) {
					continue
				}
				bad := maps.Clone(good)
				bad[name] = bytes.Clone(b)
				copy(page(bad[name], p), page(with, p))
				noticed(t, dir, fmt.Sprintf("%s page %d %s", name, p, what), bad, want)
			}
		}
		for size := 0; size < len(b); size += pageSize / 2 {
			bad := maps.Clone(good)
			bad[name] = b[:size]
			noticed(t, dir, fmt.Sprintf("%s cut to %d", name, size), bad, want)
		}
	}
}

// TestOldPagesAreNoticed leads bbolt's tree to pages of the past, which are
// whole in themselves: the first saves change promises only.
func TestOldPagesAreNoticed(t *testing.T) {
	src := t.TempDir()
	s := open(t, src)
	var ages []files
	for i := range 6 {
		if err := s.Save([]paxos.Update{{Group: 1, Dirty: true, Header: header(uint64(i + 1))}}); err != nil {
			t.Fatal(err)
		}
		ages = append(ages, read(t, src))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	good := ages[len(ages)-1]
	dir := filepath.Join(t.TempDir(), "data")
	good.write(t, dir)
	want, err := stateOf(dir)
	if err != nil {
		t.Fatal(err)
	}
	tried, hit := 0, 0
	for _, old := range ages[len(ages)-4:] {
		for p := 2; p < len(good["log.db"])/pageSize; p++ {
			for q := 2; q < len(old["log.db"])/pageSize; q++ {
				bad := maps.Clone(good)
				bad["log.db"] = bytes.Clone(good["log.db"])
				page := bad["log.db"][p*pageSize : (p+1)*pageSize]
				copy(page, old["log.db"][q*pageSize:])
				binary.NativeEndian.PutUint64(page, uint64(p)) // where the tree believes it to be
				if tried++; noticed(t, dir, fmt.Sprintf("page %d is an old page %d", p, q), bad, want) {
					hit++
				}
			}
		}
	}
	t.Logf("%d of %d old pages noticed, the others without effect", hit, tried)
}

// TestALostFileIsNoticed: a file that is not there any more must not be taken
// for a new directory.
func TestALostFileIsNoticed(t *testing.T) { both(t, aLostFileIsNoticed) }

func aLostFileIsNoticed(t *testing.T) {
	_, good := fill(t)
	dir := t.TempDir()
	names := []string{map[string]string{storage.LogBolt: "log.db", storage.LogAppend: "log.wal"}[kind], "node.db"}
	for name := range good {
		if filepath.Dir(name) == "snapshots" {
			names = append(names, name)
		}
	}
	if len(names) != 3 {
		t.Fatalf("%v; want the log, node.db and the file of a snapshot", names)
	}
	for _, name := range names {
		good.write(t, dir)
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if _, err := stateOf(dir); !errors.Is(err, storage.ErrDamaged) {
			t.Errorf("without %s: %v; want ErrDamaged", name, err)
		}
	}
}
