package service

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos"
)

// watch begins a watch that ends with the test.
func watch(t testing.TB, s *Service, w Watch) (Stream, locks.Meta) {
	t.Helper()
	stream, m, err := s.Watch(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stream.Close)
	return stream, m
}

// next reads what is there, without waiting, as "revision type name" each.
func next(t testing.TB, w Stream) (out []string, upTo uint64) {
	t.Helper()
	changes, upTo, err := w.Next(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		for _, e := range c.Events {
			out = append(out, fmt.Sprint(c.Revision, e.Type, e.Name))
		}
	}
	return out, upTo
}

func TestWatchTellsWhatMatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog() // revision 1
		s := newService(l)
		put(t, s, "a/1") // 2
		all, _ := watch(t, s, Watch{From: 1})
		now, m := watch(t, s, Watch{Prefix: "a/"})
		if m.Revision != 2 {
			t.Errorf("from now on means after %d; want 2", m.Revision)
		}
		put(t, s, "b")                                                                          // 3
		put(t, s, "a/")                                                                         // 4
		l.order(&locks.OpenCommand{ID: "a/s", TTL: time.Hour})                                  // 5
		l.order(&locks.AcquireCommand{Lock: "a", Session: "a/s", Slots: 1})                     // 6
		l.order(&locks.AcquireCommand{Lock: "a/e", Session: "a/s", Slots: 1, Campaign: true})   // 7
		l.order(&locks.PutCommand{Key: "a/m", Session: "a/s"})                                  // 8
		l.order(&locks.DeleteCommand{Key: "a/"})                                                // 9
		l.order(&locks.DeleteCommand{Key: "a/none"})                                            // 10
		l.order(&locks.AcquireCommand{Lock: "a/x", Session: "a/s", Slots: 1, Open: true})       // 11
		l.order(&locks.EndCommand{ID: "a/s"})                                                   // 12
		l.order(&locks.TxnCommand{Then: []locks.Op{{Kind: locks.OpPut, Key: "a", Value: nil}}}) // 13
		const session = locks.EventSession
		row := func(revision int, e locks.EventType, name string) string { return fmt.Sprint(revision, e, name) }
		prefix := []string{
			row(4, locks.EventPut, "a/"), row(5, session, "a/s"), row(7, locks.EventLeader, "a/e"), row(8, locks.EventPut, "a/m"),
			row(9, locks.EventDelete, "a/"), row(11, locks.EventLock, "a/x"), row(12, session, "a/s"), row(12, locks.EventExpire, "a/m"),
			row(12, locks.EventUnlock, "a/e"), row(12, locks.EventUnlock, "a/x"),
		}
		everything := []string{
			row(2, locks.EventPut, "a/1"), row(3, locks.EventPut, "b"), row(4, locks.EventPut, "a/"), row(5, session, "a/s"),
			row(6, locks.EventLock, "a"), row(7, locks.EventLeader, "a/e"), row(8, locks.EventPut, "a/m"), row(9, locks.EventDelete, "a/"),
			row(11, locks.EventLock, "a/x"), row(12, session, "a/s"), row(12, locks.EventExpire, "a/m"), row(12, locks.EventUnlock, "a"),
			row(12, locks.EventUnlock, "a/e"), row(12, locks.EventUnlock, "a/x"), row(13, locks.EventPut, "a"),
		}
		var none locks.EventSet
		for _, tt := range []struct {
			name string
			w    Watch
			want []string
		}{
			{"from a revision on", Watch{Prefix: "a/", From: 3}, prefix},
			{"from one with an event on", Watch{Prefix: "a/", From: 4}, prefix},
			{"after it", Watch{Prefix: "a/", From: 5}, prefix[1:]},
			{"a name", Watch{Prefix: "a", Exact: true, From: 1}, []string{everything[4], everything[11], everything[14]}},
			{"types", Watch{Prefix: "a/", From: 3, Types: none.With(locks.EventUnlock).With(locks.EventDelete)}, []string{prefix[4], prefix[8], prefix[9]}},
			{"the next", Watch{From: 14}, nil},
		} {
			w, m := watch(t, s, tt.w)
			got, upTo := next(t, w)
			if !reflect.DeepEqual(got, tt.want) || upTo != 13 || m.Revision != tt.w.From-1 {
				t.Errorf("%s: %q up to %d, after %d; want %q", tt.name, got, upTo, m.Revision, tt.want)
			}
			if got, upTo := next(t, w); got != nil || upTo != 13 {
				t.Errorf("%s: %q up to %d again; want a bookmark", tt.name, got, upTo)
			}
		}
		if got, _ := next(t, now); !reflect.DeepEqual(got, prefix) {
			t.Errorf("from now on: %q; want %q", got, prefix)
		}
		one, _ := next(t, all) // what was there when it began
		two, _ := next(t, all)
		if got := append(one, two...); !reflect.DeepEqual(got, everything) {
			t.Errorf("everything: %q; want %q", got, everything)
		}
	})
}

func TestWatchWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog()
		s := newService(l)
		w, _ := watch(t, s, Watch{Prefix: "k"})
		start := time.Now()
		time.AfterFunc(3*time.Second, func() { put(t, s, "other") })
		changes, upTo, err := w.Next(t.Context(), 10*time.Second)
		if err != nil || changes != nil || upTo != 2 || time.Since(start) != 10*time.Second {
			t.Errorf("%+v up to %d, %v after %v; want a bookmark of 2 after 10s", changes, upTo, err, time.Since(start))
		}
		time.AfterFunc(time.Second, func() { put(t, s, "k") })
		changes, upTo, err = w.Next(t.Context(), 10*time.Second)
		if err != nil || len(changes) != 1 || changes[0].Revision != 3 || upTo != 3 || time.Since(start) != 11*time.Second {
			t.Errorf("%+v up to %d, %v after %v; want a change at 11s", changes, upTo, err, time.Since(start))
		}
		stop := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(stop) })
		if _, upTo, err := w.Next(ctx, 10*time.Second); err != stop || upTo != 3 {
			t.Errorf("up to %d, %v; want the context's end", upTo, err)
		}
		put(t, s, "k")
		if got, upTo := next(t, w); len(got) != 1 || upTo != 4 {
			t.Errorf("after a context has ended: %q up to %d", got, upTo)
		}
		w.Close()
		w.Close()
		if _, _, err := w.Next(t.Context(), time.Hour); codeOf(err) != "code 0" {
			t.Errorf("after Close: %v; want an error at once", err)
		}
	})
}

// TestStreamOfACutOffNodeEnds has a node that the group ceases to answer. One
// that is only quiet, or asked again after long, goes on.
func TestStreamOfACutOffNodeEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const wait = 10 * time.Second
		l := newFakeLog()
		heard, reachable := time.Now(), true
		age := func() time.Duration { // as of the node: asking makes the next answer better
			old := time.Since(heard)
			if reachable {
				heard = time.Now()
			}
			return old
		}
		s := New(Config{Log: l, Machine: l.m, Now: l.now, Age: age})
		w, _ := watch(t, s, Watch{})
		defer w.Close()
		time.Sleep(time.Hour)
		for range 5 {
			if _, _, err := w.Next(t.Context(), wait); err != nil {
				t.Fatalf("in silence: %v", err)
			}
		}
		reachable = false
		for start := time.Now(); ; {
			_, upTo, err := w.Next(t.Context(), wait)
			if err == nil && time.Since(start) < 2*wait+1 {
				continue
			}
			if codeOf(err) != "code 10" || upTo != 1 || time.Since(start) > 3*wait {
				t.Errorf("after %v: up to %d, %v; want no leader", time.Since(start), upTo, err)
			}
			break
		}
	})
}

func TestWatchBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog()
		s := New(Config{Log: l, Machine: l.follow(t), Now: l.now})
		ahead := newService(l)
		for range 3 {
			put(t, ahead, "k") // 2, 3, 4
		}
		time.AfterFunc(time.Second, l.catchUp)
		start := time.Now()
		w, m := watch(t, s, Watch{From: 4})
		synctest.Wait() // for the rest of catchUp
		if got, _ := next(t, w); time.Since(start) != time.Second || m.Revision != 3 || len(got) != 1 {
			t.Errorf("%q after revision %d, after %v; want 4 as soon as 3 is applied", got, m.Revision, time.Since(start))
		}
		for _, tt := range []struct {
			want string
			w    Watch
		}{
			{"code 14", Watch{From: 6}},
			{"code 1", Watch{Prefix: "\xff"}},
			{"code 1", Watch{Exact: true}},
			{"ok", Watch{From: 5}},
		} {
			x, _, err := s.Watch(t.Context(), tt.w)
			if codeOf(err) != tt.want {
				t.Errorf("%+v: %v; want %s", tt.w, err, tt.want)
			}
			if err == nil {
				x.Close()
			}
		}
		l.barrier = &paxos.NotLeaderError{}
		if _, _, err := s.Watch(t.Context(), Watch{}); codeOf(err) != "code 10" {
			t.Errorf("from now on without a leader: %v; want no leader", err)
		}
		if x, _, err := s.Watch(t.Context(), Watch{From: 2}); err != nil {
			t.Errorf("resumed without a leader: %v", err)
		} else {
			x.Close()
		}
	})
}

