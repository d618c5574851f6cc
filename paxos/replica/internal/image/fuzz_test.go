package image

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/prytany/prytany/paxos"
)

// FuzzDecode reads anything as an image, with the checksum that it claims, and with the
// one that is right for it: what is taken has no other image.
func FuzzDecode(f *testing.F) {
	m := paxos.Membership{ID: 2, Start: 17, Leader: 1, Next: 2, Voters: []paxos.Member{{Node: 7, Ordinal: 1, Name: "a", PeerAddr: "a:1"}}}
	f.Add(append(Head(m), "state"...), uint32(1))
	f.Add(Head(m), uint32(0))
	f.Add([]byte{17, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, uint32(0))
	f.Fuzz(func(t *testing.T, b []byte, sum uint32) {
		right := sum
		for n := range b { // the head ends somewhere, and the checksum depends on where
			if s, err := Decode(40, b, Sum(b[:n], Checksum(b[n:]))); err == nil {
				right = Sum(b[:n], Checksum(b[n:]))
				if again := append(Head(s.Membership), s.Data...); len(again) > len(b) {
					t.Fatalf("%x is %+v, whose image is %x", b, s, again)
				} else if s2, err := Decode(40, again, Sum(again[:len(again)-len(s.Data)], Checksum(s.Data))); err != nil || !reflect.DeepEqual(s2, s) {
					t.Fatalf("%+v became %+v, %v", s, s2, err)
				}
				break
			}
			if n == 64 {
				break
			}
		}
		if _, err := Decode(40, b, sum); err == nil && sum != right {
			t.Fatalf("%x is taken with the checksum %x, and %x is right", b, sum, right)
		}
	})
}

// FuzzIncoming takes chunks of an image in any order, from any peers, cut anywhere; three
// bytes are a chunk. It is whole only when every byte of it has been taken in its place.
func FuzzIncoming(f *testing.F) {
	f.Add([]byte{1, 0, 4, 1, 4, 4, 1, 8, 20})
	f.Add([]byte{1, 0, 20, 2, 0, 20, 2, 4, 4, 1, 4, 1})
	m := paxos.Membership{ID: 2, Start: 17, Leader: 1, Next: 2, Voters: []paxos.Member{{Node: 7, Ordinal: 1}}}
	data := []byte("the state of a machine")
	head := Head(m)
	whole := append(bytes.Clone(head), data...)
	sum := Sum(head, Checksum(data))
	f.Fuzz(func(t *testing.T, steps []byte) {
		var in *Incoming
		for ; len(steps) >= 3; steps = steps[3:] {
			from := 1 + uint64(steps[0]%4)
			at, n := int(steps[1])%(len(whole)+1), int(steps[2])
			c := paxos.SnapshotChunk{Slot: 40, Offset: uint64(at), Size: uint64(len(whole)), Sum: sum, Data: whole[at:min(at+n, len(whole))]}
			if steps[0]&0x80 != 0 { // of another snapshot
				c.Slot++
			}
			switch {
			case in.GoesOn(1, c) && from == 1:
			case in.BeginsAnew(1, c) && from == 1:
				in = Begin(1, c)
			default:
				continue
			}
			if !in.Fits(c) || !in.Take(c) {
				if in.Size > uint64(len(whole)) || in.Size == uint64(len(whole)) && in.Fits(c) {
					t.Fatalf("%d bytes of %d are there", in.Size, len(whole))
				}
				continue
			}
			s, err := Join(in.First, in.Pieces)
			if err != nil || !reflect.DeepEqual(s, paxos.Snapshot{Slot: in.First.Slot, Membership: m, Data: data}) {
				t.Fatalf("it is whole, and is %+v, %v", s, err)
			}
			in = nil
		}
	})
}
