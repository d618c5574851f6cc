package obs

import (
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// MaxGroups is how many groups beside main have series of their own: the first ones
// that this node tells of. All others are counted together, with the label "others",
// and have no gauges: a scrape must not grow with the number of groups.
const MaxGroups = 100

// others is the label of the groups without series of their own. No group is called
// so: its name would have to begin with a small letter or a digit.
const others = "_others"

// labels are the values of the label group.
type labels struct {
	mu    sync.RWMutex
	names func(paxos.GroupID) string
	own   map[paxos.GroupID]string
}

// SetNames has log lines and labels call nodes and groups by what these functions
// return, which must be quick; "" for a group means that its name is not known yet.
// Call it before the first event.
func (m *Metrics) SetNames(nodes func(synod.NodeID) string, groups func(paxos.GroupID) string) {
	m.names = nodes
	m.labels.names = groups
}

// name is how a group is called in log lines.
func (m *Metrics) name(g paxos.GroupID) string {
	if g == paxos.Main {
		return "main"
	}
	if m.labels.names != nil {
		if name := m.labels.names(g); name != "" {
			return name
		}
	}
	return strconv.FormatUint(uint64(g), 10)
}

// label returns the label of g, and whether it has series of its own.
func (m *Metrics) label(g paxos.GroupID) (label string, own bool) {
	if g == paxos.Main {
		return "main", true
	}
	if g == 0 { // the node itself
		return "0", true
	}
	l := &m.labels
	l.mu.RLock()
	label, own = l.own[g]
	full := len(l.own) >= MaxGroups
	l.mu.RUnlock()
	switch {
	case own:
		return label, true
	case full:
		return others, false
	case l.names != nil:
		label = l.names(g)
	default:
		label = m.name(g)
	}
	if label == "" {
		return others, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.own) >= MaxGroups {
		return others, false
	}
	l.own[g] = label
	return label, true
}

// Shown reports whether g has series of its own.
func (m *Metrics) Shown(g paxos.GroupID) bool {
	_, own := m.label(g)
	return own
}

// count adds one to the counter of g.
func (m *Metrics) count(v *prometheus.CounterVec, g paxos.GroupID, more ...string) {
	label, _ := m.label(g)
	v.WithLabelValues(append([]string{label}, more...)...).Inc()
}

// set sets the gauge of g, if it has one.
func (m *Metrics) set(v *prometheus.GaugeVec, g paxos.GroupID, to float64) {
	if label, own := m.label(g); own {
		v.WithLabelValues(label).Set(to)
	}
}

// ForgetGroup drops the series of a group that this node has no part in any more, and
// makes room for those of another.
func (m *Metrics) ForgetGroup(g paxos.GroupID) {
	m.labels.mu.Lock()
	label, own := m.labels.own[g]
	delete(m.labels.own, g)
	m.labels.mu.Unlock()
	if !own {
		return
	}
	for _, v := range []interface{ DeletePartialMatch(prometheus.Labels) int }{
		m.leaderChanges, m.leaderEvents, m.campaigns, m.terms, m.stepDowns, m.leading, m.leased, m.handOvers,
		m.round, m.decided, m.configs, m.snapshots, m.catchUps,
	} {
		v.DeletePartialMatch(prometheus.Labels{"group": label})
	}
}
