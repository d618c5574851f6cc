package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The bounds.
const (
	growth      = 1.02     // of goroutines, when all clients have left
	fewRoutines = 5        // and so many more
	spareHeap   = 8        // MiB
	fewFiles    = 2        // of files that are open
	slopeMost   = 1.0      // percent an hour
	sure        = 3        // standard errors: the worst of some nodes is looked at, twice
	changesMost = 10_000   // revisions whose events are kept
	segment     = 16 << 20 // bytes of the log's files
)

// facts are what a soak has found.
type facts struct {
	nodes         int
	worked        time.Duration // when clients began to leave
	warm, drain   time.Duration
	skipped       []string // tables
	before, after []sample // one of each node, while nothing happened
	samples       []sample
	faults        []struck
	load          workResult
}

// judge judges a soak.
func judge(f facts) []verdict {
	return slices.Concat(
		f.judgeLoad(),
		[]verdict{f.judgeLeaders()},
		f.judgeEnd(),
		[]verdict{
			f.judgeSlope("live heap", func(s *sample) float64 { return s.Heap }),
			f.judgeSlope("resident memory", func(s *sample) float64 { return s.Resident }),
			f.judgeDisk(),
			f.peaks(),
		},
	)
}

// judgeLoad judges what clients were told.
func (f *facts) judgeLoad() (out []verdict) {
	var all []string
	idle := []string{}
	for _, name := range slices.Sorted(maps.Keys(f.load.kinds)) {
		t := f.load.kinds[name]
		all = append(all, fmt.Sprintf("%s %d (%d refused, %d unknown)", name, t.Done, t.Refused, t.Unknown))
		if t.Done == 0 {
			idle = append(idle, "no "+name+" was done")
		}
	}
	for _, op := range operations {
		if _, ok := f.load.kinds[op.name]; !ok {
			idle = append(idle, "no "+op.name+" was tried")
		}
	}
	work := none("clients work", fmt.Sprintf("%v: %s; %d were due and not begun", f.worked.Round(time.Second), strings.Join(all, ", "), f.load.late), idle)
	work.Bound = "some of each"
	wrong := f.load.wrong
	writes := f.load.kinds["put"].Done + 2*f.load.kinds["transaction"].Done
	return []verdict{
		work,
		none("an acknowledged write is lost, or half a transaction done", fmt.Sprintf("%d writes, all read at all nodes at the end", writes), wrong[lostWrites]),
		none("a fence is granted twice, or a lower one later", fmt.Sprintf("%d grants", f.load.kinds["lock"].Done+f.load.kinds["wait"].Done), wrong[badFences]),
		none("a session ends before its lease", fmt.Sprintf("%d sessions", f.load.kinds["session"].Done), wrong[badLeases]),
		none("a watch tells something out of order", fmt.Sprintf("%d watches", f.load.kinds["watch"].Done), wrong[badWatches]),
	}
}

// judgeLeaders compares how often somebody began to lead with what faults explain.
func (f *facts) judgeLeaders() verdict {
	allowed, names := 0, []string{}
	for _, s := range f.faults {
		allowed += s.Allowed
		if s.Err != nil {
			names = append(names, fmt.Sprintf("%s did not come off: %v", s.Name, s.Err))
		}
	}
	type process struct {
		node string
		life int
	}
	led := map[process]float64{}
	for _, s := range f.samples {
		if s.Error == "" {
			k := process{s.Node, s.Life}
			led[k] = max(led[k], s.Led)
		}
	}
	for _, s := range f.before {
		led[process{s.Node, s.Life}] -= s.Led
	}
	changes := 0.0
	for _, n := range led { //lint:ordered a sum
		changes += n
	}
	figure := strings.Join(append([]string{fmt.Sprintf("%.0f, with %d faults", changes, len(f.faults))}, names...), "; ")
	return verdict{"changes of the leader", figure, fmt.Sprintf("at most %d, one for each fault of a leader", allowed), changes <= float64(allowed)}
}

