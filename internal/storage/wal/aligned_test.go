package wal

import (
	"path/filepath"
	"testing"
	"unsafe"
)

// TestAligned: whatever is written over or after frames comes from whole pages of memory.
func TestAligned(t *testing.T) {
	whole := func(b []byte) bool { return uintptr(unsafe.Pointer(unsafe.SliceData(b)))%pageSize == 0 }
	for n := 1; n < 40*pageSize; n += 1000 {
		if b := aligned(n); !whole(b) || len(b) != n || cap(b) != n {
			t.Fatalf("%d bytes: at %p, %d of %d", n, b, len(b), cap(b))
		}
	}
	if !whole(blankPage) || !blank(blankPage) || len(blankPage) != pageSize {
		t.Error("the page that is written over others is none")
	}
	l := newLog(t, filepath.Join(t.TempDir(), "log"), 1<<20)
	for _, n := range []int{1, 5000, 9000, 3, 30_000, 70_000, 20} {
		if err := l.Put([]Record{{Key: 1, Value: make([]byte, n)}}); err != nil {
			t.Fatal(err)
		}
		if !whole(l.pages[:cap(l.pages)]) {
			t.Errorf("a value of %d bytes was written from %p", n, l.pages)
		}
	}
	closeLog(t, l)
}
