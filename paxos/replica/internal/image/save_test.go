package image

import (
	"errors"
	"io"
	"reflect"
	"testing"

	"github.com/prytany/prytany/paxos"
)

// saver takes snapshots whole.
type saver struct{ saved paxos.Snapshot }

func (s *saver) SaveSnapshot(_ paxos.GroupID, snap paxos.Snapshot) error {
	s.saved = snap
	return nil
}

// streamer takes them in pieces.
type streamer struct {
	saver
	pieces int
}

func (s *streamer) Write(p []byte) (int, error) {
	s.pieces++
	s.saved.Data = append(s.saved.Data, p...)
	return len(p), nil
}

func (s *streamer) StreamSnapshot(_ paxos.GroupID, snap paxos.Snapshot, encode func(io.Writer) error) (int, error) {
	s.saved = snap
	err := encode(s)
	return len(s.saved.Data), err
}

func TestSave(t *testing.T) {
	whole, pieces := &saver{}, &streamer{}
	want := paxos.Snapshot{Slot: 4, Data: []byte("abcd")}
	encode := func(w io.Writer) error {
		_, err := io.WriteString(w, "ab")
		_, more := io.WriteString(w, "cd")
		return errors.Join(err, more)
	}
	for _, st := range []interface {
		SaveSnapshot(paxos.GroupID, paxos.Snapshot) error
	}{whole, pieces} {
		if size, err := Save(st, 1, paxos.Snapshot{Slot: 4}, encode); size != 4 || err != nil {
			t.Errorf("%T: %d, %v; want 4", st, size, err)
		}
	}
	if !reflect.DeepEqual(whole.saved, want) || !reflect.DeepEqual(pieces.saved, want) || pieces.pieces != 2 {
		t.Errorf("saved %+v, and %+v in %d pieces; want %+v, in 2", whole.saved, pieces.saved, pieces.pieces, want)
	}
	cause := errors.New("it cannot be encoded")
	whole.saved = paxos.Snapshot{}
	_, err := Save(whole, 1, want, func(io.Writer) error { return cause })
	if !errors.Is(err, cause) || whole.saved.Slot != 0 {
		t.Errorf("%v, saved %+v; want nothing saved", err, whole.saved)
	}
}
