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

// An heir waits behind the holder with a fence.
type heir struct {
	lock, session string
	fence         uint64
}

// A drawer draws commands over a few names, so that they get into each other's way.
type drawer struct {
	rng      *rand.Rand
	n        int
	ballot   synod.Ballot
	revision uint64
	acquires []*locks.AcquireCommand
	fences   map[string]uint64 // of locks, and highest of resources, as they are now
	alive    []string          // sessions
	heirs    []heir
	asked    []heir // to yield, at the revision that stands for the fence
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
	switch d.rng.IntN(22) {
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
	case 13, 14, 15:
		return d.order()
	}
	return d.acquire()
}

// session draws one that lives, mostly.
func (d *drawer) session() string {
	if n := len(d.alive); n > 0 && d.rng.IntN(4) > 0 {
		return d.alive[d.rng.IntN(n)]
	}
	return d.pick("s", 60)
}

// fence draws one of a lock that is perhaps that of a present grant.
func (d *drawer) fence(lock string) uint64 {
	if f := d.fences[lock]; f != 0 && d.rng.IntN(4) > 0 {
		return f
	}
	return d.recent()
}

// order draws one of what is asked of several locks, of holders, leaders and registers.
func (d *drawer) order() locks.Command {
	switch d.rng.IntN(8) {
	case 0:
		c := &locks.AcquireAllCommand{Request: d.request(), Session: d.session()}
		for range 1 + d.rng.IntN(3) { // sometimes twice the same
			c.Locks = append(c.Locks, d.pick("l", 7))
		}
		return c
	case 1:
		return &locks.YieldCommand{Request: d.request(), Lock: d.pick("l", 4), Within: time.Duration(d.rng.IntN(3)) * time.Second}
	case 2:
		c := &locks.EndYieldCommand{Lock: d.pick("l", 4), Since: d.recent(), Ballot: d.ballot}
		if n := len(d.asked); n > 0 {
			y := d.asked[d.rng.IntN(n)]
			c.Lock, c.Since = y.lock, y.fence
		}
		return c
	case 3:
		name := d.pick("l", 4)
		return &locks.ProclaimCommand{Request: d.request(), Lock: name, Fence: d.fence(name), Value: d.pick("v", 99)}
	case 4, 5:
		c := &locks.TransferCommand{Request: d.request(), Lock: d.pick("l", 4), To: d.pick("s", 60)}
		if n := len(d.acquires); n > 0 && d.rng.IntN(4) > 0 {
			last := d.acquires[n-1-d.rng.IntN(min(n, 10))]
			c.Lock, c.To = last.Lock, last.Session
		}
		if n := len(d.heirs); n > 0 && d.rng.IntN(2) == 0 {
			heir := d.heirs[d.rng.IntN(n)]
			c.Lock, c.To, c.Fence = heir.lock, heir.session, heir.fence
			return c
		}
		if d.rng.IntN(2) == 0 {
			c.Fence = d.fence(c.Lock)
		}
		return c
	case 6:
		return &locks.AdvanceCommand{Request: d.request(), Resource: d.pick("r", 2), Fence: d.recent()}
	}
	c := &locks.ForgetFenceCommand{Request: d.request(), Resource: d.pick("r", 2), Fence: d.recent()}
	if d.rng.IntN(2) == 0 {
		c.Fence = d.fences[c.Resource]
	}
	return c
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
		Request: d.request(), Lock: d.pick("l", 4), Session: d.session(), Wait: d.rng.IntN(2) == 0, Slots: 1,
	}
	switch d.rng.IntN(8) {
	case 0, 1:
		c.Shared = true
	case 2, 3:
		c.Campaign, c.Value = true, d.pick("v", 99)
	case 5:
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

// look takes note of what locks have for fences now, and of what was asked of them.
func (d *drawer) look(m *locks.Machine) {
	d.fences, d.alive, d.heirs, d.asked = map[string]uint64{}, nil, nil, nil
	m.View(func(v locks.View) {
		for s := range v.Sessions("") {
			d.alive = append(d.alive, s.ID)
		}
		for i := range 2 {
			name := fmt.Sprintf("r%d", i)
			d.fences[name], _ = v.Fence(name)
		}
		for l := range v.Locks("", 0) {
			if len(l.Holders) > 0 {
				d.fences[l.Name] = l.Holders[0].Fence
				for _, w := range l.Waiters {
					d.heirs = append(d.heirs, heir{l.Name, w.Session, l.Holders[0].Fence})
				}
			}
			if l.Yield != nil {
				d.asked = append(d.asked, heir{l.Name, "", l.Yield.Since})
			}
		}
	})
}

// TestModelAgreesWithMachine draws logs with all that the model knows. The lock machine
// has a model of its own in its tests: that this one agrees says that this one is right.
func TestModelAgreesWithMachine(t *testing.T) {
	seeds := uint64(300)
	if testing.Short() {
		seeds = 40
	}
	refusals, worked := 0, map[string]int{}
	done := func(raw, result []byte) {
		cmd, _ := locks.Decode(raw)
		if r, err := locks.DecodeResult(result); err == nil && !r.Refused {
			worked[fmt.Sprintf("%T", cmd)]++
		}
	}
	for seed := range seeds {
		d := &drawer{rng: rand.New(rand.NewPCG(seed, 2)), ballot: synod.Ballot{Round: 1, Member: 1}}
		m := locks.NewMachine() // shows what is worth drawing
		n := decided.Node{Version: decided.Version, Name: "n1", ID: 1, Snapshot: 1, Config: 1, Voters: []uint64{1}}
		for slot := uint64(2); slot < 402; slot++ {
			d.revision++
			d.look(m)
			raw := locks.Encode(d.command())
			v := paxos.EncodeBatch(d.ballot, [][]byte{raw})
			done(raw, m.Apply(paxos.Slot(slot), raw, 0))
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
	t.Logf("%d commands, %d refused for a limit, worked: %v", seeds*400, refusals, worked)
	for _, cmd := range []locks.Command{
		&locks.AcquireAllCommand{}, &locks.YieldCommand{}, &locks.ProclaimCommand{}, &locks.TransferCommand{}, &locks.AdvanceCommand{}, &locks.ForgetFenceCommand{},
	} {
		if kind := fmt.Sprintf("%T", cmd); worked[kind] < int(seeds)/4 {
			t.Errorf("%s worked %d times in %d logs", kind, worked[kind], seeds)
		}
	}
}
