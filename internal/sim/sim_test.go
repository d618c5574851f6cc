package sim

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/ledger"
	"github.com/prytany/prytany/internal/sim/plan"
	"github.com/prytany/prytany/internal/sim/workload"
)

var (
	seeds = flag.Int("seeds", 0, "number of seeds to run; 0 means 40, or 12 with -short")
	from  = flag.Uint64("from", 1, "the first seed")
	seed  = flag.Uint64("seed", 0, "run this seed alone, and print its trace with -v")
	note  = flag.String("ledger", "", "add what was run to this `file`")
)

// TestMain lets worlds become garbage before it collects them: they are small and
// short-lived.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}

var long = flag.Bool("long", false, "runs of ten simulated minutes, with little at a time")

// chosen returns the run of a seed, a long one if that is asked for.
func chosen(seed uint64) Options {
	if *long {
		return plan.Long(seed)
	}
	return Swarm(seed)
}

// TestSeeds runs many worlds at once, one to a processor.
func TestSeeds(t *testing.T) {
	if *seed != 0 {
		o := chosen(*seed)
		o.Verbose = testing.Verbose()
		r, err := Run(o)
		if err == nil {
			err = checkHistory(r)
		}
		t.Logf("%+v\n%+v", o, r.Stats)
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	n := *seeds
	if n == 0 {
		n = 40
		if testing.Short() {
			n = 12
		}
	}
	campaign(t, *from, n)
}

// maxFailures ends a campaign early.
const maxFailures = 5

// campaign runs n seeds from first on and says how fast it was.
func campaign(t *testing.T, first uint64, n int) {
	var (
		next     atomic.Uint64
		failures atomic.Int32
		ended    atomic.Int64 // runs
		mu       sync.Mutex
		total    Stats
		sim      time.Duration
		wg       sync.WaitGroup
		start    = processTime()
	)
	next.Store(first - 1)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				s := next.Add(1)
				if s >= first+uint64(n) || failures.Load() >= maxFailures {
					return
				}
				r, err := Run(chosen(s))
				if err == nil {
					err = checkHistory(r)
				}
				ended.Add(1)
				mu.Lock()
				if err != nil {
					failures.Add(1)
					t.Errorf("%v", err)
				}
				total.add(&r.Stats)
				sim += r.Time
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	cpu := processTime() - start
	t.Logf("%d seeds, %v simulated, %v of processor time: %.0f simulated seconds a second, %.0f seeds a minute", n, sim.Round(time.Second),
		cpu.Round(time.Second), sim.Seconds()/cpu.Seconds(), float64(n)/cpu.Minutes())
	t.Logf("%s", total.String())
	if *note != "" {
		if err := ledger.Add(*note, noted(first, ended.Load(), int64(failures.Load()), sim, cpu, &total)); err != nil {
			t.Error(err)
		}
	}
}

// noted is a campaign's row in the ledger.
func noted(first uint64, n, failures int64, sim, cpu time.Duration, s *Stats) ledger.Row {
	name := "simulator"
	if *long {
		name = "simulator, ten minutes each"
	}
	return ledger.Row{
		Campaign: name, From: first, Runs: n, Failed: failures, Hours: sim.Hours(), CPU: cpu.Seconds(),
		Did: map[string]int64{
			"events": int64(s.Events), "crashes": int64(s.Crashes), "elections": int64(s.Elections), "reconfigurations": int64(s.Reconfigured),
			"snapshots": int64(s.Snapshots), "operations of clients": int64(s.Done),
		},
	}
}

// processTime returns the processor time this process has used: other work on
// the machine does not count.
func processTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (s *Stats) add(o *Stats) {
	s.Events += o.Events
	s.Packets += o.Packets
	s.Dropped += o.Dropped
	s.Turns += o.Turns
	s.Writes += o.Writes
	s.Snapshots += o.Snapshots
	s.Crashes += o.Crashes
	s.Elections += o.Elections
	s.Restores += o.Restores
	s.Reconfigured += o.Reconfigured
	s.Lost += o.Lost
	s.RolledBack += o.RolledBack
	s.Quarantined += o.Quarantined
	s.SideDone += o.SideDone
	s.SideMoves += o.SideMoves
	s.SideDrops += o.SideDrops
	s.SideElections += o.SideElections
	s.HandOvers += o.HandOvers
	s.HandedOver += o.HandedOver
	s.Released += o.Released
	s.Leased += o.Leased
	s.Done += o.Done
	s.Unknown += o.Unknown
	s.Ends.Expired += o.Ends.Expired
	s.Ends.Delays += o.Ends.Delays
	s.Ends.Yields += o.Ends.Yields
	s.Renewed += o.Renewed
	s.Held += o.Held
	s.Told += o.Told
	s.Compacted += o.Compacted
	s.Work.Add(&o.Work)
	addUp(&s.Struck, &o.Struck)
	addUp(&s.Net, &o.Net)
	s.Ends.Early += o.Ends.Early
	s.Ends.Forgotten += o.Ends.Forgotten
	s.Fetches.Begun += o.Fetches.Begun
	s.Fetches.Broken += o.Fetches.Broken
	s.Fetches.Resumed += o.Fetches.Resumed
	s.Fetches.Installed += o.Fetches.Installed
	for i := range s.Kinds {
		s.Kinds[i] += o.Kinds[i]
	}
	for i := range s.Faults {
		s.Faults[i] += o.Faults[i]
		s.During[i].Begun += o.During[i].Begun
		s.During[i].Decided += o.During[i].Decided
	}
}

// addUp adds the fields of o to those of s; all of them are numbers.
func addUp[T any](s, o *T) {
	to, from := reflect.ValueOf(s).Elem(), reflect.ValueOf(o).Elem()
	for i := range to.NumField() {
		to.Field(i).SetInt(to.Field(i).Int() + from.Field(i).Int())
	}
}

func (s *Stats) String() string {
	out := fmt.Sprintf("events %d, packets %d, dropped %d, turns %d, writes %d, snapshots %d, restores %d, crashes %d, elections %d, reconfigurations %d, lost disks %d, rolled back %d (quarantined %d), hand-overs %d (done %d, released in vain %d), leases looked at %d, operations %d, unknown %d, expired %d; lock-delays %d, yields %d, leases renewed %d, held %d, told %d, compacted %d; operations:",
		s.Events, s.Packets, s.Dropped, s.Turns, s.Writes, s.Snapshots, s.Restores, s.Crashes, s.Elections, s.Reconfigured, s.Lost, s.RolledBack, s.Quarantined, s.HandOvers, s.HandedOver, s.Released, s.Leased, s.Done, s.Unknown, s.Ends.Expired, s.Ends.Delays, s.Ends.Yields, s.Renewed, s.Held, s.Told, s.Compacted)
	for i, n := range s.Kinds {
		out += fmt.Sprintf(" %v %d,", workload.Kind(i), n)
	}
	out += fmt.Sprintf(" work: %+v,", s.Work)
	out += fmt.Sprintf(" groups beside main: %d numbers, %d configurations, %d parts dropped, %d elections;", s.SideDone, s.SideMoves, s.SideDrops, s.SideElections)
	out += fmt.Sprintf(" snapshots in pieces: %+v;", s.Fetches)
	out += fmt.Sprintf(" what faults did: %+v %+v %+v;", s.Net, s.Struck, s.Ends)
	out += " faults (reconfigurations begun and decided meanwhile):"
	for i, n := range s.Faults {
		out += fmt.Sprintf(" %v %d (%d, %d),", plan.Fault(i), n, s.During[i].Begun, s.During[i].Decided)
	}
	return out
}
