package locks

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prytany/prytany/locks/internal/ordered"
)

const (
	pageBytes = 8 << 20 // a page of entries ends beyond
	pageParts = 20_000  // a page of locks ends beyond: locks and waiters
)

// A pin keeps the entries of one revision for the next page of a listing.
type pin struct {
	revision uint64
	entries  ordered.Map[*Entry]
	timer    *time.Timer
}

// check returns how many items a page of l may have.
func (s *Service) checkList(l List) (limit int, err error) {
	most := s.cfg.Limits.MaxList
	if l.Limit < 0 || l.Limit > most {
		return 0, invalid("limit", "from 1 to %d; this is %d", most, l.Limit)
	}
	limit = l.Limit
	if limit == 0 {
		limit = most
	}
	return limit, checkText("prefix", l.Prefix, s.cfg.Limits.MaxName)
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
func (s *Service) ListEntries(ctx context.Context, l List, rd Read) (Page[Entry], Meta, error) {
	const op = "list entries"
	limit, err := s.checkList(l)
	if err == nil {
		err = s.sync(ctx, rd)
	}
	if err != nil {
		return Page[Entry]{}, Meta{}, fail(op, l.Prefix, err)
	}
	s.machine.mu.RLock()
	entries, changed := s.machine.entries, s.machine.changed
	meta := s.meta(rd)
	s.machine.mu.RUnlock()
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
			return Page[Entry]{}, meta, fail(op, l.Prefix, err)
		}
		meta.Revision = revision
	}
	var page Page[Entry]
	size := 0
	for key, e := range entries.From(begin(l.Prefix, after)) {
		if !strings.HasPrefix(key, l.Prefix) {
			break
		}
		if len(page.Items) == limit || size > pageBytes {
			s.pin(meta.Revision, entries)
			page.Token = fmt.Sprintf("%d:%s", meta.Revision, page.Items[len(page.Items)-1].Key)
			break
		}
		page.Items = append(page.Items, *e)
		size += int(entryBytes(e))
	}
	return page, meta, nil
}

func parseToken(token string) (revision uint64, after string, err error) {
	number, after, ok := strings.Cut(token, ":")
	revision, err = strconv.ParseUint(number, 10, 64)
	if !ok || err != nil {
		return 0, "", invalid("cursor", "is none of this service")
	}
	return revision, after, nil
}

// pin keeps entries, which are those of revision, for a while.
func (s *Service) pin(revision uint64, entries ordered.Map[*Entry]) {
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

func (s *Service) pinned(revision uint64) (ordered.Map[*Entry], error) {
	s.pinMu.Lock()
	defer s.pinMu.Unlock()
	for _, p := range s.pins {
		if p.revision == revision {
			return p.entries, nil
		}
	}
	return ordered.Map[*Entry]{}, invalid("cursor", "the entries have changed and this node no longer has revision %d of them; list from the start", revision)
}

// ListLocks lists locks in the order of their names, also free ones that are
// still remembered.
func (s *Service) ListLocks(ctx context.Context, l List, rd Read) (Page[Lock], Meta, error) {
	const op = "list locks"
	limit, err := s.checkList(l)
	if err == nil {
		err = s.sync(ctx, rd)
	}
	if err != nil {
		return Page[Lock]{}, Meta{}, fail(op, l.Prefix, err)
	}
	var page Page[Lock]
	parts := 0
	now := s.clock()
	s.machine.mu.RLock()
	meta := s.meta(rd)
	for name, x := range s.machine.locks.From(begin(l.Prefix, l.after())) {
		if !strings.HasPrefix(name, l.Prefix) {
			break
		}
		if len(page.Items) == limit || parts > pageParts {
			page.Token = page.Items[len(page.Items)-1].Name
			break
		}
		page.Items = append(page.Items, s.machine.viewLock(x, now))
		parts += 1 + len(x.waiters)
	}
	s.machine.mu.RUnlock()
	s.fillLocks(ctx, page.Items, rd)
	return page, meta, nil
}

// ListSessions lists sessions in the order of their ids, without what they
// hold and wait for.
func (s *Service) ListSessions(ctx context.Context, l List, rd Read) (Page[Session], Meta, error) {
	const op = "list sessions"
	limit, err := s.checkList(l)
	if err == nil {
		err = s.sync(ctx, rd)
	}
	if err != nil {
		return Page[Session]{}, Meta{}, fail(op, l.Prefix, err)
	}
	var page Page[Session]
	s.machine.mu.RLock()
	meta := s.meta(rd)
	for id, x := range s.machine.sessions.From(begin(l.Prefix, l.after())) {
		if !strings.HasPrefix(id, l.Prefix) {
			break
		}
		if len(page.Items) == limit {
			page.Token = page.Items[len(page.Items)-1].ID
			break
		}
		page.Items = append(page.Items, s.machine.viewSession(x))
	}
	s.machine.mu.RUnlock()
	s.fillSessions(ctx, page.Items, rd)
	return page, meta, nil
}

// after returns the last name of the page before, for listings whose Token is
// that name.
func (l List) after() string {
	if l.Token != "" {
		return l.Token
	}
	return l.After
}
