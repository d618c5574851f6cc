package image

const (
	// maxStretch is how many times Slots or Bytes may go by without a snapshot while
	// there is a reason to wait.
	maxStretch = 4
	// smallState is what is written whenever it is due, in bytes.
	smallState = 1 << 20
	// apart is the part of Slots or Bytes that lies between the snapshots of a large
	// state on two members.
	apart = 8
)

// A Schedule says when a snapshot is due.
type Schedule struct {
	Slots, Bytes int // applied slots and bytes of the log between two
	Seat         int // of the member, -1 if it has none
}

// Due reports whether it is time, after so many slots and bytes, and with a state of so
// many bytes. A large state is not written for the sake of a short log: half as much
// should have been applied since the last time, so that of three bytes written at least
// one is of the log. Nor is a snapshot replaced while it is fed to a peer. Neither puts
// it off for ever.
//
// The members of a group do not write a large state all at once: each begins later
// than the one before it.
func (s Schedule) Due(slots, bytes, state int, fed bool) bool {
	large := state > smallState
	if large && s.Seat > 0 {
		slots -= s.Seat * s.Slots / apart
		bytes -= s.Seat * s.Bytes / apart
	}
	switch {
	case slots < s.Slots && bytes < s.Bytes:
		return false
	case slots >= maxStretch*s.Slots, bytes >= maxStretch*s.Bytes:
		return true
	}
	return !fed && (!large || bytes >= state/2)
}
