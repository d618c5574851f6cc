package leader

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

var (
	search      = flag.Bool("leader.search", false, "search for the times of the failure detector, for 20 minutes or so")
	searchSeeds = flag.Int("leader.search.seeds", 1, "so many times as many seeds as usual")
	searchOut   = flag.String("leader.search.out", ".", "where the search writes its files, and reads them to draw")
)

// A cell is a choice of times and what it costs.
type cell struct {
	times  Config
	broken string // the first row of which a number of changes is not kept
	missed string // the first row whose gap is longer than it should be
	killed sum    // both rows
	silent sum    // stopped or cut off
	leased int    // of 1,000 moments while all nodes are slow
	tcp    []sum
}

// ms4 makes times of milliseconds.
func ms4(t, silence, lease, delay int64) Config {
	delay *= millisecond
	if delay == 0 {
		delay = 1 // 0 means the default
	}
	return Config{Heartbeat: t * millisecond, Silence: silence * millisecond, Lease: lease * millisecond, ClaimDelay: delay}
}

// sameTimes reports whether two cells have the same times.
func sameTimes(a, b Config) bool {
	return a.Heartbeat == b.Heartbeat && a.Silence == b.Silence && a.Lease == b.Lease && a.ClaimDelay == b.ClaimDelay
}

func timesText(c Config) string {
	return fmt.Sprintf("%d / %d / %d / %d", c.Heartbeat/millisecond, c.Silence/millisecond, c.Lease/millisecond, c.ClaimDelay/millisecond)
}

// grid is what is searched, but for the claim delay: the lease in halves of a
// heartbeat. What has a short heartbeat takes long to simulate, and gets fewer.
func grid() (all []Config) {
	for _, g := range []struct {
		t        int64
		silences []int64
		halves   []int64
	}{
		{50, []int64{200, 250, 300, 350, 400, 500, 600}, []int64{2, 4, 5, 6, 8}},
		{25, []int64{200, 250, 300, 350, 400, 500, 600}, []int64{2, 4, 6, 8, 12}},
		{100, []int64{300, 400, 500, 600}, []int64{2, 3, 4, 6}},
		{10, []int64{300, 400}, []int64{4, 8, 12}},
	} {
		for _, silence := range g.silences {
			for _, half := range g.halves {
				if half*g.t <= 2*silence {
					all = append(all, ms4(g.t, silence, half*g.t/2, 10))
				}
			}
		}
	}
	return all
}

// joined adds up sums.
func joined(sums ...sum) (all sum) {
	for _, s := range sums {
		all.row = s.row
		all.runs += s.runs
		all.length += s.length
		all.moves += s.moves
		all.leased += s.leased
		all.gaps = append(all.gaps, s.gaps...)
	}
	return all
}

// measure runs the rows that say how long nobody leads.
func (c *cell) measure(scale int) {
	var killed, silent []sum
	for _, r := range plain() {
		s := r.try(lab{times: c.times}, r.seeds*scale, false)
		c.broken, c.missed = cmp.Or(c.broken, s.broken()), cmp.Or(c.missed, s.missed())
		if strings.HasPrefix(r.name, "leader killed") {
			killed = append(killed, s)
		} else {
			silent = append(silent, s)
		}
	}
	c.killed, c.silent = joined(killed...), joined(silent...)
}

// hold runs rows until one is broken.
func (c *cell) hold(rows []row, scale int) {
	for _, r := range rows {
		if c.broken != "" {
			return
		}
		s := r.try(lab{times: c.times}, r.seeds*scale, true)
		c.broken = s.broken()
		if strings.HasPrefix(r.name, "all nodes slow") {
			c.leased = s.leased / s.runs
		}
	}
}

// messages is how many heartbeats and replies a node sends in a second to so many
// others.
func (c *cell) messages(peers int64) int64 { return 2 * peers * 1000 * millisecond / c.times.Heartbeat }

// cheapest are the rows of pressed with those first that decide most.
func cheapest() []row {
	rows := pressed()
	slices.SortStableFunc(rows, func(a, b row) int {
		return weight(a.name) - weight(b.name)
	})
	return rows
}

func weight(name string) int {
	for i, first := range []string{"a write", "leader waits", "30 %", "leader has"} {
		if strings.HasPrefix(name, first) {
			return i
		}
	}
	return 9
}

// each calls f for all cells, several at a time. What it does for one does not
// depend on the others.
func each(cells []*cell, f func(i int, c *cell)) {
	var wait sync.WaitGroup
	var next atomic.Int64
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(cells)); i = next.Add(1) - 1 {
				f(int(i), cells[i])
			}
		})
	}
	wait.Wait()
}

