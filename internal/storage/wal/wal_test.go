package wal

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestMain has nothing wait for the disk: what a power cut leaves is made up by the tests.
func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.bench").Value.String() == "" {
		syncFrame = func(*os.File) error { return nil }
		syncMade = syncFrame
		syncDir = func(string) error { return nil }
	}
	os.Exit(m.Run())
}

// tiny is the size of segments in tests: they end often.
const tiny = 8 * pageSize

func newLog(t testing.TB, dir string, bytes int64) *Log {
	t.Helper()
	opts := Options{SegmentBytes: bytes}
	if err := Create(dir, opts, 1, []Record{{Key: 0, Value: []byte("root")}}); err != nil {
		t.Fatal(err)
	}
	return openLog(t, dir, bytes)
}

func openLog(t testing.TB, dir string, bytes int64) *Log {
	t.Helper()
	l, err := Open(dir, Options{SegmentBytes: bytes})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// settle waits until the next segment is there and old ones are gone.
func settle(l *Log) {
	l.pace.set(1 << 40)
	l.working.Wait()
}

func closeLog(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// contents returns all that l holds.
func contents(l *Log) (map[uint64]string, error) {
	out := map[uint64]string{}
	for _, shelf := range l.table.shelves {
		for key := range shelf {
			v, ok, err := l.Get(key)
			if err != nil || !ok {
				return nil, errors.Join(err, errors.New("a key of the table has no value"))
			}
			out[key] = string(v)
		}
	}
	return out, nil
}

// after is the key of the record that held writes.
const after = 1 << 20 << shelfBits

// held opens the log in dir and returns its last number and all that it holds, after
// one more write, which must work.
func held(dir string, bytes int64) (last uint64, all map[uint64]string, err error) {
	l, err := Open(dir, Options{SegmentBytes: bytes})
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = l.Close() }()
	last = l.Last()
	if all, err = contents(l); err != nil {
		return last, nil, err
	}
	if err := l.Put([]Record{{Key: after, Value: []byte("after")}}); err != nil {
		return last, nil, err
	}
	with, err := contents(l)
	delete(with, after)
	delete(all, after) // of the time before
	if err == nil && !maps.Equal(with, all) {
		err = errors.New("a write has changed other records")
	}
	return last, all, err
}

// A disk is the files of a log, by name.
type disk map[string][]byte

func readDisk(t testing.TB, dir string) disk {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil {
		t.Fatal(err)
	}
	d := disk{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // given back meanwhile
		}
		if err != nil {
			t.Fatal(err)
		}
		d[filepath.Base(name)] = b
	}
	return d
}

func (d disk) write(t testing.TB, dir string) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	for name, b := range d {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A model is what a log should hold.
type model map[uint64]string

// step puts and deletes some records at random in both.
func (m model) step(t testing.TB, l *Log, r *rand.Rand, most int) {
	t.Helper()
	for range r.IntN(2) {
		first := r.Uint64N(4)<<shelfBits | r.Uint64N(30)
		last := first + r.Uint64N(20)
		l.Delete(first, last)
		maps.DeleteFunc(m, func(k uint64, _ string) bool { return first <= k && k <= last })
	}
	var records []Record
	for range 1 + r.IntN(3) {
		k := r.Uint64N(4)<<shelfBits | r.Uint64N(40)
		v := strings.Repeat(string(rune('a'+r.IntN(26))), r.IntN(most))
		if r.IntN(3) == 0 {
			v = strings.Repeat("\x00", r.IntN(most)) // what an empty sector holds
		}
		records = append(records, Record{k, []byte(v)})
		m[k] = v
	}
	if err := l.Put(records); err != nil {
		t.Fatal(err)
	}
}

// TestAMap compares a log with a map, over restarts, with segments of all sizes.
func TestAMap(t *testing.T) {
	sizes := []int64{1, 3, 4, 5, 8, 64}
	if testing.Short() {
		sizes = sizes[:2]
	}
	for _, pages := range sizes {
		t.Run(fmt.Sprintf("pages=%d", pages), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "log")
			l := newLog(t, dir, pages*pageSize)
			m, r := model{0: "root"}, rand.New(rand.NewPCG(1, uint64(pages)))
			for i := range 600 {
				m.step(t, l, r, []int{50, 600, 9000}[r.IntN(3)])
				if r.IntN(20) == 0 {
					// Deletions that no write came after are undone.
					before := l.Last()
					closeLog(t, l)
					l = openLog(t, dir, pages*pageSize)
					if l.Last() != before {
						t.Fatalf("frame %d is the last after a restart, %d before", l.Last(), before)
					}
				}
				if i%10 > 0 {
					continue
				}
				if got, err := contents(l); err != nil || !maps.Equal(got, m) {
					t.Fatalf("step %d: %v; the log holds %d records, want %d", i, err, len(got), len(m))
				}
			}
			if l.Last() != 601 {
				t.Errorf("last frame %d after 601 writes", l.Last())
			}
		})
	}
}

