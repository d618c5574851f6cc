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
	Sessions int
	Locks    int // held
	Waiters  int
	Entries  int // config entries
	Bytes    int64
}

// WatchGroups has every scrape ask state, which must be quick. Call it once.
func (m *Metrics) WatchGroups(state func() []GroupState) {
	m.reg.MustRegister(&groups{state: state, rows: []row{
		gaugeRow("applied_slot", "Last slot applied to the state.", func(s GroupState) float64 { return float64(s.Applied) }),
		gaugeRow("revision", "Number of commands applied.", func(s GroupState) float64 { return float64(s.Revision) }),
		gaugeRow("in_flight_slots", "Slots proposed and not yet chosen.", func(s GroupState) float64 { return float64(s.InFlight) }),
		gaugeRow("sessions", "Live sessions.", func(s GroupState) float64 { return float64(s.Sessions) }),
		gaugeRow("locks_held", "Locks held.", func(s GroupState) float64 { return float64(s.Locks) }),
		gaugeRow("waiters", "Sessions waiting for locks.", func(s GroupState) float64 { return float64(s.Waiters) }),
		gaugeRow("config_entries", "Config entries.", func(s GroupState) float64 { return float64(s.Entries) }),
		gaugeRow("state_bytes", "Names, values and notes kept.", func(s GroupState) float64 { return float64(s.Bytes) }),
	}})
}

// groups is a collector: its values exist only while they are scraped.
type groups struct {
	state func() []GroupState
	rows  []row
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
}

// Collect implements [prometheus.Collector].
func (g *groups) Collect(out chan<- prometheus.Metric) {
	for _, s := range g.state() {
		for _, r := range g.rows {
			out <- prometheus.MustNewConstMetric(r.desc, prometheus.GaugeValue, r.value(s), groupLabel(s.Group))
		}
	}
}
