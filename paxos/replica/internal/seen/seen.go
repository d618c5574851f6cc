// Package seen tells what arrives from what arrives again.
package seen

// A Window remembers which of a peer's latest forwards have arrived. IDs grow,
// and one that arrives after so many later ones counts as repeated: it is lost,
// which its sender must expect anyway.
type Window struct {
	high uint64
	bits [windowSize / 64]uint64
}

const windowSize = 16384

// Fresh reports whether id has not arrived before, and remembers it.
func (w *Window) Fresh(id uint64) bool {
	switch {
	case id >= w.high+windowSize:
		*w = Window{high: id}
	case id+windowSize <= w.high:
		return false
	}
	for ; w.high < id; w.high++ {
		next := (w.high + 1) % windowSize
		w.bits[next/64] &^= 1 << (next % 64)
	}
	at, bit := id%windowSize/64, uint64(1)<<(id%64)
	seen := w.bits[at]&bit != 0
	w.bits[at] |= bit
	return !seen
}
