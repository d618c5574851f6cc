package replica

import (
	"fmt"
	"time"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica/internal/image"
	"github.com/prytany/prytany/synod"
)

const (
	maxImage     = 2 << 30         // bytes of all snapshots on their way here, and of each
	feedFor      = 2 * time.Second // after a piece was sent, its snapshot is kept for the next
	repeatAfter  = 4               // ticks after which the next chunk is asked for again
	idleSender   = 20              // ticks after which whoever has the same may go on
	idleTransfer = 600             // ticks after which a transfer that stands still is given up
)

// sendChunk sends the piece of a snapshot that a peer asks for. Pieces are read one
// after the other, beside the loop: so many peers and groups there are, no more than
// one is in memory.
func (h *Host) sendChunk(g *group, c paxos.ChunkRequest) error {
	if h.clock == nil {
		chunk, ok, err := readChunk(h.cfg.Storage, g.id, c)
		h.feed(g, c.To, chunk, ok && err == nil)
		return err
	}
	h.wishes.Add(g, c)
	h.readWish()
	return nil
}

// readWish reads the next piece that a peer waits for, unless one is being read.
func (h *Host) readWish() {
	if h.reading != nil {
		return
	}
	w, ok := h.wishes.Next()
	if !ok {
		return
	}
	g := w.Of
	h.reading = g
	h.saves.Go(func() {
		chunk, ok, err := readChunk(h.cfg.Storage, g.id, w.ChunkRequest)
		h.tell(func() {
			h.reading = nil
			switch {
			case h.groups[g.id] != g:
			case err != nil && h.fatal == nil:
				h.fatal = fmt.Errorf("replica: group %d: %w", g.id, err)
			case err == nil:
				h.feed(g, w.To, chunk, ok)
			}
			h.readWish()
		})
	})
}

// feed sends a chunk that was read.
func (h *Host) feed(g *group, to synod.NodeID, chunk paxos.SnapshotChunk, ok bool) {
	if !ok {
		return
	}
	g.fed, g.feeding = h.now, true
	h.cfg.Transport.Send(to, Packet{g.id, chunk})
}

// feeds reports whether a peer fetches g's snapshot, which is therefore not replaced.
func (h *Host) feeds(g *group) bool {
	g.feeding = g.feeding && h.now-g.fed < feedFor
	return g.feeding
}

// readChunk reads the piece of group id's snapshot that c asks for; ok is false if there
// is none.
func readChunk(st Storage, id paxos.GroupID, c paxos.ChunkRequest) (out paxos.SnapshotChunk, ok bool, err error) {
	return image.Chunk(c, func(offset uint64, most int) (image.Part, bool, error) {
		p, ok, err := st.ReadSnapshot(id, offset, most)
		return image.Part(p), ok, err
	})
}

// onChunk takes a piece of a snapshot and asks for the next. Pieces come in
// order from one peer; whatever else arrives is dropped.
func (h *Host) onChunk(g *group, from synod.NodeID, m paxos.SnapshotChunk) {
	if m.Slot <= g.applied || g.arrived != nil || m.Size > maxImage {
		return
	}
	t := g.coming
	switch {
	case t.GoesOn(from, m):
	case t.BeginsAnew(from, m):
		g.coming = nil
		if !h.room(m.Size) {
			return // the core asks for it again
		}
		t = image.Begin(from, m)
		g.coming = t
	default:
		return
	}
	if !t.Fits(m) {
		if t.Idle >= idleSender { // from another peer, which begins with the first
			t.Idle = 0
			g.core.Receive(from, m, &g.out)
			h.touch(g)
			h.askChunk(g)
		}
		return
	}
	g.core.Receive(from, m, &g.out) // so that it begins no other transfer meanwhile
	h.touch(g)
	if !t.Take(m) {
		h.askChunk(g)
		return
	}
	g.coming = nil
	g.arrived = &arrival{from: from, first: t.First, pieces: t.Pieces}
}

// room reports whether a snapshot of size may be on its way here, beside the others.
func (h *Host) room(size uint64) bool {
	for _, g := range h.order {
		if g.coming != nil {
			size += g.coming.First.Size
		}
		if g.arrived != nil {
			size += g.arrived.first.Size
		}
	}
	return size <= maxImage
}

// askChunk asks for the next piece of the snapshot on its way.
func (h *Host) askChunk(g *group) {
	t := g.coming
	if t.From == 0 {
		return // the core asks around
	}
	h.cfg.Transport.Send(t.From, Packet{g.id, paxos.CatchUp{
		From:           g.applied + 1,
		Learner:        !g.status.Voter,
		SnapshotSlot:   t.First.Slot,
		SnapshotOffset: t.Size,
	}})
}

// tickTransfers repeats what was lost and gives up what stands still.
func (h *Host) tickTransfers(g *group) {
	t := g.coming
	if t == nil {
		return
	}
	switch t.Idle++; {
	case t.Idle > idleTransfer:
		g.coming = nil
	case t.Idle >= idleSender:
		t.From = 0
	case t.Idle%repeatAfter == 0:
		h.askChunk(g)
	}
}

// An arrival is a snapshot that has arrived whole.
type arrival struct {
	from   synod.NodeID
	first  paxos.SnapshotChunk
	pieces [][]byte

	begun, done     bool // what follows is being made, is made
	snap            paxos.Snapshot
	become          func() // makes it the machine's state
	refused, failed error  // why it is none for this group; why this node cannot go on
}
