// Package bell tells those who wait that something has changed.
package bell

// A Bell wakes all who wait for it when it rings. The zero Bell is ready. It is
// not safe for concurrent use: its owner guards it.
type Bell struct{ rung chan struct{} }

// Wait returns a channel that is closed when the bell next rings.
func (b *Bell) Wait() <-chan struct{} {
	if b.rung == nil {
		b.rung = make(chan struct{})
	}
	return b.rung
}

// Ring wakes all who wait.
func (b *Bell) Ring() {
	if b.rung != nil {
		close(b.rung)
		b.rung = nil
	}
}
