package steward

import (
	"time"

	"github.com/prytany/prytany/paxos"
)

// A birth is a durable write in the event loop, which everything else on the node waits
// for. Groups that are made while one is under way are born together with the next,
// and between two of them the loop has twice as long for other things: else making
// hundreds of groups at once takes the links of the node down.
const (
	restFactor = 2                      // times as long as the last births took
	restMost   = 500 * time.Millisecond // but no longer
)

// births paces how groups are made here. Run owns it.
type births struct {
	open    bool            // in this pass
	under   int             // way
	began   time.Time       // those under way
	after   time.Time       // no others before
	waiting []paxos.GroupID // for their turn
}

// begin opens births for one pass, if it is time.
func (b *births) begin(now time.Time) { b.open = b.under == 0 && !now.Before(b.after) }

// take reports whether id may be born now. If not, it returns when to look again at
// the latest; the end of those under way may say sooner.
func (b *births) take(id paxos.GroupID, now time.Time) (when time.Time, ok bool) {
	switch {
	case b.open:
		if b.under++; b.under == 1 {
			b.began = now
		}
		return now, true
	case b.under == 0:
		return b.after, false
	}
	b.waiting = append(b.waiting, id)
	return now.Add(againLater), false
}

// end is the end of one birth. After the last of those under way it returns who waits,
// and until when.
func (b *births) end(now time.Time) (waiting []paxos.GroupID, until time.Time) {
	if b.under--; b.under > 0 {
		return nil, now
	}
	b.after = now.Add(min(restFactor*now.Sub(b.began), restMost))
	waiting, b.waiting = b.waiting, nil
	return waiting, b.after
}
