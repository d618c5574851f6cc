package synod_test

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/synod"
)

// A search is a breadth-first walk through every world of a scope, so that a
// violation is found by a shortest path.
type search struct {
	scope
	index   map[key]int32
	keys    []key
	parents []int32 // of keys
	steps   int     // transitions taken
	learned map[uint64]uint8
	outcome uint8 // values that were chosen in some world
}

// run visits everything reachable. It returns the shortest way into a world
// that breaks an invariant, nil if there is none.
func (s *search) run() *violation {
	s.index, s.learned = make(map[key]int32), make(map[uint64]uint8)
	for _, w := range s.first() {
		s.add(s.key(&w), -1)
	}
	var bad *violation
	for at := 0; at < len(s.keys) && bad == nil; at++ {
		w := s.world(s.keys[at])
		s.next(&w, func(n *world, _ string, _ ...any) {
			s.steps++
			if bad != nil || !s.add(s.key(n), int32(at)) {
				return
			}
			if err := s.check(&w, n); err != nil {
				bad = &violation{err, s.trail(len(s.keys) - 1)}
			}
		})
	}
	return bad
}

// add notes the world k and reports whether it is new. The first worlds may
// share a key.
func (s *search) add(k key, parent int32) bool {
	if _, known := s.index[k]; known {
		return false
	}
	s.index[k] = int32(len(s.keys))
	s.keys, s.parents = append(s.keys, k), append(s.parents, parent)
	return true
}

// A violation is a broken invariant and the shortest way there.
type violation struct {
	err   error
	trail []string
}

func (v *violation) String() string {
	return fmt.Sprintf("%v, after %d steps:\n%s", v.err, len(v.trail), strings.Join(v.trail, "\n"))
}

// trail lists the steps from the first world to the one at index at. Acceptors
// may swap numbers between two steps: see [key].
func (s *search) trail(at int) (out []string) {
	for ; s.parents[at] >= 0; at = int(s.parents[at]) {
		from := s.world(s.keys[s.parents[at]])
		line := ""
		s.next(&from, func(n *world, step string, args ...any) {
			if line == "" && s.key(n) == s.keys[at] {
				line = fmt.Sprintf("  "+step, args...)
			}
		})
		out = append(out, line)
	}
	slices.Reverse(out)
	return out
}

// check returns what is wrong with n, one step after w.
func (s *search) check(w, n *world) error {
	chosen := s.chosen(n)
	s.outcome |= chosen
	if bits.OnesCount8(chosen) > 1 {
		return errors.New("two values are chosen")
	}
	if s.rules.agreementOnly {
		return nil
	}
	for i := range s.seats {
		if err := s.checkSeat(&w.seats[i], &n.seats[i]); err != nil {
			return fmt.Errorf("acceptor %d: %w\n%v", i, err, n)
		}
	}
	for b := 1; b <= s.ballots; b++ {
		if err := s.checkProposal(w, n, b); err != nil {
			return fmt.Errorf("ballot %v: %w\n%v", ballots[b], err, n)
		}
	}
	return nil
}

// checkSeat checks what an acceptor must never do.
func (s *search) checkSeat(was, is *seat) error {
	switch {
	case is.disk.Promised.Less(was.disk.Promised):
		return errors.New("its durable promise went back")
	case is.disk.Voted.Ballot.Less(was.disk.Voted.Ballot):
		return errors.New("its durable vote went back")
	case is.mem.Promised.Less(is.disk.Promised):
		return errors.New("it has forgotten a durable promise")
	case is.mem.Promised.Less(is.mem.Voted.Ballot):
		return errors.New("it has voted above its promise")
	}
	for b := 1; b <= s.ballots; b++ {
		if is.sent&s.vote(b) != 0 && is.disk.Voted.Ballot.Less(ballots[b]) {
			return errors.New("it has told a vote that its disk does not know")
		}
		for v := 0; v <= s.ballots; v++ {
			if is.sent&s.promise(b, v) != 0 && is.disk.Promised.Less(ballots[b]) {
				return errors.New("it has told a promise that its disk does not know")
			}
		}
	}
	return nil
}

// checkProposal checks that the proposal of ballot b, if it has just been
// made, is that of the highest vote told by some phase 1 quorum of b, or the
// wish if that quorum had not voted ("Paxos Made Simple", condition P2c); and
// that a proposal once made stays.
func (s *search) checkProposal(w, n *world, b int) error {
	p := n.props[b]
	if was := w.props[b]; was.Ready {
		if p.Proposal != was.Proposal {
			return errors.New("it has proposed twice")
		}
		return nil
	}
	if !p.Ready {
		return nil
	}
	for set := synod.Set(1); set < 1<<s.seats; set++ {
		if s.rules.quorums.Phase1(set) && s.justifies(w, p, set, 0, synod.Vote{}) {
			return nil
		}
	}
	return errors.New("no quorum justifies its proposal")
}

