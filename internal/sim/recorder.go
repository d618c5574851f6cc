package sim

import (
	"encoding/binary"
	"time"

	"github.com/prytany/prytany/internal/sim/oracle"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

// hashEvery is how many slots lie between two comparisons of whole states.
const hashEvery = 512

// A recorder is a node's machine, and tells the oracle what becomes of it.
// It implements [replica.Machine].
type recorder struct {
	n       *node
	locks   *locks.Machine  // the machine itself, for looking at
	inner   replica.Machine // the same, or what a test put around it
	count   int             // commands applied
	applied paxos.Slot
	leading bool
}

func newRecorder(n *node) *recorder {
	m := locks.NewMachine()
	r := &recorder{n: n, locks: m, inner: m}
	if h := n.w.opt.Hooks.Machine; h != nil {
		r.inner = h(m)
	}
	r.applied = 1 // the empty machine is the state after slot 1, by decree
	n.machine = r
	return r
}

// Apply implements [replica.Machine].
func (r *recorder) Apply(slot paxos.Slot, cmd []byte, now time.Duration) []byte {
	n := r.n
	n.step()
	result := r.inner.Apply(slot, cmd, now)
	first := n.w.oracle.Applied(n.who(), r.count, slot, cmd, result)
	r.count++
	if first {
		n.w.audit.applied(n, slot, cmd, result)
	}
	n.w.trace.mix(uint64(n.index), uint64(slot), hashBytes(result))
	return result
}

// Applied implements [replica.Machine].
func (r *recorder) Applied(slot paxos.Slot) {
	n := r.n
	n.w.oracle.AppliedUpTo(n.who(), r.count, r.applied, slot)
	r.inner.Applied(slot)
	if r.applied/hashEvery != slot/hashEvery {
		n.w.oracle.State(n.who(), slot, r.locks.StateHash())
	}
	r.applied = slot
}

// Snapshot implements [replica.Machine]. What it stands for goes with it: how
// many commands, up to which slot.
func (r *recorder) Snapshot() ([]byte, error) {
	data, err := r.inner.Snapshot()
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, len(data)+markBytes)
	b = binary.BigEndian.AppendUint64(b, uint64(r.count))
	b = binary.BigEndian.AppendUint64(b, uint64(r.applied))
	return append(b, data...), nil
}

// markBytes is the length of what a recorder puts before a snapshot.
const markBytes = 16

// mark reads it.
func mark(data []byte) (count int, applied paxos.Slot) {
	if len(data) < markBytes {
		oracle.Fail("I6", "a snapshot is too short")
	}
	return int(binary.BigEndian.Uint64(data)), paxos.Slot(binary.BigEndian.Uint64(data[8:]))
}

// Restore implements [replica.Machine].
func (r *recorder) Restore(data []byte) error {
	n := r.n
	n.step()
	n.w.stats.Restores++
	r.count, r.applied = mark(data)
	n.w.oracle.AppliedUpTo(n.who(), r.count, 0, r.applied)
	return r.inner.Restore(data[markBytes:])
}

// Lead implements [replica.Machine].
func (r *recorder) Lead(b synod.Ballot, now time.Duration) [][]byte {
	r.n.step()
	r.leading = true
	return r.inner.Lead(b, now)
}

// Follow implements [replica.Machine].
func (r *recorder) Follow() {
	r.leading = false
	r.inner.Follow()
}

// Ask implements [replica.Machine].
func (r *recorder) Ask(req []byte, now time.Duration) []byte { return r.inner.Ask(req, now) }
