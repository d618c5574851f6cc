package storage_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/prytany/prytany/internal/storage"
)

// TestARetirementIsForEver: it outlives restarts, the first one counts, and it
// says what to do.
func TestARetirementIsForEver(t *testing.T) {
	for _, tt := range []struct {
		kind   string
		retire func(*storage.Store, string) error
		want   error
		says   string
	}{
		{storage.Quarantine, (*storage.Store).Quarantine, storage.ErrQuarantined, "prytany member replace n"},
		{storage.Removal, (*storage.Store).Remove, storage.ErrRemoved, "empty directory and --join"},
	} {
		t.Run(tt.kind, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			if err := s.Fit(); err != nil {
				t.Fatalf("a new directory is not fit: %v", err)
			}
			if r, ok := s.Retired(); ok {
				t.Fatalf("a new directory is retired: %v", r)
			}
			if err := errors.Join(tt.retire(s, "because"), s.Quarantine("later"), s.Remove("later")); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				r, ok := s.Retired()
				if want := (storage.Retirement{Kind: tt.kind, Reason: "because"}); !ok || r != want {
					t.Errorf("retired = %v, %v; want %v", r, ok, want)
				}
				reason, ok := s.Quarantined()
				if ok != (tt.kind == storage.Quarantine) || ok && reason != "because" {
					t.Errorf("quarantined = %q, %v", reason, ok)
				}
				refused(t, s.Fit(), tt.want, tt.says)
				refused(t, s.Fit(), tt.want, "because")
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = open(t, dir)
			}
		})
	}
}

func TestALongReasonIsCut(t *testing.T) {
	s := open(t, t.TempDir())
	if err := s.Quarantine(strings.Repeat("x", 5000)); err != nil {
		t.Fatal(err)
	}
	if r, ok := s.Quarantined(); !ok || len(r) != 1024 {
		t.Errorf("reason of %d bytes, %v; want 1,024", len(r), ok)
	}
}
