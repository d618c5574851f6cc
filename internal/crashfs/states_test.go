package crashfs

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// do carries out ops that must succeed, and returns what the last one made.
func do(t *testing.T, d *Disk, ops ...Op) (made Ino) {
	t.Helper()
	for _, op := range ops {
		var errno syscall.Errno
		if made, errno = d.Do(op); errno != 0 {
			t.Fatalf("%+v: %v", op, errno)
		}
	}
	return made
}

func fill(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }

// seen says what is in an image: names with what each file's pages and its sectors begin with.
func seen(m Image) string {
	var all []string
	_ = m.walk(func(name string, _ Ino, n *inode) error {
		if name == "" {
			return nil
		}
		text := name
		if !n.dir {
			text += ":"
			for at := int64(0); at*SectorSize < n.size; at++ {
				p := n.page(at / sectors)
				c := p.data[at%sectors*SectorSize]
				if at%sectors > 0 && c == p.data[(at%sectors-1)*SectorSize] {
					continue
				}
				if c == 0 {
					c = '_'
				}
				text += string(c)
			}
		}
		all = append(all, text)
		return nil
	})
	return strings.Join(all, " ")
}

// parts lists what may be left, without tears.
func left(t *testing.T, d *Disk) []string {
	t.Helper()
	parts, full := d.parts(rand.New(rand.NewPCG(1, 1)))
	if !full {
		t.Fatalf("%d changes are too many", d.Pending())
	}
	all := map[string]bool{}
	for _, p := range parts {
		all[seen(d.state(p, tear{page: -1}).Image)] = true
	}
	return slices.Sorted(maps.Keys(all))
}

func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s may leave %q; want %q", what, got, want)
	}
}

func TestWhatACrashMayLeave(t *testing.T) {
	d := NewDisk(NewImage())
	f := do(t, d, Op{Kind: Create, Dir: Root, Name: "f"})
	expect(t, "a create", left(t, d), "", "f:")
	do(t, d, Op{Kind: Write, Ino: f, Data: fill('a', PageSize)})
	expect(t, "a write to a new file", left(t, d), "", "f:", "f:_", "f:a")
	do(t, d, Op{Kind: Sync, Ino: f})
	expect(t, "a sync of the file alone", left(t, d), "", "f:a")
	do(t, d, Op{Kind: SyncDir, Ino: Root})
	expect(t, "a sync of the directory, too,", left(t, d), "f:a")

	// The second page, and the first one twice: the newer holds the older.
	do(t, d, Op{Kind: Write, Ino: f, Off: PageSize, Data: fill('b', PageSize)},
		Op{Kind: Write, Ino: f, Data: fill('c', 100)}, Op{Kind: Write, Ino: f, Off: 0, Data: fill('d', 50)})
	expect(t, "writes of two pages", left(t, d), "f:a", "f:ca", "f:da", "f:a_", "f:ca_", "f:da_", "f:ab", "f:cab", "f:dab")
	do(t, d, Op{Kind: Sync, Ino: f})

	// The new file takes the place of the old one.
	g := do(t, d, Op{Kind: Create, Dir: Root, Name: "g"})
	do(t, d, Op{Kind: Write, Ino: g, Data: fill('x', 10)}, Op{Kind: Sync, Ino: g}, Op{Kind: Rename, Dir: Root, Name: "g", To: Root, NewName: "f"})
	expect(t, "a rename", left(t, d), "f:dab", "f:dab g:x", "f:x")
	do(t, d, Op{Kind: SyncDir, Ino: Root})
	expect(t, "a rename that is synced", left(t, d), "f:x")
	do(t, d, Op{Kind: Resize, Ino: g, Off: 4}, Op{Kind: Unlink, Dir: Root, Name: "f"})
	expect(t, "a cut and an unlink", left(t, d), "", "f:x")
	do(t, d, Op{Kind: SyncDir, Ino: Root})
	expect(t, "an unlink that is synced", left(t, d), "")
}

func TestACutComesBetween(t *testing.T) {
	d := NewDisk(NewImage())
	f := do(t, d, Op{Kind: Create, Dir: Root, Name: "f"})
	do(t, d, Op{Kind: Write, Ino: f, Data: fill('a', 2*PageSize)}, Op{Kind: Sync, Ino: f}, Op{Kind: SyncDir, Ino: Root},
		Op{Kind: Resize, Ino: f, Off: 0}, Op{Kind: Write, Ino: f, Data: fill('b', PageSize)})
	expect(t, "a file that is written anew", left(t, d), "f:aa", "f:", "f:_", "f:b")
}

func TestDirectoriesAndTheirFiles(t *testing.T) {
	d := NewDisk(NewImage())
	dir := do(t, d, Op{Kind: Mkdir, Dir: Root, Name: "d"})
	f := do(t, d, Op{Kind: Create, Dir: dir, Name: "f"})
	do(t, d, Op{Kind: Write, Ino: f, Data: fill('a', 5)}, Op{Kind: Sync, Ino: f}, Op{Kind: SyncDir, Ino: dir})
	expect(t, "a sync of a new directory", left(t, d), "", "d d/f:a")
	do(t, d, Op{Kind: SyncDir, Ino: Root}, Op{Kind: Rename, Dir: dir, Name: "f", To: Root, NewName: "g"})
	expect(t, "a rename to elsewhere", left(t, d), "d d/f:a", "d g:a")
	do(t, d, Op{Kind: SyncDir, Ino: dir})
	expect(t, "a sync of one of its directories", left(t, d), "d g:a")
	for _, op := range []Op{
		{Kind: Unlink, Dir: Root, Name: "d"}, {Kind: Rmdir, Dir: Root, Name: "g"}, {Kind: Create, Dir: Root, Name: "g"}, {Kind: Unlink, Dir: Root, Name: "no"},
		{Kind: Write, Ino: dir}, {Kind: Write, Ino: 999}, {Kind: Create, Dir: f, Name: "x"}, {Kind: Rename, Dir: Root, Name: "no", To: Root, NewName: "g"},
		{Kind: Rename, Dir: Root, Name: "g", To: Root, NewName: "d"}, {Kind: Sync, Ino: 999},
	} {
		if _, errno := d.Do(op); errno == 0 {
			t.Errorf("%+v: no error", op)
		}
	}
}