// judgeEnd judges what is left when all clients have gone.
func (f *facts) judgeEnd() []verdict {
	was := map[string]sample{}
	for _, s := range f.before {
		was[s.Node] = s
	}
	missing := []string{}
	for _, s := range f.after {
		if s.Error != "" || was[s.Node].Error != "" || was[s.Node].Goroutines == 0 {
			missing = append(missing, s.Node+": "+cmp.Or(s.Error, was[s.Node].Error, "it was not looked at before"))
		}
	}
	if len(f.after) != f.nodes || len(missing) > 0 {
		return []verdict{none("nodes tell what is left", fmt.Sprintf("%d of %d nodes", len(f.after)-len(missing), f.nodes), append(missing, "without that nothing is judged"))}
	}
	routines := f.worst("goroutines after clients have left", func(s sample) (float64, float64) {
		return s.Goroutines, was[s.Node].Goroutines*growth + fewRoutines
	}, func(s sample) float64 { return was[s.Node].Goroutines })
	files := f.worst("open files after clients have left, those of the log apart", func(s sample) (float64, float64) {
		return float64(s.Files), float64(was[s.Node].Files + fewFiles)
	}, func(s sample) float64 { return float64(was[s.Node].Files) })
	// Nodes that have the same keep as much, whatever they have been through; of events that
	// are gone a quarter as many are there for a while.
	// A node that is new may not have collected since it had what any of them has.
	base := slices.MaxFunc(f.before, func(a, b sample) int { return cmp.Compare(a.Heap, b.Heap) }).Heap
	heap := f.worst("MiB of live heap after clients have left", func(s sample) (float64, float64) {
		return mib(s.Heap), mib(base+(s.Slots+1.25*s.Changes)*f.perSlot(&s)+s.State) + spareHeap
	}, func(sample) float64 { return mib(base) })
	heap.Bound += ": as before, and what slots, events and entries hold"
	out := []verdict{routines, files, f.judgeTables(), heap}
	changes := f.worst("revisions whose events are kept", func(s sample) (float64, float64) { return s.Changes, changesMost }, nil)
	entries := f.worst("entries", func(s sample) (float64, float64) { return s.Entries, float64(f.load.keys) }, nil)
	return append(out, changes, entries)
}

// worst judges the node that is farthest above its bound.
func (f *facts) worst(what string, figure func(sample) (got, most float64), before func(sample) float64) verdict {
	s := slices.MaxFunc(f.after, func(a, b sample) int {
		x, most := figure(a)
		y, least := figure(b)
		return cmp.Compare(x-most, y-least)
	})
	got, most := figure(s)
	v := within(what, got, most, "%.0f")
	if before != nil {
		v.Figure += fmt.Sprintf(", %.0f before", before(s))
	}
	v.Figure += ", " + s.Node
	return v
}

// judgeTables judges the rows that go with clients.
func (f *facts) judgeTables() verdict {
	left := []string{}
	for _, s := range f.after {
		for _, name := range slices.Sorted(maps.Keys(s.Tables)) {
			if n := s.Tables[name]; n > 0 && !slices.Contains(f.skipped, name) {
				left = append(left, fmt.Sprintf("%.0f %s at %s", n, name, s.Node))
			}
		}
	}
	figure := "nothing"
	if len(left) > 0 {
		figure = strings.Join(left, ", ")
	}
	if at := f.samples[len(f.samples)-1].At - f.worked; len(left) == 0 {
		figure += fmt.Sprintf(" %v after they left", at.Round(time.Second))
	}
	if len(f.skipped) > 0 {
		figure += fmt.Sprintf("; NOT waited for: %s, because %v is less than they are kept", strings.Join(f.skipped, ", "), f.drain)
	}
	return verdict{"rows in " + fmt.Sprint(len(tables)-len(f.skipped)) + " tables after clients have left", figure, "none", len(left) == 0}
}

