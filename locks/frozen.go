package locks

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/prytany/prytany/locks/internal/frozen"
	"github.com/prytany/prytany/locks/internal/wire"
)

// A frozenState is the state at one moment, being encoded while commands go on.
// Trees, entries, events and answers never change, so that a copy is enough; of
// locks, grants and sessions those that change first say so, by keep and keepSession.
// internal/lint looks that nobody forgets.
type frozenState struct {
	state
	m    *Machine // its mu guards the records of both kinds
	was  *frozen.Records[*session]
	held *frozen.Records[*lock]

	rest  func() // of the Coder
	every int    // 0 but in tests
}

// flushBytes is the room for what is encoded until it is written: usually 64 KiB and one
// record.
const flushBytes = 128 << 10

// errThawed is the fate of a snapshot after which another was begun.
var errThawed = errors.New("locks: snapshot: a later one was begun")

// Snapshot fixes the state, in a time that hardly depends on its size, and returns
// what encodes it: a version byte, the state, and the CRC32C of both. Equal states
// have equal bytes. Call encode once, on any goroutine: until it has ended, or
// Snapshot is called again and it fails, what changes is kept as it was too. Error:
// that of [Machine.Unsupported]; a state without the effect of a command is none.
func (m *Machine) Snapshot() (encode func(w io.Writer) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.unsupported; err != nil {
		return func(io.Writer) error { return err }
	}
	return m.freeze().encode
}

// freeze makes the present state the frozen one.
func (m *Machine) freeze() *frozenState {
	f := &frozenState{
		state: m.state, m: m,
		was:  frozen.Of(func(c *wire.Coder, s *session) { m.codeSession(c, s) }),
		held: frozen.Of(func(c *wire.Coder, l *lock) { m.codeLock(c, l) }),
	}
	f.ended, f.answers, f.own = m.ended.Copy(), m.answers.Copy(), m.own.Copy()
	f.rest = new(frozen.Pace).Rest
	m.frozen = f
	return f
}

// encode writes f to w as a snapshot has it.
func (f *frozenState) encode(w io.Writer) error {
	c := wire.Coder{Buf: append(make([]byte, 0, flushBytes), snapshotVersion), To: w, Rest: f.rest, Every: f.every}
	f.code(&c, f.codeSession, f.codeLock)
	f.m.mu.Lock()
	thawed := f.m.frozen != f
	if !thawed {
		f.m.frozen = nil
	}
	f.m.mu.Unlock()
	if thawed {
		return errThawed
	}
	sum := c.Flush()
	if c.Err != nil {
		return c.Err
	}
	_, err := w.Write(binary.BigEndian.AppendUint32(nil, sum))
	return err
}

func (f *frozenState) codeSession(c *wire.Coder, s *session) (*session, string) {
	f.m.mu.RLock()
	defer f.m.mu.RUnlock()
	f.was.Write(c, s, s.id)
	return s, s.id
}

func (f *frozenState) codeLock(c *wire.Coder, l *lock) (*lock, string) {
	f.m.mu.RLock()
	defer f.m.mu.RUnlock()
	f.held.Write(c, l, l.name)
	return l, l.name
}

// keep is called before anything of l, or of a grant of it, changes that a snapshot
// has.
func (m *Machine) keep(l *lock) {
	if m.frozen != nil {
		m.frozen.held.Keep(l, l.name)
	}
}

// keepSession is keep for a session.
func (m *Machine) keepSession(s *session) {
	if m.frozen != nil {
		m.frozen.was.Keep(s, s.id)
	}
}
