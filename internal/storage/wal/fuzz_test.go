package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// newerFirst returns a first page as a newer version would write it.
func newerFirst(b []byte) []byte {
	b = bytes.Clone(b[:pageSize])
	b[len(magic)] = version + 1
	binary.LittleEndian.PutUint32(b[pageSize-4:], crc32.Checksum(b[:pageSize-4], castagnoli))
	return b
}

// FuzzWalk reads anything as a segment: no panic, and what comes out whole is a frame
// that would be written in the same way.
func FuzzWalk(f *testing.F) {
	id := ID{1, 2, 3}
	seg := make([]byte, 6*pageSize)
	frame := appendFrame(nil, place{id, 1, 1}, head{kind: kindRecords, size: 6, seq: 4, tail: 1}, appendPut(nil, 5, []byte("abc")))
	copy(seg[pageSize:], frame)
	f.Add(seg[:2*pageSize+9], uint64(4))
	copy(seg[2*pageSize:], appendFrame(nil, place{id, 1, 2}, head{kind: kindSeal, seq: 5, tail: 1}, nil))
	f.Add(seg, uint64(0))
	f.Fuzz(func(t *testing.T, b []byte, seq uint64) {
		b = append(b, make([]byte, pageSize-len(b)%pageSize)...)
		w := walker{id: id, number: 1, b: b, seq: seq, each: func(h head, page int, payload []byte) error {
			again := appendFrame(nil, place{id, 1, page}, head{kind: h.kind, size: h.size, seq: h.seq, tail: h.tail}, payload)
			if at := page * pageSize; !bytes.Equal(again, b[at:at+len(again)]) {
				t.Errorf("page %d: a frame is read that would be written otherwise", page)
			}
			var tbl table
			return tbl.apply(1, page, payload)
		}}
		if e, err := w.walk(); err == nil && (e.page > len(b)/pageSize || e.torn && e.sealed) {
			t.Errorf("the frames end at %+v of %d pages", e, len(b)/pageSize)
		} else if err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("%v; want ErrDamaged", err)
		}
	})
}

// FuzzEntry reads anything as an entry.
func FuzzEntry(f *testing.F) {
	f.Add(appendPut(nil, 7, []byte("value")))
	f.Add(appendDelete(nil, 7, 9))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, ok := openEntry(b)
		if !ok {
			return
		}
		again := appendDelete(nil, e.key, e.last)
		if e.kind == entryPut {
			again = appendPut(nil, e.key, e.value)
		}
		if e2, ok := openEntry(again); !ok || e2.key != e.key || e2.last != e.last || !bytes.Equal(e2.value, e.value) {
			t.Errorf("%+v became %+v", e, e2)
		}
	})
}

// FuzzOpen writes some bytes somewhere into a log: it is damaged, or holds what it
// held. The one exception is a sector of the last frame that is all zero.
func FuzzOpen(f *testing.F) {
	dir := filepath.Join(f.TempDir(), "log")
	l := newLog(f, dir, tiny)
	m := model{0: "root"}
	for i := range uint64(9) {
		m[i] = string(bytes.Repeat([]byte{byte(i)}, 700*int(i)))
		if err := l.Put([]Record{{Key: i, Value: []byte(m[i])}}); err != nil {
			f.Fatal(err)
		}
	}
	settle(l)
	closeLog(f, l)
	good, last := readDisk(f, dir), l.Last()
	f.Add(uint32(1), uint32(pageSize), []byte("x"))
	f.Add(uint32(1), uint32(2*pageSize+7), make([]byte, 600))
	f.Add(uint32(2), uint32(5000), make([]byte, 5000))
	f.Fuzz(func(t *testing.T, segment, at uint32, b []byte) {
		name := filepath.Base(segmentPath("", uint64(segment)%uint64(len(good))+1))
		bad := maps.Clone(good)
		bad[name] = bytes.Clone(good[name])
		copy(bad[name][int(at)%len(bad[name]):], b)
		dir := filepath.Join(t.TempDir(), "log")
		bad.write(t, dir)
		is, got, err := held(dir, tiny)
		switch {
		case errors.Is(err, ErrDamaged), errors.Is(err, ErrVersion):
		case err != nil:
			t.Errorf("%v; want ErrDamaged", err)
		case is == last && maps.Equal(got, m):
		case is == last-1 && len(b) >= sectorSize && holed(lastPages(bad[name], l)):
		default:
			t.Errorf("frame %d of %d, silently different", is, last)
		}
		_ = os.RemoveAll(dir)
	})
}

// lastPages returns the pages of l's last frames in b.
func lastPages(b []byte, l *Log) []byte { return b[pageSize : l.page*pageSize] }
