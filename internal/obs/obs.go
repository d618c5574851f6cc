// Package obs turns what happens in a node into metrics and log lines. The
// machines below only report facts; which of them are worth a line, and at
// what level, is decided here and nowhere else.
//
// Metrics are for Prometheus: prefix prytany_, base units, and labels from
// small fixed sets, groups, nodes and routes. The names of locks, keys and
// sessions are never labels.
//
// # Goroutines
//
// None. All methods may be called from many goroutines at once.
package obs

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// Metrics is what one node tells of itself. Each has a registry of its own, so
// that several nodes can live in one process.
type Metrics struct {
	names  func(synod.NodeID) string // nil: ids
	labels labels
	log    *slog.Logger
	reg    *prometheus.Registry

	leaderChanges *prometheus.CounterVec // group
	leaderEvents  *prometheus.CounterVec // group, event
	campaigns     *prometheus.CounterVec // group
	terms         *prometheus.CounterVec // group
	stepDowns     *prometheus.CounterVec // group
	leading       *prometheus.GaugeVec   // group
	leased        *prometheus.GaugeVec   // group
	handOvers     *prometheus.CounterVec // group, outcome
	fit           prometheus.Gauge
	round         *prometheus.GaugeVec   // group
	decided       *prometheus.GaugeVec   // group
	configs       *prometheus.CounterVec // group
	snapshots     *prometheus.CounterVec // group
	catchUps      *prometheus.CounterVec // group
	linkUp        *prometheus.GaugeVec   // peer
	linkChanges   *prometheus.CounterVec // to
	requests      *prometheus.CounterVec // route, code
	latency       *prometheus.HistogramVec
	fsync         prometheus.Histogram
	build         *prometheus.GaugeVec
}

// New returns Metrics that writes its lines to log; nil means silence.
func New(log *slog.Logger) *Metrics {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	m := &Metrics{log: log, reg: prometheus.NewRegistry(), labels: labels{own: map[paxos.GroupID]string{}}}
	// What the last collection left is what a leak is seen by: all else goes up and down
	// between two of them.
	live := collectors.WithGoCollectorRuntimeMetrics(collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile(`^/gc/heap/live:bytes$`)})
	m.reg.MustRegister(collectors.NewGoCollector(live), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	m.leaderChanges = m.counter("leader_changes_total", "Times this node began to follow another leader.", "group")
	m.leaderEvents = m.counter("leader_events_total", "Steps towards another leader, as this node saw them.", "group", "event")
	m.campaigns = m.counter("campaigns_total", "Ballots this node began phase 1 with.", "group")
	m.terms = m.counter("leaderships_total", "Times this node completed phase 1 and began to lead.", "group")
	m.stepDowns = m.counter("step_downs_total", "Times this node gave up leadership or candidacy.", "group")
	m.leading = m.gauge("leading", "1 while this node leads the group.", "group")
	m.leased = m.gauge("leased", "1 while this node, which leads the group, may answer reads by its lease.", "group")
	m.handOvers = m.counter("hand_overs_total", "Hand-overs of the lead that this node began while it led, by how they ended.", "group", "outcome")
	m.round = m.gauge("ballot_round", "Round of the last ballot this node promised or began.", "group")
	m.decided = m.gauge("decided_slot", "Slot up to which this node knows everything to be chosen.", "group")
	m.configs = m.counter("reconfigurations_total", "Changes of the group's membership applied.", "group")
	m.snapshots = m.counter("snapshots_installed_total", "Snapshots of other nodes installed.", "group")
	m.catchUps = m.counter("catch_ups_total", "Requests to other nodes for missed values.", "group")
	m.linkUp = m.gauge("link_up", "1 while the direct link to the peer is up.", "peer")
	m.linkChanges = m.counter("link_changes_total", "Changes of direct links.", "to")
	m.requests = m.counter("http_requests_total", "HTTP requests answered.", "route", "code")
	m.build = m.gauge("build_info", "1, with what is running as labels.", "version", "goversion")

	m.latency = prometheus.NewHistogramVec(histogram("http_request_duration_seconds",
		"Time to answer HTTP requests; a long poll's includes its wait.",
		.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30), []string{"route"})
	m.fsync = prometheus.NewHistogram(histogram("fsync_duration_seconds",
		"Time to make one batch of promises and votes durable.",
		.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5))
	m.fit = prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: "fit", Help: "0 while this node, as it judges itself, should not lead."})
	m.fit.Set(1)
	m.reg.MustRegister(m.latency, m.fsync, m.fit)
	return m
}

const namespace = "prytany"

func (m *Metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	m.reg.MustRegister(v)
	return v
}

func (m *Metrics) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
	m.reg.MustRegister(v)
	return v
}

// histogram has native buckets, and classic ones for scrapers that know no
// others.
func histogram(name, help string, buckets ...float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Namespace:                       namespace,
		Name:                            name,
		Help:                            help,
		Buckets:                         buckets,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  160,
		NativeHistogramMinResetDuration: time.Hour,
	}
}

// Handler answers scrapes.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.reg, promhttp.HandlerOpts{ErrorLog: scrapeLog{m.log}})
}

// scrapeLog tells of scrapes that fail.
type scrapeLog struct{ log *slog.Logger }

func (l scrapeLog) Println(v ...any) {
	if slices.ContainsFunc(v, isGone) {
		l.log.Debug("the client of a scrape is gone", "err", v)
		return
	}
	l.log.Error("cannot gather metrics", "err", v)
}

// isGone reports whether v is of a connection that has ended, or that nobody reads from.
func isGone(v any) bool {
	err, ok := v.(error)
	return ok && (errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET))
}

// SetBuild says which version is running.
func (m *Metrics) SetBuild(version string) {
	m.build.Reset()
	m.build.WithLabelValues(version, runtime.Version()).Set(1)
}

// ObserveHTTP counts one answered request. route is a path template, never a
// path.
func (m *Metrics) ObserveHTTP(route string, status int, took time.Duration) {
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
	m.latency.WithLabelValues(route).Observe(took.Seconds())
}

// ObserveFsync records how long one durable write took.
func (m *Metrics) ObserveFsync(took time.Duration) { m.fsync.Observe(took.Seconds()) }
