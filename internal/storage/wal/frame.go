package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/prytany/prytany/internal/mutant"
)

const (
	sectorSize = 512
	pageSize   = 4096
	tagSize    = 4 // at both ends of a sector
	sectorRoom = sectorSize - 2*tagSize
	pageRoom   = pageSize / sectorSize * sectorRoom
	headSize   = 32

	// maxPayload bounds what one frame holds, and maxOwn what one write wants it to:
	// a sweep adds four times as much, and one record.
	maxPayload = 1 << 30
	maxOwn     = maxPayload / 8
)

// The kinds of frames.
const (
	kindRecords = 1
	kindSeal    = 2 // the segment ends here, and the next one goes on
)

// ErrDamaged says that the log is not what was written to it.
var ErrDamaged = errors.New("the log is damaged")

func damagedf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// An ID tells the frames of one log from those of all others.
type ID [16]byte

// A place is where a frame begins.
type place struct {
	id      ID
	segment uint64
	page    int
}

// seed is what checksums at p begin with: a frame is none anywhere else.
func (p place) seed() uint32 {
	var b [32]byte
	copy(b[:], p.id[:])
	binary.LittleEndian.PutUint64(b[16:], p.segment)
	binary.LittleEndian.PutUint64(b[24:], uint64(p.page))
	return crc32.Checksum(b[:], castagnoli)
}

// tags marks the sectors of one frame.
type tags uint64

func (p place) tags(seq uint64) tags {
	id := binary.LittleEndian.Uint64(p.id[:]) ^ mix(binary.LittleEndian.Uint64(p.id[8:]))
	return tags(mix(id ^ mix(p.segment^mix(uint64(p.page)^mix(seq)))))
}

// of returns the tag of the frame's i-th sector: no byte of it is zero.
func (t tags) of(i int) uint32 {
	return uint32(mix(uint64(t)+uint64(i))) | 0x01010101
}

// match reports whether sector carries the tag of the frame's i-th sector.
func (t tags) match(sector []byte, i int) bool {
	want := t.of(i)
	return binary.LittleEndian.Uint32(sector) == want && binary.LittleEndian.Uint32(sector[sectorSize-tagSize:]) == want
}

