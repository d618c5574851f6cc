package decided

import (
	"bytes"
	"strings"
	"testing"

	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// vote is one for a batch with a put of value.
func vote(slot, round uint64, value string, chosen bool) Vote {
	b := synod.Ballot{Round: round, Member: 1}
	cmd := locks.Encode(&locks.PutCommand{Request: locks.Request{ID: "r-" + value}, Key: "k", Value: []byte(value)})
	return NewVote(paxos.SlotVote{
		Slot: paxos.Slot(slot), Config: 1, Chosen: chosen,
		Vote: synod.Vote{Ballot: b, Value: paxos.EncodeBatch(synod.Ballot{Round: 1, Member: 1}, [][]byte{cmd, cmd})},
	})
}

func node(id, decided uint64, votes ...Vote) Node {
	return Node{
		Version: Version, Name: "n" + string(rune('0'+id)), ID: id, Decided: decided, Snapshot: 1, Config: 1,
		Voters: []uint64{1, 2, 3}, Votes: votes,
	}
}

// values lists what is put, slot by slot.
func values(l *Log) string {
	var out []string
	for _, s := range l.Slots {
		v := "-"
		for _, c := range l.Commands[s.From:s.To] {
			v = string(c.Command.(*locks.PutCommand).Value)
		}
		out = append(out, v)
	}
	return strings.Join(out, " ")
}

func TestMerge(t *testing.T) {
	for _, tt := range []struct {
		name      string
		nodes     []Node
		want      string
		conflicts int
		whole     bool
		final     bool
	}{
		{"all agree", []Node{
			node(1, 3, vote(2, 1, "a", true), vote(3, 1, "b", true)),
			node(2, 2, vote(2, 1, "a", true), vote(3, 1, "b", false)),
		}, "a b", 0, true, true},
		{"one lags behind, with another's value in an old ballot", []Node{
			node(1, 2, vote(2, 2, "a", true)),
			node(2, 1, vote(2, 1, "x", false)),
		}, "a", 0, true, true},
		{"nobody knows: the newest vote counts", []Node{
			node(1, 1, vote(2, 1, "x", false)),
			node(2, 1, vote(2, 2, "a", false)),
			node(3, 1),
		}, "a", 0, true, true},
		{"a hole is a noop", []Node{
			node(1, 1, vote(3, 1, "b", false)),
			node(2, 1),
		}, "- b", 0, true, true},
		{"two values are decided", []Node{
			node(1, 2, vote(2, 1, "a", true)),
			node(2, 2, vote(2, 2, "b", true)),
		}, "a", 1, true, true},
		{"two values in one ballot", []Node{
			node(1, 1, vote(2, 1, "a", false)),
			node(2, 1, vote(2, 1, "b", false)),
		}, "a", 1, true, true},
		{"a decided slot is in a snapshot", []Node{
			{Version: Version, Name: "n1", ID: 1, Decided: 3, Snapshot: 2, Config: 1, Voters: []uint64{1, 2, 3}, Votes: []Vote{vote(3, 1, "b", true)}},
			node(2, 1), node(3, 1),
		}, "", 0, false, true},
		{"one node of three", []Node{node(1, 2, vote(2, 1, "a", true))}, "a", 0, true, false},
	} {
		l := Merge(tt.nodes)
		if got := values(l); got != tt.want || len(l.Conflicts) != tt.conflicts || (l.Whole() == nil) != tt.whole || l.Final() != tt.final {
			t.Errorf("%s: %q, conflicts %v, whole: %v, final %v", tt.name, got, l.Conflicts, l.Whole(), l.Final())
		}
	}
}

func TestRevisionsOfSlots(t *testing.T) {
	l := Merge([]Node{node(1, 4, vote(2, 1, "a", true), vote(4, 1, "b", true)), node(2, 3)})
	if len(l.Conflicts) != 3 { // n1 has no vote in slot 3, and n2 in none
		t.Errorf("conflicts %v", l.Conflicts)
	}
	l = Merge([]Node{node(1, 2, vote(2, 1, "a", true), vote(4, 1, "b", false)), node(2, 1)})
	for slot, want := range map[uint64][2]uint64{1: {0, 0}, 2: {0, 2}, 3: {2, 2}, 4: {2, 4}} {
		if from, to, ok := l.At(slot); !ok || from != want[0] || to != want[1] {
			t.Errorf("slot %d has revisions %d to %d, %v; want %v", slot, from, to, ok, want)
		}
	}
	if _, _, ok := l.At(5); ok {
		t.Error("slot 5 is in the log")
	}
	if c := l.Commands[3]; c.Revision != 4 || c.Slot != 4 || c.Request != "r-b" || c.Own {
		t.Errorf("the last command is %+v", c)
	}
}

func TestWriteAndRead(t *testing.T) {
	n := node(1, 2, vote(2, 1, "a", true), vote(3, 1, "b", false))
	var b bytes.Buffer
	if err := n.Write(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	got, err := Read(strings.NewReader(text))
	if err != nil || len(got.Votes) != 2 || !bytes.Equal(got.Votes[1].Value, n.Votes[1].Value) || got.Name != n.Name {
		t.Errorf("read %+v, %v", got, err)
	}
	if !strings.Contains(text, `"request":"r-a"`) {
		t.Errorf("the file does not say which requests are in it: %s", text)
	}
	lines := strings.SplitAfter(text, "\n")
	for name, bad := range map[string]string{
		"empty":              "",
		"no first line":      lines[1],
		"slots out of order": lines[0] + lines[2] + lines[1],
		"newer":              strings.Replace(text, `"version":1`, `"version":2`, 1),
		"cut":                text[:len(text)-20],
		"decided for ever":   strings.Replace(text, `"decided":2`, `"decided":4611686018427387904`, 1),
		"a slot far above":   strings.Replace(text, `"slot":3`, `"slot":4611686018427387904`, 1),
	} {
		if _, err := Read(strings.NewReader(bad)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
