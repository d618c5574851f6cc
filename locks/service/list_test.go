package service

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/prytany/prytany/locks"
)

// rolledUp lists keys as a listing with l is meant to, in one page.
func rolledUp(keys []string, l List) (out []string) {
	for _, key := range slices.Sorted(slices.Values(keys)) {
		rest, ok := strings.CutPrefix(key, l.Prefix)
		if !ok {
			continue
		}
		if l.Delimiter != "" {
			if up, _, found := strings.Cut(rest, l.Delimiter); found {
				key = l.Prefix + up + l.Delimiter
			}
		}
		if key > l.After && !slices.Contains(out, key) {
			out = append(out, key)
		}
	}
	return out
}

// pages lists everything with l, page by page, and calls between after each.
func pages(t *testing.T, s *Service, l List, between func()) (out []string) {
	t.Helper()
	for {
		page, _, err := s.ListEntries(t.Context(), l, Read{})
		if err != nil {
			t.Fatalf("%+v: %v", l, err)
		}
		if l.Limit > 0 && len(page.Items) > l.Limit || page.Token != "" && len(page.Items) == 0 {
			t.Fatalf("%+v: a page of %d", l, len(page.Items))
		}
		for _, e := range page.Items {
			if up := rollUp(l, e.Key); up != "" && (e.Revision != 0 || up != e.Key) || up == "" && e.Revision == 0 {
				t.Errorf("%+v: listed %+v", l, e)
			}
			out = append(out, e.Key)
		}
		if page.Token == "" {
			return out
		}
		l.Token = page.Token
		between()
	}
}

func TestListByDelimiter(t *testing.T) {
	s := newService(newFakeLog())
	keys := []string{"a", "a/", "a/b", "a/b/", "a/b/c", "a/b/d", "a/bb", "a/c/d", "a//x", "b/c", "c", "é/é"}
	for _, key := range keys {
		put(t, s, key)
	}
	tests := []struct {
		l    List
		want []string
	}{
		{List{Delimiter: "/"}, []string{"a", "a/", "b/", "c", "é/"}},
		{List{Prefix: "a/", Delimiter: "/"}, []string{"a/", "a//", "a/b", "a/b/", "a/bb", "a/c/"}},
		{List{Prefix: "a", Delimiter: "/"}, []string{"a", "a/"}},
		{List{Prefix: "a/b", Delimiter: "/"}, []string{"a/b", "a/b/", "a/bb"}},
		{List{Prefix: "a/b/", Delimiter: "/"}, []string{"a/b/", "a/b/c", "a/b/d"}},
		{List{Prefix: "a/", Delimiter: "b/"}, []string{"a/", "a//x", "a/b", "a/b/", "a/bb", "a/c/d"}},
		{List{Prefix: "a/", Delimiter: "/", After: "a/b/c"}, []string{"a/bb", "a/c/"}},
		{List{Prefix: "a/", Delimiter: "/", After: "a/b/"}, []string{"a/bb", "a/c/"}},
		{List{Prefix: "a/", Delimiter: "/", After: "a/b"}, []string{"a/b/", "a/bb", "a/c/"}},
		{List{Prefix: "b", Delimiter: "/", After: "a/b/c"}, []string{"b/"}},
		{List{Prefix: "a", Delimiter: "/", After: "b"}, nil},
		{List{Prefix: "x", Delimiter: "/"}, nil},
		{List{Prefix: "a/b", Delimiter: ""}, []string{"a/b", "a/b/", "a/b/c", "a/b/d", "a/bb"}},
	}
	for _, tt := range tests {
		for _, limit := range []int{0, 1, 2, 3, 5} {
			tt.l.Limit = limit
			if got := pages(t, s, tt.l, func() {}); !slices.Equal(got, tt.want) {
				t.Errorf("%+v: %q; want %q", tt.l, got, tt.want)
			}
		}
	}
}

// TestListIsThatOfItsFirstPage compares listings with a simple one, while keys
// come and go between the pages.
func TestListIsThatOfItsFirstPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		word := func(most int) string {
			var w strings.Builder
			for range r.IntN(most + 1) {
				w.WriteByte("ab/"[r.IntN(3)])
			}
			return w.String()
		}
		s := newService(newFakeLog())
		live := map[string]bool{}
		change := func() {
			for range 3 {
				key := "k" + word(5)
				if live[key] = !live[key]; live[key] {
					put(t, s, key)
				} else if _, err := s.Delete(t.Context(), Delete{Key: key}); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i := range 150 {
			change()
			var keys []string
			for key, ok := range live {
				if ok {
					keys = append(keys, key)
				}
			}
			l := List{Prefix: "k" + word(2), Delimiter: word(2), Limit: 1 + r.IntN(4)}
			if r.IntN(2) == 0 {
				l.After = "k" + word(4)
			}
			want := rolledUp(keys, l)
			if got := pages(t, s, l, change); !slices.Equal(got, want) {
				t.Fatalf("%d: %+v of %q: %q; want %q", i, l, keys, got, want)
			}
		}
	})
}

func TestListRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog()
		s := newService(l)
		for i := range 4 {
			put(t, s, fmt.Sprint(i))
		}
		for _, tt := range []struct {
			field string
			l     List
		}{
			{"delimiter", List{Delimiter: "\xff"}},
			{"delimiter", List{Delimiter: string(make([]byte, 513))}},
			{"prefix", List{Prefix: "\xff"}},
			{"limit", List{Limit: -1}},
			{"cursor", List{Token: "1000:k"}}, // of a revision that is not reached
			{"cursor", List{Token: "2:k"}},    // of one that nobody keeps
			{"cursor", List{Token: "-1:k"}},
			{"cursor", List{Token: "2"}},
		} {
			_, _, err := s.ListEntries(t.Context(), tt.l, Read{})
			if e, ok := errors.AsType[*locks.Error](err); !ok || e.Code != locks.Invalid || e.Field != tt.field {
				t.Errorf("%+v: %+v; want %s to be invalid", tt.l, err, tt.field)
			}
		}
		// A listing of the newest revision needs no pin, however old its first page.
		page, m, err := s.ListEntries(t.Context(), List{Limit: 1}, Read{})
		if err != nil {
			t.Fatal(err)
		}
		open(t, s, "changes no entry")
		s.unpin(m.Revision)
		if page, _, err = s.ListEntries(t.Context(), List{Token: page.Token}, Read{}); err != nil || len(page.Items) != 3 {
			t.Errorf("%d items, %v; want 3", len(page.Items), err)
		}
		for i := range 2 * maxPins { // only so many are kept
			put(t, s, fmt.Sprint(i))
			if _, _, err := s.ListEntries(t.Context(), List{Limit: 1}, Read{}); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(s.pins); n != maxPins {
			t.Errorf("%d pins; want %d", n, maxPins)
		}
	})
}
