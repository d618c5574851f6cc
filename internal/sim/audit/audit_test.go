package audit

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/sim/oracle"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// A pair is a machine with its account, which hears what the machine does, or
// says that it does.
type pair struct {
	account *Account
	machine *locks.Machine
	now     time.Duration
	n       int

	result func(*locks.Result)               // forges the answer
	events func([]locks.Event) []locks.Event // forges what is told
}

func newPair() *pair {
	p := &pair{machine: locks.NewMachine()}
	p.account = New(func() time.Duration { return p.now }, 0, 100)
	return p
}

// do runs c and returns the invariant that the account says is broken, if any.
func (p *pair) do(c locks.Command) (broken string) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case oracle.Violation:
			broken = v.Invariant
		default:
			panic(v)
		}
	}()
	p.n++
	result := p.machine.Apply(paxos.Slot(p.n), locks.Encode(c), p.now)
	if p.result != nil {
		r, _ := locks.DecodeResult(result)
		p.result(&r)
		result = r.Encode()
	}
	var events []locks.Event
	p.machine.View(func(v locks.View) {
		changes, _ := v.Changes(uint64(p.n) - 1)
		for _, c := range changes {
			events = append(events, c.Events...)
		}
	})
	if p.events != nil {
		events = p.events(events)
	}
	p.account.Applied("the machine", locks.Encode(c), result, events)
	return ""
}

func id(n int) locks.Request { return locks.Request{ID: fmt.Sprint(n)} }

// story has something of everything: readers, a writer behind them, a semaphore,
// an election, a lock-delay, a request to yield, entries and a register.
func story() []locks.Command {
	lead := synod.Ballot{Round: 1, Member: 1}
	acquire := func(n int, lock, session string, shared bool) *locks.AcquireCommand {
		return &locks.AcquireCommand{Request: id(n), Lock: lock, Session: session, Shared: shared, Wait: true}
	}
	campaign := func(n int, session string) *locks.AcquireCommand {
		c := acquire(n, "seat", session, false)
		c.Campaign, c.Value = true, session
		return c
	}
	return []locks.Command{
		&locks.LeadCommand{Ballot: lead},
		&locks.OpenCommand{Request: id(2), ID: "a", TTL: time.Second, LockDelay: time.Second},
		&locks.OpenCommand{Request: id(3), ID: "b", TTL: time.Second},
		&locks.OpenCommand{Request: id(4), ID: "c", TTL: time.Second},
		acquire(5, "l", "a", true), acquire(6, "l", "b", true), acquire(7, "l", "c", false),
		&locks.AcquireCommand{Request: id(8), Lock: "pool", Session: "a", Slots: 2},
		&locks.AcquireCommand{Request: id(9), Lock: "pool", Session: "b", Slots: 2},
		campaign(10, "a"), campaign(11, "b"), campaign(12, "c"),
		&locks.TransferCommand{Request: id(13), Lock: "seat", To: "c"},
		&locks.AdvanceCommand{Request: id(14), Resource: "r", Fence: 7},
		&locks.TxnCommand{Request: id(15), Then: []locks.Op{{Kind: locks.OpPut, Key: "k", Session: "a"}, {Kind: locks.OpPut, Key: "k2"}}},
		&locks.YieldCommand{Request: id(16), Lock: "l", Within: time.Second},
		&locks.AcquireAllCommand{Request: id(17), Session: "c", Locks: []string{"x", "y"}},
		&locks.ExpireCommand{Session: "a", Ballot: lead, Renewals: 3},
		&locks.EndYieldCommand{Lock: "l", Since: 16, Ballot: lead},
		&locks.DelayCommand{Lock: "l", Since: 18, Ballot: lead},
	}
}

// told runs the story, its steps a second apart, and forges step n. It returns
// what is found broken at that step, or soon after.
func told(p *pair, n int, forge func()) string {
	for i, c := range story() {
		if i+1 == n {
			forge()
		}
		if broken := p.do(c); broken != "" {
			return fmt.Sprintf("%s at %d", broken, i+1)
		}
		p.result, p.events = nil, nil
		p.now += time.Second
	}
	return ""
}

