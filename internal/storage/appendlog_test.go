package storage_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/prytany/prytany/internal/storage"
	"github.com/prytany/prytany/paxos"
)

const sectorSize = 512

// openAs opens dir with a kind of log for a new one.
func openAs(t *testing.T, dir, kind string) *storage.Store {
	t.Helper()
	s, err := storage.Open(dir, storage.Options{LogStore: kind, SegmentBytes: segmentBytes})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// changed returns the sectors in which two segments differ.
func changed(was, is []byte) (out []int) {
	for s := range len(is) / sectorSize {
		if !bytes.Equal(was[s*sectorSize:(s+1)*sectorSize], is[s*sectorSize:(s+1)*sectorSize]) {
			out = append(out, s)
		}
	}
	return out
}

// TestAPowerCutWithinAnAppendedSave tries the states that a power cut may leave of one
// write: any of its sectors there or not. With all of them the save is there, else not.
func TestAPowerCutWithinAnAppendedSave(t *testing.T) {
	dir := t.TempDir()
	s := openAs(t, dir, storage.LogAppend)
	save := func(i int) {
		var us []paxos.Update
		for g := range paxos.GroupID(8) {
			us = append(us, paxos.Update{Group: g + 1, Dirty: true, Header: header(uint64(i + 1)), Votes: []paxos.SlotVote{vote(i+1, i+1, strings.Repeat("\x00y", 400))}})
		}
		if err := s.Save(us); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		save(i)
	}
	before := read(t, dir)
	save(3)
	after := read(t, dir)
	old, err := inCopy(t, before)
	if err != nil {
		t.Fatal(err)
	}
	present, err := inCopy(t, after)
	if err != nil || reflect.DeepEqual(old, present) {
		t.Fatalf("the save has changed nothing, or %v", err)
	}
	name := slices.Sorted(maps.Keys(after))[0]
	sectors := changed(before[name], after[name])
	if len(sectors) < 16 {
		t.Fatalf("a save changed %d sectors of %s; want more to try", len(sectors), name)
	}
	r := rand.New(rand.NewPCG(1, 2))
	try := func(what string, there func(i int) bool) {
		t.Helper()
		b, n := bytes.Clone(before[name]), 0
		for i, at := range sectors {
			if there(i) {
				copy(b[at*sectorSize:(at+1)*sectorSize], after[name][at*sectorSize:])
				n++
			}
		}
		cut := maps.Clone(before)
		cut[name] = b
		want := old
		if n == len(sectors) {
			want = present
		}
		if got, err := inCopy(t, cut); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: with %d of %d sectors: %+v, %v; want all or nothing of the save", what, n, len(sectors), got, err)
		}
	}
	for k := range len(sectors) + 1 {
		try(fmt.Sprint("the first ", k), func(i int) bool { return i < k })
		try(fmt.Sprint("the last ", k), func(i int) bool { return i >= len(sectors)-k })
		try(fmt.Sprint("all but ", k), func(i int) bool { return i != k })
		try("some", func(int) bool { return r.IntN(2) == 0 })
		pages := r.Uint64()
		try("some pages", func(i int) bool { return pages>>(sectors[i]/8%64)&1 == 0 })
	}
}

// TestADirectoryKeepsItsLog, whatever is wanted of new ones.
func TestADirectoryKeepsItsLog(t *testing.T) {
	for kind, other := range map[string]string{storage.LogBolt: storage.LogAppend, storage.LogAppend: storage.LogBolt} {
		dir := t.TempDir()
		s := openAs(t, dir, kind)
		save(t, s, 7)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		names := slices.Sorted(maps.Keys(read(t, dir)))
		s = openAs(t, dir, other)
		if d, err := s.Load(1); err != nil || d.Header.Promised.Round != 7 {
			t.Errorf("%s: %+v, %v", kind, d, err)
		}
		if again := slices.Sorted(maps.Keys(read(t, dir))); !slices.Equal(names, again) {
			t.Errorf("%s: files %v became %v", kind, names, again)
		}
	}
	if _, err := storage.Open(t.TempDir(), storage.Options{LogStore: "wal"}); err == nil || !strings.Contains(err.Error(), "say bolt or append") {
		t.Errorf("an unknown kind: %v", err)
	}
}

// TestTwoLogsAreDamage, and so is one that node.db does not know.
func TestTwoLogsAreDamage(t *testing.T) {
	made := map[string]files{}
	for _, kind := range []string{storage.LogBolt, storage.LogAppend} {
		s := openAs(t, t.TempDir(), kind)
		save(t, s, 1)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		made[kind] = read(t, s.Dir())
	}
	for what, fs := range map[string][2]files{
		"both logs of an appending node": {made[storage.LogBolt], made[storage.LogAppend]},
		"both logs of a node with bolt":  {made[storage.LogAppend], made[storage.LogBolt]},
	} {
		all := maps.Clone(fs[0])
		maps.Copy(all, fs[1]) // node.db of this one
		dir := t.TempDir()
		all.write(t, dir)
		_, err := storage.Open(dir, storage.Options{})
		refused(t, err, storage.ErrDamaged, "prytany member replace")
		for name := range fs[1] {
			if name != "node.db" {
				delete(all, name)
			}
		}
		if err := os.Remove(filepath.Join(dir, "log.db")); err != nil {
			t.Fatal(err)
		}
		all.write(t, dir)
		if _, err := storage.Open(dir, storage.Options{}); !errors.Is(err, storage.ErrDamaged) {
			t.Errorf("%s, and then only the other: %v", what, err)
		}
	}
}

