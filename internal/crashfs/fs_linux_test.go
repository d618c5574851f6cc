package crashfs

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// mounted mounts a file system for a test. REQUIRE_FUSE=1 makes it an error that none
// can be.
func mounted(t *testing.T, o Options) (*FS, string) {
	t.Helper()
	if err := Probe(); err != nil {
		if os.Getenv("REQUIRE_FUSE") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir := filepath.Join(t.TempDir(), "fs")
	fs, err := Mount(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := fs.Remove(); err != nil {
			t.Error(err)
		}
	})
	return fs, dir
}

// put writes text into a file, and syncs it and its name if that is wanted.
func put(t *testing.T, name, text string, sync bool) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if sync {
		d, err := os.Open(filepath.Dir(name))
		if err = errors.Join(err, f.Sync(), d.Sync(), d.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestFilesAreAsOnAnyFileSystem(t *testing.T) {
	_, dir := mounted(t, Options{})
	long := strings.Repeat("0123456789abcdef", 50_000)
	put(t, filepath.Join(dir, "a"), long, false)
	if got := get(t, filepath.Join(dir, "a")); got != long {
		t.Errorf("%d bytes of %d, or others", len(got), len(long))
	}
	sub := filepath.Join(dir, "sub")
	if err := errors.Join(os.Mkdir(sub, 0o700), os.Rename(filepath.Join(dir, "a"), filepath.Join(sub, "b"))); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(sub, "c"), "c", false)
	list, err := os.ReadDir(sub)
	if err != nil || len(list) != 2 || list[0].Name() != "b" || list[1].Name() != "c" {
		t.Errorf("%v, %v", list, err)
	}
	f, err := os.OpenFile(filepath.Join(sub, "b"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	// What is open stays, without a name too.
	if err := errors.Join(os.Remove(f.Name()), f.Truncate(20)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("end"), 30); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if want := long[:20] + strings.Repeat("\x00", 10) + "end"; string(b) != want || err != nil {
		t.Errorf("%q, %v; want %q", b, err, want)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	put(t, filepath.Join(sub, "c"), "", false)
	if got := get(t, filepath.Join(sub, "c")); got != "" {
		t.Errorf("%q is left of a file that was cut", got)
	}
	if err := os.RemoveAll(sub); err != nil {
		t.Error(err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) > 0 {
		t.Errorf("%v, %v", list, err)
	}
}

func TestPowerLoss(t *testing.T) {
	kept, lost := 0, 0
	for seed := range uint64(20) {
		fs, dir := mounted(t, Options{Seed: seed})
		put(t, filepath.Join(dir, "synced"), "yes", true)
		put(t, filepath.Join(dir, "unsynced"), "no", false)
		fs.Crash()
		if err := os.WriteFile(filepath.Join(dir, "later"), nil, 0o600); !errors.Is(err, syscall.EIO) {
			t.Errorf("a new file after the loss: %v", err)
		}
		if err := fs.Repair(); err != nil {
			t.Fatal(err)
		}
		if got := get(t, filepath.Join(dir, "synced")); got != "yes" {
			t.Errorf("what was synced is %q", got)
		}
		if text, err := os.ReadFile(filepath.Join(dir, "unsynced")); err == nil && string(text) == "no" {
			kept++
		} else {
			lost++
		}
		put(t, filepath.Join(dir, "later"), "now", true)
	}
	if kept == 0 || lost == 0 {
		t.Errorf("what was not synced was kept %d times and lost %d times", kept, lost)
	}
}

// TestAFailedSync: it is told once, memory has what was written, and the disk never does.
func TestAFailedSync(t *testing.T) {
	fs, dir := mounted(t, Options{})
	name := filepath.Join(dir, "f")
	put(t, name, "old", true)
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("new"), 0); err != nil {
		t.Fatal(err)
	}
	fs.Set(Faults{Sync: syscall.EIO})
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("the first sync: %v", err)
	}
	if err := f.Sync(); err != nil {
		t.Errorf("the second sync: %v", err)
	}
	if hits, last := fs.Hits(); get(t, name) != "new" || hits != 1 || last != "a failed sync of f" {
		t.Errorf("programs read %q; %d hits, the last %q", get(t, name), hits, last)
	}
	if err := errors.Join(f.Close(), fs.Repair()); err != nil {
		t.Fatal(err)
	}
	if got := get(t, name); got != "old" {
		t.Errorf("the disk has %q", got)
	}
}

func TestFailedWritesAndFullDisks(t *testing.T) {
	fs, dir := mounted(t, Options{Bytes: 1 << 20})
	name := filepath.Join(dir, "f")
	put(t, name, strings.Repeat("x", 2*PageSize), true)
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	fs.Set(Faults{Write: syscall.EIO})
	if _, err := f.WriteAt([]byte("y"), 0); !errors.Is(err, syscall.EIO) || f.Sync() != nil {
		t.Errorf("a write: %v", err)
	}
	fs.Set(Faults{})
	fs.Fill()
	if _, err := f.WriteAt([]byte("y"), 0); err != nil {
		t.Errorf("a write in place to a full disk: %v", err)
	}
	if _, err := f.WriteAt([]byte("y"), 2*PageSize); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a write to a full disk: %v", err)
	}
	fs.Set(Faults{})
	if _, err := f.WriteAt([]byte("y"), 2*PageSize); err != nil {
		t.Errorf("a write when there is room again: %v", err)
	}
	if _, err := f.WriteAt(make([]byte, 1<<20), 4*PageSize); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a write of more than the disk takes: %v", err)
	}
	if err := syscall.Fallocate(int(f.Fd()), 0, 0, 2<<20); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("room for more than the disk takes: %v", err)
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil || st.Blocks != 1<<20/PageSize || st.Bfree >= st.Blocks {
		t.Errorf("%+v, %v", st, err)
	}
}

func TestSlowAndFrozenDisks(t *testing.T) {
	fs, dir := mounted(t, Options{})
	const late = 50 * time.Millisecond
	fs.Set(Faults{Slow: func() time.Duration { return late }})
	begin := time.Now()
	put(t, filepath.Join(dir, "slow"), "x", true)
	hits, _ := fs.Hits()
	if d := time.Since(begin); d < 2*late || hits != 2 {
		t.Errorf("two syncs took %v; %d hits", d, hits)
	}
	fs.Set(Faults{})
	if err := fs.Freeze(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { put(t, filepath.Join(dir, "frozen"), "x", true); close(done) }()
	select {
	case <-done:
		t.Error("a write to a frozen disk has ended")
	case <-time.After(100 * time.Millisecond):
	}
	if got := get(t, filepath.Join(dir, "slow")); got != "x" {
		t.Errorf("a frozen disk reads %q", got)
	}
	if err := fs.Thaw(); err != nil {
		t.Fatal(err)
	}
	<-done
}

func TestFlip(t *testing.T) {
	fs, dir := mounted(t, Options{})
	cold, warm := strings.Repeat("cold", PageSize), strings.Repeat("warm", PageSize)
	put(t, filepath.Join(dir, "cold"), cold, true)
	if got := get(t, filepath.Join(dir, "cold")); got != cold {
		t.Fatal("it is not read as it was written")
	}
	for range 20 {
		put(t, filepath.Join(dir, "warm"), warm, true)
	}
	f, err := os.Open(filepath.Join(dir, "cold"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	where, err := fs.Flip()
	if err != nil || !strings.HasSuffix(where, "of cold") {
		t.Fatalf("%q, %v", where, err)
	}
	// Who has the file open reads it, though the kernel had it in memory.
	b := make([]byte, len(cold))
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	bits := 0
	for i := range b {
		for x := b[i] ^ cold[i]; x != 0; x &= x - 1 {
			bits++
		}
	}
	if bits != 1 || get(t, filepath.Join(dir, "warm")) != warm {
		t.Errorf("%d bits are turned", bits)
	}
}

// TestHistory: every operation is in it, in order, and makes the same of another disk.
func TestHistory(t *testing.T) {
	fs, dir := mounted(t, Options{Record: true})
	marks, err := os.OpenFile(filepath.Join(dir, Marks), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = marks.Close() }()
	mark := func(text string) {
		t.Helper()
		if _, err := marks.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	mark("one")
	put(t, filepath.Join(dir, "f"), "text", true)
	mark("two")
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "d"), 0o700), os.Rename(filepath.Join(dir, "f"), filepath.Join(dir, "d", "g")), os.Truncate(filepath.Join(dir, "d", "g"), 2)); err != nil {
		t.Fatal(err)
	}
	mark("three")
	if err := errors.Join(os.Remove(filepath.Join(dir, "d", "g")), os.Remove(filepath.Join(dir, "d"))); err != nil {
		t.Fatal(err)
	}
	var got []string
	d := NewDisk(NewImage())
	for _, op := range fs.History() {
		if op.Kind == Mark {
			got = append(got, string(op.Data))
		} else {
			got = append(got, string(op.Kind))
		}
		if _, errno := d.Do(op); errno != 0 {
			t.Fatalf("%+v: %v", op, errno)
		}
	}
	want := []string{"one", "create", "write", "sync", "syncdir", "two", "mkdir", "rename", "resize", "three", "unlink", "rmdir"}
	if !slices.Equal(got, want) || d.Now().Sum() != fs.disk.Now().Sum() {
		t.Errorf("%q; want %q", got, want)
	}
}
