// Package machine has the machines of simulated nodes: they do what is chosen, and tell
// the oracle what becomes of it.
package machine

import (
	"encoding/binary"
	"hash/fnv"
	"io"
	"time"

	"github.com/prytany/prytany/internal/sim/audit"
	"github.com/prytany/prytany/internal/sim/oracle"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

// An Owner is the process that a machine belongs to.
type Owner interface {
	Who() oracle.Node
	Step()               // may be the last thing that the process does
	Mix(facts ...uint64) // into the trace
	Restored()           // a machine has become what a snapshot says
}

// hashEvery is how many slots lie between two comparisons of whole states.
const hashEvery = 512

// A Recorder is a node's machine of group main, the lock machine.
// It implements [replica.Machine].
type Recorder struct {
	Locks   *locks.Machine // the machine itself, for looking at
	Count   int            // commands applied
	Slot    paxos.Slot     // applied
	Leading bool

	owner   Owner
	inner   replica.Machine // Locks, or what a test put around it
	oracle  *oracle.Oracle
	audit   *audit.Account
	changes func([]*locks.Change) []*locks.Change
}

// NewRecorder returns an empty machine that keeps the events of so many revisions, of as
// many as in production if that is 0. Around it is wrap, and what it tells the account of
// passes through changes; both may be nil.
func NewRecorder(owner Owner, o *oracle.Oracle, a *audit.Account, events int,
	wrap func(replica.Machine) replica.Machine, changes func([]*locks.Change) []*locks.Change) *Recorder {
	m := locks.NewMachine()
	if events != 0 {
		m = locks.NewForgetfulMachine(events)
	}
	r := &Recorder{Locks: m, owner: owner, inner: m, oracle: o, audit: a, changes: changes}
	if wrap != nil {
		r.inner = wrap(m)
	}
	r.Slot = 1 // the empty machine is the state after slot 1, by decree
	return r
}

// Next implements [replica.Sleeper].
func (r *Recorder) Next(now time.Duration) (time.Duration, bool) { return r.Locks.Next(now) }

// Apply implements [replica.Machine].
func (r *Recorder) Apply(slot paxos.Slot, cmd []byte, now time.Duration) []byte {
	r.owner.Step()
	result := r.inner.Apply(slot, cmd, now)
	who := r.owner.Who()
	first := r.oracle.Applied(who, r.Count, slot, cmd, result)
	r.Count++
	if first {
		r.audit.Applied(who.Name, cmd, result, r.news())
	}
	r.owner.Mix(uint64(who.Index), uint64(slot), hashBytes(result))
	return result
}

// news returns the events of the newest command.
func (r *Recorder) news() (events []locks.Event) {
	r.Locks.View(func(v locks.View) {
		changes, _ := v.Changes(uint64(r.Count) - 1)
		if r.changes != nil {
			changes = r.changes(changes)
		}
		for _, c := range changes {
			events = append(events, c.Events...)
		}
	})
	return events
}

// Applied implements [replica.Machine].
func (r *Recorder) Applied(slot paxos.Slot) {
	r.oracle.AppliedUpTo(r.owner.Who(), r.Count, r.Slot, slot)
	r.inner.Applied(slot)
	if r.Slot/hashEvery != slot/hashEvery {
		r.oracle.State(r.owner.Who(), slot, r.Locks.StateHash())
	}
	r.Slot = slot
}

// Snapshot implements [replica.Machine]. What it stands for goes with it: how
// many commands, up to which slot.
func (r *Recorder) Snapshot() func(io.Writer) error {
	encode := r.inner.Snapshot()
	head := binary.BigEndian.AppendUint64(nil, uint64(r.Count))
	head = binary.BigEndian.AppendUint64(head, uint64(r.Slot))
	return func(w io.Writer) error {
		if _, err := w.Write(head); err != nil {
			return err
		}
		return encode(w)
	}
}

// markBytes is the length of what a recorder puts before a snapshot.
const markBytes = 16

// Mark reads from a snapshot of any machine how many commands it stands for, up to
// which slot.
func Mark(data []byte) (count int, applied paxos.Slot) {
	if len(data) < markBytes {
		oracle.Fail("I6", "a snapshot is too short")
	}
	return int(binary.BigEndian.Uint64(data)), paxos.Slot(binary.BigEndian.Uint64(data[8:]))
}

// Restore implements [replica.Machine].
func (r *Recorder) Restore(data []byte) (install func(), err error) {
	count, applied := Mark(data)
	inner, err := r.inner.Restore(data[markBytes:])
	if err != nil {
		return nil, err
	}
	return func() {
		r.owner.Step()
		r.owner.Restored()
		r.Count, r.Slot = count, applied
		r.oracle.AppliedUpTo(r.owner.Who(), r.Count, 0, r.Slot)
		inner()
	}, nil
}

// Lead implements [replica.Machine].
func (r *Recorder) Lead(b synod.Ballot, now time.Duration) [][]byte {
	r.owner.Step()
	r.Leading = true
	return r.inner.Lead(b, now)
}

// Follow implements [replica.Machine].
func (r *Recorder) Follow() {
	r.Leading = false
	r.inner.Follow()
}

// Ask implements [replica.Machine].
func (r *Recorder) Ask(req []byte, now time.Duration) []byte { return r.inner.Ask(req, now) }

func hashBytes(b []byte) uint64 {
	h := fnv.New64a()
	h.Write(b)
	return h.Sum64()
}
