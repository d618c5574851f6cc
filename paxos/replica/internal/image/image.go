// Package image is how a snapshot travels: as an image, in chunks. The image is the
// configuration in force after the snapshot (its start, then the stop-sign that would
// have begun it, after its length), then the machine's bytes. Equal snapshots have
// equal images on all nodes.
package image

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// ChunkBytes is how much of the machine's bytes one message has.
const ChunkBytes = 256 << 10

// Head returns what comes before the machine's bytes.
func Head(m paxos.Membership) []byte {
	stop := paxos.EncodeStop(m)
	b := make([]byte, 0, len(stop)+2*binary.MaxVarintLen64)
	b = binary.AppendUvarint(b, uint64(m.Start))
	b = binary.AppendUvarint(b, uint64(len(stop)))
	return append(b, stop...)
}

// Sum returns the checksum of an image from its head and the CRC32C of the rest,
// which storage knows: to send a piece nobody reads the whole.
func Sum(head []byte, data uint32) uint32 {
	sum := crc32.Checksum(head, castagnoli)
	return crc32.Update(sum, castagnoli, binary.BigEndian.AppendUint32(nil, data))
}

// castagnoli is the table of CRC32C.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Decode is the inverse: the snapshot of slot whose image is b, and sum is the
// image's checksum.
func Decode(slot paxos.Slot, b []byte, sum uint32) (s paxos.Snapshot, err error) {
	all := b
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
	stop, data := b[:size], b[size:]
	if Sum(all[:len(all)-len(data)], Checksum(data)) != sum {
		return s, errors.New("snapshot is damaged")
	}
	d, err := paxos.Decode(synod.Value(stop))
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
	return paxos.Snapshot{Slot: slot, Membership: d.Next, Data: data}, nil
}

// Checksum returns the CRC32C of b, and lets others run meanwhile.
func Checksum(b []byte) (sum uint32) {
	for ; len(b) > ChunkBytes; b = b[ChunkBytes:] {
		sum = crc32.Update(sum, castagnoli, b[:ChunkBytes])
		runtime.Gosched()
	}
	return crc32.Update(sum, castagnoli, b)
}

// A Part is a part of a snapshot's Data, and what is to be known of the whole.
type Part struct {
	Slot       paxos.Slot
	Membership paxos.Membership
	Size       uint64 // of all Data
	Sum        uint32 // the CRC32C of all Data
	Data       []byte
}

// Chunk reads the piece of a snapshot that c asks for: of another snapshot than the
// present one, its beginning. read returns up to most bytes of the present one from
// offset on; ok is false if there is none.
func Chunk(c paxos.ChunkRequest, read func(offset uint64, most int) (Part, bool, error)) (out paxos.SnapshotChunk, ok bool, err error) {
	p, ok, err := read(0, 0)
	if err != nil || !ok {
		return out, false, err
	}
	head := Head(p.Membership)
	out = paxos.SnapshotChunk{Slot: p.Slot, Size: uint64(len(head)) + p.Size, Sum: Sum(head, p.Sum)}
	if c.Slot == p.Slot && c.Offset < out.Size {
		out.Offset = c.Offset
	}
	from := uint64(0)
	if out.Offset < uint64(len(head)) {
		out.Data = head[out.Offset:]
	} else {
		from = out.Offset - uint64(len(head))
	}
	q, ok, err := read(from, ChunkBytes)
	if err != nil || !ok || q.Slot != p.Slot {
		return out, false, err // replaced in between: the peer asks again
	}
	out.Data = append(out.Data[:len(out.Data):len(out.Data)], q.Data...)
	return out, true, nil
}
