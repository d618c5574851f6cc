package image

import (
	"math/rand/v2"
	"testing"

	"github.com/prytany/prytany/paxos"
)

func TestTail(t *testing.T) {
	const slots, bytes = 100, 1000
	for _, tt := range []struct {
		name  string
		spans []span
		want  paxos.Slot
	}{
		{"short log", []span{{50, 10}}, 1},
		{"by slots", []span{{500, 10}}, 401},
		{"one large span stays, up to the slots", []span{{90, 9999}}, 1},
		{"the one below a large one goes", []span{{40, 500}, {90, 9999}}, 41},
		{"as many as fit", []span{{20, 400}, {40, 400}, {60, 400}, {80, 400}, {90, 200}}, 41},
		{"all fit", []span{{20, 250}, {40, 250}, {60, 250}, {80, 250}}, 1},
		{"one byte too many", []span{{20, 251}, {40, 250}, {60, 250}, {80, 250}}, 21},
		{"before a restart nothing is known", []span{{980, 400}, {990, 400}}, 891},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var tail Tail
			var got paxos.Slot
			for _, s := range tt.spans {
				tail.Add(s.last, s.bytes)
				got = tail.First(s.last, slots, bytes)
			}
			if got != tt.want {
				t.Errorf("First = %d; want %d", got, tt.want)
			}
		})
	}
}

// TestTailIsBounded: whatever comes, what stays is within both bounds but for the span
// below the snapshot, no slot comes back, and little is remembered.
func TestTailIsBounded(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var tail Tail
		size := map[paxos.Slot]int{}
		slot, before, first := paxos.Slot(0), paxos.Slot(0), paxos.Slot(1)
		for range 200 {
			sum := 0
			for range 1 + r.IntN(30) {
				slot++
				size[slot] = r.IntN(100)
				sum += size[slot]
			}
			tail.Add(slot, sum)
			got := tail.First(slot, 100, 2000)
			if got < first || got > max(before, max(slot, 99)-99)+1 {
				t.Fatalf("seed %d: slot %d after %d is the first below %d, and the snapshot before is of %d", seed, got, first, slot, before)
			}
			stays := 0
			for s := got; s <= slot; s++ {
				stays += size[s]
			}
			if stays > 2000 && got <= before || slot-got >= 100 {
				t.Fatalf("seed %d: %d bytes of %d slots stay", seed, stays, slot-got+1)
			}
			if len(tail.spans) > 101 {
				t.Fatalf("seed %d: %d spans are remembered", seed, len(tail.spans))
			}
			first, before = got, slot
		}
	}
}
