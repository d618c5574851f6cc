//go:build linux

package nemesis

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func everything(t *testing.T) []string {
	t.Helper()
	all, left, err := Select("all", func(Need) string { return "" })
	if err != nil || len(left) > 0 {
		t.Fatal(left, err)
	}
	return all
}

func TestThereAreEnoughKindsOfFaults(t *testing.T) {
	const least = 25
	seen := map[string]bool{}
	for _, f := range Faults() {
		if seen[f.Name] {
			t.Errorf("two faults are called %s", f.Name)
		}
		seen[f.Name] = true
		if f.What == "" || f.Group == "" || len(f.Roles) == 0 || f.begin == nil || f.Least <= 0 || f.Most < f.Least || f.Most > 10*time.Second {
			t.Errorf("%s: %+v", f.Name, f)
		}
	}
	if len(seen) < least {
		t.Errorf("%d kinds of faults; want at least %d", len(seen), least)
	}
}

func TestPlansRepeat(t *testing.T) {
	all := everything(t)
	const total = 5 * time.Minute
	one, err := Plan(7, all, total)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := Plan(7, all, total)
	if !reflect.DeepEqual(one, again) {
		t.Error("the same seed makes another plan")
	}
	other, _ := Plan(8, all, total)
	if reflect.DeepEqual(one, other) {
		t.Error("another seed makes the same plan")
	}
}

// Runs that are too short for more than one or two faults come past all of them.
func TestSeedsInARowBeginWithEachFault(t *testing.T) {
	all := everything(t)
	n := uint64(len(all))
	for _, from := range []uint64{0, n, 7 * n} {
		first := map[string]bool{}
		for seed := from; seed < from+n; seed++ {
			steps, err := Plan(seed, all, 9*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			first[steps[0].Fault] = true
		}
		if len(first) != len(all) {
			t.Errorf("seeds from %d begin with %d of %d faults", from, len(first), len(all))
		}
	}
}

func TestPlansAreWhatWasAskedFor(t *testing.T) {
	all := everything(t)
	for seed := range uint64(200) {
		total := time.Duration(5+seed) * time.Second
		steps, err := Plan(seed, all, total)
		if err != nil || len(steps) == 0 {
			t.Fatal(steps, err)
		}
		var used time.Duration
		for i, s := range steps {
			f, ok := Find(s.Fault)
			if !ok || !slices.Contains(f.Roles, s.Role) || s.Length < f.Least || s.Length > f.Most {
				t.Errorf("seed %d: %+v", seed, s)
			}
			if used += s.Length + between; used > total && i > 0 {
				t.Errorf("seed %d: step %d ends after %v of %v", seed, i, used, total)
			}
		}
		// Every fault has its turn before one comes again.
		if turn := steps[:min(len(steps), len(all))]; len(distinct(turn)) != len(turn) {
			t.Errorf("seed %d: a fault comes a second time before all have come: %v", seed, turn)
		}
	}
	if steps, err := Plan(1, nil, time.Minute); err != nil || len(steps) > 0 {
		t.Errorf("without faults: %v, %v", steps, err)
	}
	if _, err := Plan(1, []string{"flood"}, time.Minute); err == nil {
		t.Error("a fault that does not exist is planned")
	}
}

func distinct(steps []Step) map[string]bool {
	seen := map[string]bool{}
	for _, s := range steps {
		seen[s.Fault] = true
	}
	return seen
}

func TestSelect(t *testing.T) {
	none := func(Need) string { return "" }
	for list, want := range map[string][]string{
		"none": nil, "": nil, "kill": {"kill"}, "kill,storm,kill": {"kill", "storm"}, " wipe , kill ": {"wipe", "kill"},
		"membership": {"member-replace", "member-add"},
	} {
		if got, left, err := Select(list, none); err != nil || len(left) > 0 || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v, %v; want %v", list, got, left, err, want)
		}
	}
	if _, _, err := Select("kill,flood", none); err == nil || !strings.Contains(err.Error(), "flood") {
		t.Errorf("%v", err)
	}
	got, left, err := Select("kill,loss,disk-full,starve", func(n Need) string {
		if n == Network || n == Disk {
			return "no\n" + string(n)
		}
		return ""
	})
	if err != nil || !slices.Equal(got, []string{"kill", "starve"}) || !slices.Equal(left, []string{"loss: no network", "disk-full: no disk"}) {
		t.Errorf("%v, %q, %v", got, left, err)
	}
}
