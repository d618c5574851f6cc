package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/jepsen/verdict"
	"github.com/prytany/prytany/locks"
)

// eventNames are the types of events as the API calls them.
var eventNames = map[locks.EventType]string{
	locks.EventPut: api.EventPut, locks.EventDelete: api.EventDelete, locks.EventExpire: api.EventExpire,
	locks.EventLock: api.EventLock, locks.EventUnlock: api.EventUnlock, locks.EventLeader: api.EventLeader,
	locks.EventSession: api.EventSession, locks.EventYield: api.EventYield,
}

// A stream is one watch of one watcher, up to where it was broken off.
type stream struct {
	process int
	args    history.WatchArgs
	events  []*history.Event
	over    bool // the last of them says so
}

// watches compares what watchers were told with what the log did.
func (f *facts) watches() *verdict.Check {
	c := verdict.New("watch", "a watch tells of all that happened, once, in order, and resumes where it was")
	if len(f.h.Watched) == 0 {
		return c.Nothing("nobody watched")
	}
	if f.log == nil {
		c.Doubt("there is no log")
		return c
	}
	streams := map[int][]*stream{}
	for i := range f.h.Watched {
		e := &f.h.Watched[i]
		a, err := history.Decode[history.WatchArgs](e.Args)
		if err != nil {
			c.Fail(err.Error(), line(e))
			continue
		}
		all := streams[e.Process]
		if n := len(all); n == 0 || all[n-1].over || all[n-1].args.From != a.From || all[n-1].args.Prefix != a.Prefix {
			streams[e.Process] = append(all, &stream{process: e.Process, args: a})
		}
		all = streams[e.Process]
		s := all[len(all)-1]
		s.events, s.over = append(s.events, e), e.Kind != history.OK
	}
	for _, process := range slices.Sorted(maps.Keys(streams)) {
		all := streams[process]
		told := uint64(0) // everything up to there
		for i, s := range all {
			if i > 0 && s.args.Prefix == all[i-1].args.Prefix && s.args.From > told+1 {
				c.Fail(fmt.Sprintf("process %d had been told everything up to %d, and went on from %d", s.process, told, s.args.From), line(s.events[0]))
			}
			told = f.stream(c, s, i == len(all)-1)
		}
	}
	c.Counts["events"], c.Counts["watchers"] = int64(len(f.h.Watched)), int64(len(streams))
	return c
}

func line(e *history.Event) verdict.About {
	return verdict.About{Line: e.Seq, Text: fmt.Sprintf("line %d: at %v process %d was told %s %v %v", e.Seq, e.At, e.Process, e.Kind, e.Code, e.Result)}
}

// A told is one event as a watch must tell it.
type told struct {
	typ, key, value string
	revision        uint64
}

// expected lists what s must be told.
func (f *facts) expected(s *stream) (out []told) {
	types := s.args.Events
	if len(types) == 0 {
		types = []string{api.EventPut, api.EventDelete, api.EventExpire}
	}
	for _, ch := range f.changes {
		if ch.Revision < s.args.From {
			continue
		}
		for i := range ch.Events {
			e := &ch.Events[i]
			if !strings.HasPrefix(e.Name, s.args.Prefix) || !slices.Contains(types, eventNames[e.Type]) {
				continue
			}
			t := told{eventNames[e.Type], e.Name, e.Value, ch.Revision}
			if e.Entry != nil {
				t.value = string(e.Entry.Value)
			}
			out = append(out, t)
		}
	}
	return out
}

// stream compares one stream, and returns up to which revision it told everything.
func (f *facts) stream(c *verdict.Check, s *stream, last bool) uint64 {
	want := f.expected(s)
	i, upTo := 0, max(s.args.From, 1)-1
	for _, e := range s.events {
		if e.Kind != history.OK {
			f.refusedWatch(c, s, e)
			continue
		}
		r, err := history.Decode[history.WatchResult](e.Result)
		if err != nil {
			c.Fail(err.Error(), line(e))
			return upTo
		}
		if r.Type == "progress" || r.Type == api.EventBookmark {
			if i < len(want) && want[i].revision <= r.Revision {
				c.Fail(fmt.Sprintf("everything up to %d is said to be told, and not %v", r.Revision, want[i]), line(e))
				return upTo
			}
			upTo = max(upTo, r.Revision)
			continue
		}
		got := told{r.Type, r.Key, r.Value, r.Revision}
		if i == len(want) || got != want[i] {
			f.wrong(c, s, e, got, want, i)
			return max(upTo, r.Revision)
		}
		i++
		if i == len(want) || want[i].revision > r.Revision {
			upTo = max(upTo, r.Revision) // all of that change
		}
	}
	if i < len(want) && last && !s.over {
		if at, ok := f.knownBy(want[i].revision); ok && max(at, f.heal())+f.opts.Failover < f.h.Until {
			c.Fail(fmt.Sprintf("%v was known at %v, and the watch had not told of it when the run ended at %v", want[i], at, f.h.Until), line(s.events[len(s.events)-1]))
		}
	}
	return upTo
}

// wrong says what is the matter with an event that is not the next.
func (f *facts) wrong(c *verdict.Check, s *stream, e *history.Event, got told, want []told, i int) {
	what := "which is not in the log, or does not match what is watched"
	switch at := slices.Index(want, got); {
	case at >= 0 && at < i:
		what = "which it was told before"
	case at > i:
		what = fmt.Sprintf("and not %v, which comes before it", want[i])
	}
	c.Fail(fmt.Sprintf("process %d is told %v, %s", s.process, got, what), line(e))
}

// refusedWatch checks that a watch is refused only for what is not kept any more.
func (f *facts) refusedWatch(c *verdict.Check, s *stream, e *history.Event) {
	code := strings.ReplaceAll(e.Code, "_", "-")
	if e.Kind == history.Fail && code == string(api.CodeCompacted) && s.args.From >= f.oldest {
		c.Fail(fmt.Sprintf("events from %d on are said to be no longer kept, and the log says they are from %d on", s.args.From, f.oldest), line(e))
	}
}
