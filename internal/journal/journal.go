// Package journal keeps the newest events of one node, for people: who was
// suspected, who claimed the lead and why, who got it, who came and went. Each has
// an id that grows, a kind, a reason, and one sentence that says it all.
//
// It is memory, not a log: it is bounded, is gone with its process, and nothing
// waits for it. Ids tell processes apart, so that who reads on after a restart
// hears that something is missing.
//
// # Goroutines
//
// None. All methods may be called from many goroutines at once, and return at
// once but for Wait.
package journal

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/synod"
)

// Claims and what others say of them repeat while nobody can win. One that says
// the same as another less than fold ago is counted instead of kept, until most
// has passed since the last one kept. Of maxRepeats different ones the repeats are
// known.
const (
	fold       = time.Second
	most       = time.Minute
	maxRepeats = 512
)

// Config configures a Journal. Node is required.
type Config struct {
	Node        string                    // name of the node
	Incarnation uint64                    // of the process: +1 at each start. The lower 21 bits count
	Names       func(synod.NodeID) string // must be quick; nil means ids
	Groups      func(uint64) string       // likewise of groups but main; nil means numbers
	Keep        int                       // how many events. 0 means 2000
}

// A Journal keeps the newest events of a node.
type Journal struct {
	cfg Config

	mu    sync.Mutex
	kept  []api.NodeEvent // in order; some between may be missing, never the newest
	next  uint64          // id of the next event
	news  chan struct{}   // closed by the next event
	same  map[api.NodeEvent]repeat
	flaps map[flapKey]*flap
	known map[string]*standing // by group
	rush  rush
}

// A repeat is an event that may come again.
type repeat struct {
	kept, last time.Time // when it was last kept, and last came
	folded     int       // how often since it was kept
}

// New returns an empty Journal.
func New(cfg Config) *Journal {
	if cfg.Keep == 0 {
		cfg.Keep = 2000
	}
	if cfg.Groups == nil {
		cfg.Groups = func(g uint64) string { return strconv.FormatUint(g, 10) }
	}
	if cfg.Names == nil {
		cfg.Names = synod.NodeID.String
	}
	return &Journal{
		cfg: cfg, next: cfg.Incarnation%(1<<21)<<32 + 1, news: make(chan struct{}),
		same: map[api.NodeEvent]repeat{}, flaps: map[flapKey]*flap{}, known: map[string]*standing{},
	}
}

// Note keeps an event that is about no group. peer is the name of the node that
// it is about, "" if none; text is one sentence, to which the reason is added.
func (j *Journal) Note(kind, peer, reason, text string) {
	j.Add(api.NodeEvent{Kind: kind, Peer: peer, Reason: reason, Text: text})
}

// Add keeps e, unless it repeats a claim of a moment ago; it adds the id, the time
// and the node, and the reason to the text.
func (j *Journal) Add(e api.NodeEvent) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	folded, ok := j.folds(e, now)
	if ok {
		return
	}
	omitted, ok := j.rush.omits(e, now)
	if ok {
		return
	}
	if omitted > 0 {
		j.keep(api.NodeEvent{Kind: KindOmitted, Text: fmt.Sprintf("%d events about groups other than %s were not kept", omitted, api.MainGroup)}, now)
	}
	if e.Reason != "" {
		e.Text += ": " + e.Reason
	}
	if folded > 0 {
		e.Text += fmt.Sprintf(" (and %d times since it was last told)", folded)
	}
	e.Text += j.thin(e, now)
	j.keep(e, now)
}

// keep adds e as it is.
func (j *Journal) keep(e api.NodeEvent, now time.Time) {
	e.ID, e.Node, e.Time = j.next, j.cfg.Node, now.UTC().Format("2006-01-02T15:04:05.000000000Z")
	j.kept = append(j.kept, e)
	if len(j.kept) > j.cfg.Keep {
		j.kept[0] = api.NodeEvent{}
		j.kept = j.kept[1:]
	}
	j.next++
	close(j.news)
	j.news = make(chan struct{})
}

// folds reports whether e is to be counted only; if not, how many like it were
// since the last one kept.
func (j *Journal) folds(e api.NodeEvent, now time.Time) (folded int, ok bool) {
	switch e.Kind {
	case KindClaim, KindGrant, KindRefuse, KindRefused:
		e.Text, e.Ballot = "", "" // whoever tries again does so with a higher one
	default:
		return 0, false
	}
	r, known := j.same[e]
	if known && now.Sub(r.last) < fold && now.Sub(r.kept) < most {
		r.last, r.folded = now, r.folded+1
		j.same[e] = r
		return 0, true
	}
	if len(j.same) >= maxRepeats {
		maps.DeleteFunc(j.same, func(_ api.NodeEvent, r repeat) bool { return now.Sub(r.last) >= fold })
	}
	if len(j.same) >= maxRepeats {
		clear(j.same)
	}
	j.same[e] = repeat{kept: now, last: now}
	return r.folded, false
}

// Read returns the events from the id from on, at most limit, in order; from 0
// means the newest ones. oldest is the id of the oldest event that is kept, and
// next the one that the next event will have.
func (j *Journal) Read(from uint64, limit int) (events []api.NodeEvent, oldest, next uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	oldest = j.next
	if len(j.kept) > 0 {
		oldest = j.kept[0].ID
	}
	events = j.kept[max(len(j.kept)-limit, 0):]
	if from > 0 {
		events = j.kept[j.index(from):]
	}
	return slices.Clone(events[:min(limit, len(events))]), oldest, j.next
}

// index returns where in kept the first event is whose id is at least id.
func (j *Journal) index(id uint64) int {
	i, _ := slices.BinarySearchFunc(j.kept, id, func(e api.NodeEvent, id uint64) int { return cmp.Compare(e.ID, id) })
	return i
}

// Wait returns when there is an event with the id from or a higher one, or ctx
// ends.
func (j *Journal) Wait(ctx context.Context, from uint64) {
	for {
		j.mu.Lock()
		there, news := j.next > from, j.news
		j.mu.Unlock()
		if there {
			return
		}
		select {
		case <-news:
		case <-ctx.Done():
			return
		}
	}
}
