package image

import (
	"bytes"
	"runtime"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// An Incoming is an image on its way here. It comes from one peer; when that is
// silent, whoever has the same may go on.
type Incoming struct {
	From   synod.NodeID        // 0: anybody
	First  paxos.SnapshotChunk // without Data: what all chunks must agree on
	Pieces [][]byte
	Size   uint64 // of them all
	Idle   int    // ticks since the last chunk
}

// Begin returns what m, which nothing of is taken yet, begins.
func Begin(from synod.NodeID, m paxos.SnapshotChunk) *Incoming {
	m.Data, m.Offset = nil, 0
	return &Incoming{From: from, First: m}
}

// GoesOn reports whether m, from a peer, is of this image. If it may come from
// anybody, it comes from that peer from now on. A nil Incoming does not go on.
func (t *Incoming) GoesOn(from synod.NodeID, m paxos.SnapshotChunk) bool {
	if t == nil || !same(t.First, m) || t.From != 0 && t.From != from {
		return false
	}
	t.From = from
	return true
}

// BeginsAnew reports whether m, which is not of this image, begins another in its
// place.
func (t *Incoming) BeginsAnew(from synod.NodeID, m paxos.SnapshotChunk) bool {
	return m.Offset == 0 && (t == nil || t.From == 0 || t.From == from)
}

// same reports whether two chunks are of one image.
func same(a, b paxos.SnapshotChunk) bool {
	return a.Slot == b.Slot && a.Size == b.Size && a.Sum == b.Sum
}

// Fits reports whether m is the next piece.
func (t *Incoming) Fits(m paxos.SnapshotChunk) bool {
	return m.Offset == t.Size && len(m.Data) > 0 && t.Size+uint64(len(m.Data)) <= m.Size
}

// Take takes m, which fits, and reports whether the image is whole.
func (t *Incoming) Take(m paxos.SnapshotChunk) (whole bool) {
	t.Idle = 0
	t.Pieces = append(t.Pieces, bytes.Clone(m.Data))
	t.Size += uint64(len(m.Data))
	return t.Size >= m.Size
}

// Join decodes the image in pieces, whose chunks agree on first. It gives the memory
// of each up.
func Join(first paxos.SnapshotChunk, pieces [][]byte) (paxos.Snapshot, error) {
	all := make([]byte, 0, first.Size)
	for i, p := range pieces {
		all = append(all, p...)
		pieces[i] = nil
		runtime.Gosched()
	}
	return Decode(first.Slot, all, first.Sum)
}
