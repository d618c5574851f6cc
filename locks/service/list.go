package service

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/locks/internal/ordered"
)

const (
	pageBytes = 8 << 20 // a page of entries ends beyond
	pageParts = 20_000  // a page of locks ends beyond: locks and waiters
)

// A pin keeps the entries of one revision for the next page of a listing.
type pin struct {
	revision uint64
	entries  ordered.Map[*locks.Entry]
	timer    *time.Timer
}

// checkList returns how many items a page of l may have.
func (s *Service) checkList(l List) (limit int, err error) {
	most := s.cfg.Limits.MaxList
	if l.Limit < 0 || l.Limit > most {
		return 0, invalid("limit", "from 1 to %d; this is %d", most, l.Limit)
	}
	limit = l.Limit
	if limit == 0 {
		limit = most
	}
	return limit, cmp.Or(checkText("prefix", l.Prefix, s.cfg.Limits.MaxName), checkText("delimiter", l.Delimiter, s.cfg.Limits.MaxName))
}

// begin returns the name with which a page of l begins, if the last name that
// was listed is after.
func begin(prefix, after string) string {
	if after == "" {
		return prefix
	}
	return max(prefix, after+"\x00")
}

// ListEntries lists config entries in the order of their keys.
func (s *Service) ListEntries(ctx context.Context, l List, rd Read) (Page[locks.Entry], locks.Meta, error) {
	const op = "list entries"
	limit, err := s.checkList(l)
	if err == nil {
		err = s.sync(ctx, rd)
	}
	if err != nil {
		return Page[locks.Entry]{}, locks.Meta{}, fail(op, l.Prefix, err)
	}
	var entries ordered.Map[*locks.Entry]
	var changed uint64
	var meta locks.Meta
	s.machine.View(func(v locks.View) {
		entries, changed = v.Entries()
		meta = s.meta(v, rd)
	})
	after := l.After
	if l.Token != "" {
		var revision uint64
		if revision, after, err = parseToken(l.Token); err == nil && revision < changed {
			entries, err = s.pinned(revision)
		}
		if err == nil && revision > meta.Revision {
			err = invalid("cursor", "this node has not reached revision %d of the listing", revision)
		}
		if err != nil {
			return Page[locks.Entry]{}, meta, fail(op, l.Prefix, err)
		}
		meta.Revision = revision
	}
	items, more := pageOf(entries, l, after, limit)
	page := Page[locks.Entry]{Items: items}
	if more {
		s.pin(meta.Revision, entries)
		page.Token = fmt.Sprintf("%d:%s", meta.Revision, items[len(items)-1].Key)
	}
	return page, meta, nil
}

// pageOf returns the page of l that comes after the item called after, and
// whether there are more.
func pageOf(entries ordered.Map[*locks.Entry], l List, after string, limit int) (items []locks.Entry, more bool) {
	from := begin(l.Prefix, after)
	if up := rollUp(l, after); up != "" {
		from = beyond(up)
	}
	size := 0
	for {
		next := ""
		for key, e := range entries.From(from) {
			if !strings.HasPrefix(key, l.Prefix) {
				break
			}
			if len(items) == limit || size > pageBytes {
				return items, true
			}
			if up := rollUp(l, key); up != "" {
				items, next = append(items, locks.Entry{Key: up}), beyond(up)
				break
			}
			items = append(items, *e)
			size += len(e.Key) + len(e.Value) + len(e.ContentType)
		}
		if next == "" {
			return items, false
		}
		from = next
	}
}

// rollUp returns what a listing by delimiter shows instead of key: its part up
// to the first one after the prefix; "" if key is shown itself.
func rollUp(l List, key string) string {
	if l.Delimiter == "" || !strings.HasPrefix(key, l.Prefix) {
		return ""
	}
	i := strings.Index(key[len(l.Prefix):], l.Delimiter)
	if i < 0 {
		return ""
	}
	return key[:len(l.Prefix)+i+len(l.Delimiter)]
}

