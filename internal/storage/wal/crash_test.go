package wal

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A cut is one state that a power cut may leave.
type cut struct {
	what string
	disk disk
}

// cuts returns states between two disks, of which the second is the first after what was
// written between two syncs: any of the sectors written and the others not.
func cuts(before, after disk, r *rand.Rand) (out []cut) {
	was := maps.Clone(before)
	type place struct {
		name   string
		sector int
	}
	var places []place
	var changed []int // of places
	for _, name := range slices.Sorted(maps.Keys(after)) {
		is := after[name]
		old := was[name]
		if len(old) != len(is) { // made before it was written to, or put in the place of an empty one
			old = make([]byte, len(is))
			copy(old, is[:pageSize])
			was[name] = old
			out = append(out, cut{name + " made", maps.Clone(was)})
		}
		for s := range len(is) / sectorSize {
			if !bytes.Equal(old[s*sectorSize:(s+1)*sectorSize], is[s*sectorSize:(s+1)*sectorSize]) {
				changed = append(changed, len(places))
				places = append(places, place{name, s})
			}
		}
	}
	for what, written := range subsets(changed, r) {
		d := maps.Clone(was)
		for _, p := range written {
			name, at := places[p].name, places[p].sector*sectorSize
			if &d[name][0] == &was[name][0] {
				d[name] = bytes.Clone(was[name])
			}
			copy(d[name][at:at+sectorSize], after[name][at:])
		}
		out = append(out, cut{fmt.Sprintf("%s of %d sectors written: %v", what, len(changed), written), d})
	}
	return out
}

// syncs returns what is on the disk before f, at each of its syncs, and after it.
func syncs(t *testing.T, dir string, f func()) (out []disk) {
	out = append(out, readDisk(t, dir))
	defer func(old func(*os.File) error) { syncFrame = old }(syncFrame)
	syncFrame = func(*os.File) error {
		out = append(out, readDisk(t, dir))
		return nil
	}
	f()
	return append(out, readDisk(t, dir))
}

// subsets returns parts of all: none, all, all but one, one, the first and the last
// some, whole pages, and any.
func subsets(all []int, r *rand.Rand) map[string][]int {
	out := map[string][]int{"none": nil, "all": all}
	for i := range all {
		out[fmt.Sprint("all but one ", i)] = slices.Delete(slices.Clone(all), i, i+1)
		out[fmt.Sprint("one ", i)] = all[i : i+1]
		out[fmt.Sprint("first ", i)] = all[:i]
		out[fmt.Sprint("last ", i)] = all[i:]
	}
	for i := range 20 {
		var some, pages []int
		keep := r.Uint64()
		for j, s := range all {
			if r.IntN(2) == 0 {
				some = append(some, s)
			}
			if keep>>(j*sectorSize/pageSize%64)&1 == 0 {
				pages = append(pages, s)
			}
		}
		out[fmt.Sprint("any ", i)], out[fmt.Sprint("pages ", i)] = some, pages
	}
	return out
}

// TestAPowerCut tries what a power cut may leave of writes of many sizes, at ends of
// segments and while segments are given back: the log opens, and holds what it held
// before the write or after it, and can be written.
func TestAPowerCut(t *testing.T) {
	sizes := []int64{3, 5, 8}
	if testing.Short() {
		sizes = sizes[1:2]
	}
	for _, pages := range sizes {
		t.Run(fmt.Sprintf("pages=%d", pages), func(t *testing.T) { powerCut(t, pages*pageSize) })
	}
}

func powerCut(t *testing.T, size int64) {
	dir, copied := filepath.Join(t.TempDir(), "log"), filepath.Join(t.TempDir(), "copy")
	l := newLog(t, dir, size)
	m, r := model{0: "root"}, rand.New(rand.NewPCG(7, uint64(size)))
	undone, tried, switched, swept := 0, 0, 0, 0
	for step := range 16 {
		for range 10 {
			m.step(t, l, r, 900)
		}
		settle(l)
		was, last, tail := maps.Clone(m), l.Last(), l.tail
		disks := syncs(t, dir, func() { m.step(t, l, r, []int{100, 3000, 9000}[step%3]) })
		settle(l)
		if len(disks) > 3 {
			switched++
		}
		if l.tail != tail {
			swept++
		}
		var some []cut
		for i := range disks[1:] {
			for name, b := range disks[i] { // not removed before the write has returned
				if disks[i+1][name] == nil {
					disks[i+1][name] = b
				}
			}
			some = append(some, cuts(disks[i], disks[i+1], r)...)
		}
		r.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
		for _, c := range some[:min(len(some), 40)] {
			c.disk.write(t, copied)
			is, got, err := held(copied, size)
			tried++
			switch {
			case err != nil:
				t.Fatalf("step %d, %s: %v", step, c.what, err)
			case is == last && maps.Equal(got, was):
				undone++
			case is == last+1 && maps.Equal(got, m):
			default:
				t.Fatalf("step %d, %s: neither what was before nor what is after", step, c.what)
			}
			if again, got2, err := held(copied, size); err != nil || again != is+1 || !maps.Equal(got2, got) {
				t.Fatalf("step %d, %s: opened once more: frame %d after %d, %v", step, c.what, again, is, err)
			}
		}
	}
	t.Logf("%d cuts of %d undid the write; of 16 writes %d were at the end of a segment, %d gave one back", undone, tried, switched, swept)
	if undone == 0 || switched == 0 || swept == 0 {
		t.Error("want some of each")
	}
}

