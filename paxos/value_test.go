package paxos

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/prytany/prytany/synod"
)

func TestDecode(t *testing.T) {
	m := Membership{ID: 2, Leader: 1, Next: 4, Voters: []Member{
		{Node: 1<<64 - 1, Ordinal: 1, Name: "a", PeerAddr: "a:1"},
		{Node: 7, Ordinal: 3},
	}}
	tests := []struct {
		name string
		in   synod.Value
		want Decoded
	}{
		{"no-op", Noop, Decoded{Kind: KindNoop}},
		{"empty batch", EncodeBatch(synod.Ballot{}, nil), Decoded{Kind: KindBatch, Commands: [][]byte{}}},
		{"batch", EncodeBatch(synod.Ballot{Round: synod.MaxRound, Member: 65535}, [][]byte{{1}, {}, {2, 3}}),
			Decoded{Kind: KindBatch, Origin: synod.Ballot{Round: synod.MaxRound, Member: 65535}, Commands: [][]byte{{1}, {}, {2, 3}}}},
		{"stop-sign", EncodeStop(m), Decoded{Kind: KindStop, Next: m}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Decode(tt.in)
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("Decode(%q) = %+v, %v; want %+v", tt.in, got, err, tt.want)
			}
			for cut := 1; cut < len(tt.in); cut++ {
				if got, err := Decode(tt.in[:cut]); !errors.Is(err, ErrBadValue) {
					t.Errorf("Decode(%q) = %+v, %v; want ErrBadValue", tt.in[:cut], got, err)
				}
			}
			if _, err := Decode(tt.in + "\x00"); !errors.Is(err, ErrBadValue) {
				t.Errorf("with a trailing byte: %v; want ErrBadValue", err)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	bad := Membership{ID: 2, Leader: 9, Next: 2, Voters: []Member{{Node: 1, Ordinal: 1}}}
	tests := []struct {
		name string
		in   synod.Value
	}{
		{"unknown kind", "\x03"},
		{"a no-op with bytes", "\x00"},
		{"round out of range", "\x01" + "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" + "\x00\x00"},
		{"member out of range", "\x01\x00" + "\x80\x80\x04" + "\x00"},
		{"long number", "\x01\x80\x00\x00\x00"},
		{"more commands than bytes", "\x01\x00\x00\x7f\x00"},
		{"command longer than the rest", "\x01\x00\x00\x01\x05a"},
		{"designated leader is no voter", EncodeStop(bad)},
		{"configuration 0", EncodeStop(Membership{Next: 2, Voters: []Member{{Node: 1, Ordinal: 1}}})},
		{"too many voters", "\x02\x01\x01\x7f\x41" + synod.Value(strings.Repeat("\x01\x01\x00\x00", 65))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := Decode(tt.in); !errors.Is(err, ErrBadValue) {
				t.Errorf("Decode = %+v, %v; want ErrBadValue", got, err)
			}
		})
	}
}

// FuzzDecode checks that Decode takes any bytes, and that what it takes has no
// other encoding.
func FuzzDecode(f *testing.F) {
	f.Add("")
	f.Add(string(EncodeBatch(synod.Ballot{Round: 300, Member: 2}, [][]byte{[]byte("x"), nil})))
	f.Add(string(EncodeStop(Membership{ID: 2, Leader: 1, Next: 3, Voters: []Member{{1, 1, "n", "a:1"}, {2, 2, "", ""}}})))
	f.Fuzz(func(t *testing.T, in string) {
		d, err := Decode(synod.Value(in))
		if err != nil {
			return
		}
		back := Noop
		switch d.Kind {
		case KindBatch:
			back = EncodeBatch(d.Origin, d.Commands)
		case KindStop:
			back = EncodeStop(d.Next)
		}
		if string(back) != in {
			t.Errorf("Decode(%q) = %+v, which is encoded as %q", in, d, back)
		}
	})
}