// justifies reports whether promises that the acceptors of set, from seat on,
// have made to p's ballot in w, and the votes told by those before, whose
// highest is best, lead to p's proposal. An acceptor may have promised more
// than once, with different votes: each of its promises is tried.
func (s *search) justifies(w *world, p synod.Proposer, set synod.Set, seat int, best synod.Vote) bool {
	if seat == s.seats {
		if best.Ballot.IsZero() {
			return p.Proposal.Value == p.Wish
		}
		return p.Proposal.Value == best.Value
	}
	if !set.Has(seat) {
		return s.justifies(w, p, set, seat+1, best)
	}
	for v := 0; v <= s.ballots; v++ {
		if w.seats[seat].sent&s.promise(ballotIndex(p.Ballot), v) == 0 {
			continue
		}
		higher := best
		if vote := w.voteIn(v); best.Ballot.Less(vote.Ballot) {
			higher = vote
		}
		if s.justifies(w, p, set, seat+1, higher) {
			return true
		}
	}
	return false
}

// chosen returns the set of values, by index, that some learner can believe to
// be chosen in w: a search of its own through everything that one learner can
// hear, in any order and any number of times.
func (s *search) chosen(w *world) (found uint8) {
	type ballot struct {
		seat int
		vote synod.Vote
	}
	var heard []ballot
	var id uint64
	for b := 1; b <= s.ballots; b++ {
		id = id<<2 | uint64(valueIndex(w.props[b].Proposal.Value))
		for i := range s.seats {
			id <<= 1
			if w.seats[i].sent&s.vote(b) != 0 {
				id |= 1
				heard = append(heard, ballot{i, w.voteIn(b)})
			}
		}
	}
	if known, ok := s.learned[id]; ok {
		return known
	}
	seen := map[synod.Learner]bool{{}: true}
	for queue := []synod.Learner{{}}; len(queue) > 0; queue = queue[1:] {
		for _, h := range heard {
			l, ok := s.rules.voted(queue[0], s.rules.quorums, h.seat, h.vote)
			if ok {
				found |= 1 << valueIndex(h.vote.Value)
			}
			if !seen[l] {
				seen[l] = true
				queue = append(queue, l)
			}
		}
	}
	s.learned[id] = found
	return found
}

// TestExhaustive walks through every state that small systems can reach:
// whatever the network and the disks do, at most one value is chosen,
// proposals are legal and no acceptor goes back on its word.
func TestExhaustive(t *testing.T) {
	tests := []struct {
		name   string
		scope  scope
		states int // at least; fewer would mean that the search has lost its reach
	}{
		{"3 acceptors, 2 ballots, fine steps", scope{seats: 3, ballots: 2, values: 2, fine: true}, 180_000},
		{"3 acceptors, 3 ballots", scope{seats: 3, ballots: 3, values: 2}, 8_000},
		{"5 acceptors, 2 ballots", scope{seats: 5, ballots: 2, values: 2}, 1_300},
		{"4 acceptors, 3 ballots", scope{seats: 4, ballots: 3, values: 2}, 24_000},
		{"5 acceptors, 3 ballots", scope{seats: 5, ballots: 3, values: 2}, 110_000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if testing.Short() && tt.states > 100_000 && !tt.scope.fine {
				t.Skip("takes seconds")
			}
			s := &search{scope: tt.scope}
			s.rules = honest(s.seats)
			start := time.Now()
			if bad := s.run(); bad != nil {
				t.Fatal(bad)
			}
			t.Logf("%d states, %d steps, deepest %d, %v", len(s.keys), s.steps, len(s.trail(len(s.keys)-1)), time.Since(start))
			if len(s.keys) < tt.states {
				t.Errorf("%d states; want at least %d", len(s.keys), tt.states)
			}
			if want := uint8(0b110); s.outcome != want {
				t.Errorf("chosen somewhere: values %b; want %b", s.outcome, want)
			}
		})
	}
}

// TestCoarseMissesNothing compares the coarse steps with the fine ones where
// both can be afforded: they reach the same worlds, apart from what lies
// between two coarse steps and what a coarse world forgets.
func TestCoarseMissesNothing(t *testing.T) {
	coarse := &search{scope: scope{seats: 3, ballots: 2, values: 2, rules: honest(3)}}
	fine := &search{scope: coarse.scope}
	fine.fine = true
	if bad := cmp.Or(coarse.run(), fine.run()); bad != nil {
		t.Fatal(bad)
	}
	seen := make(map[key]bool)
	for _, k := range fine.keys {
		w := fine.world(k)
		settled := w.props[1].Wish == values[1]
		for b := 1; b <= fine.ballots; b++ {
			settled = settled && !w.props[b].Ballot.IsZero()
			if w.props[b].Ready {
				fine.forget(&w, b)
			} else {
				w.props[b] = synod.Propose(w.props[b].Ballot, w.props[b].Wish)
			}
		}
		for _, n := range w.seats {
			settled = settled && n.waiting == 0 && n.mem == n.disk
		}
		if settled {
			seen[fine.key(&w)] = true
		}
	}
	for k := range seen {
		if _, ok := coarse.index[k]; !ok {
			w := fine.world(k)
			t.Fatalf("only fine steps reach\n%v", &w)
		}
	}
	for _, k := range coarse.keys {
		if !seen[k] {
			w := fine.world(k)
			t.Fatalf("only coarse steps reach\n%v", &w)
		}
	}
	t.Logf("%d fine worlds are %d coarse ones", len(fine.keys), len(coarse.keys))
}

