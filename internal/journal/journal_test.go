package journal

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

func names(n synod.NodeID) string { return fmt.Sprintf("n%d", n) }

func ballot(round, member uint64) synod.Ballot {
	return synod.Ballot{Round: round, Member: synod.Ordinal(member)}
}

// texts reads everything that j keeps.
func texts(j *Journal) (out []string) {
	events, _, _ := j.Read(0, 1000)
	for _, e := range events {
		out = append(out, e.Kind+" | "+e.Text)
	}
	return out
}

// What a node goes through when its leader dies, in the words of the journal.
func TestSentences(t *testing.T) {
	j := New(Config{Node: "n2", Incarnation: 1, Names: names})
	on := func(kind leader.EventKind, node synod.NodeID, b synod.Ballot, reason string) {
		j.Observe(paxos.Main, leader.Event{Kind: kind, Group: 1, Node: node, Ballot: b, Reason: reason})
	}
	j.Observe(0, leader.Event{Kind: leader.EvLinkUp, Node: 1, Reason: "it answers"})
	on(leader.EvFollow, 1, ballot(6, 1), "its owner says so")
	on(leader.EvContent, 1, ballot(6, 1), "the leader says it is content")
	j.Observe(0, leader.Event{Kind: leader.EvLinkDown, Node: 1, Reason: "no answer for too long"})
	on(leader.EvDiscontent, 1, ballot(6, 1), "no link to the leader")
	on(leader.EvGrant, 3, ballot(7, 3), "supports the claim")
	on(leader.EvRefuse, 4, ballot(7, 4), "supports another claim")
	on(leader.EvClaim, 2, ballot(7, 2), "no neighbour is content")
	on(leader.EvRefuse, 3, ballot(7, 2), "content with the leader")
	j.Observe(paxos.Main, paxos.Event{Kind: paxos.EvCampaign, Ballot: ballot(7, 2)})
	j.Observe(paxos.Main, paxos.Event{Kind: paxos.EvPromised, Ballot: ballot(7, 2)})
	j.Observe(paxos.Main, paxos.Event{Kind: paxos.EvStepDown, Ballot: ballot(7, 2)})
	j.Observe(paxos.Main, paxos.Event{Kind: paxos.EvLeading, Ballot: ballot(8, 2)})
	on(leader.EvFollow, 2, ballot(8, 2), "has promised")
	on(leader.EvContent, 2, ballot(8, 2), "a quorum is in reach")
	on(leader.EvLeased, 2, ballot(8, 2), "")
	on(leader.EvUnleased, 2, ballot(8, 2), "a clock is not to be trusted")
	on(leader.EvNearer, 3, ballot(8, 2), "for 10 min")
	on(leader.EvUnfit, 2, synod.Ballot{}, "a write is late")
	on(leader.EvFit, 2, synod.Ballot{}, "")
	on(leader.EvClock, 3, synod.Ballot{}, "it runs at another rate")
	on(leader.EvRelease, 3, ballot(8, 2), "")
	j.Observe(paxos.Main, paxos.Event{Kind: paxos.EvStepDown, Ballot: ballot(8, 2)})
	on(leader.EvDiscontent, 0, synod.Ballot{}, "no leader is known")
	j.Observe(2, paxos.Event{Kind: paxos.EvReconfigured, Slot: 41})
	j.Observe(2, paxos.Event{Kind: paxos.EvInstalled, Slot: 42})
	j.Observe(2, "something else")
	j.Note("member-dead", "n1", "no answer to probes", "gossip says that n1 is dead")
	const want = `link-up | n2 has a link to n1: it answers
follow | n2 follows n1 with ballot 6.1 as leader of main: its owner says so
content | n2 is content with n1 as leader of main: the leader says it is content
link-down | n2 has no link to n1 any more: no answer for too long
discontent | n2 is not content any more with n1 as leader of main: no link to the leader
grant | n2 supports that n3 leads main with ballot 7.3: supports the claim
refuse | n2 refuses that n4 leads main with ballot 7.4: supports another claim
claim | n2 asks for support to lead main with ballot 7.2: no neighbour is content with n1
refused | n3 refuses that n2 leads main with ballot 7.2: content with the leader
campaign | n2 begins phase 1 in main with ballot 7.2
step-down | n2 gives up its attempt to lead main with ballot 7.2
leading | n2 leads main with ballot 8.2
follow | n2 follows its own ballot 8.2 in main: has promised
content | n2 is content with its own lead of main: a quorum is in reach
leased | n2 holds the lease of main
unleased | n2 holds the lease of main no longer: a clock is not to be trusted
nearer | n3 stands nearer to a quorum of main than n2: for 10 min
unfit | n2 should not lead: a write is late
fit | n2 may lead again
clock | n2 compares its clock with that of n3: it runs at another rate
release | the leader of main with ballot 8.2 gives the lead up in favour of n3
step-down | n2 leads main with ballot 8.2 no longer
discontent | n2 is not content any more, without a leader of main: no leader is known
reconfigured | the members of 2 have changed, at slot 41
snapshot-installed | n2 took the state of 2 up to slot 42 from another node
member-dead | gossip says that n1 is dead: no answer to probes`
	if got := strings.Join(texts(j), "\n"); got != want {
		t.Errorf("%s", got)
	}
	events, oldest, next := j.Read(0, 1000)
	if oldest != 1<<32+1 || next != oldest+uint64(len(events)) {
		t.Errorf("ids from %d to %d for %d events", oldest, next, len(events))
	}
	e := events[4]
	at, err := time.Parse(time.RFC3339Nano, e.Time)
	if e.ID != 1<<32+5 || e.Node != "n2" || e.Group != "main" || e.Peer != "n1" || e.Ballot != "6.1" || e.Reason != "no link to the leader" ||
		err != nil || at.Location() != time.UTC || time.Since(at) > time.Hour {
		t.Errorf("%+v, %v", e, err)
	}
}

