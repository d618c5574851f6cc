package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/httpapi/internal/problems"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/locks/service"
)

// Every code of the service has an answer of its own.
func TestEveryCodeHasAnAnswer(t *testing.T) {
	seen := map[api.Code]bool{}
	for code := range locks.Code(locks.NumCodes) {
		f := newFake()
		f.err = &locks.Error{Op: "acquire", Name: "a", Code: code, Detail: "why"}
		method, target := "PUT", "/v1/elections/a"
		switch problems.Service[code].Status { // campaigning has no conditions
		case http.StatusPreconditionFailed, http.StatusPreconditionRequired:
			method = "PATCH"
		}
		rec := send(t, New(config(f)), method, target, `{"value":"v"}`, map[string][]string{"PATCH": {"If-Match: 3"}}[method]...)
		p := problemIn(t, rec)
		want := problems.Service[code]
		if p.Status != want.Status || p.Code != want.Code || p.Applied != want.Applied || p.Retryable != want.Retryable || p.Title != want.Title {
			t.Errorf("code %d: %+v, want %+v", code, p, want)
		}
		if seen[p.Code] || p.Title == "" {
			t.Errorf("code %d: %q is not its own", code, p.Code)
		}
		seen[p.Code] = true
		if p.Name != "a" || p.Detail != "why" && code != locks.Internal {
			t.Errorf("code %d: %+v", code, p)
		}
		if got := rec.Header().Get(api.HeaderRevision); got != "50" {
			t.Errorf("code %d: revision %q", code, got)
		}
	}
	for _, a := range problems.Own {
		if seen[a.Code] || a.Title == "" || a.Status < 400 {
			t.Errorf("%q is not its own", a.Code)
		}
		seen[a.Code] = true
	}
}

// The type of a problem leads to a heading, which tells the same status.
func TestEveryCodeIsExplained(t *testing.T) {
	text, err := os.ReadFile("../docs/problems.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range append(problems.Service[:], problems.Own...) {
		if want := fmt.Sprintf("\n### %s\n%d. ", a.Code, a.Status); !strings.Contains(string(text), want) {
			t.Errorf("docs/problems.md lacks %q", want)
		}
	}
	if got, want := strings.Count(string(text), "\n### "), len(problems.Service)+len(problems.Own); got != want {
		t.Errorf("docs/problems.md has %d headings, want %d", got, want)
	}
}

// The contract in numbers, written down once more.
func TestStatuses(t *testing.T) {
	for code, want := range map[locks.Code]string{
		locks.Internal:         "500 internal unknown false",
		locks.Invalid:          "400 invalid no false",
		locks.LockHeld:         "409 lock-held no true",
		locks.LockUnknown:      "404 lock-unknown no false",
		locks.SessionUnknown:   "404 session-unknown no false",
		locks.SessionExpired:   "410 session-expired no false",
		locks.StaleFence:       "412 stale-fence no false",
		locks.RevisionMismatch: "412 revision-mismatch no false",
		locks.KeyNotFound:      "404 key-not-found no false",
		locks.KeyReused:        "422 idempotency-key-reused no false",
		locks.NoLeader:         "503 no-leader no true",
		locks.Overloaded:       "503 overloaded no true",
		locks.OutcomeUnknown:   "504 outcome-unknown unknown false",
		locks.TooLarge:         "413 too-large no false",
		locks.NotApplied:       "503 not-applied no true",
		locks.LimitMismatch:    "409 limit-mismatch no true",
		locks.UpgradeRefused:   "409 upgrade-refused no true",
		locks.SessionNeeded:    "428 session-required no false",
		locks.NotCandidate:     "409 not-candidate no false",
		locks.Compacted:        "410 compacted no false",
	} {
		a := problems.Service[code]
		if got := fmt.Sprint(a.Status, " ", a.Code, " ", a.Applied, " ", a.Retryable); got != want {
			t.Errorf("code %d: %s, want %s", code, got, want)
		}
	}
}

func TestLockHeld(t *testing.T) {
	for _, tc := range []struct {
		held  *locks.HeldInfo
		after string
		check func(p *api.Problem) bool
	}{
		{nil, "1", func(p *api.Problem) bool { return p.Holder == nil && p.QueuePosition == 0 }},
		{&locks.HeldInfo{Holder: &locks.Holder{Session: "s-1", Owner: "w", Fence: 37, Note: "n", Since: 37, Held: -1, ExpiresIn: 4200 * time.Millisecond}, QueuePosition: 2},
			"5", func(p *api.Problem) bool {
				h := p.Holder
				return p.QueuePosition == 2 && h.Owner == "w" && h.Fence == 37 && h.Note == "n" && *h.ExpiresInMS == 4200 && h.HeldMS == nil
			}},
		{&locks.HeldInfo{Holder: &locks.Holder{ExpiresIn: time.Hour}}, "30", func(*api.Problem) bool { return true }},
		{&locks.HeldInfo{Holder: &locks.Holder{ExpiresIn: -1}}, "1", func(p *api.Problem) bool { return p.Holder.ExpiresInMS == nil }},
		{&locks.HeldInfo{LockDelayRemaining: 2500 * time.Millisecond, QueuePosition: 1}, "3",
			func(p *api.Problem) bool { return p.LockDelayRemainingMS == 2500 && p.Holder == nil }},
	} {
		f := newFake()
		f.err = &locks.Error{Op: "acquire", Name: "a", Code: locks.LockHeld, Held: tc.held}
		rec := send(t, New(config(f)), "PUT", "/v1/locks/a", "{}")
		if p := problemIn(t, rec); !tc.check(p) || rec.Header().Get("Retry-After") != tc.after {
			t.Errorf("%+v: Retry-After %q: %s", tc.held, rec.Header().Get("Retry-After"), rec.Body)
		}
	}
}

