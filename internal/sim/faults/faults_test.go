package faults

import "testing"

func TestWritesEndWhenTheyAreMeantTo(t *testing.T) {
	tests := []struct {
		name   string
		write  Write
		in     int
		writes []bool // of snapshots?
		want   []Write
	}{
		{"nothing is meant", 0, 0, []bool{false, true}, []Write{0, 0}},
		{"the third write", Fails, 3, []bool{false, true, false, false}, []Write{0, 0, Fails, 0}},
		{"the first snapshot", OfSnapshot, 1, []bool{false, false, true, true}, []Write{0, 0, OfSnapshot, 0}},
		{"no snapshot is torn", Torn, 1, []bool{true, false}, []Write{0, Torn}},
	}
	for _, tt := range tests {
		n := Node{Write: tt.write, WriteIn: tt.in}
		for i, snapshot := range tt.writes {
			if got := n.Strikes(snapshot); got != tt.want[i] {
				t.Errorf("%s: write %d ends as %d, want %d", tt.name, i+1, got, tt.want[i])
			}
		}
	}
}