// judgeSlope judges how a size in bytes grows while clients work, in the process of each
// node that lasted longest.
func (f *facts) judgeSlope(what string, size func(*sample) float64) verdict {
	what += ", growth beside what bounded tables explain"
	var worst trend
	node, told, surely := "", 0, 0.0
	for name, points := range f.points(size) { //lint:ordered the largest is chosen
		t, ok := fit(points)
		if !ok {
			continue
		}
		told++
		if least := (t.slope - sure*t.error) / t.mean; node == "" || least > surely {
			worst, node, surely = t, name, least
		}
	}
	if node == "" {
		return verdict{What: what, Figure: fmt.Sprintf("cannot be told: too few collections in processes that lasted longer than %v, or a bounded table filled up all the while", f.warm)}
	}
	percent := 100 / worst.mean
	return verdict{
		What: what,
		Figure: fmt.Sprintf("%+.1f ± %.1f %% an hour of %.0f MiB (three standard errors; %s, %d points; the worst of %d nodes that can be told)",
			worst.slope*percent, sure*worst.error*percent, mib(worst.mean), node, worst.n, told),
		Bound: fmt.Sprintf("not surely above %.0f %% an hour", slopeMost),
		OK:    surely*100 <= slopeMost,
	}
}

// points are those of each node's longest life while clients worked, after its warm-up.
// Between two collections nothing new is known of the heap.
func (f *facts) points(size func(*sample) float64) map[string][]point {
	lives := map[string]map[int][]point{}
	last := map[string]float64{}
	for i := range f.samples {
		s := &f.samples[i]
		if s.Error != "" || s.At > f.worked || s.At < f.warm || s.Age < f.warm || s.Collected == last[s.Node] {
			continue
		}
		last[s.Node] = s.Collected
		if lives[s.Node] == nil {
			lives[s.Node] = map[int][]point{}
		}
		lives[s.Node][s.Life] = append(lives[s.Node][s.Life], point{
			at: s.At.Hours(), value: size(s),
			rows: []float64{s.Slots, s.Changes, s.Tables["answers to own ids"] + s.Tables[callersAnswers]},
		})
	}
	out := map[string][]point{}
	for node, all := range lives { //lint:ordered into a map
		for _, points := range all { //lint:ordered the longest is chosen
			if len(points) > len(out[node]) {
				out[node] = points
			}
		}
	}
	return out
}

// perSlot is about how many bytes a slot holds: what clients sent, and what is around it.
func (f *facts) perSlot(s *sample) float64 {
	const around = 512
	if all := s.First + s.Slots; all > 0 {
		return around + float64(f.load.sent)/all
	}
	return around
}

// judgeDisk judges the largest data directory by what it may have: the log's spare
// files, five times what is live in it, two snapshots, with the events that are kept. What
// was live a moment ago counts: the log's files are given back bit by bit.
func (f *facts) judgeDisk() verdict {
	var worst sample
	first, bound := 0.0, 0.0
	slots := map[string]float64{}
	for i := range f.samples {
		s := &f.samples[i]
		if s.Error != "" {
			continue
		}
		first, slots[s.Node] = max(first, s.First), max(slots[s.Node], s.Slots)
		each := f.perSlot(s)
		most := 4*segment + 5*slots[s.Node]*each + 3*(s.State+s.Changes*each)
		if worst.Node == "" || s.Dir-most > worst.Dir-bound {
			worst, bound = *s, most
		}
	}
	figure := fmt.Sprintf("%.0f MiB, %s after %v; the log begins at slot %.0f", mib(worst.Dir), worst.Node, worst.At.Round(time.Second), first)
	if first <= 1 {
		figure += ": nothing was cut off it yet"
	}
	return verdict{"data directory", figure, fmt.Sprintf("at most %.0f MiB: spare files, five times the %.0f slots that were kept, snapshots", mib(bound), slots[worst.Node]), worst.Dir <= bound}
}

// peaks tells the most that there was of everything.
func (f *facts) peaks() verdict {
	most := map[string]float64{}
	looks, silent := 0, 0
	for _, s := range f.samples {
		if looks++; s.Error != "" {
			silent++
			continue
		}
		for name, n := range s.Tables { //lint:ordered the most of each
			most[name] = max(most[name], n)
		}
		most["goroutines"], most["open files"] = max(most["goroutines"], s.Goroutines), max(most["open files"], float64(s.Files+s.Segments))
		most["MiB resident"] = max(most["MiB resident"], float64(int64(mib(s.Resident))))
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(most)) {
		all = append(all, fmt.Sprintf("%.0f %s", most[name], name))
	}
	return verdict{What: "the most of a node at a time", Figure: fmt.Sprintf("%s; %d looks, %d of which got no answer", strings.Join(all, ", "), looks, silent)}
}
