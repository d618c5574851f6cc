package paxos

import (
	"testing"

	"github.com/prytany/prytany/synod"
)

// TestWithdraw gives up a candidacy, of that ballot only, and never a lead.
func TestWithdraw(t *testing.T) {
	m := Membership{ID: 1, Next: 4, Voters: []Member{{Node: 1, Ordinal: 1}, {Node: 2, Ordinal: 2}, {Node: 3, Ordinal: 3}}}
	g, err := New(Config{Group: Main, Self: 1}, Durable{Header: Header{Membership: m}})
	if err != nil {
		t.Fatal(err)
	}
	var out Effects
	want := func(what string, campaign, leading bool, promised synod.Ballot) {
		t.Helper()
		if st := g.Status(); st.Campaign != campaign || st.Leading != leading || st.Promised != promised {
			t.Errorf("%s: campaign %v, leading %v, promised %v; want %v, %v, %v", what, st.Campaign, st.Leading, st.Promised, campaign, leading, promised)
		}
		g.Flush(&out)
		out.Reset()
	}
	first, second := synod.Ballot{Round: 1, Member: 1}, synod.Ballot{Round: 2, Member: 1}
	g.Campaign(first, &out)
	g.Withdraw(second, &out)
	want("another ballot", true, false, first)
	g.Withdraw(first, &out)
	want("withdrawn", false, false, first)
	g.Receive(2, Promise{Config: 1, Ballot: first}, &out)
	want("a promise comes late", false, false, first)
	g.Campaign(second, &out)
	g.Receive(2, Promise{Config: 1, Ballot: second}, &out)
	want("the next ballot", false, true, second)
	g.Withdraw(second, &out)
	want("phase 1 is complete", false, true, second)
}
