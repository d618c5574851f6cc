package codec

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

func ballot(r uint64, m synod.Ordinal) synod.Ballot { return synod.Ballot{Round: r, Member: m} }

var members = paxos.Membership{
	ID: 2, Start: 17, Leader: 1, Next: 4,
	Voters: []paxos.Member{{Node: 7, Ordinal: 1, Name: "a", PeerAddr: "a:1"}, {Node: 1 << 63, Ordinal: 3, Name: "b", PeerAddr: ""}},
}

// packets has every message, with every field set to something of its own.
var packets = []replica.Packet{
	{Group: 1, Msg: paxos.Prepare{Config: 2, Ballot: ballot(3, 4), First: 5}},
	{Group: 1, Msg: paxos.Promise{Config: 2, Ballot: ballot(3, 4), Decided: 9}},
	{Group: 1, Msg: paxos.Promise{Config: 2, Ballot: ballot(synod.MaxRound, 0xffff), Decided: 9, Votes: []paxos.SlotVote{
		{Slot: 10, Config: 2, Vote: synod.Vote{Ballot: ballot(1, 2), Value: "x"}}, {Slot: 12, Config: 1, Chosen: true, Vote: synod.Vote{Value: ""}}}}},
	{Group: 1 << 40, Msg: paxos.Accept{Config: 2, Ballot: ballot(3, 4), Base: 5, First: 6, Values: []synod.Value{"one", "", "three"}, Decided: 5}},
	{Group: 1, Msg: paxos.Accepted{Config: 2, Ballot: ballot(3, 4), UpTo: 8}},
	{Group: 1, Msg: paxos.Nack{Config: 2, Ballot: ballot(3, 4), Promised: ballot(5, 6)}},
	{Group: 1, Msg: paxos.Confirm{Config: 2, Ballot: ballot(3, 4), Seq: 77}},
	{Group: 1, Msg: paxos.Confirmed{Config: 2, Ballot: ballot(3, 4), Seq: 77}},
	{Group: 1, Msg: paxos.CatchUp{From: 5, Learner: true, SnapshotSlot: 4, SnapshotOffset: 1 << 33}},
	{Group: 1, Msg: paxos.Learned{First: 5, Values: []synod.Value{"v"}, Decided: 9}},
	{Group: 1, Msg: paxos.Sealed{Config: 3, At: 17}},
	{Group: 1, Msg: paxos.SnapshotChunk{Slot: 17, Offset: 8, Size: 16, Sum: 0xdeadbeef, Data: []byte("eight")}},
	{Msg: leader.Heartbeat{Seq: 1, Sent: 2, Incarnation: 3, Healthy: true}},
	{Msg: leader.Heartbeat{Reply: true, Seq: 1, Sent: 2, Clock: 4, Lease: 150_000_000, Incarnation: 3, Have: 12, Since: 13, Version: 14, Whole: true, Taken: true, Groups: []leader.Report{
		{Group: 1, Config: 2, Asks: true, Own: ballot(3, 4), Followed: ballot(5, 6), Content: true, Leading: true, Bound: ballot(7, 8), Decided: 9, Distance: 10}}}},
	{Msg: leader.Claim{Group: 1, Config: 2, Ballot: ballot(3, 4)}},
	{Msg: leader.Grant{Group: 1, Config: 2, Ballot: ballot(3, 4), OK: true, Reason: 5}},
	{Msg: leader.Claims{All: []leader.Claim{{Group: 1, Config: 2, Ballot: ballot(3, 4)}, {Group: 5, Config: 6, Ballot: ballot(7, 8)}}}},
	{Msg: leader.Grants{All: []leader.Grant{{Group: 1, Config: 2, Ballot: ballot(3, 4), OK: true}, {Group: 5, Config: 6, Ballot: ballot(7, 8), Reason: 9}}}},
	{Msg: leader.Release{Group: 1, Config: 2, Ballot: ballot(3, 4), To: 5}},
	{Group: 1, Msg: replica.Forward{ID: 1 << 32, To: 7, Hops: 1, Kind: replica.KindAsk, Payload: []byte{0, 255}}},
	{Group: 1, Msg: replica.Answer{ID: 9, Outcome: replica.NotLeader, Slot: 4, Leader: 5, Payload: []byte("p")}},
	{Msg: Saved{Position: 1 << 40}},
}

