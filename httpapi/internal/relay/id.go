package relay

import (
	"math/rand/v2"
	"net/http"
	"strings"

	"github.com/prytany/prytany/internal/api"
)

// RequestID is the id of a request: that of the node that passes it on, so that the
// logs of both say the same, or a new one.
func RequestID(r *http.Request) string {
	id := r.Header.Get(api.HeaderRelayed)
	odd := func(c rune) bool { return (c < 'A' || c > 'Z') && (c < '2' || c > '7') }
	if len(id) != idLength || strings.ContainsFunc(id, odd) {
		return newID()
	}
	return id
}

// idLength is that of a request's id: that many letters have 130 bits.
const idLength = 26

// newID makes an id. It looks like a Text of crypto/rand, but it has to be unlike all others
// only, not secret, so that it comes from the runtime's generator, which the system
// seeds and nobody waits for.
func newID() string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	var id [idLength]byte
	var bits uint64
	for i := range id {
		if i%12 == 0 {
			bits = rand.Uint64() // 60 of them are 12 letters
		}
		id[i] = letters[bits%32]
		bits /= 32
	}
	return string(id[:])
}
