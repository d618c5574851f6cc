package codec

import "github.com/prytany/prytany/paxos/replica"

// Saved is a message between transports, of no group: so many writes to the
// sender's log are durable, and everything sent after it may rely on them.
type Saved struct{ Position uint64 }

// AppendSaved returns a Saved, encoded as a packet.
func AppendSaved(position uint64) []byte {
	return AppendPacket(nil, replica.Packet{Msg: Saved{position}})
}
