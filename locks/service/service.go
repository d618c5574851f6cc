package service

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos"
)

// Config configures a Service. Fields without a stated default are
// required.
type Config struct {
	Log     Log
	Machine *locks.Machine

	Limits locks.Limits

	// RequestTimeout ends a request whose context does not end sooner, not
	// counting what it asked to wait. 0 means 10 s; more than 30 s is taken as
	// 30 s, because the answers to retries are not remembered much longer.
	RequestTimeout time.Duration

	// Now is the clock that Machine.Apply is given. nil means that nobody is
	// told how long a lock has been held.
	Now func() time.Duration

	// Age bounds from above how old the local state is: stale reads tell it.
	// nil means that they tell 0.
	Age func() time.Duration

	// Rand makes session ids and request ids. nil means crypto/rand.
	Rand io.Reader
}

func (c Config) withDefaults() Config {
	c.Limits = c.Limits.WithDefaults()
	c.RequestTimeout = min(cmp.Or(c.RequestTimeout, 10*time.Second), locks.KeepOwn/2)
	if c.Age == nil {
		c.Age = func() time.Duration { return 0 }
	}
	return c
}

const (
	maxAbandoned = 256         // requests being taken back at a time
	maxPins      = 16          // listings kept for their next page
	keepPin      = time.Minute // at most
)

// A Service answers requests about the locks of one group, on any of its
// nodes. Every change is one command with a request id, so it is repeated
// until its outcome is known or the caller's time is up. Safe for concurrent
// use.
type Service struct {
	cfg       Config
	machine   *locks.Machine
	abandoned chan struct{} // one item for each abandon under way

	randMu sync.Mutex // guards cfg.Rand

	pinMu sync.Mutex
	pins  []pin // oldest first

	renewals renewals
}

var _ Locks = (*Service)(nil)

// New returns a Service for the group of cfg.Log and cfg.Machine.
func New(cfg Config) *Service {
	cfg = cfg.withDefaults()
	return &Service{cfg: cfg, machine: cfg.Machine, abandoned: make(chan struct{}, maxAbandoned)}
}

// Limits returns the limits in force, defaults filled in.
func (s *Service) Limits() locks.Limits { return s.cfg.Limits }

// idLetters says 128 bits in 26 letters.
var idLetters = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// newID returns an unguessable name: 128 random bits after prefix.
func (s *Service) newID(prefix string) (string, error) {
	var raw [16]byte
	if s.cfg.Rand == nil {
		_, _ = rand.Read(raw[:]) // it never fails
	} else if err := s.read(&raw); err != nil {
		return "", fmt.Errorf("locks: no randomness: %w", err)
	}
	var room [32]byte
	return string(idLetters.AppendEncode(append(room[:0], prefix...), raw[:])), nil
}

// read reads from cfg.Rand. What it is given stays with the caller: a reader could
// keep what that gets, which therefore is another's.
func (s *Service) read(to *[16]byte) error {
	var raw [16]byte
	s.randMu.Lock()
	_, err := io.ReadFull(s.cfg.Rand, raw[:])
	s.randMu.Unlock()
	*to = raw
	return err
}

// request returns the id under which a changing command is remembered.
func (s *Service) request(c Common) (locks.Request, error) {
	if len(c.IdempotencyKey) > maxKey {
		return locks.Request{}, invalid("idempotency_key", "at most %d bytes; these are %d", maxKey, len(c.IdempotencyKey))
	}
	if c.IdempotencyKey != "" {
		return locks.Request{ID: c.IdempotencyKey, Hash: c.RequestHash}, nil
	}
	id, err := s.newID("")
	return locks.Request{ID: id, Own: true}, err
}

// pause waits a little before the next attempt, and reports whether there may
// be one after err, which ended the last. The wait is random so that those who
// failed together do not come back together.
func pause(ctx context.Context, err error) bool {
	if errors.Is(err, paxos.ErrStopped) {
		return false
	}
	t := time.NewTimer(5*time.Millisecond + mathrand.N(45*time.Millisecond))
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