// beyond is above every key that begins with prefix: keys are UTF-8.
func beyond(prefix string) string { return prefix + "\xff" }

func parseToken(token string) (revision uint64, after string, err error) {
	number, after, ok := strings.Cut(token, ":")
	revision, err = strconv.ParseUint(number, 10, 64)
	if !ok || err != nil {
		return 0, "", invalid("cursor", "is none of this service")
	}
	return revision, after, nil
}

// pin keeps entries, which are those of revision, for a while.
func (s *Service) pin(revision uint64, entries ordered.Map[*locks.Entry]) {
	s.pinMu.Lock()
	defer s.pinMu.Unlock()
	if slices.ContainsFunc(s.pins, func(p pin) bool { return p.revision == revision }) {
		return
	}
	if len(s.pins) == maxPins {
		s.pins[0].timer.Stop()
		s.pins = slices.Delete(s.pins, 0, 1)
	}
	s.pins = append(s.pins, pin{revision, entries, time.AfterFunc(keepPin, func() { s.unpin(revision) })})
}

func (s *Service) unpin(revision uint64) {
	s.pinMu.Lock()
	defer s.pinMu.Unlock()
	s.pins = slices.DeleteFunc(s.pins, func(p pin) bool { return p.revision == revision })
}

func (s *Service) pinned(revision uint64) (ordered.Map[*locks.Entry], error) {
	s.pinMu.Lock()
	defer s.pinMu.Unlock()
	for _, p := range s.pins {
		if p.revision == revision {
			return p.entries, nil
		}
	}
	return ordered.Map[*locks.Entry]{}, invalid("cursor", "the entries have changed and this node no longer has revision %d of them; list from the start", revision)
}

// ListLocks lists locks in the order of their names, also free ones that are
// still remembered.
func (s *Service) ListLocks(ctx context.Context, l List, rd Read) (Page[locks.Lock], locks.Meta, error) {
	const op = "list locks"
	limit, err := s.checkList(l)
	if err == nil {
		err = s.sync(ctx, rd)
	}
	if err != nil {
		return Page[locks.Lock]{}, locks.Meta{}, fail(op, l.Prefix, err)
	}
	var page Page[locks.Lock]
	parts := 0
	now := s.clock()
	var meta locks.Meta
	s.machine.View(func(v locks.View) {
		meta = s.meta(v, rd)
		for x := range v.Locks(begin(l.Prefix, after(l)), now) {
			if !strings.HasPrefix(x.Name, l.Prefix) {
				break
			}
			if len(page.Items) == limit || parts > pageParts {
				page.Token = page.Items[len(page.Items)-1].Name
				break
			}
			page.Items = append(page.Items, x)
			parts += 1 + len(x.Waiters) + len(x.Holders)
		}
	})
	s.fillLocks(ctx, page.Items, rd)
	return page, meta, nil
}

// ListSessions lists sessions in the order of their ids, without what they
// hold and wait for.
func (s *Service) ListSessions(ctx context.Context, l List, rd Read) (Page[locks.Session], locks.Meta, error) {
	const op = "list sessions"
	limit, err := s.checkList(l)
	if err == nil {
		err = s.sync(ctx, rd)
	}
	if err != nil {
		return Page[locks.Session]{}, locks.Meta{}, fail(op, l.Prefix, err)
	}
	var page Page[locks.Session]
	var meta locks.Meta
	s.machine.View(func(v locks.View) {
		meta = s.meta(v, rd)
		for x := range v.Sessions(begin(l.Prefix, after(l))) {
			if !strings.HasPrefix(x.ID, l.Prefix) {
				break
			}
			if len(page.Items) == limit {
				page.Token = page.Items[len(page.Items)-1].ID
				break
			}
			page.Items = append(page.Items, x)
		}
	})
	s.fillSessions(ctx, page.Items, rd)
	return page, meta, nil
}

// after returns the last name of the page before, for listings whose Token is
// that name.
func after(l List) string {
	if l.Token != "" {
		return l.Token
	}
	return l.After
}