// TestMutants breaks one rule at a time. Each breach must end in two chosen
// values; a search that does not find them proves nothing.
func TestMutants(t *testing.T) {
	tests := []struct {
		name  string
		wreck func(r *rules)
	}{
		{"acceptor does not raise its promise", func(r *rules) {
			r.prepare = func(a synod.Acceptor, b synod.Ballot) (synod.Acceptor, bool) {
				_, ok := a.Prepare(b)
				return a, ok
			}
		}},
		{"acceptor votes below its promise", func(r *rules) {
			r.accept = func(a synod.Acceptor, v synod.Vote) (synod.Acceptor, bool) {
				return synod.Acceptor{Promised: synod.MaxBallot(a.Promised, v.Ballot), Voted: v}, true
			}
		}},
		{"promise leaves before it is durable", func(r *rules) { r.earlyPromise = true }},
		{"vote leaves before it is durable", func(r *rules) { r.earlyVote = true }},
		{"proposer ignores reported votes", func(r *rules) {
			r.promise = func(p synod.Proposer, q synod.Quorums, seat int, b synod.Ballot, _ synod.Vote) synod.Proposer {
				return p.Promise(q, seat, b, synod.Vote{})
			}
		}},
		{"proposer picks the lowest vote", func(r *rules) { r.promise = promiseLowest }},
		{"proposer counts promises to other ballots", func(r *rules) {
			r.promise = func(p synod.Proposer, q synod.Quorums, seat int, _ synod.Ballot, v synod.Vote) synod.Proposer {
				return p.Promise(q, seat, p.Ballot, v)
			}
		}},
		{"proposer counts an acceptor twice", func(r *rules) {
			r.promise = func(p synod.Proposer, q synod.Quorums, seat int, b synod.Ballot, v synod.Vote) synod.Proposer {
				return p.Promise(q, another(p.Promised, seat), b, v)
			}
		}},
		{"learner counts an acceptor twice", func(r *rules) {
			r.voted = func(l synod.Learner, q synod.Quorums, seat int, v synod.Vote) (synod.Learner, bool) {
				if l.Vote.Ballot == v.Ballot {
					seat = another(l.Voters, seat)
				}
				return l.Voted(q, seat, v)
			}
		}},
		{"learner adds up votes of different ballots", func(r *rules) {
			r.voted = func(l synod.Learner, q synod.Quorums, seat int, v synod.Vote) (synod.Learner, bool) {
				l = synod.Learner{Vote: synod.Higher(l.Vote, v), Voters: l.Voters.With(seat)}
				return l, q.Phase2(l.Voters)
			}
		}},
		{"quorums are one too small", func(r *rules) { r.quorums.Q1--; r.quorums.Q2-- }},
		{"phase 1 quorum is one too small", func(r *rules) { r.quorums.Q1-- }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := honest(3)
			r.agreementOnly = true
			tt.wreck(&r)
			s := &search{scope: scope{seats: 3, ballots: 3, values: 2, rules: r}}
			start := time.Now()
			bad := s.run()
			if bad == nil {
				t.Fatalf("survived %d states", len(s.keys))
			}
			t.Logf("found at depth %d after %d states, %v", len(bad.trail), len(s.keys), time.Since(start))
			if testing.Verbose() {
				t.Log(bad)
			}
		})
	}
}

// promiseLowest is [synod.Proposer.Promise] with the order of votes reversed.
func promiseLowest(p synod.Proposer, q synod.Quorums, seat int, b synod.Ballot, v synod.Vote) synod.Proposer {
	if p.Ready || b != p.Ballot {
		return p
	}
	if low := p.Highest; !low.Ballot.IsZero() && (v.Ballot.IsZero() || low.Ballot.Less(v.Ballot)) {
		v = low
	}
	p.Highest = synod.Vote{}
	return p.Promise(q, seat, b, v)
}

// another returns seat, or the next one that s does not have, if any.
func another(s synod.Set, seat int) int {
	for i := range maxSeats {
		if next := (seat + i) % maxSeats; !s.Has(next) {
			return next
		}
	}
	return seat
}
