package image

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/prytany/prytany/paxos"
)

func TestImage(t *testing.T) {
	m := paxos.Membership{ID: 1, Start: 17, Leader: 1, Next: 2, Voters: []paxos.Member{{Node: 7, Ordinal: 1, Name: "a"}}}
	want := paxos.Snapshot{Slot: 40, Membership: m, Data: []byte("state")}
	head := Head(m)
	b, sum := append(bytes.Clone(head), want.Data...), Sum(head, Checksum(want.Data))
	got, err := Decode(40, b, sum)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("Decode = %+v, %v; want %+v", got, err, want)
	}
	for n := range b {
		if _, err := Decode(40, b[:n], sum); err == nil {
			t.Errorf("an image cut at %d of %d is accepted", n, len(b))
		}
		other := bytes.Clone(b)
		other[n] ^= 1
		if _, err := Decode(40, other, sum); err == nil {
			t.Errorf("an image whose byte %d was changed is accepted", n)
		}
	}
}
