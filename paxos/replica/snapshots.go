package replica

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"

	"github.com/prytany/prytany/internal/invariant"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

const (
	chunkBytes   = 256 << 10 // of a snapshot in one message
	maxImage     = 2 << 30   // bytes of a snapshot that is taken from a peer
	idleImage    = 200       // ticks after which a snapshot nobody fetches is let go
	idleTransfer = 40        // ticks after which a transfer that stands still is given up
	repeatAfter  = 4         // ticks after which the next chunk is asked for again
)

// snapshot saves g's state if enough was applied since the last time. The
// group then forgets old votes; storage does, in a later turn.
func (h *Host) snapshot(g *group) error {
	if g.applied-g.snapAt < paxos.Slot(h.cfg.SnapshotSlots) && g.logBytes < h.cfg.SnapshotBytes {
		return nil
	}
	data, err := g.machine.Snapshot()
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	s := paxos.Snapshot{Slot: g.applied, Membership: g.status.Membership, Data: data}
	if err := h.cfg.Storage.SaveSnapshot(g.id, s); err != nil {
		return fmt.Errorf("save snapshot: %w", err)
	}
	g.snapAt, g.logBytes = g.applied, 0
	keep := paxos.Slot(1)
	if tail := paxos.Slot(h.cfg.TailSlots); s.Slot > tail {
		keep = s.Slot - tail + 1
	}
	g.core.Compact(s.Slot, keep, &g.out)
	h.touch(g)
	h.cfg.Log.Debug("snapshot taken", "group", g.id, "slot", s.Slot, "bytes", len(data))
	return nil
}

// trim lets storage drop the votes that a durable header has given up.
func (h *Host) trim(g *group) error {
	if g.trimTo <= g.trimmed {
		return nil
	}
	if err := h.cfg.Storage.Trim(g.id, g.trimTo); err != nil {
		return fmt.Errorf("trim: %w", err)
	}
	g.trimmed = g.trimTo
	return nil
}

// An image is a snapshot as it travels, kept while peers fetch it.
type image struct {
	slot  paxos.Slot
	bytes []byte
	sum   uint32
	idle  int // ticks since a piece was sent
}

// A transfer is a snapshot on its way here, from one peer.
type transfer struct {
	from  synod.NodeID
	first paxos.SnapshotChunk // without Data: what all chunks must agree on
	bytes []byte
	idle  int // ticks since the last chunk
}

// castagnoli is the table of CRC32C.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encodeImage returns s as it travels: the configuration in force after it
// (its start, then the stop-sign that would have begun it, after its length),
// then the machine's bytes.
func encodeImage(s paxos.Snapshot) []byte {
	stop := paxos.EncodeStop(s.Membership)
	b := make([]byte, 0, len(stop)+len(s.Data)+2*binary.MaxVarintLen64)
	b = binary.AppendUvarint(b, uint64(s.Membership.Start))
	b = binary.AppendUvarint(b, uint64(len(stop)))
	b = append(b, stop...)
	return append(b, s.Data...)
}

// decodeImage is the inverse of encodeImage for a snapshot of slot.
func decodeImage(slot paxos.Slot, b []byte) (s paxos.Snapshot, err error) {
	start, n := binary.Uvarint(b)
	if n <= 0 {
		return s, errors.New("snapshot is cut short")
	}
	b = b[n:]
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return s, errors.New("snapshot is cut short")
	}
	b = b[n:]
	d, err := paxos.Decode(synod.Value(b[:size]))
	if err != nil {
		return s, fmt.Errorf("configuration of snapshot: %w", err)
	}
	if d.Kind != paxos.KindStop {
		return s, errors.New("snapshot has no configuration")
	}
	d.Next.Start = paxos.Slot(start)
	if err := d.Next.Check(); err != nil {
		return s, err
	}
	return paxos.Snapshot{Slot: slot, Membership: d.Next, Data: b[size:]}, nil
}

// sendChunk sends the piece of a snapshot that a peer asks for. The one being
// fetched serves until its end although there may be a later one by now, as
// long as the log goes on from it.
func (h *Host) sendChunk(g *group, c paxos.ChunkRequest) error {
	img := g.serving
	if img == nil || (c.Slot != img.slot && img.slot < g.snapAt) || img.slot+1 < g.status.First {
		s, ok, err := h.cfg.Storage.LoadSnapshot(g.id)
		if err != nil {
			return fmt.Errorf("load snapshot: %w", err)
		}
		if !ok {
			return nil
		}
		b := encodeImage(s)
		img = &image{slot: s.Slot, bytes: b, sum: crc32.Checksum(b, castagnoli)}
		g.serving = img
	}
	img.idle = 0
	from := c.Offset
	if c.Slot != img.slot || from >= uint64(len(img.bytes)) {
		from = 0
	}
	to := min(from+chunkBytes, uint64(len(img.bytes)))
	h.cfg.Transport.Send(c.To, Packet{g.id, paxos.SnapshotChunk{
		Slot: img.slot, Offset: from, Size: uint64(len(img.bytes)), Sum: img.sum, Data: img.bytes[from:to:to],
	}})
	return nil
}

