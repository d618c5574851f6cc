package synod_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prytany/prytany/synod"
)

// The largest scope that fits the encoding of a key.
const (
	maxSeats   = 5
	maxBallots = 3
)

// The ballots and values of the searches. The ballots differ now by member and
// now by round, so that both halves of their order matter.
var (
	ballots = [maxBallots + 1]synod.Ballot{{}, {Round: 1, Member: 1}, {Round: 1, Member: 2}, {Round: 2, Member: 1}}
	values  = [4]synod.Value{"", "a", "b", "c"}
)

// ballotIndex is the inverse of ballots.
func ballotIndex(b synod.Ballot) int { return slices.Index(ballots[:], b) }

// valueIndex is the inverse of values.
func valueIndex(v synod.Value) int { return slices.Index(values[:], v) }

// A world is one state of a whole system that decides one decree: the real
// acceptors and proposers, and every message ever sent.
//
// A sent message stays deliverable for ever, to everybody, any number of
// times. That one rule covers loss, delay, reordering and duplication.
// Requests need no record of their own: Prepare(b) has been sent if the
// proposer of b exists, Accept(b) if it is Ready. Learners are not part of the
// state, for they change nobody else; see [scope.chosen].
type world struct {
	seats [maxSeats]seat
	props [maxBallots + 1]synod.Proposer // by index of their ballot; zero: not begun
}

// A seat is one acceptor: what it knows, what its disk knows, the replies that
// wait for the disk, and the replies that have left.
type seat struct {
	mem, disk     synod.Acceptor
	waiting, sent replies
}

// replies is a set of messages from one acceptor, as bits; see [scope.promise]
// and [scope.vote].
type replies uint32

// A key is a world in canonical form. Acceptors are interchangeable, because
// quorums are counted, so the seats are sorted: worlds that differ only in who
// is who share a key.
type key [maxSeats + 1]uint64

// A scope bounds a search.
//
// A fine scope takes every step by itself. Its size explodes with orders that
// nobody can tell apart, so larger scopes are coarse:
//
//   - All ballots have begun at the start. A request may be delivered late or
//     never, so this is every way to begin them.
//   - An acceptor finishes its write, or crashes, before it takes the next
//     message. Nobody sees it in between, and replies that leave earlier can
//     still arrive late.
//   - A proposer hears promises only at the moment that makes it Ready, then
//     all it needs, in every order. Until then nobody sees what it has heard.
//   - Promises to a proposer that is Ready are forgotten: it listens no more,
//     and nobody else does.
//   - The wish of the lowest ballot is "a". Values are opaque, so the other
//     worlds are these with the names of values swapped.
//
// TestCoarseMissesNothing compares the two.
type scope struct {
	seats, ballots, values int
	fine                   bool
	rules                  rules
}

// rules are the steps of the nodes: those of the package, or broken ones.
type rules struct {
	quorums synod.Quorums
	prepare func(synod.Acceptor, synod.Ballot) (synod.Acceptor, bool)
	accept  func(synod.Acceptor, synod.Vote) (synod.Acceptor, bool)
	promise func(synod.Proposer, synod.Quorums, int, synod.Ballot, synod.Vote) synod.Proposer
	voted   func(synod.Learner, synod.Quorums, int, synod.Vote) (synod.Learner, bool)

	earlyPromise, earlyVote bool // the reply leaves before the state is durable
	agreementOnly           bool // check no other invariant
}

// honest are the rules of the package.
func honest(seats int) rules {
	return rules{
		quorums: synod.Majorities(seats),
		prepare: synod.Acceptor.Prepare,
		accept:  synod.Acceptor.Accept,
		promise: synod.Proposer.Promise,
		voted:   synod.Learner.Voted,
	}
}

// promise is the reply of an acceptor that promises ballot b and voted last in
// ballot v (0: never).
func (s *scope) promise(b, v int) replies { return 1 << ((b-1)*(s.ballots+2) + v) }

// vote is the reply of an acceptor that votes in ballot b.
func (s *scope) vote(b int) replies { return 1 << ((b-1)*(s.ballots+2) + s.ballots + 1) }

