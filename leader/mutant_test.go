package leader

import (
	"fmt"
	"testing"
)

// A listener hears complaints instead of failing.
type listener struct {
	testing.TB
	heard []string
}

func (l *listener) Helper()                      {}
func (l *listener) Errorf(f string, args ...any) { l.heard = append(l.heard, fmt.Sprintf(f, args...)) }

// Fatalf stops like the real one, up to complaints.
func (l *listener) Fatalf(f string, args ...any) {
	l.Errorf(f, args...)
	panic(l)
}

// complaints runs f and returns what it complains of.
func complaints(t *testing.T, f func(t testing.TB)) (heard []string) {
	l := &listener{TB: t}
	defer func() {
		if r := recover(); r != nil && r != any(l) {
			panic(r)
		}
		heard = l.heard
	}()
	f(l)
	return
}

// suite runs the regressions and the stories and returns the first complaint.
func suite(t *testing.T, off mutant, seeds uint64) string {
	for seed := range seeds {
		for _, r := range regressions() {
			if c := complaints(t, func(t testing.TB) { r.run(t, seed+1, off) }); len(c) > 0 {
				return fmt.Sprintf("%s: %s", r.name, c[0])
			}
		}
		for _, s := range stories() {
			c := complaints(t, func(t testing.TB) {
				w := tell(t, s, seed+1, off)
				w.judge(t, s.name, s.changes)
				if w.worst() > s.worst {
					t.Errorf("%d ms without a commit", w.worst()/ms)
				}
			})
			if len(c) > 0 {
				return fmt.Sprintf("%s: %s", s.name, c[0])
			}
		}
	}
	return ""
}

// TestMutants switches one part of the rule off at a time: the regressions and
// stories must notice, or they prove nothing about it.
func TestMutants(t *testing.T) {
	for _, m := range []struct {
		name string
		off  mutant
	}{
		{"a repeated claim renews support", mutant{refreshGrants: true}},
		{"no back-off", mutant{noBackoff: true}},
		{"no grace", mutant{noGrace: true}},
		{"claims numbered from the own lead", mutant{claimFromLead: true}},
		{"a replaced leader renews leases", mutant{replacedRenews: true}},
		{"who does not hear the leader takes over", mutant{takeOver: true}},
		{"no second look at the own acceptor", mutant{noSecondLook: true}},
	} {
		t.Run(m.name, func(t *testing.T) {
			c := suite(t, m.off, 40)
			if c == "" {
				t.Error("not noticed")
			}
			t.Log("noticed by ", c)
		})
	}
	if c := suite(t, mutant{}, 2); c != "" {
		t.Errorf("the rule itself is complained of: %s", c)
	}
}