// TestADeletionIsOfTheNextWrite: alone it is not durable, with a write it is.
func TestADeletionIsOfTheNextWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := newLog(t, dir, tiny)
	if err := l.Put([]Record{{Key: 1, Value: []byte("one")}, {Key: 2, Value: []byte("two")}}); err != nil {
		t.Fatal(err)
	}
	l.Delete(1, 1)
	if _, ok, err := l.Get(1); ok || err != nil {
		t.Errorf("a deleted record is there: %v, %v", ok, err)
	}
	closeLog(t, l)
	l = openLog(t, dir, tiny)
	if _, ok, err := l.Get(1); !ok || err != nil {
		t.Errorf("no write came after the deletion, and the record is there: %v, %v; want true", ok, err)
	}
	l.Delete(1, 1)
	if err := l.Put([]Record{{Key: 3, Value: nil}}); err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
	if got, err := contents(openLog(t, dir, tiny)); err != nil || !maps.Equal(got, model{0: "root", 2: "two", 3: ""}) {
		t.Errorf("the log holds %v, %v", got, err)
	}
}

// TestItTakesLittleRoom: many records that are written once and never again, and one
// that is written all the time.
func TestItTakesLittleRoom(t *testing.T) {
	const size = 16 * pageSize
	dir := filepath.Join(t.TempDir(), "log")
	l := newLog(t, dir, size)
	m := model{0: "root"}
	for g := range uint64(100) {
		v := strings.Repeat("idle ", 40+int(g))
		if err := l.Put([]Record{{Key: (g + 1) << shelfBits, Value: []byte(v)}}); err != nil {
			t.Fatal(err)
		}
		m[(g+1)<<shelfBits] = v
	}
	longest, before := 0, l.Last()
	for i := range 5000 {
		m[5] = strings.Repeat("x", i%700)
		own := pagesFor(len(m[5]) + 21)
		was, segment := l.page, l.head
		if err := l.Put([]Record{{Key: 5, Value: []byte(m[5])}}); err != nil {
			t.Fatal(err)
		}
		if segment == l.head {
			longest = max(longest, (l.page-was)/own)
		}
		settle(l)
		if most := 5*l.table.live + 4*size; l.Size() > most {
			t.Fatalf("after %d writes the log takes %d bytes, with %d live; want %d at most", i, l.Size(), l.table.live, most)
		}
	}
	if longest > carryFactor+2 {
		t.Errorf("a frame has %d times the pages of what was put; want about %d at most", longest, carryFactor+1)
	}
	if l.tail == 1 {
		t.Error("nothing was given back")
	}
	if l.Last() != before+5000 {
		t.Errorf("5000 writes took %d frames", l.Last()-before)
	}
	closeLog(t, l)
	last, got, err := held(dir, size)
	if err != nil || !maps.Equal(got, m) || last != before+5000 {
		t.Errorf("after a restart: %v; %d records, want %d", err, len(got), len(m))
	}
	var there int64
	for _, b := range readDisk(t, dir) {
		there += int64(len(b))
	}
	l = openLog(t, dir, size)
	settle(l)
	if l.Size() != there && l.Size() != there+size {
		t.Errorf("Size() = %d, and the files have %d bytes", l.Size(), there)
	}
}

// TestALargeWrite is one that no segment has room for.
func TestALargeWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := newLog(t, dir, tiny)
	m := model{0: "root"}
	for i, size := range []int{10, 3 * tiny, 5 * tiny, 10, 100 * tiny, 7} {
		m[uint64(i)] = strings.Repeat("v", size)
		if err := l.Put([]Record{{Key: uint64(i), Value: []byte(m[uint64(i)])}}); err != nil {
			t.Fatal(err)
		}
	}
	closeLog(t, l)
	if _, got, err := held(dir, tiny); err != nil || !maps.Equal(got, m) {
		t.Errorf("%v; %d records, want %d", err, len(got), len(m))
	}
	l = openLog(t, dir, tiny)
	if err := l.Put([]Record{{Key: 1, Value: make([]byte, maxOwn)}}); err == nil {
		t.Error("a write beyond all bounds has worked")
	}
}

// TestAFailedWriteSticks also for the writes that would work.
func TestAFailedWriteSticks(t *testing.T) {
	l := newLog(t, filepath.Join(t.TempDir(), "log"), tiny)
	file := l.head.file
	broken, err := os.Open(segmentPath(l.dir, l.head.number))
	if err != nil {
		t.Fatal(err)
	}
	l.head.file = broken // may only be read
	before := l.Last()
	first := l.Put([]Record{{Key: 1, Value: []byte("one")}})
	if first == nil {
		t.Fatal("a file that may only be read was written")
	}
	l.head.file = file
	if err := l.Put([]Record{{Key: 2}}); !errors.Is(err, first) {
		t.Errorf("the next write: %v; want %v", err, first)
	}
	if _, ok, _ := l.Get(1); ok || l.Last() != before {
		t.Error("what was not written is there")
	}
	closeLog(t, l)
	closeLog(t, l)
	if err := l.Put(nil); err == nil {
		t.Error("a closed log was written")
	}
	_ = broken.Close()
}

