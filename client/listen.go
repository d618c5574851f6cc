package client

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/prytany/prytany/client/internal/link"
	"github.com/prytany/prytany/internal/api"
)

// While a session holds locks, a listener runs beside its renewals: it asks for
// a renewal whose answer is held back until there is news of the session, or it
// is time for the next. So the session hears at once that a lock was taken from
// it, and as long as that works nothing else needs to renew it. The renewals of
// session.go stay what the session's life depends on: they do not wait for
// anybody, and fire when the listener's come late.
const (
	// listenAfter is how long a lock is held before it is worth listening, if the
	// TTL is not very short.
	listenAfter = 200 * time.Millisecond
	// listenEvery bounds how often the listener asks, however much news there is.
	listenEvery = 100 * time.Millisecond
	// listenAgain is when it asks again after an answer by something that knows
	// of no news: an older node, or a proxy.
	listenAgain = time.Minute
	// maxHold is the longest that an answer is held back, whatever the TTL.
	maxHold = 20 * time.Second
)

// errNoNews marks answers that do not come from a node that can listen.
var errNoNews = errors.New("prytany: the server tells no news of sessions")

// hold is how long an answer is held back: a quarter of the TTL, so that the
// listener renews the session before the keeper does, after a third.
func (s *Session) hold() time.Duration { return min(s.ttl/4, maxHold) }

// expect takes note of a request under way, so that news of what it gets is not
// missed when it comes before the answer.
func (s *Session) expect(a *acquisition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.ended, a.doubt = map[string]grant{}, false
	s.asking[a] = true
}

// settle takes note of what an expected request got: from now on its locks hear
// of news.
func (s *Session) settle(a *acquisition, got []*Held) {
	var over []grant
	s.mu.Lock()
	delete(s.asking, a)
	begin := false
	for _, h := range got {
		fence := h.Fence()
		over = append(over, a.ended[h.name])
		s.held[h.name] = h
		s.reread = s.reread || a.doubt
		if !s.listening {
			s.listening, s.since, begin = true, fence, true
		} else if begin {
			s.since = min(s.since, fence)
		}
	}
	s.mu.Unlock()
	for i, h := range got {
		if over[i].fence >= h.Fence() {
			h.lost(over[i].reason)
		}
		if h.ctx.Err() != nil {
			s.forget(h) // it ended before it was noted
		}
	}
	if begin {
		s.background(s.listen)
	}
}

// forget takes note of the end of a lock.
func (s *Session) forget(h *Held) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[h.name] == h {
		delete(s.held, h.name)
	}
}

// listens reports whether there is somebody to listen for. If not the listener
// has ended.
func (s *Session) listens() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listening = s.ctx.Err() == nil && len(s.held) > 0
	return s.listening
}

// listen hears of news for as long as the session holds locks.
func (s *Session) listen() {
	s.sleep(min(listenAfter, s.ttl/16))
	for attempt := 0; s.listens(); {
		began := s.c.now()
		err := s.hear()
		switch {
		case err == nil:
			attempt = 0
			s.sleep(began + listenEvery - s.c.now())
		case errors.Is(err, ErrSessionExpired):
			s.lose(ErrSessionExpired)
		case errors.Is(err, errNoNews):
			s.sleep(listenAgain)
		default:
			s.c.cfg.Log.Debug("no news of the session", "session", s.id, "attempt", attempt+1, "err", err)
			link.Pause(s.ctx, attempt)
			attempt++
		}
	}
}

// hear asks for news once.
func (s *Session) hear() error {
	s.mu.Lock()
	since, reread := s.since, s.reread
	s.mu.Unlock()
	if reread {
		return s.look()
	}
	sent, hold := s.c.now(), s.hold()
	rep, err := s.c.once(s.ctx, link.Request{
		Method: http.MethodPut, Path: "sessions/" + link.Escape(s.id), Wait: hold, Follow: true,
		Query: url.Values{"hold": {hold.String()}, "since": {strconv.FormatUint(since, 10)}},
	}, max(2*s.hedge(), 500*time.Millisecond))
	var p *ProblemError
	switch {
	case errors.As(err, &p) && p.Status/100 == 4 && !link.Retryable(p.Status) && !errors.Is(err, ErrSessionExpired):
		return errNoNews
	case err != nil:
		return err
	}
	out, err := s.kept(rep, sent)
	if err != nil || out.Revision == 0 {
		return errNoNews
	}
	s.mu.Lock()
	s.since = max(s.since, out.Revision)
	s.reread = s.reread || out.Missed
	for a := range s.asking {
		a.doubt = a.doubt || out.Missed
	}
	s.mu.Unlock()
	for i := range out.Events {
		s.news(&out.Events[i])
	}
	return nil
}

// news passes one event on to whom it concerns.
func (s *Session) news(e *api.Event) {
	switch e.Type {
	case api.EventSession:
		if e.Name == s.id && e.Reason != "" && e.Reason != "opened" {
			s.lose(ErrSessionExpired)
		}
	case api.EventUnlock:
		if e.Session == s.id && e.Reason != "upgraded" {
			s.unlocked(e)
		}
	case api.EventYield:
		s.mu.Lock()
		h := s.held[e.Name]
		s.mu.Unlock()
		if h != nil && e.Session == s.id && h.Fence() == e.Fence {
			h.asked(YieldRequest{Reason: e.Reason, Within: milliseconds(e.WithinMS)})
		}
	}
}

// unlocked ends the lock whose grant has ended.
func (s *Session) unlocked(e *api.Event) {
	s.mu.Lock()
	h := s.held[e.Name]
	for a := range s.asking {
		if a.ended[e.Name].fence < e.Fence {
			a.ended[e.Name] = grant{e.Name, e.Fence, e.Reason}
		}
	}
	s.mu.Unlock()
	if h != nil && h.had(e.Fence) {
		h.lost(e.Reason)
	}
}

// look compares the locks with those that the server knows of, after news was
// missed.
func (s *Session) look() error {
	s.mu.Lock()
	s.reread = false
	s.mu.Unlock()
	at, fences, err := s.holds()
	if err != nil {
		s.mu.Lock()
		s.reread = true
		s.mu.Unlock()
		return err
	}
	var over []*Held
	s.mu.Lock()
	for name, h := range s.held {
		if fence := h.Fence(); fence <= at && fences[name] != fence && !s.changing(name) {
			over = append(over, h)
		}
	}
	s.mu.Unlock()
	for _, h := range over {
		h.lost("")
	}
	return nil
}

// changing reports whether the fence of a lock may change just now, so that it
// has to be looked at again. s.mu is held.
func (s *Session) changing(name string) bool {
	for a := range s.asking {
		if slices.Contains(a.names, name) {
			a.doubt = true
			return true
		}
	}
	return false
}

// holds returns the fences of the locks that the session holds at revision at,
// by their names.
func (s *Session) holds() (at uint64, fences map[string]uint64, err error) {
	rep, err := s.c.do(s.ctx, link.Request{Method: http.MethodGet, Path: "sessions/" + link.Escape(s.id)})
	if err != nil {
		return 0, nil, err
	}
	var out api.Session
	if err := json.Unmarshal(rep.Body, &out); err != nil {
		return 0, nil, senseless("answer about a session", rep)
	}
	fences = map[string]uint64{}
	for _, g := range out.Holds {
		fences[g.Name] = g.Fence
	}
	at, err = revisionOf(rep)
	return at, fences, err
}
