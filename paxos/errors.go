package paxos

import (
	"errors"
	"fmt"

	"github.com/prytany/prytany/synod"
)

// ErrUnknownOutcome says that a proposal may or may not take effect, now or
// later. It must never be shown to a user as a failure.
var ErrUnknownOutcome = errors.New("paxos: outcome unknown")

// ErrOverloaded says that the proposal was refused before it had any effect.
var ErrOverloaded = errors.New("paxos: too many proposals in flight")

// ErrStopped says that the request was refused before it had any effect, by a
// node that has stopped: to ask it again is of no use.
var ErrStopped = errors.New("paxos: the node has stopped")

// Refused reports whether err says that a request certainly had no effect and
// will have none.
func Refused(err error) bool {
	_, notLeader := errors.AsType[*NotLeaderError](err)
	return notLeader || errors.Is(err, ErrOverloaded) || errors.Is(err, ErrStopped)
}

// A NotLeaderError says that the proposal was refused before it had any
// effect, and who may accept it.
type NotLeaderError struct {
	Leader synod.NodeID // 0 if unknown
}

func (e *NotLeaderError) Error() string {
	if e.Leader == 0 {
		return "paxos: not the leader; leader unknown"
	}
	return fmt.Sprintf("paxos: not the leader; try node %v", e.Leader)
}