// TestACutWhileCleaning: the remains of a write are emptied in any order.
func TestACutWhileCleaning(t *testing.T) {
	dir, copied := filepath.Join(t.TempDir(), "log"), filepath.Join(t.TempDir(), "copy")
	l := newLog(t, dir, 64*pageSize)
	settle(l)
	before := readDisk(t, dir)
	if err := l.Put([]Record{{Key: 1, Value: bytes.Repeat([]byte("x"), 30000)}}); err != nil {
		t.Fatal(err)
	}
	after := readDisk(t, dir)
	r := rand.New(rand.NewPCG(1, 1))
	some := cuts(before, after, r)[:12]
	if testing.Short() {
		some = some[:2]
	}
	for _, torn := range some {
		for _, cleaned := range cuts(before, torn.disk, r) {
			cleaned.disk.write(t, copied)
			if last, got, err := held(copied, 64*pageSize); err != nil || len(got) != 1 && last == 1 {
				t.Fatalf("%s, then %s: %d records, %v", torn.what, cleaned.what, len(got), err)
			}
		}
	}
}

// lastFrame returns a log's disk and where its last frame begins and ends in which file.
func lastFrame(t *testing.T, size int64, value []byte) (dir string, d disk, name string, from, to int) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "log")
	l := newLog(t, dir, size)
	if err := l.Put([]Record{{Key: 1, Value: []byte("first")}}); err != nil {
		t.Fatal(err)
	}
	from = l.page * pageSize
	if err := l.Put([]Record{{Key: 1, Value: value}, {Key: 2, Value: make([]byte, 3000)}}); err != nil {
		t.Fatal(err)
	}
	to = l.page * pageSize
	closeLog(t, l)
	return dir, readDisk(t, dir), filepath.Base(segmentPath("", l.head.number)), from, to
}

// TestTheLastFrameIsNotDropped though bytes of it are wrong: any bit, and any run of
// bytes that leaves something of each sector.
func TestTheLastFrameIsNotDropped(t *testing.T) {
	if testing.Short() {
		t.Skip("a long search in one goroutine")
	}
	dir, good, name, from, to := lastFrame(t, 64*pageSize, []byte("second"))
	try := func(what string, harm func(b []byte)) {
		t.Helper()
		bad := bytes.Clone(good[name])
		harm(bad)
		if bytes.Equal(bad, good[name]) {
			return
		}
		w := walker{id: idOf(t, good[name]), number: 1, b: bad}
		if e, err := w.walk(); !errors.Is(err, ErrDamaged) {
			t.Fatalf("%s: %+v, %v; want ErrDamaged", what, e, err)
		}
	}
	for at := from; at < to; at++ {
		for bit := range 8 {
			try(fmt.Sprintf("bit %d of byte %d", bit, at-from), func(b []byte) { b[at] ^= 1 << bit })
		}
	}
	r := rand.New(rand.NewPCG(5, 5))
	for range 20000 {
		at := from + r.IntN(to-from)
		n := min(1+r.IntN(sectorSize-1), to-at)
		kind := r.IntN(3)
		try(fmt.Sprintf("%d bytes from %d on, kind %d", n, at-from, kind), func(b []byte) {
			for i := at; i < at+n; i++ {
				switch kind {
				case 0:
					b[i] = 0
				case 1:
					b[i] = 0xff
				case 2:
					b[i] = byte(r.Uint32())
				}
			}
		})
	}
	bad := maps.Clone(good)
	bad[name] = bytes.Clone(good[name])
	bad[name][to-1] ^= 1
	bad.write(t, dir)
	if _, _, err := held(dir, 64*pageSize); !errors.Is(err, ErrDamaged) {
		t.Errorf("Open: %v; want ErrDamaged", err)
	}
	if !bytes.Equal(readDisk(t, dir)[name], bad[name]) {
		t.Error("a damaged log was written to")
	}
}

