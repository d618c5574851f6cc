package wal

import (
	"bytes"
	"encoding/binary"
)

// zeros is what a page holds that was never written.
var zeros [64 << 10]byte

// blank reports whether b holds nothing.
func blank(b []byte) bool {
	for ; len(b) > len(zeros); b = b[len(zeros):] {
		if !bytes.Equal(b[:len(zeros)], zeros[:]) {
			return false
		}
	}
	return bytes.Equal(b, zeros[:len(b)])
}

// An end is where the frames of a segment end.
type end struct {
	page   int    // the first that no frame has
	seq    uint64 // of the frame that would be next; 0: there was none
	tail   uint64 // what the last frame says
	sealed bool   // the last frame is a seal, so that the next segment goes on
	torn   bool   // a write from page on was cut off
}

// A walker reads the frames of one segment.
type walker struct {
	id     ID
	number uint64
	b      []byte // all pages
	seq    uint64 // of the first frame; 0: unknown
	// each is called with every frame of records; nil asks for none of it.
	each func(h head, page int, payload []byte) error
}

// walk reads frame after frame. Error: ErrDamaged, if there is anything but whole
// frames and, after them, nothing, or less than one frame: a write that was cut off.
//
// A frame of which all sectors are there was written in full, so that it must be
// right. One with a sector that is missing was never acknowledged, if it is the last:
// each of its sectors bears a tag that no other frame has, and nothing else may
// follow. Whether it may be cut off at all is for the caller: only the last of a log.
func (w *walker) walk() (e end, err error) {
	e = end{page: 1, seq: w.seq}
	var payload []byte
	for pages := len(w.b) / pageSize; e.page < pages; {
		p := place{w.id, w.number, e.page}
		rest := w.b[e.page*pageSize:]
		if blank(rest[:sectorSize]) {
			return w.over(e, rest, len(rest))
		}
		h, err := openHead(rest, p)
		if err != nil {
			return e, err
		}
		if e.seq != 0 && h.seq != e.seq || h.tail < e.tail {
			return e, damagedf("segment %d page %d: frame %d where %d should be", w.number, e.page, h.seq, e.seq)
		}
		n := pagesFor(h.size)
		if n > pages-e.page {
			return e, damagedf("segment %d page %d: frame %d is longer than the segment", w.number, e.page, h.seq)
		}
		if frame := rest[:n*pageSize]; holed(frame) {
			e.seq = h.seq
			return w.over(e, rest, len(frame))
		} else if err := h.check(frame, p); err != nil {
			return e, err
		}
		e.page, e.seq, e.tail = e.page+n, h.seq, h.tail
		if h.kind == kindSeal {
			e.sealed = true
			return e, nil
		}
		e.seq++
		if w.each != nil {
			payload = appendStream(payload[:0], rest, headSize, h.size)
			if err := w.each(h, p.page, payload); err != nil {
				return e, err
			}
		}
	}
	return e, damagedf("segment %d has no room for its end", w.number)
}

// holed reports whether a sector of pages is missing.
func holed(pages []byte) bool {
	for ; len(pages) > 0; pages = pages[sectorSize:] {
		if binary.LittleEndian.Uint32(pages) == 0 && blank(pages[:sectorSize]) {
			return true
		}
	}
	return false
}

// over checks that what is left of a segment is nothing, or sectors of one frame
// within the next most bytes.
func (w *walker) over(e end, rest []byte, most int) (end, error) {
	if blank(rest) {
		return e, nil
	}
	e.torn = true
	if e.seq == 0 {
		return e, damagedf("segment %d begins with a hole", w.number)
	}
	tag := place{w.id, w.number, e.page}.tags(e.seq)
	for i := range len(rest) / sectorSize {
		sector := rest[i*sectorSize : (i+1)*sectorSize]
		if blank(sector) {
			continue
		}
		if i*sectorSize >= most || !tag.match(sector, i) {
			return e, damagedf("segment %d page %d: something else follows the last whole frame", w.number, e.page)
		}
	}
	return e, nil
}
