package leader

import (
	"fmt"
	"slices"
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
		for _, r := range slices.Concat(regressions(), breaches(), quiets()) {
			if c := complaints(t, func(t testing.TB) { r.run(t, seed+1, off) }); len(c) > 0 {
				return fmt.Sprintf("%s: %s", r.name, c[0])
			}
		}
		for _, s := range stories() {
			c := complaints(t, func(t testing.TB) {
				w := tell(t, s, seed+1, off)
				w.judge(t, s.name, s.changes)
				if s.also != nil && s.also(w) != "" {
					t.Errorf("%s", s.also(w))
				}
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
	if testing.Short() {
		t.Skip("a long search in one goroutine")
	}
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
		{"a new process promises at once", mutant{noMute: true}},
		{"a lease is counted from the answer on", mutant{fromReceipt: true}},
		{"a lease in spite of a stop-sign", mutant{sealedLeases: true}},
		{"a leader that has handed over leads", mutant{releaseKeeps: true}},
		{"bound below the promise", mutant{bindsBelow: true}},
		{"no margin for the clocks", mutant{noMargin: true}},
		{"who is content follows candidates", mutant{followsCampaigns: true}},
		{"candidates never withdraw", mutant{neverWithdraws: true}},
		{"candidates withdraw for each other", mutant{yieldsToRivals: true}},
		{"voters stand aside", mutant{neverMends: true}},
		{"a lease by any answer", mutant{boundUnsaid: true}},
		{"requests that were overtaken renew", mutant{staleRenews: true}},
		{"what stood is over at once", mutant{noMaterialize: true}},
		{"a lost link wakes nobody", mutant{noLinkWake: true, noNet: true}},
		{"lapsed leases wake nobody", mutant{noLapse: true, noNet: true}},
		{"changed reports wake nobody", mutant{noReportWake: true, noNet: true}},
	} {
		t.Run(m.name, func(t *testing.T) {
			c := suite(t, m.off, 40)
			if c == "" {
				t.Error("not noticed")
			}
			t.Log("noticed by", c)
		})
	}
	if c := suite(t, mutant{}, 2); c != "" {
		t.Errorf("the rule itself is complained of: %s", c)
	}
}
