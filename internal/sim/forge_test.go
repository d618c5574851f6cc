package sim

import (
	"bytes"
	"io"
	"time"

	"github.com/prytany/prytany/internal/sim/audit"
	"github.com/prytany/prytany/internal/sim/plan"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
)

// A forger is a machine of which some commands do what they must not, though
// mostly they are answered as they should be.
type forger struct {
	*locks.Machine
	forge func(f *forger, c locks.Command) (instead locks.Command, answer forgery)

	slot paxos.Slot
	now  time.Duration
}

// A forgery makes the answer from that of the command that was run instead; nil
// leaves that as it is.
type forgery func(locks.Result) locks.Result

// Apply implements [replica.Machine].
func (f *forger) Apply(slot paxos.Slot, cmd []byte, now time.Duration) []byte {
	f.slot, f.now = slot, now
	c, err := locks.Decode(cmd)
	if err != nil {
		return f.Machine.Apply(slot, cmd, now)
	}
	instead, answer := f.forge(f, c)
	if instead == nil {
		return f.Machine.Apply(slot, cmd, now)
	}
	result := f.Machine.Apply(slot, locks.Encode(instead), now)
	if r, err := locks.DecodeResult(result); err == nil && answer != nil {
		return answer(r).Encode()
	}
	return result
}

// honest returns what c would rightly be answered, and how the lock called name
// would be after it.
func (f *forger) honest(c locks.Command, name string) (locks.Result, audit.LockState) {
	data, err := encoded(f.Snapshot())
	if err != nil {
		panic(err)
	}
	m := locks.NewMachine()
	if err := install(m, data); err != nil {
		panic(err)
	}
	r, err := locks.DecodeResult(m.Apply(f.slot, locks.Encode(c), f.now))
	if err != nil {
		panic(err)
	}
	return r, lockOf(m, name)
}

func lockOf(m *locks.Machine, name string) (s audit.LockState) {
	m.View(func(v locks.View) { s = audit.LockOf(v, name) })
	return s
}

// says makes every answer r.
func says(r locks.Result) forgery { return func(locks.Result) locks.Result { return r } }

// nothing is a command that changes nothing.
func nothing() locks.Command { return &locks.ForgetCommand{} }

func forges[C locks.Command](forge func(*forger, C) (locks.Command, forgery)) func() plan.Hooks {
	return withMachine(func(m replica.Machine) replica.Machine {
		return &forger{Machine: m.(*locks.Machine), forge: func(f *forger, c locks.Command) (locks.Command, forgery) {
			if c, ok := c.(C); ok {
				return forge(f, c)
			}
			return nil, nil
		}}
	})
}

// writerIsOvertaken forgets that a writer has been given a place in the queue
// behind readers.
func writerIsOvertaken(f *forger, c *locks.AcquireCommand) (locks.Command, forgery) {
	l := lockOf(f.Machine, c.Lock)
	if c.Shared || c.Campaign || !c.Wait || len(l.Holders) == 0 || !l.Holders[0].Shared {
		return nil, nil
	}
	r, _ := f.honest(c, c.Lock)
	return nothing(), says(r)
}

// deadAreServed leaves sessions alive whose lease has run out.
func deadAreServed(_ *forger, c *locks.ExpireCommand) (locks.Command, forgery) {
	other := *c
	other.Renewals++ // so it is void
	return &other, nil
}

// oneSlotMore admits one too many to semaphores.
func oneSlotMore(_ *forger, c *locks.AcquireCommand) (locks.Command, forgery) {
	if c.Slots < 2 {
		return nil, nil
	}
	other := *c
	other.Slots++
	return &other, func(r locks.Result) locks.Result {
		if r.Slots > 0 {
			r.Slots--
		}
		return r
	}
}

// upgradeKeepsFence says that a reader that becomes a writer keeps its fence.
func upgradeKeepsFence(f *forger, c *locks.AcquireCommand) (locks.Command, forgery) {
	l := lockOf(f.Machine, c.Lock)
	if c.Shared || len(l.Holders) != 1 || !l.Holders[0].Shared || l.Holders[0].Session != c.Session {
		return nil, nil
	}
	return c, func(r locks.Result) locks.Result {
		if !r.Refused {
			r.Fence = l.Holders[0].Fence
		}
		return r
	}
}

// upgradeBesideReaders lets a reader have the lock as a writer though others
// read, by making them go.
func upgradeBesideReaders(f *forger, c *locks.AcquireCommand) (locks.Command, forgery) {
	l := lockOf(f.Machine, c.Lock)
	for _, h := range l.Holders {
		if h.Shared && h.Session == c.Session && !c.Shared && len(l.Holders) > 1 {
			return nothing(), func(r locks.Result) locks.Result {
				return locks.Result{Revision: r.Revision, Session: c.Session, TTL: 0, Fence: r.Revision, Slots: 1}
			}
		}
	}
	return nil, nil
}