// key returns the canonical form of w.
func (s *scope) key(w *world) (k key) {
	bits := s.ballots * (s.ballots + 2)
	for i := range s.seats {
		n := &w.seats[i]
		e := uint64(n.sent)<<bits | uint64(n.waiting)
		for _, b := range [...]synod.Ballot{n.mem.Promised, n.mem.Voted.Ballot, n.disk.Promised, n.disk.Voted.Ballot} {
			e = e<<2 | uint64(ballotIndex(b))
		}
		for b := 1; b <= s.ballots; b++ {
			e <<= 1
			if w.props[b].Promised.Has(i) {
				e |= 1
			}
		}
		k[i] = e
	}
	slices.Sort(k[:s.seats])
	for b := 1; b <= s.ballots; b++ {
		p := &w.props[b]
		e := uint64(valueIndex(p.Wish))<<4 | uint64(ballotIndex(p.Highest.Ballot))<<2 | uint64(valueIndex(p.Proposal.Value))
		k[maxSeats] = k[maxSeats]<<8 | e
	}
	return k
}

// world is the inverse of key.
func (s *scope) world(k key) (w world) {
	for b := s.ballots; b >= 1; b-- { // the proposals first: votes refer to them
		e := k[maxSeats] & 0xff
		k[maxSeats] >>= 8
		if e == 0 {
			continue
		}
		p := synod.Propose(ballots[b], values[e>>4&3])
		p.Highest.Ballot = ballots[e>>2&3]
		if v := values[e&3]; v != "" {
			p.Ready, p.Proposal = true, synod.Vote{Ballot: ballots[b], Value: v}
		}
		w.props[b] = p
	}
	for b := range w.props {
		w.props[b].Highest = w.voteIn(ballotIndex(w.props[b].Highest.Ballot))
	}
	bits := s.ballots * (s.ballots + 2)
	mask := uint64(1)<<bits - 1
	for i := range s.seats {
		e := k[i]
		for b := s.ballots; b >= 1; b-- {
			if e&1 != 0 {
				w.props[b].Promised = w.props[b].Promised.With(i)
			}
			e >>= 1
		}
		w.seats[i] = seat{
			mem:     synod.Acceptor{Promised: ballots[e>>6&3], Voted: w.voteIn(int(e >> 4 & 3))},
			disk:    synod.Acceptor{Promised: ballots[e>>2&3], Voted: w.voteIn(int(e & 3))},
			waiting: replies(e >> 8 & mask),
			sent:    replies(e >> 8 >> bits & mask),
		}
	}
	return w
}

// voteIn is the one vote that can be cast in ballot b; the zero Vote for 0.
func (w *world) voteIn(b int) synod.Vote { return w.props[b].Proposal }

// first returns the worlds in which nothing has been delivered.
func (s *scope) first() (all []world) {
	all = []world{{}}
	if s.fine {
		return all
	}
	for b := 1; b <= s.ballots; b++ {
		var more []world
		for _, w := range all {
			s.begin(&w, b, func(n *world, _ string, _ ...any) {
				if n.props[1].Wish == values[1] {
					more = append(more, *n)
				}
			})
		}
		all = more
	}
	return all
}

// next calls visit with every world one step away from w, and what the step
// was.
func (s *scope) next(w *world, visit func(n *world, step string, args ...any)) {
	for b := 1; b <= s.ballots; b++ {
		if w.props[b].Ballot.IsZero() {
			s.begin(w, b, visit)
			continue
		}
		for i := range s.seats {
			s.ask(w, b, i, visit)
		}
		if s.fine {
			s.answer(w, b, visit)
		} else {
			s.answerAll(w, b, visit)
		}
	}
	for i := range s.seats {
		if s.fine && (w.seats[i].waiting != 0 || w.seats[i].mem != w.seats[i].disk) {
			s.settle(w, i, visit, "acceptor %d", i)
		}
	}
}

// settle ends the write that the acceptor at seat i has begun in w, well or in
// a crash.
func (s *scope) settle(w *world, i int, visit func(*world, string, ...any), step string, args ...any) {
	n := *w
	at := &n.seats[i]
	at.disk, at.sent, at.waiting = at.mem, at.sent|at.waiting, 0
	visit(&n, step+"; its write is durable", args...)
	n = *w
	at.mem, at.waiting = at.disk, 0
	visit(&n, step+"; crashes and restarts", args...)
}