// TestResumeWithoutGapOrDuplicate reads a little, goes away and comes back,
// while a writer goes on and on.
func TestResumeWithoutGapOrDuplicate(t *testing.T) {
	l := newFakeLog()
	s := newService(l)
	const writes = 4000
	var want []uint64
	var writer sync.WaitGroup
	_, m := watch(t, s, Watch{Prefix: "k"})
	writer.Go(func() {
		for i := range writes {
			switch i % 3 {
			case 0:
				l.order(&locks.PutCommand{Key: "other"})
			case 1:
				l.order(&locks.PutCommand{Key: "k1"})
			case 2:
				l.order(&locks.DeleteCommand{Key: "k1"})
			}
		}
	})
	var got []uint64
	last, resumed := m.Revision, 0
	for last < m.Revision+writes {
		w, _, err := s.Watch(t.Context(), Watch{Prefix: "k", From: last + 1})
		if err != nil {
			t.Fatal(err)
		}
		resumed++
		for range 3 {
			changes, upTo, err := w.Next(t.Context(), time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			if upTo < last {
				t.Fatalf("up to %d after %d", upTo, last)
			}
			for _, c := range changes {
				if c.Revision <= last || c.Revision > upTo {
					t.Fatalf("revision %d, when %d was told; up to %d", c.Revision, last, upTo)
				}
				got = append(got, c.Revision)
				last = c.Revision
			}
			last = upTo
		}
		w.Close()
	}
	writer.Wait()
	for i := range uint64(writes) {
		if i%3 != 0 {
			want = append(want, m.Revision+1+i)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%d changes in %d streams; want the %d there were", len(got), resumed, len(want))
	}
}

func TestQuietStreamsDoNotFallBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog()
		s := newService(l)
		quiet, _ := watch(t, s, Watch{Prefix: "quiet/"})
		exact, _ := watch(t, s, Watch{Prefix: "quiet/k", Exact: true})
		typed, _ := watch(t, s, Watch{Types: locks.EventSet(0).With(locks.EventDelete)})
		busy, m := watch(t, s, Watch{Prefix: "busy"})
		for i := range 12_000 {
			l.order(&locks.PutCommand{Key: "busy"})
			if i%9_000 == 0 { // its consumer waits, and is woken for nothing
				if got, _ := next(t, typed); got != nil {
					t.Errorf("deletes: %q", got)
				}
			}
		}
		at := put(t, s, "quiet/k")
		for _, w := range []Stream{quiet, exact} {
			if got, upTo := next(t, w); len(got) != 1 || upTo != at {
				t.Errorf("a quiet stream: %q up to %d; want one up to %d", got, upTo, at)
			}
		}
		if got, upTo := next(t, typed); got != nil || upTo != at {
			t.Errorf("deletes: %q up to %d", got, upTo)
		}
		oldest := at - 9_999
		for range 2 {
			changes, upTo, err := busy.Next(t.Context(), 0)
			e, ok := errors.AsType[*locks.Error](err)
			if !ok || e.Code != locks.Compacted || e.Current != oldest || changes != nil || upTo != m.Revision {
				t.Errorf("a slow reader: %d changes up to %d, %+v; want compacted, with %d", len(changes), upTo, err, oldest)
			}
		}
		_, _, err := s.Watch(t.Context(), Watch{From: oldest - 1})
		if e, ok := errors.AsType[*locks.Error](err); !ok || e.Code != locks.Compacted || e.Current != oldest {
			t.Errorf("from before the oldest: %+v; want compacted, with %d", err, oldest)
		}
		again, _ := watch(t, s, Watch{From: oldest})
		if got, _ := next(t, again); len(got) != 10_000 {
			t.Errorf("from the oldest: %d events; want 10,000", len(got))
		}
	})
}

func TestWatchOverASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog()
		follower := l.follow(t)
		s := New(Config{Log: l, Machine: follower, Now: l.now})
		k, m := watch(t, s, Watch{Prefix: "k", From: 2})
		quiet, _ := watch(t, s, Watch{Prefix: "quiet", From: 2})
		for range 9_000 {
			l.order(&locks.PutCommand{Key: "busy"})
		}
		l.catchUp()
		for i := range 2_000 { // so the snapshot lacks what the streams began with
			l.order(&locks.PutCommand{Key: fmt.Sprint("k", i%2)})
		}
		l.order(&locks.PutCommand{Key: "quiet"})
		restore(t, follower, l.m)
		l.behind = nil
		l.order(&locks.PutCommand{Key: "k"})
		l.catchUp()
		got, upTo := next(t, k)
		if len(got) != 2001 || upTo != l.m.Revision() || upTo != m.Revision+9_000+2_002 {
			t.Errorf("%d events up to %d; want 2,001 up to %d", len(got), upTo, l.m.Revision())
		}
		if got, _ := next(t, quiet); len(got) != 1 {
			t.Errorf("a quiet stream: %q; want one event", got)
		}
		for range 10_001 {
			l.order(&locks.PutCommand{Key: "k"})
		}
		restore(t, follower, l.m)
		l.behind = nil
		if _, _, err := k.Next(t.Context(), 0); codeOf(err) != "code 19" {
			t.Errorf("after a snapshot from too far ahead: %v; want compacted", err)
		}
	})
}

// TestStreamsBesideRestore has one goroutine install snapshots, and others look
// for gaps.
func TestStreamsBesideRestore(t *testing.T) {
	source, m := newFakeLog(), locks.NewMachine()
	s := New(Config{Log: source, Machine: m})
	const steps = 300
	var snapshots [][]byte
	for range steps {
		source.order(&locks.PutCommand{Key: "k"})
		data, err := encoded(source.m.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		snapshots = append(snapshots, data)
	}
	if err := install(m, snapshots[0]); err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	for range 3 {
		w, meta := watch(t, s, Watch{Prefix: "k", From: 2})
		readers.Go(func() {
			for told := meta.Revision; told <= steps; {
				changes, _, err := w.Next(t.Context(), 0)
				if err != nil {
					t.Error(err)
					return
				}
				for _, c := range changes {
					if c.Revision != told+1 {
						t.Errorf("revision %d after %d", c.Revision, told)
						return
					}
					told = c.Revision
				}
			}
		})
	}
	for _, data := range snapshots {
		if err := install(m, data); err != nil {
			t.Fatal(err)
		}
	}
	readers.Wait()
}

// subscriptions counts what m keeps for those who wait for its changes.
func subscriptions(m *locks.Machine) int64 {
	news := reflect.ValueOf(m).Elem().FieldByName("news")
	prefixes := news.FieldByName("prefixes")
	lists := news.FieldByName("rings").Len() + news.FieldByName("levels").Len() +
		prefixes.FieldByName("lengths").Len() + prefixes.FieldByName("bells").FieldByName("rings").Len()
	return int64(lists) + prefixes.FieldByName("watched").FieldByName("v").Int()
}

func TestClosedStreamsLeaveNothing(t *testing.T) {
	l := newFakeLog()
	s := newService(l)
	var all []Stream
	defer func() {
		if n := l.m.Counts().Bells; n != 0 {
			t.Errorf("%d bells are counted when all streams are closed", n)
		}
	}()
	for i := range 10_000 {
		w, _, err := s.Watch(t.Context(), Watch{Prefix: "abcdefghij"[:i%10], Exact: i%10 > 5})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, w)
	}
	if n := l.m.Counts().Bells; n < 6000 { // some watch the same name
		t.Errorf("%d bells are counted for 10,000 streams, most of which watch a prefix", n)
	}
	for i, w := range all {
		switch i {
		case 2000:
			put(t, s, "abcdefghij") // rings for some, who never look
		case 4000:
			restore(t, l.m, l.m)
		}
		if i%7 == 0 {
			next(t, w)
		}
		w.Close()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, r := range []Watch{{Exact: true}, {From: 1}, {From: 1000}} {
		if w, _, err := s.Watch(ctx, r); err == nil {
			w.Close()
		}
	}
	if n := subscriptions(l.m); n != 0 {
		t.Errorf("%d things are left of streams that are closed", n)
	}
}