// TestSearch looks for the times that give the shortest time without a leader
// and keep every zero of the table.
func TestSearch(t *testing.T) {
	if !*search {
		t.Skip("only with -leader.search")
	}
	debug.SetGCPercent(2000) // a world is small, and made anew for each run
	var cells []*cell
	for _, times := range grid() {
		cells = append(cells, &cell{times: times})
	}
	each(cells, func(i int, c *cell) {
		c.measure(*searchSeeds)
		c.hold(cheapest(), *searchSeeds)
		c.hold(partial(), *searchSeeds)
		if i == 0 || cells[i-1].times.Silence != c.times.Silence { // once for all leases, which these rows do not feel
			for _, r := range overTCP() {
				c.tcp = append(c.tcp, r.try(lab{times: c.times}, r.seeds**searchSeeds, false))
			}
		}
		t.Log(i, c.line())
	})
	for i, c := range cells {
		if c.tcp == nil {
			c.tcp = cells[i-1].tcp
		}
	}
	write(t, "failover-search.csv", table(cells))
	var others []*cell
	for _, c := range cells {
		for _, delay := range []int64{0, 2, 5, 20} {
			if c.broken == "" && c.missed == "" && c.times.Silence == 400*millisecond {
				d := &cell{times: c.times, leased: c.leased, tcp: c.tcp}
				d.times.ClaimDelay = max(1, delay*millisecond)
				others = append(others, d)
			}
		}
	}
	each(others, func(i int, c *cell) {
		c.measure(*searchSeeds)
		c.hold(partial(), *searchSeeds)
		t.Log(i, c.line())
	})
	cells = append(cells, others...)
	write(t, "failover-search.csv", table(cells))
}

// TestSearchFinal looks at few cells for longer: every graph, more seeds, and how
// much longer than in their rows the waits may be.
func TestSearchFinal(t *testing.T) {
	if !*search {
		t.Skip("only with -leader.search")
	}
	debug.SetGCPercent(2000)
	var b strings.Builder
	b.WriteString("| T / W·T / D / δ, ms | killed, median / worst, ms | silent, median / worst, ms | broken | leased, all well and all slow | waits may be longer by | changes if three ticks in a row this late make a leader unfit |\n|---|---|---|---|---|---|---|\n")
	for _, times := range finalists {
		c := &cell{times: times}
		c.measure(5 * *searchSeeds)
		c.hold(cheapest(), 3**searchSeeds)
		c.hold(partial(), 3**searchSeeds)
		c.hold([]row{graphs(max(1, 5 / *searchSeeds)), oneWay(300 * *searchSeeds)}, 1)
		well := row{run: play(5, 0, 30_000*ms, func(*world, *lab) {})}
		calm := well.try(lab{times: times}, 3, false)
		line := fmt.Sprintf("| %s | %s | %s | %s | %.1f %%, %.1f %% | %s | %s |\n", timesText(times), c.killed.span(), c.silent.span(), kept(c.broken),
			float64(calm.leased)/float64(calm.runs)/10, float64(c.leased)/10, spare(times), lateness(times))
		b.WriteString(line)
	}
	t.Log("\n" + b.String())
}

func kept(broken string) string {
	if broken == "" {
		return "nothing"
	}
	return broken
}

// finalists are the cells that the search has left to choose from.
var finalists = []Config{
	ms4(50, 400, 150, 10), ms4(50, 400, 100, 10), ms4(25, 400, 100, 10),
}

// spare is by how much the waits of each pressed row can be stretched before it
// breaks.
func spare(times Config) string {
	var words []string
	for _, r := range pressed() {
		if strings.HasPrefix(r.name, "30 %") || strings.HasPrefix(r.name, "follower") {
			continue
		}
		most := Instant(0)
		for _, stretch := range []Instant{100, 125, 150, 175, 200, 250, 300} {
			s := r.try(lab{times: times, stretch: stretch}, min(r.seeds, 5), true)
			if s.broken() != "" {
				break
			}
			most = stretch
		}
		name, _, _ := strings.Cut(r.name, ",")
		words = append(words, fmt.Sprintf("%s: %d %%", name, most-100))
	}
	return strings.Join(words, "; ")
}

// lateness is what it costs that three late ticks in a row make a leader unfit.
func lateness(times Config) string {
	var words []string
	for _, late := range []Instant{Instant(times.Heartbeat), Instant(times.Silence / 4), Instant(times.Silence / 2)} {
		moves := 0
		for _, r := range pressed() {
			if strings.HasPrefix(r.name, "leader") {
				s := r.try(lab{times: times, late: late}, 5, false)
				moves += s.moves
			}
		}
		words = append(words, fmt.Sprintf("%d ms: %d", late/ms, moves))
	}
	return strings.Join(words, "; ")
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(*searchOut, name), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

// A curve is the changes an hour against the silence limit.
type curve struct {
	name   string
	points [][2]float64 // ms, changes an hour
}

// TestSearchCurves measures what the silence limit buys under pressure.
func TestSearchCurves(t *testing.T) {
	if !*search {
		t.Skip("only with -leader.search")
	}
	debug.SetGCPercent(2000)
	var b strings.Builder
	b.WriteString("what,silence_ms,changes_per_hour\n")
	rows := append(pressed(), overTCP()...)
	for _, r := range rows {
		most, periods := int64(800), []int64{50}
		switch {
		case strings.HasPrefix(r.name, "all nodes"):
			most = 400 // nothing is left to see beyond
		case strings.HasPrefix(r.name, "a write"), strings.HasPrefix(r.name, "leader waits"):
			r.seeds = 10
		case strings.HasPrefix(r.name, "TCP, 30"):
			r.seeds, periods = 20, []int64{100, 50, 25}
		default:
			continue
		}
		for _, period := range periods {
			for _, silence := range []int64{100, 150, 200, 250, 300, 350, 400, 500, 600, 800} {
				if silence > most || silence < 2*period {
					continue
				}
				s := r.try(lab{times: ms4(period, silence, 100, 10)}, r.seeds**searchSeeds, false)
				fmt.Fprintf(&b, "\"%s; T %d ms\",%d,%.1f\n", r.name, period, silence, s.hourly())
				t.Log(r.name, period, silence, s.hourly())
			}
		}
	}
	write(t, "failover-curves.csv", b.String())
}