func idOf(t *testing.T, b []byte) ID {
	t.Helper()
	id, _, err := openFirst(b, 1)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// lastStart returns the page of b at which l's last frame begins.
func lastStart(t *testing.T, b []byte, l *Log) (start int) {
	t.Helper()
	w := walker{id: l.id, number: l.head.number, b: b, each: func(_ head, page int, _ []byte) error {
		start = page
		return nil
	}}
	if _, err := w.walk(); err != nil || start == 0 {
		t.Fatalf("the last frame begins at page %d, %v", start, err)
	}
	return start
}

// TestDamageIsNoticed harms whole pages, segments and the directory.
func TestDamageIsNoticed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := newLog(t, dir, tiny)
	m := model{0: "root"}
	var ages []disk
	for i := range uint64(24) {
		m[i] = fmt.Sprint(i, strings.Repeat(" value", int(i)*40))
		if err := l.Put([]Record{{Key: i, Value: []byte(m[i])}}); err != nil {
			t.Fatal(err)
		}
		settle(l)
		ages = append(ages, readDisk(t, dir))
	}
	closeLog(t, l)
	good := readDisk(t, dir)
	names := slices.Sorted(maps.Keys(good))
	other := filepath.Join(t.TempDir(), "other")
	x := newLog(t, other, tiny)
	for i := range uint64(24) {
		if err := x.Put([]Record{{Key: i, Value: []byte(m[i])}}); err != nil {
			t.Fatal(err)
		}
	}
	closeLog(t, x)
	foreign := readDisk(t, other)
	tried := 0
	try := func(what string, bad disk) {
		t.Helper()
		tried++
		bad.write(t, dir)
		last, got, err := held(dir, tiny)
		if err == nil && last == l.Last() && maps.Equal(got, m) {
			return
		}
		if !errors.Is(err, ErrDamaged) {
			t.Fatalf("%s: frame %d of %d, %v; want ErrDamaged or no effect", what, last, l.Last(), err)
		}
		if strings.Contains(err.Error(), "\n") {
			t.Fatalf("%s: %q; want one line", what, err)
		}
	}
	with := func(name string, b []byte) disk {
		d := maps.Clone(good)
		d[name] = b
		return d
	}
	start := lastStart(t, good[names[len(names)-2]], l)
	stride := 127
	if testing.Short() {
		stride *= 10
	}
	for i, name := range names {
		b := good[name]
		without := maps.Clone(good)
		delete(without, name)
		if i != len(names)-1 { // which was kept ready, and is empty
			without.write(t, dir)
			if _, _, err := held(dir, tiny); !errors.Is(err, ErrDamaged) {
				t.Fatalf("without %s: %v; want ErrDamaged", name, err)
			}
		}
		try("empty "+name, with(name, nil))
		try("cut short "+name, with(name, b[:len(b)-pageSize]))
		try("longer "+name, with(name, append(bytes.Clone(b), make([]byte, pageSize)...)))
		try("another log's "+name, with(name, foreign[name]))
		for _, from := range names {
			try(name+" is "+from, with(name, good[from]))
		}
		for page := 0; page < len(b)/pageSize; page++ {
			put := func(what string, from []byte) {
				bad := bytes.Clone(b)
				copy(bad[page*pageSize:(page+1)*pageSize], from)
				try(fmt.Sprintf("%s page %d %s", name, page, what), with(name, bad))
			}
			newest := i == len(names)-2 && page >= start && page < l.page // nobody can tell it from one that was cut off
			if !newest {
				put("lost", make([]byte, pageSize))
			}
			put("twice", b[max(0, page-1)*pageSize:])
			put("of another log", foreign[name][page*pageSize:])
			put("of another segment", good[names[0]][page*pageSize:])
			for s := range pageSize / sectorSize {
				if newest {
					break
				}
				bad := bytes.Clone(b)
				clear(bad[page*pageSize+s*sectorSize:][:sectorSize])
				try(fmt.Sprintf("%s page %d sector %d lost", name, page, s), with(name, bad))
			}
			for at := page * pageSize; at < (page+1)*pageSize; at += stride {
				bad := bytes.Clone(b)
				bad[at] ^= 1 << (at % 8)
				try(fmt.Sprintf("%s byte %d", name, at), with(name, bad))
			}
		}
		for _, age := range ages[:len(ages)-1] {
			if age[name] != nil && i < len(names)-2 {
				try("older "+name, with(name, age[name]))
			}
		}
	}
	t.Logf("%d ways to harm %d segments", tried, len(names))
}

func TestANewerVersion(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	closeLog(t, newLog(t, dir, tiny))
	path := segmentPath(dir, 1)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(b, newerFirst(b))
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrVersion) {
		t.Errorf("Open: %v; want ErrVersion", err)
	}
}