func TestCurrent(t *testing.T) {
	f := newFake()
	f.err = &locks.Error{Code: locks.StaleFence, Current: 41}
	if p := problemIn(t, send(t, New(config(f)), "GET", "/v1/locks/a?fence=37", "")); p.CurrentFence == nil || *p.CurrentFence != 41 {
		t.Errorf("%+v", p)
	}
	f.err = &locks.Error{Code: locks.RevisionMismatch}
	if p := problemIn(t, send(t, New(config(f)), "PUT", "/v1/config/a", "v", "If-Match: 3")); p.CurrentRevision == nil || *p.CurrentRevision != 0 {
		t.Errorf("%+v", p)
	}
}

// With a key the same request may be sent again, without one it may not.
func TestUnknownOutcomeIsRetryableWithAKey(t *testing.T) {
	f := newFake()
	f.err = &locks.Error{Code: locks.OutcomeUnknown}
	for _, tc := range []struct {
		headers []string
		want    bool
	}{{nil, false}, {[]string{"Idempotency-Key: k"}, true}} {
		if p := problemIn(t, send(t, New(config(f)), "DELETE", "/v1/config/a", "", tc.headers...)); p.Retryable != tc.want || p.Applied != api.AppliedUnknown {
			t.Errorf("%q: %+v", tc.headers, p)
		}
	}
}

// Errors that break the service's contract still get the right answer: a
// change whose time is over is never called a failure.
func TestStrangeErrors(t *testing.T) {
	for _, tc := range []struct {
		method string
		err    error
		want   api.Code
	}{
		{"PUT", context.DeadlineExceeded, api.CodeOutcomeUnknown},
		{"PUT", fmt.Errorf("propose: %w", context.Canceled), api.CodeOutcomeUnknown},
		{"GET", context.DeadlineExceeded, api.CodeNoLeader},
		{"GET", errors.New("disk on fire"), api.CodeInternal},
		{"GET", &locks.Error{Code: locks.NumCodes}, api.CodeInternal},
		{"GET", fmt.Errorf("wrapped: %w", &locks.Error{Code: locks.KeyNotFound}), api.CodeKeyNotFound},
	} {
		f := newFake()
		f.err = tc.err
		var log bytes.Buffer
		cfg := config(f)
		cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
		p := problemIn(t, send(t, New(cfg), tc.method, "/v1/config/a", ""))
		if p.Code != tc.want || strings.Contains(p.Detail, "fire") {
			t.Errorf("%v: %+v", tc.err, p)
		}
		logged := strings.Count(log.String(), p.RequestID)
		if internal := tc.want == api.CodeInternal; internal != (logged == 1) || !internal && log.Len() > 0 {
			t.Errorf("%v: log:\n%s", tc.err, &log)
		}
	}
}

func TestPanic(t *testing.T) {
	var log bytes.Buffer
	cfg := config(nil)
	cfg.Locks = func(string) (service.Locks, bool) { panic("a bug") }
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	var observed []int
	cfg.Observe = func(route string, status int, _ time.Duration) {
		if route != "/v1/locks/{name}" {
			t.Errorf("route %q", route)
		}
		observed = append(observed, status)
	}
	s := New(cfg)
	p := problemIn(t, send(t, s, "GET", "/v1/locks/a", ""))
	if p.Status != 500 || p.Applied != api.AppliedUnknown || strings.Contains(p.Detail, "bug") {
		t.Errorf("%+v", p)
	}
	if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), p.RequestID) || !strings.Contains(log.String(), "a bug") {
		t.Errorf("log:\n%s", &log)
	}
	if len(observed) != 1 || observed[0] != 500 {
		t.Errorf("observed %v", observed)
	}
	if n := s.rooms[classNormal].taken.Load(); n != 0 {
		t.Errorf("%d requests are still counted", n)
	}
}

func TestForward(t *testing.T) {
	f := filled()
	cfg := config(f)
	cfg.IsLeader = func(string) bool { return false }
	rec := send(t, New(cfg), "PUT", "/v1/locks/a", "{}", "Prytany-Forward: ?0")
	if p := problemIn(t, rec); p.Status != http.StatusMisdirectedRequest || p.Leader != "http://n2:7480" || p.Applied != api.AppliedNo || f.count() != 0 {
		t.Errorf("%s", rec.Body)
	}
	for _, target := range []string{"/v1/config/a?consistency=stale", "/v1/config?consistency=stale"} {
		if rec := send(t, New(cfg), "GET", target, "", "Prytany-Forward: ?0"); rec.Code != 200 {
			t.Errorf("%s: %s", target, rec.Body)
		}
	}
	if rec := send(t, New(cfg), "PUT", "/v1/locks/a", "{}", "Prytany-Forward: ?1"); rec.Code != 200 {
		t.Errorf("?1: %s", rec.Body)
	}
	cfg.LeaderURL = func(string) string { return "" }
	if p := problemIn(t, send(t, New(cfg), "PUT", "/v1/locks/a", "{}", "Prytany-Forward: ?0")); p.Code != api.CodeNoLeader {
		t.Errorf("%+v", p)
	}
}