func TestTears(t *testing.T) {
	d := NewDisk(NewImage())
	f := do(t, d, Op{Kind: Create, Dir: Root, Name: "f"})
	do(t, d, Op{Kind: Write, Ino: f, Data: fill('a', PageSize)}, Op{Kind: Sync, Ino: f}, Op{Kind: SyncDir, Ino: Root}, Op{Kind: Write, Ino: f, Data: fill('b', PageSize)})
	states, full := d.States(rand.New(rand.NewPCG(1, 1)))
	if !full {
		t.Error("not all states of one page")
	}
	cuts := map[string]int{}
	for s := range states {
		n := 0
		for _, c := range s.Image.inodes[f].page(0).data {
			if c == 'b' {
				n++
			}
		}
		cuts[seen(s.Image)]++
		if n%SectorSize != 0 {
			t.Errorf("%s: %d bytes are new", s.What(), n)
		}
	}
	if cuts["f:a"] == 0 || cuts["f:b"] == 0 || cuts["f:ba"] == 0 || len(cuts) < 4 {
		t.Errorf("%v", cuts)
	}
	// Nothing of it changes what is seen and what is certain.
	if seen(d.now) != "f:b" || seen(d.safe) != "f:a" {
		t.Errorf("%q, %q", seen(d.now), seen(d.safe))
	}
}

// TestMoreThanCanBeTried: of many changes parts are drawn, in which each has what it
// builds on.
func TestMoreThanCanBeTried(t *testing.T) {
	d := NewDisk(NewImage())
	f := do(t, d, Op{Kind: Create, Dir: Root, Name: "f"})
	do(t, d, Op{Kind: SyncDir, Ino: Root})
	for i := range 2 {
		do(t, d, Op{Kind: Write, Ino: f, Data: fill('a'+byte(i), 20*PageSize)})
	}
	parts, full := d.parts(rand.New(rand.NewPCG(1, 1)))
	if full || len(parts) < drawn {
		t.Errorf("%d parts, all: %t", len(parts), full)
	}
	needs := d.needs()
	for _, part := range parts {
		for _, i := range part {
			for _, j := range needs[i] {
				if !slices.Contains(part, j) {
					t.Fatalf("%v: %d without %d", part, i, j)
				}
			}
		}
	}
	// Ten that do not build on one another are all tried.
	for _, n := range []int{FullPages, FullPages + 1} {
		if all, full := closed(make([][]int, n), fullParts); full != (n == FullPages) || full && len(all) != 1<<n {
			t.Errorf("%d changes: %d parts, all: %t", n, len(all), full)
		}
	}
}

func TestImagesAreToldApart(t *testing.T) {
	d := NewDisk(NewImage())
	f := do(t, d, Op{Kind: Create, Dir: Root, Name: "f"})
	sums := map[uint64]string{}
	for _, op := range []Op{
		{Kind: Write, Ino: f, Data: fill('a', 10)}, {Kind: Write, Ino: f, Off: 3, Data: fill('b', 1)}, {Kind: Resize, Ino: f, Off: 11},
		{Kind: Resize, Ino: f, Off: 3 * PageSize}, {Kind: Write, Ino: f, Off: PageSize, Data: fill('a', 10)}, {Kind: Create, Dir: Root, Name: "g"}, {Kind: Mkdir, Dir: Root, Name: "h"},
	} {
		do(t, d, op)
		sum := d.now.Sum()
		if old, there := sums[sum]; there || d.now.Clone().Sum() != sum {
			t.Errorf("%q has the sum of %q", seen(d.now), old)
		}
		sums[sum] = seen(d.now)
	}
	// Zeros that were written look like those that never were.
	before := d.now.Sum()
	do(t, d, Op{Kind: Write, Ino: f, Off: 2 * PageSize, Data: make([]byte, PageSize)})
	if d.now.Sum() != before {
		t.Error("zeros make a difference")
	}
}

// TestDraws: what a loss of power leaves is of what it may leave, and not always the same.
func TestDraws(t *testing.T) {
	r, got := rand.New(rand.NewPCG(1, 1)), map[string]int{}
	for range 200 {
		d := NewDisk(NewImage())
		f := do(t, d, Op{Kind: Create, Dir: Root, Name: "f"})
		do(t, d, Op{Kind: SyncDir, Ino: Root}, Op{Kind: Write, Ino: f, Data: fill('a', PageSize)}, Op{Kind: Sync, Ino: f}, Op{Kind: Write, Ino: f, Data: fill('b', PageSize)})
		d.crash(d.Draw(r).Image)
		got[seen(d.now)]++
	}
	if got["f:a"] == 0 || got["f:b"] == 0 || len(got) < 4 {
		t.Errorf("%v", got)
	}
	for is := range got {
		if !strings.HasPrefix(is, "f:") || strings.Contains(is, "_") {
			t.Errorf("%q was never there", is)
		}
	}
}