func TestPacketsSurvive(t *testing.T) {
	for _, p := range packets {
		got, err := DecodePacket(AppendPacket(nil, p))
		if err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("%T: got %+v, %v; want %+v", p.Msg, got, err, p)
		}
	}
}

// TestBytesOnTheWire fails when the format changes: nodes of two versions must
// understand each other while a cluster is upgraded.
func TestBytesOnTheWire(t *testing.T) {
	var b bytes.Buffer
	for _, p := range packets {
		fmt.Fprintf(&b, "%T %x\n", p.Msg, AppendPacket(nil, p))
	}
	fmt.Fprintf(&b, "header %x\n", AppendRecord(nil, AppendHeader(nil, header)))
	fmt.Fprintf(&b, "header with a floor %x\n", AppendRecord(nil, AppendHeader(nil, above(header))))
	fmt.Fprintf(&b, "vote %x\n", AppendRecord(nil, AppendVote(nil, vote)))
	fmt.Fprintf(&b, "frame %x\n", AppendFrame(nil, packets[:2]))
	golden := filepath.Join("testdata", "wire.txt")
	if *rewrite {
		if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("the format has changed:\n%s\nwant\n%s", b.Bytes(), want)
	}
}

var header = paxos.Header{Membership: members, Promised: ballot(3, 4), Decided: 30, Snapshot: 20, Trimmed: 10}

// above returns h with a floor.
func above(h paxos.Header) paxos.Header {
	h.Floor = 300
	return h
}

var vote = paxos.SlotVote{Slot: 31, Config: 2, Chosen: true, Vote: synod.Vote{Ballot: ballot(3, 1), Value: "v"}}

func TestRecordsSurvive(t *testing.T) {
	for _, want := range []paxos.Header{header, above(header)} {
		if h, err := DecodeHeader(AppendHeader(nil, want)); err != nil || !reflect.DeepEqual(h, want) {
			t.Errorf("header: %+v, %v", h, err)
		}
	}
	if h, err := DecodeHeader(append(AppendHeader(nil, header), 0)); err == nil {
		t.Errorf("a floor of 0 became %+v", h)
	}
	v, err := DecodeVote(AppendVote(nil, vote))
	if err != nil || v != vote {
		t.Errorf("vote: %+v, %v", v, err)
	}
	m, err := DecodeMembership(AppendMembership(nil, members))
	if err != nil || !reflect.DeepEqual(m, members) {
		t.Errorf("membership: %+v, %v", m, err)
	}
}

func TestADamagedRecordIsNoticed(t *testing.T) {
	rec := AppendRecord(nil, AppendVote(nil, vote))
	for i := range rec {
		for bit := range 8 {
			bad := bytes.Clone(rec)
			bad[i] ^= 1 << bit
			if _, err := OpenRecord(bad); err == nil {
				t.Fatalf("flipping bit %d of byte %d went unnoticed", bit, i)
			}
		}
		if _, err := OpenRecord(rec[:i]); err == nil {
			t.Fatalf("cutting to %d bytes went unnoticed", i)
		}
	}
}

func TestFrames(t *testing.T) {
	stream := AppendFrame(nil, packets)
	stream = AppendFrame(stream, nil)
	var raw [][]byte
	for _, p := range packets {
		raw = append(raw, AppendPacket(nil, p))
	}
	stream = AppendRawFrame(stream, raw)
	r := NewReader(bytes.NewReader(stream))
	for i, want := range [][]replica.Packet{packets, nil, packets} {
		got, err := r.Next()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("frame %d: %v, %v", i, got, err)
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v; want EOF", err)
	}
}

func TestBadFrames(t *testing.T) {
	good := AppendFrame(nil, packets[:3])
	tests := []struct {
		name string
		in   []byte
		want error
	}{
		{"cut in the head", good[:5], io.ErrUnexpectedEOF},
		{"cut in the body", good[:len(good)-1], io.ErrUnexpectedEOF},
		{"too large", []byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, ErrTooLarge},
		{"bad checksum", append(bytes.Clone(good[:len(good)-1]), good[len(good)-1]^1), ErrCorrupt},
		{"version", seal([]byte{0, 0, 0, 0, 0, 0, 0, 0, 9}, 0), ErrVersion},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := NewReader(bytes.NewReader(tt.in)).Next(); !errors.Is(err, tt.want) {
				t.Errorf("err = %v; want %v", err, tt.want)
			}
		})
	}
}

