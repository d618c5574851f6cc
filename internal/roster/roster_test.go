package roster

import (
	"errors"
	"strings"
	"testing"

	"github.com/prytany/prytany/synod"
)

func TestWhoIsAdmitted(t *testing.T) {
	seen := map[synod.NodeID]Sighting{1: {Incarnation: 5, Nonce: 50, Position: 7}, 2: {Incarnation: 3}}
	for _, tt := range []struct {
		name               string
		node               synod.NodeID
		incarnation, nonce uint64
		says               string // "": admitted
	}{
		{"never seen", 9, 1, 1, ""},
		{"the same process", 1, 5, 50, ""},
		{"the next one", 1, 6, 51, ""},
		{"a later one", 1, 60, 51, ""},
		{"an earlier one", 1, 4, 40, "seen with incarnation 5"},
		{"an earlier one with the nonce of this one", 1, 4, 50, "seen with incarnation 5"},
		{"a copy", 1, 5, 51, "as another process"},
		{"nonce was not known", 2, 3, 30, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := New(seen)
			err := r.Admit(tt.node, tt.incarnation, tt.nonce)
			if tt.says == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			var rolled *RolledBackError
			if !errors.As(err, &rolled) || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("err = %v; want one that says %q", err, tt.says)
			}
			if rolled.Node != tt.node || rolled.Seen != seen[tt.node] {
				t.Errorf("error = %+v; want what was seen", rolled)
			}
			if r.Seen(tt.node) != seen[tt.node] {
				t.Error("a refused process changed what is remembered")
			}
		})
	}
}

// TestWhatIsRemembered: an incarnation and a position never fall.
func TestWhatIsRemembered(t *testing.T) {
	r := New(nil)
	step := func(news, want bool, is Sighting) {
		t.Helper()
		if news != want || r.Seen(1) != is {
			t.Errorf("news %v, seen %+v; want %v, %+v", news, r.Seen(1), want, is)
		}
	}
	step(r.Reached(1, 2, 20, 9), false, Sighting{})
	step(r.Note(1, 2, 20), true, Sighting{2, 20, 0})
	step(r.Note(1, 2, 20), false, Sighting{2, 20, 0})
	step(r.Reached(1, 2, 20, 9), true, Sighting{2, 20, 9})
	step(r.Reached(1, 2, 20, 8), false, Sighting{2, 20, 9})
	step(r.Reached(1, 2, 21, 99), false, Sighting{2, 20, 9})
	step(r.Reached(1, 1, 20, 99), false, Sighting{2, 20, 9})
	step(r.Note(1, 3, 30), true, Sighting{3, 30, 9})
	step(r.Note(1, 2, 20), false, Sighting{3, 30, 9})
}

func TestAFullRosterLetsNobodyIn(t *testing.T) {
	r := New(nil)
	for i := range synod.NodeID(MaxNodes) {
		r.Note(i+1, 1, 1)
	}
	if err := r.Admit(1, 2, 2); err != nil {
		t.Errorf("a node that is known was refused: %v", err)
	}
	var rolled *RolledBackError
	if err := r.Admit(MaxNodes+1, 1, 1); err == nil || errors.As(err, &rolled) {
		t.Errorf("err = %v; want one that does not say rolled back", err)
	}
}

// TestADiskAgainstWhatOthersRemember: incarnation 5, whose disk knows how 3 and
// 4 ended.
func TestADiskAgainstWhatOthersRemember(t *testing.T) {
	self := Self{Node: 1, Incarnation: 5, Nonce: 50, Past: []Life{{30, 100}, {40, 200}}}
	for _, tt := range []struct {
		name string
		seen Sighting
		says string // "": no contradiction
	}{
		{"never seen", Sighting{}, ""},
		{"itself", Sighting{5, 50, 1 << 40}, ""},
		{"itself, nonce not known", Sighting{5, 0, 0}, ""},
		{"the last one", Sighting{4, 40, 200}, ""},
		{"the last one, earlier", Sighting{4, 40, 199}, ""},
		{"the last but one", Sighting{3, 30, 100}, ""},
		{"longer ago than it remembers", Sighting{2, 77, 300}, ""},
		{"a later one", Sighting{6, 60, 0}, "incarnation 6, and its disk says 5"},
		{"a copy", Sighting{5, 51, 0}, "as another process"},
		{"the last one after the copy was made", Sighting{4, 40, 201}, "after 201 writes to its log, and its disk remembers 200"},
		{"the last but one after the copy was made", Sighting{3, 30, 101}, "after 101 writes"},
		{"another last one", Sighting{4, 41, 0}, "knows nothing of"},
		{"another last but one", Sighting{3, 31, 0}, "knows nothing of"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := self.Check(tt.seen)
			if tt.says == "" {
				if err != nil {
					t.Errorf("contradiction: %v", err)
				}
				return
			}
			var rolled *RolledBackError
			if !errors.As(err, &rolled) || rolled.Node != 1 || rolled.Seen != tt.seen || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("err = %v; want one that says %q", err, tt.says)
			}
		})
	}
	if err := (Self{Incarnation: 5, Past: []Life{{}, {}}}).Check(Sighting{4, 40, 0}); err != nil {
		t.Errorf("a life whose nonce is not known contradicts: %v", err)
	}
}