// mix scatters n over all 64 bits (the finalizer of SplitMix64).
func mix(n uint64) uint64 {
	n += 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

// A head is what a frame's first sector says of it.
type head struct {
	kind byte
	size int    // of the payload
	seq  uint64 // of the frame, or for a seal of the frame after it
	tail uint64 // the oldest segment that is still needed, with this frame
	sum  uint32 // of all its pages
}

// pagesFor returns how many pages a frame with a payload of size bytes takes.
func pagesFor(size int) int { return (headSize + size + pageRoom - 1) / pageRoom }

// appendFrame appends the pages of a frame at p to dst.
func appendFrame(dst []byte, p place, h head, payload []byte) []byte {
	start, n := len(dst), pagesFor(len(payload))
	dst = append(dst, make([]byte, n*pageSize)...)
	b := dst[start:]
	tag := p.tags(h.seq)
	var fill [sectorSize]byte
	for i := range len(b) / sectorSize {
		sector := b[i*sectorSize : (i+1)*sectorSize]
		binary.LittleEndian.PutUint32(sector, tag.of(i))
		binary.LittleEndian.PutUint32(sector[sectorSize-tagSize:], tag.of(i))
		room := sector[tagSize : sectorSize-tagSize]
		if i == 0 {
			room = room[headSize:]
		}
		took := copy(room, payload)
		payload = payload[took:]
		if took < len(room) {
			for j := range fill[:len(room)-took] {
				fill[j] = sector[j%tagSize]
			}
			copy(room[took:], fill[:])
		}
	}
	at := b[tagSize : tagSize+headSize]
	at[8] = h.kind
	binary.LittleEndian.PutUint32(at[12:], uint32(h.size))
	binary.LittleEndian.PutUint64(at[16:], h.seq)
	binary.LittleEndian.PutUint64(at[24:], h.tail)
	seed := p.seed()
	binary.LittleEndian.PutUint32(at[4:], sumOf(seed, b))
	binary.LittleEndian.PutUint32(at, crc32.Update(seed, castagnoli, at[4:]))
	return dst
}

// sumOf returns the checksum of a frame's pages without the two checksums that
// they hold.
func sumOf(seed uint32, pages []byte) uint32 {
	sum := crc32.Update(seed, castagnoli, pages[:tagSize])
	return crc32.Update(sum, castagnoli, pages[tagSize+8:])
}

// openHead reads the first sector of a frame at p. Error: ErrDamaged. A sector
// is written whole or not at all, so that one that is there is as it was written.
func openHead(sector []byte, p place) (h head, err error) {
	b := sector[tagSize : tagSize+headSize]
	le := binary.LittleEndian
	if le.Uint32(b) != crc32.Update(p.seed(), castagnoli, b[4:]) {
		return h, damagedf("segment %d page %d: the checksum of a frame's head is wrong", p.segment, p.page)
	}
	size := le.Uint32(b[12:])
	h = head{kind: b[8], size: int(min(size, maxPayload)), sum: le.Uint32(b[4:]), seq: le.Uint64(b[16:]), tail: le.Uint64(b[24:])}
	if h.kind != kindRecords && h.kind != kindSeal || size > maxPayload || h.seq == 0 || h.tail == 0 || h.tail > p.segment {
		return h, damagedf("segment %d page %d: a frame's head makes no sense", p.segment, p.page)
	}
	return h, nil
}

// check reports ErrDamaged if pages are not those of the frame h at p.
func (h head) check(pages []byte, p place) error {
	if sumOf(p.seed(), pages) != h.sum && !mutant.On(mutant.NoFrameSum) {
		return damagedf("segment %d page %d: the checksum of frame %d is wrong", p.segment, p.page, h.seq)
	}
	return nil
}

// appendStream appends n bytes of what the sectors hold from byte from on to dst.
// The head counts: a payload begins at headSize.
func appendStream(dst, sectors []byte, from, n int) []byte {
	for n > 0 {
		at := from%sectorRoom + tagSize
		some := sectors[from/sectorRoom*sectorSize:][at : sectorSize-tagSize]
		some = some[:min(n, len(some))]
		dst = append(dst, some...)
		from, n = from+len(some), n-len(some)
	}
	return dst
}

// The kinds of entries in a payload.
const (
	entryPut    = 1 // key, length and bytes of the value
	entryDelete = 2 // the first and the last key
)

// An entry is one change of the map.
type entry struct {
	kind  byte
	key   uint64
	last  uint64 // of a deletion
	value []byte // of a put
	size  int    // of the entry itself
}

func appendPut(b []byte, key uint64, value []byte) []byte {
	b = binary.AppendUvarint(append(b, entryPut), key)
	return append(binary.AppendUvarint(b, uint64(len(value))), value...)
}

func appendDelete(b []byte, first, last uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(append(b, entryDelete), first), last)
}

// openEntry reads the entry at the start of b, which it aliases.
func openEntry(b []byte) (e entry, ok bool) {
	if len(b) == 0 {
		return e, false
	}
	e.kind = b[0]
	key, n := binary.Uvarint(b[1:])
	if n <= 0 {
		return e, false
	}
	second, m := binary.Uvarint(b[1+n:])
	if m <= 0 {
		return e, false
	}
	e.key, e.size = key, 1+n+m
	switch e.kind {
	case entryPut:
		if second > uint64(len(b)-e.size) {
			return e, false
		}
		e.value = b[e.size : e.size+int(second)]
		e.size += int(second)
		return e, true
	case entryDelete:
		e.last = second
		return e, e.key <= e.last
	}
	return e, false
}
