package service

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/locks"
)

// town is a service with keys, locks and sessions in it, whose history is not short.
func town(f *testing.F) (*Service, *fakeLog, []string) {
	l := newFakeLog()
	s := newService(l)
	keys := []string{"a", "a/", "a/1", "a/1/x", "a/2", "ab", "b", "b//", "ü", "\u00ff/\U0010ffff"}
	id := open(f, s, "owner")
	for _, k := range keys {
		put(f, s, k)
		l.order(&locks.AcquireCommand{Lock: k, Session: id, Slots: 1})
		l.order(&locks.OpenCommand{ID: k, TTL: time.Hour})
	}
	l.order(&locks.DeleteCommand{Key: "b"})
	l.order(&locks.ReleaseCommand{Lock: "a/2", Force: true})
	keys = slices.DeleteFunc(keys, func(k string) bool { return k == "b" })
	slices.Sort(keys)
	return s, l, keys
}

// FuzzList lists from any place, by any prefix, delimiter and cursor: what is listed is
// what a list of all keys says, page by page, whatever their size.
func FuzzList(f *testing.F) {
	for _, token := range []string{"", "5:a", "0:", ":", "a:b", "18446744073709551615:a", "99999:zz", "\xff"} {
		f.Add("a", "/", "", token, 2)
		f.Add("", "", "a/1", token, 0)
	}
	f.Add("", "1/", "", "", 1)
	f.Add("a", "", "", "", -1)
	s, _, keys := town(f)
	f.Fuzz(func(t *testing.T, prefix, delimiter, after, token string, limit int) {
		l := List{Prefix: prefix, Delimiter: delimiter, After: after, Token: token, Limit: limit}
		for _, list := range []func() (int, error){
			func() (int, error) {
				p, _, err := s.ListEntries(t.Context(), l, Read{Stale: true})
				return len(p.Items), err
			},
			func() (int, error) {
				p, _, err := s.ListLocks(t.Context(), l, Read{Stale: true})
				return len(p.Items), err
			},
			func() (int, error) {
				p, _, err := s.ListSessions(t.Context(), l, Read{Stale: true})
				return len(p.Items), err
			},
		} {
			if n, err := list(); err == nil && limit > 0 && n > limit {
				t.Fatalf("%d of at most %d", n, limit)
			} else if err != nil && codeOf(err) != fmt.Sprintf("code %d", locks.Invalid) {
				t.Fatal(err)
			}
		}
		if limit < 0 || limit > 1000 || len(prefix) > 512 || len(delimiter) > 512 {
			return
		}
		var got, want []string
		l.Token = ""
		for {
			p, _, err := s.ListEntries(t.Context(), l, Read{Stale: true})
			if codeOf(err) == fmt.Sprintf("code %d", locks.Invalid) {
				return // no UTF-8
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range p.Items {
				got = append(got, e.Key)
			}
			if p.Token == "" {
				break
			}
			if l.Token = p.Token; len(got) > len(keys) {
				t.Fatalf("%+v: it does not end: %q", l, got)
			}
		}
		for _, k := range keys {
			up := k
			if i := strings.Index(strings.TrimPrefix(k, prefix), delimiter); delimiter != "" && i >= 0 && strings.HasPrefix(k, prefix) {
				up = k[:len(prefix)+i+len(delimiter)]
			}
			if strings.HasPrefix(k, prefix) && k > after && !slices.Contains(want, up) && !(up != k && strings.HasPrefix(after, up)) {
				want = append(want, up)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%+v: %q; want %q", l, got, want)
		}
	})
}

// FuzzWatch follows any prefix, name and types from any revision on, breaks off and goes
// on after any of what it was told: together it is told what a watch of everything was.
func FuzzWatch(f *testing.F) {
	f.Add("a", false, uint64(1), uint64(0), uint8(3))
	f.Add("a/", true, uint64(7), uint64(1<<3|1), uint8(0))
	f.Add("", false, uint64(1)<<63, uint64(1)<<40, uint8(200))
	f.Add("\xff", false, uint64(0), uint64(0), uint8(0))
	s, l, _ := town(f)
	last := l.m.Revision()
	all, _, err := s.Watch(f.Context(), Watch{From: 1})
	if err != nil {
		f.Fatal(err)
	}
	everything, _, err := all.Next(f.Context(), 0)
	if err != nil || len(everything) < 20 {
		f.Fatalf("%d changes, %v", len(everything), err)
	}
	all.Close()
	f.Fuzz(func(t *testing.T, prefix string, exact bool, from, types uint64, cut uint8) {
		w := Watch{Prefix: prefix, Exact: exact, From: from, Types: locks.EventSet(types % (1 << locks.NumEventTypes))}
		if from > last+1 {
			return // it waits for what is not there yet
		}
		var got []locks.Change
		for again := range 2 {
			stream, _, err := s.Watch(t.Context(), w)
			if err != nil {
				if codeOf(err) != fmt.Sprintf("code %d", locks.Invalid) {
					t.Fatal(err)
				}
				return
			}
			changes, upTo, err := stream.Next(t.Context(), 0)
			stream.Close()
			if err != nil || upTo != last {
				t.Fatalf("up to %d, %v; want %d", upTo, err, last)
			}
			if again == 0 && len(changes) > 0 && from > 0 {
				changes = changes[:1+int(cut)%len(changes)]
				w.From = changes[len(changes)-1].Revision + 1
			}
			got = append(got, changes...)
			if w.From == from { // there was nothing to break off
				break
			}
		}
		var want []locks.Change
		for _, c := range everything {
			var events []locks.Event
			for _, e := range c.Events {
				if w.Types.Has(e.Type) && (e.Name == prefix || !exact && strings.HasPrefix(e.Name, prefix)) {
					events = append(events, e)
				}
			}
			if from > 0 && c.Revision >= from && len(events) > 0 {
				want = append(want, locks.Change{Revision: c.Revision, Events: events})
			}
		}
		if len(got) != len(want) || len(got) > 0 && !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v: %+v; want %+v", w, got, want)
		}
	})
}
