package check

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prytany/prytany/jepsen/decided"
	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/jepsen/ops"
	"github.com/prytany/prytany/jepsen/verdict"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// A drawer draws commands over a few names, so that they get into each other's way.
type drawer struct {
	rng      *rand.Rand
	n        int
	ballot   synod.Ballot
	revision uint64
	acquires []*locks.AcquireCommand
}

func (d *drawer) request() locks.Request {
	d.n++
	return locks.Request{ID: fmt.Sprintf("r%d", d.n), Hash: uint64(d.n), Since: d.revision}
}

func (d *drawer) pick(prefix string, n int) string { return fmt.Sprintf("%s%d", prefix, d.rng.IntN(n)) }

// recent draws a revision that something may have.
func (d *drawer) recent() uint64 {
	return d.revision - min(d.revision, uint64(d.rng.IntN(12)))
}

func (d *drawer) command() locks.Command {
	switch d.rng.IntN(18) {
	case 0:
		d.ballot.Round++
		return &locks.LeadCommand{Ballot: d.ballot}
	case 1, 2:
		delay := time.Duration(0)
		if d.rng.IntN(3) == 0 {
			delay = time.Second
		}
		return &locks.OpenCommand{Request: d.request(), ID: d.pick("s", 60), TTL: time.Second, LockDelay: delay}
	case 3:
		return &locks.EndCommand{Request: d.request(), ID: d.pick("s", 60)}
	case 4:
		return &locks.ExpireCommand{Session: d.pick("s", 60), Ballot: d.ballot, Renewals: uint64(d.rng.IntN(2))}
	case 5:
		return &locks.DelayCommand{Lock: d.pick("l", 4), Since: d.recent(), Ballot: d.ballot}
	case 6:
		if len(d.acquires) > 0 {
			a := d.acquires[d.rng.IntN(len(d.acquires))]
			return &locks.CancelCommand{Request: a.Request, Lock: a.Lock, Session: a.Session}
		}
		return &locks.ForgetCommand{}
	case 7, 8:
		c := &locks.ReleaseCommand{Request: d.request(), Lock: d.pick("l", 4), Fence: d.recent()}
		if d.rng.IntN(3) == 0 {
			c.Force, c.Fence = true, 0
		} else if d.rng.IntN(2) == 0 {
			c.Session = d.pick("s", 60)
		}
		return c
	case 9, 10:
		c := &locks.PutCommand{Request: d.request(), Key: d.pick("k", 3), Value: []byte(d.pick("v", 99))}
		d.conditions(&c.IfRevision, &c.Guard)
		if d.rng.IntN(3) == 0 {
			c.Session = d.pick("s", 60)
		}
		c.IfPresent = d.rng.IntN(5) == 0
		return c
	case 11:
		c := &locks.DeleteCommand{Request: d.request(), Key: d.pick("k", 3)}
		d.conditions(&c.IfRevision, &c.Guard)
		return c
	case 12:
		return d.txn()
	}
	return d.acquire()
}

func (d *drawer) conditions(r **uint64, g **locks.Guard) {
	switch d.rng.IntN(5) {
	case 0:
		n := d.recent()
		*r = &n
	case 1:
		*r = new(uint64)
	case 2:
		*g = &locks.Guard{Lock: d.pick("l", 4), Fence: d.recent()}
	}
}

func (d *drawer) acquire() locks.Command {
	c := &locks.AcquireCommand{
		Request: d.request(), Lock: d.pick("l", 4), Session: d.pick("s", 60), Wait: d.rng.IntN(2) == 0, Slots: 1,
	}
	switch d.rng.IntN(8) {
	case 0, 1:
		c.Shared = true
	case 2:
		c.Campaign, c.Value = true, d.pick("v", 99)
	case 3:
		c.Slots = 2
	case 4:
		c.Open, c.Session, c.TTL = true, "own-"+c.Request.ID, time.Second
	}
	d.acquires = append(d.acquires, c)
	if d.rng.IntN(12) == 0 { // the same request once more
		return d.acquires[d.rng.IntN(len(d.acquires))]
	}
	return c
}

func (d *drawer) txn() locks.Command {
	c := &locks.TxnCommand{Request: d.request()}
	for range d.rng.IntN(3) {
		f := locks.If{Kind: locks.IfKind(1 + d.rng.IntN(6)), Name: d.pick("k", 3), Revision: d.recent(), Value: []byte(d.pick("v", 99))}
		switch f.Kind {
		case locks.IfAlive:
			f.Name = d.pick("s", 60)
		case locks.IfCurrent:
			f.Name = d.pick("l", 4)
		}
		c.If = append(c.If, f)
	}
	step := func() locks.Op {
		o := locks.Op{Kind: locks.OpKind(1 + d.rng.IntN(4)), Key: d.pick("k", 3)}
		if o.Kind == locks.OpPut {
			o.Value = []byte(d.pick("v", 99))
			if d.rng.IntN(3) == 0 {
				o.Session = d.pick("s", 60)
			}
		}
		return o
	}
	for range 1 + d.rng.IntN(3) {
		c.Then, c.Else = append(c.Then, step()), append(c.Else, step())
	}
	return c
}

// TestModelAgreesWithMachine draws logs with all that the model knows. The lock machine
// has a model of its own in its tests: that this one agrees says that this one is right.
func TestModelAgreesWithMachine(t *testing.T) {
	seeds := uint64(300)
	if testing.Short() {
		seeds = 40
	}
	refusals := 0
	for seed := range seeds {
		d := &drawer{rng: rand.New(rand.NewPCG(seed, 2)), ballot: synod.Ballot{Round: 1, Member: 1}}
		n := decided.Node{Version: decided.Version, Name: "n1", ID: 1, Snapshot: 1, Config: 1, Voters: []uint64{1}}
		for slot := uint64(2); slot < 402; slot++ {
			d.revision++
			v := paxos.EncodeBatch(d.ballot, [][]byte{locks.Encode(d.command())})
			n.Votes = append(n.Votes, decided.NewVote(paxos.SlotVote{Slot: paxos.Slot(slot), Config: 1, Chosen: true, Vote: synod.Vote{Ballot: d.ballot, Value: v}}))
			n.Decided = slot
		}
		f := &facts{h: ops.Pair(history.Run{}, nil), opts: Options{}.withDefaults()}
		for _, c := range certify(f, decided.Merge([]decided.Node{n})) {
			if c.Outcome != verdict.Passed {
				t.Fatalf("seed %d: %s is %s: %s %v", seed, c.Name, c.Outcome, c.Detail, c.Offenders)
			}
			refusals += int(c.Counts["refused for a limit"])
		}
		if l1 := f.exclusion(); l1.Outcome != verdict.Passed {
			t.Fatalf("seed %d: %v", seed, l1.Offenders)
		}
	}
	t.Logf("%d commands, %d refused for a limit", seeds*400, refusals)
}
