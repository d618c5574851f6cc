package sim

import (
	"testing"
	"time"

	"github.com/prytany/prytany/internal/sim/plan"
	"github.com/prytany/prytany/internal/sim/workload"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

// A lateStorage answers before the write is durable: each Save reaches the disk
// with the next one.
type lateStorage struct {
	replica.Storage
	late []paxos.Update
}

func (s *lateStorage) Save(us []paxos.Update) error {
	late := s.late
	s.late = nil
	for _, u := range us {
		u.Votes = append([]paxos.SlotVote(nil), u.Votes...)
		s.late = append(s.late, u)
	}
	if late == nil {
		return nil
	}
	return s.Storage.Save(late)
}

// A forgetfulStorage keeps votes but not the promise, unless a vote implies it.
type forgetfulStorage struct{ replica.Storage }

func (s *forgetfulStorage) Save(us []paxos.Update) error {
	out := append([]paxos.Update(nil), us...)
	for i := range out {
		d, err := s.Load(out[i].Group)
		if err != nil {
			return err
		}
		if d.Header.Membership.ID == out[i].Header.Membership.ID {
			out[i].Header.Promised = d.Header.Promised
			for _, v := range out[i].Votes {
				out[i].Header.Promised = synod.MaxBallot(out[i].Header.Promised, v.Vote.Ballot)
			}
		}
	}
	return s.Storage.Save(out)
}

// A hurriedStorage loses the votes of a Save that carries several.
type hurriedStorage struct{ replica.Storage }

func (s *hurriedStorage) Save(us []paxos.Update) error {
	out := append([]paxos.Update(nil), us...)
	for i := range out {
		if n := len(out[i].Votes); n > 1 {
			out[i].Votes = out[i].Votes[:n-1]
		}
	}
	return s.Storage.Save(out)
}

// A doubleMachine applies every 50th command twice.
type doubleMachine struct {
	replica.Machine
	n int
}

func (m *doubleMachine) Apply(slot paxos.Slot, cmd []byte, now time.Duration) []byte {
	if m.n++; m.n%50 == 0 {
		m.Machine.Apply(slot, cmd, now)
	}
	return m.Machine.Apply(slot, cmd, now)
}

// A deafMachine skips every 50th command.
type deafMachine struct {
	replica.Machine
	n int
}

func (m *deafMachine) Apply(slot paxos.Slot, cmd []byte, now time.Duration) []byte {
	if m.n++; m.n%50 == 0 {
		return nil
	}
	return m.Machine.Apply(slot, cmd, now)
}

// A clockMachine lets its answers depend on this process's clock.
type clockMachine struct{ replica.Machine }

func (m *clockMachine) Apply(slot paxos.Slot, cmd []byte, now time.Duration) []byte {
	r := m.Machine.Apply(slot, cmd, now)
	if now/time.Millisecond%64 == 0 {
		r = append(r, 0)
	}
	return r
}

// An eagerMachine ends sessions twice as early as it may.
type eagerMachine struct{ replica.Machine }

func (m *eagerMachine) Apply(slot paxos.Slot, cmd []byte, now time.Duration) []byte {
	return m.Machine.Apply(slot, cmd, now*2)
}

func (m *eagerMachine) Lead(b synod.Ballot, now time.Duration) [][]byte {
	return m.Machine.Lead(b, now*2)
}

func (m *eagerMachine) Ask(req []byte, now time.Duration) []byte { return m.Machine.Ask(req, now*2) }

// A staleMachine restores nothing from a snapshot but says that it has.
type staleMachine struct{ replica.Machine }

func (m *staleMachine) Restore([]byte) (install func(), err error) { return func() {}, nil }

// forge returns a transport hook that changes every 100th message of type M.
func forge[M paxos.Message](change func(M) M) func() plan.Hooks {
	return func() plan.Hooks {
		n := 0
		return plan.Hooks{Send: func(p replica.Packet) replica.Packet {
			if m, ok := p.Msg.(M); ok {
				if n++; n%100 == 0 {
					p.Msg = change(m)
				}
			}
			return p
		}}
	}
}

func withStorage(f func(replica.Storage) replica.Storage) func() plan.Hooks {
	return func() plan.Hooks { return plan.Hooks{Storage: f} }
}

func withMachine(f func(replica.Machine) replica.Machine) func() plan.Hooks {
	return func() plan.Hooks { return plan.Hooks{Machine: f} }
}

// mutants are the known-bad variants that the simulator must notice.
var mutants = []struct {
	name  string
	seeds int // within which it must be caught
	hooks func() plan.Hooks
	all   bool // it shows only in what clients do not always do
}{
	{"answers before the write is durable", 5, withStorage(func(s replica.Storage) replica.Storage { return &lateStorage{Storage: s} }), false},
	{"promise is not durable", 5, withStorage(func(s replica.Storage) replica.Storage { return &forgetfulStorage{s} }), false},
	{"votes are lost", 10, withStorage(func(s replica.Storage) replica.Storage { return &hurriedStorage{s} }), false},
	{"a command is applied twice", 5, withMachine(func(m replica.Machine) replica.Machine { return &doubleMachine{Machine: m} }), false},
	{"a command is skipped", 5, withMachine(func(m replica.Machine) replica.Machine { return &deafMachine{Machine: m} }), false},
	{"a result depends on the clock", 5, withMachine(func(m replica.Machine) replica.Machine { return &clockMachine{m} }), false},
	{"leases end early", 20, withMachine(func(m replica.Machine) replica.Machine { return &eagerMachine{m} }), false},
	{"a snapshot is not restored", 10, withMachine(func(m replica.Machine) replica.Machine { return &staleMachine{m} }), false},
	{"a writer is overtaken", 20, forges(writerIsOvertaken), true},
	{"the dead are served", 20, forges(deadAreServed), true},
	{"one slot too many", 20, forges(oneSlotMore), true},
	{"an upgrade keeps its fence", 20, forges(upgradeKeepsFence), true},
	{"an upgrade beside readers", 20, forges(upgradeBesideReaders), true},
	{"a transfer keeps the term", 20, forges(transferKeepsTerm), true},
	{"a transaction stops halfway", 20, forges(txnStopsHalfway), true},
	{"a request to yield ends later grants", 20, forges(yieldEndsAll), true},
	{"fences fall", 20, forges(fencesFall), true},
	{"some of several locks", 20, forges(someOfAll), true},
	{"a place that was given up stays", 20, forges(cancelIsForgotten), true},
	{"a guard is ignored", 20, forges(guardIsIgnored), true},
	{"a lock-delay is skipped", 20, forges(delayIsSkipped), true},
	{"the end of entries is not told", 20, func() plan.Hooks { return plan.Hooks{Changes: loses(locks.EventExpire)} }, true},
	{"a change is left out of streams", 20, func() plan.Hooks { return plan.Hooks{Changes: skipsOne} }, true},
	{"a read asks nobody", 5, func() plan.Hooks { return plan.Hooks{Read: true} }, false},
	{"a vote is claimed too far", 5, forge(func(m paxos.Accepted) paxos.Accepted { m.UpTo++; return m }), false},
	{"a promise leaves out votes", 60, func() plan.Hooks {
		return plan.Hooks{Send: func(p replica.Packet) replica.Packet {
			if m, ok := p.Msg.(paxos.Promise); ok {
				m.Votes = nil
				p.Msg = m
			}
			return p
		}}
	}, false},
	{"a proposal changes on its way", 5, forge(func(m paxos.Accept) paxos.Accept {
		if len(m.Values) > 0 {
			m.Values = append([]synod.Value(nil), m.Values...)
			m.Values[0] = paxos.EncodeBatch(m.Ballot, [][]byte{{1}})
		}
		return m
	}), false},
	{"the watermark runs ahead", 5, forge(func(m paxos.Accept) paxos.Accept { m.Decided++; return m }), false},
	{"a ballot is somebody else's", 20, func() plan.Hooks {
		return plan.Hooks{Send: func(p replica.Packet) replica.Packet {
			if m, ok := p.Msg.(paxos.Prepare); ok {
				m.Ballot.Member = m.Ballot.Member%3 + 1
				p.Msg = m
			}
			return p
		}}
	}, false},
	{"what is taught is not chosen", 60, func() plan.Hooks {
		return plan.Hooks{Send: func(p replica.Packet) replica.Packet {
			if m, ok := p.Msg.(paxos.Learned); ok && len(m.Values) > 0 {
				m.First++
				p.Msg = m
			}
			return p
		}}
	}, false},
}

// TestMutantsAreCaught shows that the simulator notices what it is for. A
// checker that never fails proves nothing.
func TestMutantsAreCaught(t *testing.T) {
	if testing.Short() {
		t.Skip("a long search in one goroutine")
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			for seed := uint64(1); seed <= uint64(m.seeds); seed++ {
				o := Swarm(seed)
				o.Hooks = m.hooks()
				if m.all {
					o.Features = workload.Everything
				}
				r, err := Run(o)
				if err == nil {
					err = checkHistory(r)
				}
				if f, ok := err.(*Failure); ok {
					t.Logf("seed %d: %s after %v: %.150s", seed, f.Invariant, f.At, f.Detail)
					return
				}
			}
			t.Errorf("not caught in %d seeds", m.seeds)
		})
	}
}