// TestAnotherNodesLog is refused, though it is whole.
func TestAnotherNodesLog(t *testing.T) {
	var made []files
	for range 2 {
		s := openAs(t, t.TempDir(), storage.LogAppend)
		save(t, s, 1)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		made = append(made, read(t, s.Dir()))
	}
	mixed := maps.Clone(made[0])
	mixed["node.db"] = made[1]["node.db"]
	dir := t.TempDir()
	mixed.write(t, dir)
	_, err := storage.Open(dir, storage.Options{})
	refused(t, err, storage.ErrDamaged, "another directory")
}

// TestALostEndIsNoticed: a disk has lost all of the last write, which leaves no trace in
// the log, after an orderly end, or after a probe.
func TestALostEndIsNoticed(t *testing.T) {
	for _, probed := range []bool{false, true} {
		dir := t.TempDir()
		if err := openAs(t, dir, storage.LogAppend).Close(); err != nil {
			t.Fatal(err)
		}
		s := openAs(t, dir, storage.LogAppend) // finds all of its files: none comes while they are copied
		save(t, s, 1)
		before := read(t, dir)
		save(t, s, 2)
		end := s.Close
		if probed {
			end = s.Probe // and then a kill
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		copied := filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		if err := openAs(t, copied, "").Close(); err != nil {
			t.Fatal(err)
		}
		copied = filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		old := before
		delete(old, "node.db")
		old.write(t, copied)
		_, err := storage.Open(copied, storage.Options{})
		refused(t, err, storage.ErrDamaged, "was durable")
	}
}

// TestALogThatIsMadeAgainGoesOn: peers remember how far the one before had come.
func TestALogThatIsMadeAgainGoesOn(t *testing.T) {
	dir := t.TempDir()
	s := openAs(t, dir, storage.LogAppend)
	last := s.Position()
	if err := errors.Join(s.Close(), os.RemoveAll(filepath.Join(dir, "log.wal"))); err != nil {
		t.Fatal(err)
	}
	s = openAs(t, dir, storage.LogBolt)
	if s.Position() <= last {
		t.Errorf("position %d after %d", s.Position(), last)
	}
	save(t, s, 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "log.db")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory has got a log.db: %v", err)
	}
	if d, err := openAs(t, dir, "").Load(1); err != nil || d.Header.Promised.Round != 1 {
		t.Errorf("Load = %+v, %v", d, err)
	}
}

// TestAnAppendedLogStaysSmall while groups vote and trim, and comes back whole.
func TestAnAppendedLogStaysSmall(t *testing.T) {
	dir := t.TempDir()
	s := openAs(t, dir, storage.LogAppend)
	const groups, keep = 12, 10
	want := map[paxos.GroupID]paxos.Durable{}
	for g := range paxos.GroupID(40) { // which rest
		h := header(uint64(g))
		if err := s.Save([]paxos.Update{{Group: 100 + g, Dirty: true, Header: h, Votes: []paxos.SlotVote{vote(5, 1, "old")}}}); err != nil {
			t.Fatal(err)
		}
		want[100+g] = paxos.Durable{Header: h, Votes: []paxos.SlotVote{vote(5, 1, "old")}}
	}
	for i := range 600 {
		g := paxos.GroupID(i%groups + 1)
		d := want[g]
		slot := i/groups + 1
		h := header(uint64(slot))
		h.Trimmed = paxos.Slot(max(0, slot-keep))
		v := vote(slot, slot, strings.Repeat("v", 20*(i%50)))
		if err := s.Save([]paxos.Update{{Group: g, Dirty: true, Header: h, Votes: []paxos.SlotVote{v}}}); err != nil {
			t.Fatal(err)
		}
		d.Header, d.Votes = h, append(slices.Clone(d.Votes), v)
		d.Votes = slices.DeleteFunc(d.Votes, func(v paxos.SlotVote) bool { return v.Slot < h.Trimmed })
		want[g] = d
		if i%7 == 0 {
			if err := s.Trim(g, h.Trimmed); err != nil {
				t.Fatal(err)
			}
		}
		if i%97 == 0 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openAs(t, dir, "")
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := contents(dir)
	if err != nil || !reflect.DeepEqual(got.groups, want) {
		t.Errorf("the groups are not what was saved: %v", err)
	}
	size, first := 0, ""
	for name, b := range read(t, dir) {
		if segment(name) {
			size += len(b)
			if first == "" || name < first {
				first = name
			}
		}
	}
	if size > 14*segmentBytes {
		t.Errorf("the log takes %d bytes after 640 writes", size)
	}
	if filepath.Base(first) == "0000000000000001.seg" {
		t.Error("the first segment was never given back")
	}
}
