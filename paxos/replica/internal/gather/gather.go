// Package gather decides when what has come should wait for more to share a round with.
package gather

// A Gate is shut while something is under way that will open it: what has gathered then
// goes on together, as Nagle has small segments wait for an acknowledgement. What goes on
// is the more the busier everybody is, and nothing waits when nobody is.
//
// Where that takes longer than a tick, because messages are lost, a quorum is or the way
// is long, nothing is gained by waiting and much is lost: the gate stays open. The zero
// Gate has seen no tick.
type Gate struct {
	before uint64 // the newest, at the last tick
	slow   bool
}

// Tick is told at every tick the numbers of the oldest and the newest that are under way,
// 0 and 0 if nothing is. Numbers grow. It is slow if anything has lasted since the last
// tick: once the gate is open much is under way, and the oldest is another at each tick.
func (g *Gate) Tick(oldest, newest uint64) {
	g.slow = oldest != 0 && oldest <= g.before
	g.before = newest
}

// Shut reports whether what has come should wait, given whether anything is under way.
func (g *Gate) Shut(busy bool) bool { return busy && !g.slow }

// Batch returns those of from that go together, and how many it has looked at for
// that: up to most of them, and bytes in all. One above that limit goes alone. Those of
// a negative size are passed over.
func Batch[R any](from []R, size func(R) int, most, bytes int) (n int, batch []R) {
	sum := 0
	for _, r := range from {
		one := size(r)
		switch {
		case one < 0:
			n++
			continue
		case len(batch) == most, len(batch) > 0 && sum+one > bytes:
			return n, batch
		}
		n++
		sum += one
		batch = append(batch, r)
	}
	return n, batch
}