// begin starts ballot b, with any wish.
func (s *scope) begin(w *world, b int, visit func(*world, string, ...any)) {
	for v := 1; v <= s.values; v++ {
		n := *w
		n.props[b] = synod.Propose(ballots[b], values[v])
		visit(&n, "begin ballot %v with wish %q", ballots[b], values[v])
	}
}

// ask delivers the requests of ballot b to the acceptor at seat i.
func (s *scope) ask(w *world, b, i int, visit func(*world, string, ...any)) {
	took := func(mem synod.Acceptor, r replies, early bool, step string, args ...any) {
		n := *w
		n.seats[i].mem = mem
		n.seats[i].reply(r, early)
		if s.fine {
			visit(&n, step, args...)
		} else {
			s.settle(&n, i, visit, step, args...)
		}
	}
	if mem, ok := s.rules.prepare(w.seats[i].mem, ballots[b]); ok {
		r := s.promise(b, ballotIndex(mem.Voted.Ballot))
		if !s.fine && w.props[b].Ready {
			r = 0
		}
		took(mem, r, s.rules.earlyPromise, "acceptor %d: takes Prepare %v", i, ballots[b])
	}
	if !w.props[b].Ready {
		return
	}
	if mem, ok := s.rules.accept(w.seats[i].mem, w.props[b].Proposal); ok {
		took(mem, s.vote(b), s.rules.earlyVote, "acceptor %d: takes Accept %v", i, w.props[b].Proposal)
	}
}

// reply sends r, or holds it back until the disk knows what it tells.
func (n *seat) reply(r replies, early bool) {
	switch {
	case early || n.mem == n.disk:
		n.sent |= r
	case n.sent&r == 0:
		n.waiting |= r
	}
}

// answer delivers any promise, even one made to another ballot, to the
// proposer of ballot b.
func (s *scope) answer(w *world, b int, visit func(*world, string, ...any)) {
	for i := range s.seats {
		for of := 1; of <= s.ballots; of++ {
			for v := 0; v <= s.ballots; v++ {
				if w.seats[i].sent&s.promise(of, v) == 0 {
					continue
				}
				p := s.rules.promise(w.props[b], s.rules.quorums, i, ballots[of], w.voteIn(v))
				if p == w.props[b] {
					continue
				}
				n := *w
				n.props[b] = p
				visit(&n, "proposer %v: takes Promise %v of acceptor %d, voted %v", ballots[b], ballots[of], i, w.voteIn(v))
			}
		}
	}
}

// answerAll delivers promises to the proposer of ballot b in every order until
// it is Ready. What it has heard of is then forgotten: it no longer matters.
func (s *scope) answerAll(w *world, b int, visit func(*world, string, ...any)) {
	if w.props[b].Ready {
		return // that it listens no more is a table test of Promise
	}
	seen := map[synod.Proposer]bool{}
	for queue := []synod.Proposer{w.props[b]}; len(queue) > 0; queue = queue[1:] {
		n := *w
		n.props[b] = queue[0]
		s.answer(&n, b, func(n *world, _ string, _ ...any) {
			p := n.props[b]
			if p.Ready {
				s.forget(n, b)
				p = n.props[b]
			}
			if seen[p] {
				return
			}
			seen[p] = true
			if !p.Ready {
				queue = append(queue, p)
				return
			}
			visit(n, "proposer %v: hears enough promises to propose %q", ballots[b], p.Proposal.Value)
		})
	}
}

// forget removes from w what no longer matters once ballot b is Ready.
func (s *scope) forget(w *world, b int) {
	w.props[b].Promised, w.props[b].Highest = 0, synod.Vote{}
	for i := range s.seats {
		for v := 0; v <= s.ballots; v++ {
			w.seats[i].sent &^= s.promise(b, v)
		}
	}
}

// String shows w for a person who looks for a bug.
func (w *world) String() string {
	var out strings.Builder
	for _, p := range w.props[1:] {
		if !p.Ballot.IsZero() {
			fmt.Fprintf(&out, "  %v wish %q promised %b ready %t %v\n", p.Ballot, p.Wish, p.Promised, p.Ready, p.Proposal)
		}
	}
	for i, n := range w.seats {
		fmt.Fprintf(&out, "  acceptor %d: memory %v disk %v waiting %b sent %b\n", i, n.mem, n.disk, n.waiting, n.sent)
	}
	return out.String()
}
