package machine

import (
	"encoding/binary"
	"errors"
	"io"
	"time"

	"github.com/prytany/prytany/internal/sim/oracle"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// A Ledger is a node's machine of a group beside main: it counts the numbers that are
// put in and hashes them in their order. It implements [replica.Machine].
type Ledger struct {
	Slot    paxos.Slot // applied
	Leading bool

	owner  Owner
	oracle *oracle.Oracle
	first  func(number uint64)
	filler int
	count  int
	hash   uint64
}

// NewLedger returns an empty ledger whose snapshots have so many bytes of filler. When
// it is the first of its group to put a number in, it calls first.
func NewLedger(owner Owner, o *oracle.Oracle, filler int, first func(number uint64)) *Ledger {
	return &Ledger{Slot: 1, owner: owner, oracle: o, filler: filler, first: first}
}

// Apply implements [replica.Machine].
func (l *Ledger) Apply(slot paxos.Slot, cmd []byte, _ time.Duration) []byte {
	l.owner.Step()
	number := binary.BigEndian.Uint64(cmd)
	l.hash = (l.hash ^ number) * 0x100000001b3
	result := binary.BigEndian.AppendUint64(nil, l.hash)
	if l.oracle.Applied(l.owner.Who(), l.count, slot, cmd, result) {
		l.first(number)
	}
	l.count++
	return result
}

// Applied implements [replica.Machine].
func (l *Ledger) Applied(slot paxos.Slot) {
	l.oracle.AppliedUpTo(l.owner.Who(), l.count, l.Slot, slot)
	l.oracle.State(l.owner.Who(), slot, l.hash)
	l.Slot = slot
}

// Snapshot implements [replica.Machine]: count and slot, as a recorder's, then the
// hash, and filler, so that it takes several messages to send.
func (l *Ledger) Snapshot() (encode func(io.Writer) error) {
	b := make([]byte, markBytes+8, markBytes+8+l.filler)
	binary.BigEndian.PutUint64(b, uint64(l.count))
	binary.BigEndian.PutUint64(b[8:], uint64(l.Slot))
	binary.BigEndian.PutUint64(b[markBytes:], l.hash)
	for i := range l.filler {
		b = append(b, byte(l.hash>>(i%8*8)))
	}
	return func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	}
}

// Restore implements [replica.Machine].
func (l *Ledger) Restore(data []byte) (install func(), err error) {
	count, applied := Mark(data)
	hash := binary.BigEndian.Uint64(data[markBytes:])
	for i, b := range data[markBytes+8:] {
		if b != byte(hash>>(i%8*8)) {
			return nil, errors.New("the snapshot is damaged")
		}
	}
	return func() {
		l.owner.Step()
		l.owner.Restored()
		l.count, l.Slot, l.hash = count, applied, hash
		l.oracle.AppliedUpTo(l.owner.Who(), count, 0, applied)
		l.oracle.State(l.owner.Who(), applied, hash)
	}, nil
}

// Lead implements [replica.Machine].
func (l *Ledger) Lead(synod.Ballot, time.Duration) [][]byte {
	l.Leading = true
	return nil
}

// Follow implements [replica.Machine].
func (l *Ledger) Follow() { l.Leading = false }

// Ask implements [replica.Machine].
func (l *Ledger) Ask([]byte, time.Duration) []byte { return nil }
