package locks

import (
	"errors"
	"hash/fnv"
	"sync"
	"time"

	"github.com/prytany/prytany/locks/internal/command"
	"github.com/prytany/prytany/paxos"
)

// A Machine is the replicated state machine of one group. Apply, Applied,
// Restore, Lead, Follow and Ask are called by one goroutine, which owns the
// log; the [Service] of the same node reads beside it.
type Machine struct {
	bounds bounds
	news   news

	mu          sync.RWMutex // guards all below; whoever holds it is brief
	state                    // replicated
	happened    []Event      // by the present command
	applied     paxos.Slot
	now         time.Duration // of the present Apply
	lessor      lessor        // the leader's private clock
	unsupported error
	frozen      *frozenState // what is being encoded; nil if nothing is
}

// NewMachine returns the empty machine: of all groups, on all nodes, the same.
func NewMachine() *Machine { return NewForgetfulMachine(formatBounds.changes) }

// NewForgetfulMachine is NewMachine with the events of at most so many
// revisions, for a simulation that is to come to that bound. It too must be the
// same on all nodes.
func NewForgetfulMachine(changes int) *Machine {
	m := &Machine{bounds: formatBounds}
	m.bounds.changes = changes
	m.reset(state{})
	return m
}

// reset makes s the state.
func (m *Machine) reset(s state) {
	s.delayed, s.yielding = map[string]*lock{}, map[string]*lock{}
	m.state = s
	m.lessor = lessor{}
}

// Apply runs one command and returns its [Result]. It never panics and never
// waits, whatever the bytes. now is this process's clock: it influences the
// leader's private deadlines and nothing that is replicated.
func (m *Machine) Apply(slot paxos.Slot, cmd []byte, now time.Duration) []byte {
	c, err := Decode(cmd)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = now
	m.applied = max(m.applied, slot)
	m.revision++
	if err != nil {
		if _, ok := errors.AsType[*command.UnsupportedError](err); ok && m.unsupported == nil {
			m.unsupported = err
		}
		return Result{Refused: true, Code: Internal, Detail: err.Error(), Revision: m.revision}.Encode()
	}
	return m.run(c).Encode()
}

// Applied says that everything up to slot is applied.
func (m *Machine) Applied(slot paxos.Slot) {
	m.mu.Lock()
	m.applied = slot
	revision := m.revision
	m.mu.Unlock()
	m.news.Reached(revision)
}

// Unsupported returns an error once the log has held a command that only a
// newer version knows. Its effect is missing here, so the node must stop.
func (m *Machine) Unsupported() error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.unsupported
}

// Revision returns the number of commands applied.
func (m *Machine) Revision() uint64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.revision
}

// StateHash returns a hash of the replicated state: equal on nodes that have
// applied the same commands. It costs as much as a snapshot.
func (m *Machine) StateHash() uint64 {
	data, _ := m.encode() // without a state there is none to compare
	h := fnv.New64a()
	h.Write(data)
	return h.Sum64()
}

// run applies c, or finds the answer that it got before.
func (m *Machine) run(c Command) Result {
	defer m.record()
	r := command.RequestOf(c)
	if r == nil || r.ID == "" {
		res := m.change(c)
		res.Revision = m.revision
		return res
	}
	if res, ok := m.known(*r); ok {
		if res.Revision == 0 {
			res.Revision = m.revision
		}
		return res
	}
	res := m.change(c)
	res.Revision = m.revision
	m.remember(*r, res)
	return res
}

// change does what c says.
func (m *Machine) change(c Command) Result {
	switch c := c.(type) {
	case *LeadCommand:
		m.applyLead(c)
	case *ForgetCommand:
		m.table(Request{Own: c.Own}).Forget(c.UpTo)
	case *CompactCommand:
		m.history.Compact(c.UpTo)
	case *DelayCommand:
		m.applyDelay(c)
	case *ExpireCommand:
		m.applyExpire(c)
	case *EndYieldCommand:
		m.applyEndYield(c)
	case *CancelCommand:
		return m.applyCancel(c)
	case *OpenCommand:
		return m.applyOpen(c)
	case *EndCommand:
		return m.applyEnd(c)
	case *AcquireCommand:
		return m.applyAcquire(c)
	case *AcquireAllCommand:
		return m.applyAcquireAll(c)
	case *ReleaseCommand:
		return m.applyRelease(c)
	case *YieldCommand:
		return m.applyYield(c)
	case *ProclaimCommand:
		return m.applyProclaim(c)
	case *TransferCommand:
		return m.applyTransfer(c)
	case *PutCommand:
		return m.applyPut(c)
	case *DeleteCommand:
		return m.applyDelete(c)
	case *AdvanceCommand:
		return m.applyAdvance(c)
	case *ForgetFenceCommand:
		return m.applyForgetFence(c)
	case *TxnCommand:
		return m.applyTxn(c)
	}
	return Result{}
}