func TestForgeriesAreFound(t *testing.T) {
	var p *pair
	result := func(change func(*locks.Result)) func() { return func() { p.result = change } }
	events := func(change func([]locks.Event) []locks.Event) func() { return func() { p.events = change } }
	tests := []struct {
		name  string
		step  int
		forge func()
		want  string
	}{
		{"nothing", 0, nil, ""},
		{"a reader is told that it waits", 6, result(func(r *locks.Result) { r.Queued = true }), "I10 at 6"},
		{"a writer has the lock beside readers", 7, result(func(r *locks.Result) { r.Queued, r.Fence = false, 7 }), "I10 at 7"},
		{"a semaphore has another number of slots", 9, result(func(r *locks.Result) { r.Slots = 3 }), "I10 at 9"},
		{"a term has an old fence", 13, result(func(r *locks.Result) { r.Fence = 10 }), "I10 at 13"},
		{"a register shows less", 14, result(func(r *locks.Result) { r.Fence = 6 }), "I10 at 14"},
		{"an answer that is none but a repetition", 14, result(func(r *locks.Result) { r.Repeated = true }), "I11 at 14"},
		{"half of a transaction", 15, result(func(r *locks.Result) { r.Body = r.Body[:1] }), "I10 at 15"},
		{"half of a transaction is told", 15, events(func(es []locks.Event) []locks.Event { return es[1:] }), "I12 at 15"},
		{"one of two locks", 17, events(func(es []locks.Event) []locks.Event { return es[:1] }), "I12 at 17"},
		{"an entry outlives its session", 18, events(func(es []locks.Event) []locks.Event {
			return append(es[:1:1], es[2:]...)
		}), "I12 at 18"},
		{"a grant ends for another reason", 19, events(func(es []locks.Event) []locks.Event {
			es = append([]locks.Event(nil), es...)
			es[0].Reason = "released"
			return es
		}), "I12 at 19"},
		{"a session expires early", 18, func() { p.account.Kept("a", p.now) }, "L4 at 18"},
		{"a holder has less time to yield than it was told", 19, func() {
			p.account.RemainingOf("l", 17, p.now, 0, time.Millisecond)
		}, "L4 at 19"},
		{"a lock-delay is shorter than was told", 20, func() {
			p.account.RemainingOf("l", 18, p.now, time.Millisecond, 0)
		}, "L4 at 20"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p = newPair()
			if got := told(p, tt.step, tt.forge); got != tt.want {
				t.Errorf("found %q; want %q", got, tt.want)
			}
		})
	}
}

func TestStreamsMustTellAll(t *testing.T) {
	p := newPair()
	if broken := told(p, 0, nil); broken != "" {
		t.Fatal(broken)
	}
	matters := func(e *locks.Event) bool { return strings.HasPrefix(e.Name, "l") }
	var all []locks.Change
	p.machine.View(func(v locks.View) {
		changes, _ := v.Changes(0)
		for _, c := range changes {
			kept := locks.Change{Revision: c.Revision}
			for i := range c.Events {
				if matters(&c.Events[i]) {
					kept.Events = append(kept.Events, c.Events[i])
				}
			}
			if len(kept.Events) > 0 {
				all = append(all, kept)
			}
		}
	})
	last := uint64(p.n)
	tests := []struct {
		name  string
		after uint64
		got   []locks.Change
		ok    bool
	}{
		{"all", 0, all, true},
		{"the rest", all[0].Revision, all[1:], true},
		{"none of nothing", last, nil, true},
		{"the first is missing", 0, all[1:], false},
		{"the last is missing", 0, all[:len(all)-1], false},
		{"one comes twice", 0, append(all[:1:1], all...), false},
		{"one from before", all[0].Revision, all, false},
		{"two in the wrong order", 0, append([]locks.Change{all[1], all[0]}, all[2:]...), false},
		{"a revision in two", 0, append([]locks.Change{{Revision: all[2].Revision, Events: all[2].Events[:0]}}, all...), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			defer func() {
				if v := recover(); (v == nil) != tt.ok {
					t.Errorf("the account says %v", v)
				}
			}()
			p.account.Told("a stream", tt.after, last, tt.got, matters)
		})
	}
}