// onChunk takes a piece of a snapshot and asks for the next. Pieces come in
// order from one peer; whatever else arrives is dropped.
func (h *Host) onChunk(g *group, from synod.NodeID, m paxos.SnapshotChunk) {
	if m.Slot <= g.applied || g.arrived != nil || m.Size > maxImage {
		return
	}
	head := m
	head.Data, head.Offset = nil, 0
	t := g.coming
	if m.Offset == 0 && (t == nil || t.from == from && !sameImage(t.first, head)) {
		t = &transfer{from: from, first: head}
		g.coming = t
	}
	if t == nil || t.from != from || !sameImage(t.first, head) || m.Offset != uint64(len(t.bytes)) ||
		len(m.Data) == 0 || m.Offset+uint64(len(m.Data)) > m.Size {
		return
	}
	g.core.Receive(from, m, &g.out) // so that it begins no other transfer meanwhile
	h.touch(g)
	t.idle = 0
	t.bytes = append(t.bytes, m.Data...)
	if uint64(len(t.bytes)) < m.Size {
		h.askChunk(g)
		return
	}
	g.coming = nil
	if crc32.Checksum(t.bytes, castagnoli) != m.Sum {
		h.cfg.Log.Warn("snapshot from peer is damaged", "group", g.id, "peer", from, "slot", m.Slot)
		return
	}
	s, err := decodeImage(m.Slot, t.bytes)
	if err != nil {
		h.cfg.Log.Warn("snapshot from peer is refused", "group", g.id, "peer", from, "slot", m.Slot, "err", err)
		return
	}
	g.arrived = &s
}

// sameImage reports whether two chunks are of one snapshot.
func sameImage(a, b paxos.SnapshotChunk) bool {
	return a.Slot == b.Slot && a.Size == b.Size && a.Sum == b.Sum
}

// askChunk asks for the next piece of the snapshot on its way.
func (h *Host) askChunk(g *group) {
	t := g.coming
	h.cfg.Transport.Send(t.from, Packet{g.id, paxos.CatchUp{
		From:           g.applied + 1,
		Learner:        g.status.Membership.Seat(h.cfg.Self) < 0,
		SnapshotSlot:   t.first.Slot,
		SnapshotOffset: uint64(len(t.bytes)),
	}})
}

// tickTransfers repeats what was lost and gives up what stands still.
func (h *Host) tickTransfers(g *group) {
	if g.serving != nil {
		if g.serving.idle++; g.serving.idle > idleImage {
			g.serving = nil
		}
	}
	if t := g.coming; t != nil {
		switch t.idle++; {
		case t.idle > idleTransfer:
			g.coming = nil
		case t.idle%repeatAfter == 0:
			h.askChunk(g)
		}
	}
}

// install makes the snapshot that has arrived the state of g: durable first,
// then in the group, then in the machine.
func (h *Host) install(g *group) error {
	s := g.arrived
	if s == nil {
		return nil
	}
	g.arrived = nil
	if s.Slot <= g.applied || s.Membership.ID < g.status.Membership.ID || s.Membership.Start > s.Slot {
		return nil // caught up by other means, or it makes no sense
	}
	if err := h.cfg.Storage.SaveSnapshot(g.id, *s); err != nil {
		return fmt.Errorf("save snapshot: %w", err)
	}
	ok := g.core.Install(*s, &g.out)
	invariant.Check(ok, "group %d refuses the snapshot of slot %d after slot %d", g.id, s.Slot, g.applied)
	if err := g.machine.Restore(s.Data); err != nil {
		return fmt.Errorf("restore snapshot of slot %d: %w", s.Slot, err)
	}
	g.applied, g.snapAt, g.logBytes = s.Slot, s.Slot, 0
	g.machine.Applied(g.applied)
	h.touch(g)
	h.cfg.Log.Info("snapshot installed", "group", g.id, "slot", s.Slot, "bytes", len(s.Data))

	// What was proposed in the slots it covers may be among what it holds.
	for _, slot := range slices.Sorted(maps.Keys(g.waiting)) {
		if slot <= s.Slot {
			h.end(g, slot, paxos.ErrUnknownOutcome)
		}
	}
	if s.Membership.ID > g.status.Membership.ID {
		h.void(g)
	}
	h.serveReads(g)
	return nil
}
