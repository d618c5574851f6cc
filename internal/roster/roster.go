// Package roster decides whether a process may speak for a node. A process
// whose disk was put back from an old copy, or that runs on a copy beside the
// original, has forgotten votes and promises that its node has given, and must
// cast none.
//
// Two sides can tell. Each is pure: no clock, no disk, no goroutine.
//
//   - A [Roster] is what a node remembers of others: of each the highest
//     incarnation that has spoken to it, the nonce which that process has drawn,
//     and how far its log had come. It refuses a lower incarnation, and the same
//     one with another nonce.
//   - A [Self] is what a node's own disk says of its past. It is compared with
//     what others remember. So a process notices that its disk is old even if
//     its incarnation has become the higher one: because a copy is of the last
//     incarnation, or because it has been started often enough since.
//
// The second rule is one that the process applies to itself. It is honest and
// only forgetful: nothing here stops a forger.
package roster

import (
	"fmt"
	"maps"
	"math"

	"github.com/prytany/prytany/internal/mutant"
	"github.com/prytany/prytany/synod"
)

// MaxNodes bounds the nodes of which a Roster remembers anything. It does not
// let in a node beyond them.
const MaxNodes = 4096

// A Sighting is what was last seen of a node. The zero one is of a node that
// was never seen.
type Sighting struct {
	Incarnation uint64 `json:"incarnation"` // the highest
	Nonce       uint64 `json:"nonce"`       // of the process with it; 0 if unknown
	// Position is how far its log had come at least: the number of its durable
	// writes, in all incarnations together.
	Position uint64 `json:"position"`
}

// A RolledBackError says that a process must not speak for Node: a later one,
// or another one with the same incarnation, was seen.
type RolledBackError struct {
	Node   synod.NodeID
	Seen   Sighting
	Reason string
}

// Error is the reason, for people.
func (e *RolledBackError) Error() string {
	return fmt.Sprintf("node %v is rolled back: %s", e.Node, e.Reason)
}

// A Roster remembers what was seen of other nodes. Not safe for concurrent use.
type Roster struct {
	seen map[synod.NodeID]Sighting
}

// New returns a roster that remembers seen.
func New(seen map[synod.NodeID]Sighting) *Roster {
	r := &Roster{seen: maps.Clone(seen)}
	if r.seen == nil {
		r.seen = map[synod.NodeID]Sighting{}
	}
	return r
}

// Seen returns what is remembered of node.
func (r *Roster) Seen(node synod.NodeID) Sighting { return r.seen[node] }

// Admit returns nil if a process that says it is this incarnation of node, and
// has drawn nonce, may speak. It remembers nothing: [Roster.Note] does.
// Errors: a *RolledBackError; another one if the roster is full.
func (r *Roster) Admit(node synod.NodeID, incarnation, nonce uint64) error {
	seen, known := r.seen[node]
	switch {
	case mutant.On(mutant.RolledBack):
		return nil
	case !known && len(r.seen) >= MaxNodes:
		return fmt.Errorf("%d nodes are known already", MaxNodes)
	case incarnation < seen.Incarnation:
		return &RolledBackError{node, seen, fmt.Sprintf("you are incarnation %d, but were seen with incarnation %d", incarnation, seen.Incarnation)}
	case known && incarnation == seen.Incarnation && differ(nonce, seen.Nonce):
		return &RolledBackError{node, seen, fmt.Sprintf("you were seen with incarnation %d as another process", seen.Incarnation)}
	}
	return nil
}

// differ reports whether two nonces are known and not the same.
func differ(a, b uint64) bool { return a != b && a != 0 && b != 0 }

// Note remembers a process that Admit let in and that has spoken. It reports
// whether that is news, which has to be durable before anything that the
// process says counts.
func (r *Roster) Note(node synod.NodeID, incarnation, nonce uint64) bool {
	seen, known := r.seen[node]
	next := Sighting{incarnation, nonce, seen.Position}
	if known && next == seen || incarnation < seen.Incarnation {
		return false
	}
	r.seen[node] = next
	return true
}

// Reached notes that the log of node had come to position, as this incarnation
// of it says. It reports whether that is news.
func (r *Roster) Reached(node synod.NodeID, incarnation, nonce, position uint64) bool {
	seen, known := r.seen[node]
	if !known || seen.Incarnation != incarnation || seen.Nonce != nonce || position <= seen.Position {
		return false
	}
	seen.Position = position
	r.seen[node] = seen
	return true
}

// A Life is an earlier incarnation of a node, as its own disk remembers it.
type Life struct {
	Nonce uint64 // 0: not known
	End   uint64 // the position of the log when the next incarnation began
}

// MaxPast bounds the lives that a node remembers. What others remember of
// earlier ones cannot be compared, and is believed.
const MaxPast = 512

// A Self is what a node knows of itself.
type Self struct {
	Node        synod.NodeID
	Incarnation uint64 // of this process
	Nonce       uint64 // which it has drawn
	Past        []Life // of the incarnations before, the last one at the end
}

// Check compares what another node remembers of this one with what its own disk
// says. Error: a *RolledBackError if they contradict each other, so that this
// process must not vote. Its Reason says of which incarnation it was.
func (s Self) Check(seen Sighting) error {
	rolledBack := func(format string, args ...any) error {
		return &RolledBackError{s.Node, seen, fmt.Sprintf(format, args...)}
	}
	ago := s.Incarnation - seen.Incarnation
	switch {
	case seen == Sighting{} || mutant.On(mutant.RolledBack):
		return nil
	case seen.Incarnation > s.Incarnation:
		return rolledBack("it was seen with incarnation %d, and its disk says %d", seen.Incarnation, s.Incarnation)
	case ago == 0 && differ(seen.Nonce, s.Nonce):
		return rolledBack("it was seen with incarnation %d as another process", seen.Incarnation)
	case ago == 0 || ago > uint64(min(len(s.Past), math.MaxInt32)):
		return nil
	}
	switch life := s.Past[len(s.Past)-int(ago)]; {
	case differ(life.Nonce, seen.Nonce):
		return rolledBack("it was seen with incarnation %d as a process that its disk knows nothing of", seen.Incarnation)
	case life.End < seen.Position:
		return rolledBack("it was seen with incarnation %d after %d writes to its log, and its disk remembers %d", seen.Incarnation, seen.Position, life.End)
	}
	return nil
}