func FuzzDecodePacket(f *testing.F) {
	for _, p := range packets {
		f.Add(AppendPacket(nil, p))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := DecodePacket(b)
		if err != nil {
			return
		}
		encoded := AppendPacket(nil, p)
		again, err := DecodePacket(encoded)
		if err != nil || !reflect.DeepEqual(again, p) || len(encoded) > len(b) {
			t.Fatalf("%+v became %+v, %v", p, again, err)
		}
	})
}

// FuzzReadFrame reads anything as a stream of frames; and what lies behind its first
// eight bytes as a frame whose length and checksum are right, or nothing would get past
// them.
func FuzzReadFrame(f *testing.F) {
	f.Add(AppendFrame(nil, packets))
	f.Add(AppendFrame(AppendFrame(nil, packets[:2]), nil))
	f.Add([]byte{0, 0, 0, 2, 0, 0, 0, 0, Version})
	r := NewReader(nil) // its buffer is most of the work
	f.Fuzz(func(t *testing.T, b []byte) {
		over := func(b []byte) *Reader {
			r.r.Reset(bytes.NewReader(b))
			return r
		}
		for r := over(b); ; {
			if _, err := r.Next(); err != nil {
				break
			}
		}
		if cap(r.buf) > 2*len(b)+4<<20 {
			t.Fatalf("%d bytes are kept for a stream of %d", cap(r.buf), len(b))
		}
		if len(b) < frameHead {
			return
		}
		whole := seal(bytes.Clone(b), 0)
		ps, err := over(whole).Next()
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
				t.Fatal(err)
			}
			return
		}
		again, err := over(AppendFrame(nil, ps)).Next()
		if err != nil || !reflect.DeepEqual(again, ps) {
			t.Fatalf("%+v became %+v, %v", ps, again, err)
		}
	})
}

func FuzzDecodeRecords(f *testing.F) {
	f.Add(AppendHeader(nil, header))
	f.Add(AppendHeader(nil, above(header)))
	f.Add(AppendVote(nil, vote))
	f.Add(AppendMembership(nil, members))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := DecodeHeader(b); err == nil {
			if again, err := DecodeHeader(AppendHeader(nil, h)); err != nil || !reflect.DeepEqual(again, h) {
				t.Fatalf("header %+v became %+v, %v", h, again, err)
			}
		}
		if v, err := DecodeVote(b); err == nil {
			if again, err := DecodeVote(AppendVote(nil, v)); err != nil || again != v {
				t.Fatalf("vote %+v became %+v, %v", v, again, err)
			}
		}
		if m, err := DecodeMembership(b); err == nil {
			if again, err := DecodeMembership(AppendMembership(nil, m)); err != nil || !reflect.DeepEqual(again, m) {
				t.Fatalf("membership %+v became %+v, %v", m, again, err)
			}
		}
		if content, err := OpenRecord(b); err == nil && !bytes.Equal(AppendRecord(nil, content), b) {
			t.Fatalf("%x holds %x, which is written otherwise", b, content)
		}
		if content, err := OpenRecord(AppendRecord(nil, b)); err != nil || !bytes.Equal(content, b) {
			t.Fatalf("%x came back as %x, %v", b, content, err)
		}
	})
}

func BenchmarkAccept(b *testing.B) {
	m := paxos.Accept{Config: 1, Ballot: ballot(3, 1), First: 1000, Decided: 999}
	for range 8 {
		m.Values = append(m.Values, synod.Value(bytes.Repeat([]byte("x"), 200)))
	}
	p := replica.Packet{Group: 1, Msg: m}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendPacket(buf[:0], p)
		if _, err := DecodePacket(buf); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVote is the record of one vote for a batch, as it is put on disk and read
// back.
func BenchmarkVote(b *testing.B) {
	v := vote
	v.Vote.Value = synod.Value(bytes.Repeat([]byte("x"), 8*256))
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendVote(buf[:0], v)
		if _, err := DecodeVote(buf); err != nil {
			b.Fatal(err)
		}
	}
}