// TestTheNextSegmentFails: a disk that fails a sync is written to no more, though the
// segment that has room is well.
func TestTheNextSegmentFails(t *testing.T) {
	l := newLog(t, filepath.Join(t.TempDir(), "log"), tiny)
	settle(l)
	is := <-l.next
	if err := errors.Join(is.err, is.segment.file.Close()); err != nil {
		t.Fatal(err)
	}
	l.next <- made{err: &os.PathError{Op: "fdatasync", Path: "next", Err: syscall.EIO}}
	before := l.Last()
	for range 2 {
		if err := l.Put([]Record{{Key: 1, Value: []byte("v")}}); !errors.Is(err, syscall.EIO) || l.Last() != before {
			t.Fatalf("a write after the sync has failed: %v; the last is %d, was %d", err, l.Last(), before)
		}
	}
	closeLog(t, l)
}

// TestTheNextSegmentFailsWhenItIsNeeded: the writer waits for it already.
func TestTheNextSegmentFailsWhenItIsNeeded(t *testing.T) {
	l := newLog(t, filepath.Join(t.TempDir(), "log"), tiny)
	settle(l)
	sync := make(chan error)
	defer func(old func(*os.File) error) { syncMade = old }(syncMade)
	syncMade = func(*os.File) error { return <-sync }
	put := func(until uint64) (err error) {
		for err == nil && l.head.number < until {
			err = l.Put([]Record{{Key: 1, Value: []byte("v")}})
		}
		return err
	}
	if err := put(2); err != nil {
		t.Fatal(err)
	}
	hurry, ended := l.hurry, make(chan error)
	go func() { ended <- put(3) }()
	<-hurry
	sync <- syscall.EIO
	close(sync) // all others succeed
	if err := <-ended; !errors.Is(err, syscall.EIO) {
		t.Errorf("a write that has waited for a segment whose sync has failed: %v; want %v", err, syscall.EIO)
	}
	closeLog(t, l)
}

// TestNoRoomForTheNextSegment: it is asked for once more when it is needed.
func TestNoRoomForTheNextSegment(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := newLog(t, dir, tiny)
	settle(l)
	is := <-l.next
	if err := errors.Join(is.err, is.segment.file.Close(), os.Remove(segmentPath(dir, is.segment.number))); err != nil {
		t.Fatal(err)
	}
	l.next <- made{err: &os.PathError{Op: "write", Path: "next", Err: syscall.ENOSPC}}
	m := model{0: "root"}
	for i := range uint64(20) {
		m[i] = fmt.Sprint("value ", i)
		if err := l.Put([]Record{{Key: i, Value: []byte(m[i])}}); err != nil {
			t.Fatal(err)
		}
	}
	closeLog(t, l)
	if _, got, err := held(dir, tiny); err != nil || !maps.Equal(got, m) {
		t.Errorf("%v; %v", got, err)
	}
}

// TestAFailedSyncSticks: the bytes are written, and nobody knows where.
func TestAFailedSyncSticks(t *testing.T) {
	l := newLog(t, filepath.Join(t.TempDir(), "log"), tiny)
	failed := errors.New("input/output error")
	defer func(old func(*os.File) error) { syncFrame = old }(syncFrame)
	syncFrame = func(*os.File) error { return failed }
	if err := l.Put([]Record{{Key: 1, Value: []byte("one")}}); !errors.Is(err, failed) {
		t.Errorf("Put: %v; want %v", err, failed)
	}
	syncFrame = func(*os.File) error { return nil } // as the kernel does: it tells only once
	if err := l.Put([]Record{{Key: 2}}); !errors.Is(err, failed) {
		t.Errorf("the next Put: %v; want %v", err, failed)
	}
	if _, ok, _ := l.Get(1); ok || l.Last() != 1 {
		t.Errorf("the record is there: %v; frame %d is the last", ok, l.Last())
	}
	closeLog(t, l) // which waits for the segment that is being made
	syncFrame = func(*os.File) error { return failed }
	if _, err := Open(l.dir, Options{SegmentBytes: tiny}); !errors.Is(err, failed) {
		t.Errorf("Open: %v; want %v: nothing may be believed that cannot be synced", err, failed)
	}
}

// TestNothingIsLeftBehind by a start or a segment that was interrupted.
func TestNothingIsLeftBehind(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	if err := os.MkdirAll(dir+partial, 0o700); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dir, "0000000000000009"+suffix+partial)
	if err := os.WriteFile(filepath.Join(dir+partial, filepath.Base(segmentPath("", 1))), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := newLog(t, dir, tiny)
	closeLog(t, l)
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	closeLog(t, openLog(t, dir, tiny))
	for _, path := range []string{left, dir + partial} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s: %v; want it to be gone", path, err)
		}
	}
}

// TestFirstNumber: a log can go on where another has ended.
func TestFirstNumber(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	if err := Create(dir, Options{SegmentBytes: tiny}, 77, []Record{{Key: 1, Value: bytes.Repeat([]byte("x"), 5000)}}); err != nil {
		t.Fatal(err)
	}
	if l := openLog(t, dir, tiny); l.Last() != 77 {
		t.Errorf("the first frame has number %d; want 77", l.Last())
	}
}
