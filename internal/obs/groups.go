package obs

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/prytany/prytany/paxos"
)

// GroupState is a group's state on this node when it is scraped.
type GroupState struct {
	Group    paxos.GroupID
	Applied  paxos.Slot
	Revision uint64
	InFlight int // slots proposed and not yet chosen
	Waiting  int // requests without an answer yet
	Sessions int
	Locks    int // held
	Waiters  int
	Entries  int // config entries
	Fences   int // registers
	Changes  int // revisions whose events are kept
	Answers  int // kept, to requests with an Idempotency-Key
	Own      int // kept, to requests without one
	Bells    int // what is waited for on this node
	Bytes    int64
}

// Totals are numbers of groups, all of them.
type Totals struct {
	Here       int // in which this node has a part
	Leads      int // which it leads
	Leaderless int // of those here, for which it knows no leader
	Known      int // in the directory
}

// WatchGroups has every scrape ask state for those groups that are [Metrics.Shown], and
// totals; both must be quick. Call it once.
func (m *Metrics) WatchGroups(state func() []GroupState, totals func() Totals) {
	m.reg.MustRegister(&groups{state: state, totals: totals, m: m, sums: []sum{
		sumRow("groups", "Groups in which this node has a part, as a voter or a learner.", func(t Totals) int { return t.Here }),
		sumRow("groups_led", "Groups that this node leads.", func(t Totals) int { return t.Leads }),
		sumRow("groups_leaderless", "Groups in which this node has a part and knows no leader.", func(t Totals) int { return t.Leaderless }),
		sumRow("groups_known", "Groups of the cluster, as the directory lists them.", func(t Totals) int { return t.Known }),
	}, rows: []row{
		gaugeRow("applied_slot", "Last slot applied to the state.", func(s GroupState) float64 { return float64(s.Applied) }),
		gaugeRow("revision", "Number of commands applied.", func(s GroupState) float64 { return float64(s.Revision) }),
		gaugeRow("in_flight_slots", "Slots proposed and not yet chosen.", func(s GroupState) float64 { return float64(s.InFlight) }),
		gaugeRow("waiting_requests", "Requests that this node has given to the log and not answered yet.", func(s GroupState) float64 { return float64(s.Waiting) }),
		gaugeRow("sessions", "Live sessions.", func(s GroupState) float64 { return float64(s.Sessions) }),
		gaugeRow("locks_held", "Locks held.", func(s GroupState) float64 { return float64(s.Locks) }),
		gaugeRow("waiters", "Sessions waiting for locks.", func(s GroupState) float64 { return float64(s.Waiters) }),
		gaugeRow("config_entries", "Config entries.", func(s GroupState) float64 { return float64(s.Entries) }),
		gaugeRow("fence_registers", "Fence registers.", func(s GroupState) float64 { return float64(s.Fences) }),
		gaugeRow("kept_changes", "Revisions whose events are kept for watches.", func(s GroupState) float64 { return float64(s.Changes) }),
		gaugeRow("kept_answers", "Answers kept for requests with an Idempotency-Key that may come again.", func(s GroupState) float64 { return float64(s.Answers) }),
		gaugeRow("kept_own_answers", "Answers kept for requests without one, which nodes may send again.", func(s GroupState) float64 { return float64(s.Own) }),
		gaugeRow("subscriptions", "Changes of the state that somebody at this node waits for, watches among them.", func(s GroupState) float64 { return float64(s.Bells) }),
		gaugeRow("state_bytes", "Names, values and notes kept.", func(s GroupState) float64 { return float64(s.Bytes) }),
	}})
}

// WatchOpen has every scrape ask how many HTTP requests are being answered, by the bound
// that they count towards; open must be quick and always name the same classes. Call it
// once.
func (m *Metrics) WatchOpen(open func() map[string]int) { m.reg.MustRegister(requests(open)) }

// requests is a collector, too.
type requests func() map[string]int

var openDesc = prometheus.NewDesc(prometheus.BuildFQName(namespace, "http", "open_requests"),
	"HTTP requests being answered, by the bound that they count towards.", []string{"class"}, nil)

// Describe implements [prometheus.Collector].
func (requests) Describe(out chan<- *prometheus.Desc) { out <- openDesc }

// Collect implements [prometheus.Collector].
func (r requests) Collect(out chan<- prometheus.Metric) {
	for class, n := range r() { //lint:ordered the registry puts them in order
		out <- prometheus.MustNewConstMetric(openDesc, prometheus.GaugeValue, float64(n), class)
	}
}

// groups is a collector: its values exist only while they are scraped.
type groups struct {
	m      *Metrics
	state  func() []GroupState
	totals func() Totals
	rows   []row
	sums   []sum
}

type sum struct {
	desc  *prometheus.Desc
	value func(Totals) int
}

func sumRow(name, help string, value func(Totals) int) sum {
	return sum{prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, nil, nil), value}
}

type row struct {
	desc  *prometheus.Desc
	value func(GroupState) float64
}

func gaugeRow(name, help string, value func(GroupState) float64) row {
	return row{prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, []string{"group"}, nil), value}
}

// Describe implements [prometheus.Collector].
func (g *groups) Describe(out chan<- *prometheus.Desc) {
	for _, r := range g.rows {
		out <- r.desc
	}
	for _, r := range g.sums {
		out <- r.desc
	}
}

// Collect implements [prometheus.Collector].
func (g *groups) Collect(out chan<- prometheus.Metric) {
	t := g.totals()
	for _, r := range g.sums {
		out <- prometheus.MustNewConstMetric(r.desc, prometheus.GaugeValue, float64(r.value(t)))
	}
	for _, s := range g.state() {
		label, own := g.m.label(s.Group)
		if !own {
			continue
		}
		for _, r := range g.rows {
			out <- prometheus.MustNewConstMetric(r.desc, prometheus.GaugeValue, r.value(s), label)
		}
	}
}