// Every kind of event of the leader machine has words.
func TestEveryKindIsTold(t *testing.T) {
	for kind := leader.EvLinkUp; kind <= leader.EvMend; kind++ {
		j := New(Config{Node: "n1"})
		j.Observe(paxos.Main, leader.Event{Kind: kind, Group: 1, Node: 5, Ballot: ballot(1, 1), Reason: "why"})
		events, _, _ := j.Read(0, 2)
		if len(events) != 1 || events[0].Kind == "" || events[0].Peer != "0000000000000005" || !strings.HasSuffix(events[0].Text, ": why") {
			t.Errorf("kind %d: %+v", kind, events)
		}
	}
}

// Claims without end do not push out what led to them.
func TestRepeatsAreFolded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := New(Config{Node: "n1", Names: names})
		for i := range uint64(1000) { // for 100 s
			j.Observe(paxos.Main, leader.Event{Kind: leader.EvClaim, Group: 1, Node: 1, Ballot: ballot(i+1, 1), Reason: "r"})
			j.Observe(paxos.Main, leader.Event{Kind: leader.EvRefuse, Group: 1, Node: 2 + synod.NodeID(i%2), Ballot: ballot(i+1, 1), Reason: "r"})
			time.Sleep(100 * time.Millisecond)
		}
		got := texts(j)
		if len(got) != 6 || !strings.HasSuffix(got[3], "n1 asks for support to lead main with ballot 601.1: r (and 599 times since it was last told)") {
			t.Errorf("%q", got)
		}
		time.Sleep(fold)
		j.Observe(paxos.Main, leader.Event{Kind: leader.EvClaim, Group: 1, Node: 1, Ballot: ballot(2000, 1), Reason: "r"})
		if got := texts(j); len(got) != 7 {
			t.Errorf("after a pause: %q", got)
		}
		for range 3 {
			j.Observe(0, leader.Event{Kind: leader.EvLinkDown, Node: 2, Reason: "r"})
			j.Observe(0, leader.Event{Kind: leader.EvLinkUp, Node: 2, Reason: "r"})
		}
		if got := texts(j); len(got) != 13 {
			t.Errorf("after links: %q", got)
		}
		for i := range synod.NodeID(3 * maxRepeats) {
			j.Observe(paxos.Main, leader.Event{Kind: leader.EvGrant, Group: 1, Node: i, Reason: "r"})
		}
		if len(j.same) > maxRepeats {
			t.Errorf("%d repeats are known", len(j.same))
		}
	})
}

func TestRingIsBounded(t *testing.T) {
	j := New(Config{Node: "n1", Incarnation: 3, Keep: 5})
	base := uint64(3) << 32
	if events, oldest, next := j.Read(0, 10); len(events) != 0 || oldest != base+1 || next != base+1 {
		t.Errorf("empty: %v %d %d", events, oldest, next)
	}
	for i := range 13 {
		j.Note("k", "", "", fmt.Sprint(i+1))
	}
	for _, tt := range []struct {
		from  uint64
		limit int
		want  string
	}{
		{0, 10, "9 10 11 12 13"}, {0, 2, "12 13"}, {base + 9, 2, "9 10"}, {base + 12, 10, "12 13"}, {base + 14, 10, ""}, {base + 99, 10, ""},
		{base + 1, 10, "9 10 11 12 13"}, {1, 10, "9 10 11 12 13"},
	} {
		events, oldest, next := j.Read(tt.from, tt.limit)
		var got []string
		for _, e := range events {
			if fmt.Sprint(e.ID-base) != e.Text {
				t.Errorf("id %d of %s", e.ID, e.Text)
			}
			got = append(got, e.Text)
		}
		if strings.Join(got, " ") != tt.want || oldest != base+9 || next != base+14 {
			t.Errorf("Read(%d, %d) = %v, %d, %d", tt.from, tt.limit, got, oldest-base, next-base)
		}
	}
}

// Ids stay below 2^53, and a later process has higher ones.
func TestIDs(t *testing.T) {
	last := uint64(0)
	for _, incarnation := range []uint64{0, 1, 2, 1<<21 - 1} {
		_, _, next := New(Config{Node: "n1", Incarnation: incarnation}).Read(0, 1)
		if next <= last || next > api.MaxNumber-1<<31 {
			t.Errorf("incarnation %d begins with %d after %d", incarnation, next, last)
		}
		last = next
	}
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := New(Config{Node: "n1"})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() { j.Wait(ctx, 2) })
		}
		time.Sleep(time.Second)
		j.Note("k", "", "", "one")
		time.Sleep(time.Second)
		j.Note("k", "", "", "two")
		all.Wait()
		if d := time.Since(began); d != 2*time.Second {
			t.Errorf("woken after %v", d)
		}
		j.Wait(ctx, 1) // is there already
		j.Wait(ctx, 3)
		if ctx.Err() == nil {
			t.Error("woken by nothing")
		}
	})
}
