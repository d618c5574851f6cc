package synod

import (
	"cmp"
	"testing"

	"pgregory.net/rapid"
)

// b is ballot round.1.
func b(round uint64) Ballot { return Ballot{Round: round, Member: 1} }

// v is a vote in ballot round.1.
func v(round uint64, value Value) Vote { return Vote{Ballot: b(round), Value: value} }

func TestAcceptorPrepare(t *testing.T) {
	tests := []struct {
		name   string
		in     Acceptor
		ballot Ballot
		want   Acceptor
		ok     bool
	}{
		{"fresh", Acceptor{}, b(1), Acceptor{Promised: b(1)}, true},
		{"above the promise", Acceptor{Promised: b(1)}, b(2), Acceptor{Promised: b(2)}, true},
		{"equal to the promise", Acceptor{Promised: b(2)}, b(2), Acceptor{Promised: b(2)}, true},
		{"below the promise", Acceptor{Promised: b(3)}, b(2), Acceptor{Promised: b(3)}, false},
		{"keeps the vote", Acceptor{b(1), v(1, "x")}, b(2), Acceptor{b(2), v(1, "x")}, true},
		{"same round, lower member", Acceptor{Promised: Ballot{Round: 1, Member: 2}}, b(1),
			Acceptor{Promised: Ballot{Round: 1, Member: 2}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := tt.in.Prepare(tt.ballot)
			if got != tt.want || ok != tt.ok {
				t.Errorf("Prepare(%v) = %v, %v; want %v, %v", tt.ballot, got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestAcceptorAccept(t *testing.T) {
	tests := []struct {
		name string
		in   Acceptor
		vote Vote
		want Acceptor
		ok   bool
	}{
		{"fresh", Acceptor{}, v(1, "x"), Acceptor{b(1), v(1, "x")}, true},
		{"equal to the promise", Acceptor{Promised: b(2)}, v(2, "x"), Acceptor{b(2), v(2, "x")}, true},
		{"above the promise", Acceptor{Promised: b(1)}, v(2, "x"), Acceptor{b(2), v(2, "x")}, true},
		{"below the promise", Acceptor{Promised: b(3)}, v(2, "x"), Acceptor{Promised: b(3)}, false},
		{"again", Acceptor{b(1), v(1, "x")}, v(1, "x"), Acceptor{b(1), v(1, "x")}, true},
		{"over an older vote", Acceptor{b(2), v(1, "x")}, v(2, "y"), Acceptor{b(2), v(2, "y")}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := tt.in.Accept(tt.vote)
			if got != tt.want || ok != tt.ok {
				t.Errorf("Accept(%v) = %v, %v; want %v, %v", tt.vote, got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestProposerPromise(t *testing.T) {
	fresh := Propose(b(3), "mine")
	one := Proposer{Ballot: b(3), Wish: "mine", Promised: 0b001}
	ready := Proposer{Ballot: b(3), Wish: "mine", Promised: 0b011, Ready: true, Proposal: v(3, "mine")}
	tests := []struct {
		name  string
		in    Proposer
		seat  int
		of    Ballot
		voted Vote
		want  Proposer
	}{
		{"first", fresh, 0, b(3), Vote{}, one},
		{"the same acceptor again", one, 0, b(3), Vote{}, one},
		{"a quorum that never voted", one, 1, b(3), Vote{}, ready},
		{"a quorum that voted", one, 1, b(3), v(2, "theirs"), Proposer{Ballot: b(3), Wish: "mine",
			Promised: 0b011, Highest: v(2, "theirs"), Ready: true, Proposal: v(3, "theirs")}},
		{"an older ballot", one, 1, b(2), v(1, "theirs"), one},
		{"a newer ballot", one, 1, b(4), v(1, "theirs"), one},
		{"after the quorum", ready, 2, b(3), v(2, "theirs"), ready},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.in.Promise(Majorities(3), tt.seat, tt.of, tt.voted); got != tt.want {
				t.Errorf("Promise(%d, %v, %v) = %+v; want %+v", tt.seat, tt.of, tt.voted, got, tt.want)
			}
		})
	}
}

func TestPick(t *testing.T) {
	tests := []struct {
		name  string
		votes []Vote
		want  Value
	}{
		{"nobody answered", nil, "wish"},
		{"nobody voted", []Vote{{}, {}}, "wish"},
		{"one voted", []Vote{{}, v(1, "x")}, "x"},
		{"highest last", []Vote{v(1, "x"), v(2, "y")}, "y"},
		{"highest first", []Vote{v(2, "y"), v(1, "x"), {}}, "y"},
		{"the empty value was voted for", []Vote{v(1, "")}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Pick("wish", tt.votes); got != tt.want {
				t.Errorf("Pick(%v) = %q; want %q", tt.votes, got, tt.want)
			}
		})
	}
}

func TestLearnerVoted(t *testing.T) {
	tests := []struct {
		name   string
		in     Learner
		seat   int
		vote   Vote
		want   Learner
		chosen bool
	}{
		{"first", Learner{}, 2, v(1, "x"), Learner{v(1, "x"), 0b100}, false},
		{"the same acceptor again", Learner{v(1, "x"), 0b100}, 2, v(1, "x"), Learner{v(1, "x"), 0b100}, false},
		{"a quorum", Learner{v(1, "x"), 0b100}, 0, v(1, "x"), Learner{v(1, "x"), 0b101}, true},
		{"a higher ballot starts over", Learner{v(1, "x"), 0b101}, 1, v(2, "x"), Learner{v(2, "x"), 0b010}, false},
		{"a lower ballot is ignored", Learner{v(2, "x"), 0b010}, 0, v(1, "x"), Learner{v(2, "x"), 0b010}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, chosen := tt.in.Voted(Majorities(3), tt.seat, tt.vote)
			if got != tt.want || chosen != tt.chosen {
				t.Errorf("Voted(%d, %v) = %v, %v; want %v, %v", tt.seat, tt.vote, got, chosen, tt.want, tt.chosen)
			}
		})
	}
}

func TestNames(t *testing.T) {
	tests := []struct{ got, want string }{
		{NodeID(0xabc).String(), "0000000000000abc"},
		{Ballot{}.String(), "0"},
		{Ballot{Round: 7, Member: 3}.String(), "7.3"},
		{Ballot{Member: 3}.String(), "0.3"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("got %q; want %q", tt.got, tt.want)
		}
	}
}

func TestQuorumsCheck(t *testing.T) {
	tests := []struct {
		in Quorums
		ok bool
	}{
		{Majorities(1), true},
		{Majorities(4), true},
		{Majorities(MaxSeats), true},
		{Majorities(0), false},
		{Majorities(MaxSeats + 1), false},
		{Quorums{Seats: 4, Q1: 3, Q2: 2}, true},
		{Quorums{Seats: 4, Q1: 2, Q2: 2}, false},
		{Quorums{Seats: 3, Q1: 3, Q2: 0}, false},
		{Quorums{Seats: 3, Q1: 0, Q2: 3}, false},
		{Quorums{Seats: 3, Q1: 4, Q2: 1}, false},
		{Quorums{Seats: 3, Q1: 1, Q2: 4}, false},
	}
	for _, tt := range tests {
		if err := tt.in.Check(); (err == nil) != tt.ok {
			t.Errorf("%+v.Check() = %v; want ok %v", tt.in, err, tt.ok)
		}
	}
}

// set draws a set of acceptors.
func set(t *rapid.T, seats int, label string) Set {
	return Set(rapid.Uint64Range(0, ^uint64(0)>>(64-seats)).Draw(t, label))
}

func TestQuorumsThatPassCheckIntersect(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, MaxSeats).Draw(t, "seats")
		q := Quorums{Seats: n, Q1: rapid.IntRange(0, n+1).Draw(t, "q1"), Q2: rapid.IntRange(0, n+1).Draw(t, "q2")}
		one, two := set(t, n, "one"), set(t, n, "two")
		if q.Check() == nil && q.Phase1(one) && q.Phase2(two) && one&two == 0 {
			t.Fatalf("%+v: %b and %b do not meet", q, one, two)
		}
	})
}

// TestQuorumsCheckIsExact compares Check with all pairs of sets.
func TestQuorumsCheckIsExact(t *testing.T) {
	for n := 1; n <= 5; n++ {
		for q1 := 1; q1 <= n; q1++ {
			for q2 := 1; q2 <= n; q2++ {
				q := Quorums{Seats: n, Q1: q1, Q2: q2}
				meet := true
				for one := Set(0); one < 1<<n; one++ {
					for two := Set(0); two < 1<<n; two++ {
						meet = meet && (!q.Phase1(one) || !q.Phase2(two) || one&two != 0)
					}
				}
				if ok := q.Check() == nil; ok != meet {
					t.Errorf("%+v: Check says %v, all pairs meet: %v", q, ok, meet)
				}
			}
		}
	}
}

func TestSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := set(t, MaxSeats, "set")
		seat := rapid.IntRange(0, MaxSeats-1).Draw(t, "seat")
		with, without := s.With(seat), s.Without(seat)
		if !with.Has(seat) || without.Has(seat) || with.Len() != without.Len()+1 || (with != s && without != s) {
			t.Fatalf("%b with and without %d: %b, %b", s, seat, with, without)
		}
	})
}

// ballot draws a ballot; small ones often, so that they collide.
func ballot(t *rapid.T, label string) Ballot {
	round := rapid.OneOf(rapid.Uint64Range(0, 3), rapid.Uint64Range(0, MaxRound-1)).Draw(t, label+" round")
	member := rapid.OneOf(rapid.Uint16Range(0, 3), rapid.Uint16()).Draw(t, label+" member")
	return Ballot{Round: round, Member: Ordinal(member)}
}

func TestBallotOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, y, z := ballot(t, "x"), ballot(t, "y"), ballot(t, "z")
		switch {
		case x.Compare(y) != -y.Compare(x):
			t.Fatal("not antisymmetric")
		case (x.Compare(y) == 0) != (x == y):
			t.Fatal("different ballots are equal")
		case x.Less(y) && y.Less(z) && !x.Less(z):
			t.Fatal("not transitive")
		case x.Less(y) != (x.Compare(y) < 0):
			t.Fatal("Less and Compare disagree")
		case x.Less(Ballot{}):
			t.Fatal("below the zero ballot")
		case MaxBallot(x, y).Less(x) || MaxBallot(x, y).Less(y):
			t.Fatal("MaxBallot is not the higher one")
		case Unpack(x.Pack()) != x:
			t.Fatal("Unpack is not the inverse of Pack")
		case cmp.Compare(x.Pack(), y.Pack()) != x.Compare(y):
			t.Fatal("Pack changes the order")
		}
	})
}

func TestBallotNextIsTheLowestAbove(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, y := ballot(t, "x"), ballot(t, "y")
		next := x.Next(y.Member)
		if next.Member != y.Member || !x.Less(next) {
			t.Fatalf("%v.Next(%d) = %v", x, y.Member, next)
		}
		if x.Less(y) && y.Less(next) {
			t.Fatalf("%v.Next(%d) = %v, but %v lies between", x, y.Member, next, y)
		}
	})
}