// transferKeepsTerm hands leadership over within one term.
func transferKeepsTerm(f *forger, c *locks.TransferCommand) (locks.Command, forgery) {
	l := lockOf(f.Machine, c.Lock)
	if len(l.Holders) == 0 {
		return nil, nil
	}
	return c, func(r locks.Result) locks.Result {
		if !r.Refused {
			r.Fence = l.Holders[0].Fence
		}
		return r
	}
}

// txnStopsHalfway does the operations before the one that is refused.
func txnStopsHalfway(f *forger, c *locks.TxnCommand) (locks.Command, forgery) {
	r, _ := f.honest(c, "")
	if r.Step < 2 {
		return nil, nil
	}
	other := *c
	other.Request = locks.Request{}
	other.If = nil
	if len(c.Then) >= r.Step {
		other.Then = c.Then[:r.Step-1]
	}
	return &other, says(r)
}

// yieldEndsAll ends also the grants from after the request to yield.
func yieldEndsAll(f *forger, c *locks.EndYieldCommand) (locks.Command, forgery) {
	for _, h := range lockOf(f.Machine, c.Lock).Holders {
		if h.Fence > c.Since {
			return &locks.ReleaseCommand{Lock: c.Lock, Force: true}, nil
		}
	}
	return nil, nil
}

// fencesFall lets a register forget what it has seen when it is shown less.
func fencesFall(f *forger, c *locks.AdvanceCommand) (locks.Command, forgery) {
	var highest uint64
	f.View(func(v locks.View) { highest, _ = v.Fence(c.Resource) })
	if c.Fence >= highest {
		return nil, nil
	}
	return &locks.ForgetFenceCommand{Resource: c.Resource, Fence: highest}, func(r locks.Result) locks.Result {
		r.Fence = c.Fence
		return r
	}
}

// someOfAll keeps those of several locks that were to be had, though it says
// that none was.
func someOfAll(f *forger, c *locks.AcquireAllCommand) (locks.Command, forgery) {
	r, _ := f.honest(c, "")
	if !r.Refused || r.Repeated {
		return nil, nil
	}
	other := *c
	other.Locks = nil
	for _, name := range c.Locks {
		if l := lockOf(f.Machine, name); len(l.Holders)+len(l.Waiters) == 0 && !l.Delayed {
			other.Locks = append(other.Locks, name)
		}
	}
	if len(other.Locks) == 0 {
		return nil, nil
	}
	return &other, says(r)
}

// cancelIsForgotten says that a place in a queue was given up, and keeps it.
func cancelIsForgotten(f *forger, c *locks.CancelCommand) (locks.Command, forgery) {
	r, _ := f.honest(c, c.Lock)
	if !r.Refused || len(lockOf(f.Machine, c.Lock).Waiters) == 0 {
		return nil, nil
	}
	return nothing(), says(r)
}

// guardIsIgnored writes what a grant that is over guards.
func guardIsIgnored(_ *forger, c *locks.PutCommand) (locks.Command, forgery) {
	other := *c
	other.Guard = nil
	return &other, nil
}

// delayIsSkipped ends sessions that expire as if their owners had ended them.
func delayIsSkipped(f *forger, c *locks.ExpireCommand) (locks.Command, forgery) {
	if r, _ := f.honest(&locks.EndCommand{ID: c.Session}, ""); r.Refused {
		return nil, nil
	}
	var delay time.Duration
	f.View(func(v locks.View) {
		s, _ := v.Session(c.Session, true)
		if len(s.Holds) > 0 {
			delay = s.LockDelay
		}
	})
	if delay == 0 {
		return nil, nil
	}
	return &locks.EndCommand{ID: c.Session}, nil
}

// loses returns what leaves events of one type out of some changes.
func loses(t locks.EventType) func([]*locks.Change) []*locks.Change {
	return func(changes []*locks.Change) (out []*locks.Change) {
		for _, c := range changes {
			kept := &locks.Change{Revision: c.Revision}
			for _, e := range c.Events {
				if e.Type != t {
					kept.Events = append(kept.Events, e)
				}
			}
			out = append(out, kept)
		}
		return out
	}
}

// skipsOne leaves out the first of several changes.
func skipsOne(changes []*locks.Change) []*locks.Change {
	if len(changes) > 3 {
		return changes[1:]
	}
	return changes
}

// install makes data the state of m.
func install(m *locks.Machine, data []byte) error {
	become, err := m.Restore(data)
	if err == nil {
		become()
	}
	return err
}

// encoded returns what encode writes.
func encoded(encode func(io.Writer) error) ([]byte, error) {
	var b bytes.Buffer
	err := encode(&b)
	return b.Bytes(), err
}
