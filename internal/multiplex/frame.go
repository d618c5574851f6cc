package multiplex

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/textproto"
	"strings"
)

const (
	// Path is where a connection is asked for.
	Path = "/v1/connection"
	// Protocol is what it is upgraded to.
	Protocol = "prytany-frames"

	// MaxOpen bounds the requests of one connection that are not answered.
	MaxOpen = 1024
	// MaxBody bounds the bytes of a request's body: a connection may have sent
	// twice MaxOpen of them before one is looked at.
	MaxBody = 64 << 10
	// MaxReply bounds the bytes of an answer's. For a client that takes no answers each of
	// twice MaxOpen handlers may hold what it is about to write, until the client is given up.
	MaxReply = 1 << 20

	// maxHead bounds the bytes of a head, as net/http's server does; a reader has
	// room for all of it.
	maxHead = 32 << 10
	// maxQueued is how many bytes of answers there may be before handlers that write
	// more wait for the client to take some.
	maxQueued = 4 << 20
	// keepBuffer is the largest buffer that is kept for what is written next.
	keepBuffer = 256 << 10
	// maxNumbers bounds the bytes of a frame before its head.
	maxNumbers = 4 * binary.MaxVarintLen64
)

const (
	kindRequest = 1 + iota
	kindCancel
	kindReply
	kindGoAway
)

// Answers that are none: the handler gave up, or wrote more than may be sent.
const (
	noAnswer = 0
	tooLarge = 1
)

// ErrFrame says that the other side sent something that is no frame, or none that it
// may send.
var ErrFrame = errors.New("multiplex: a frame that makes no sense")

// A frame is what one side sends.
type frame struct {
	kind uint64
	id   uint64
	head string
	body []byte
}

// readFrame reads the next frame, whose body has at most so many bytes. It calls before
// whenever it may have to wait for bytes to come.
func readFrame(r *bufio.Reader, most int, before func()) (f frame, err error) {
	if r.Buffered() < maxNumbers {
		before()
	}
	var sizes [2]uint64
	for _, n := range []*uint64{&f.kind, &f.id, &sizes[0], &sizes[1]} {
		if *n, err = binary.ReadUvarint(r); err != nil {
			return frame{}, err
		}
	}
	if f.kind < kindRequest || f.kind > kindGoAway || sizes[0] > maxHead || sizes[1] > uint64(most) {
		return frame{}, fmt.Errorf("%w: kind %d with %d and %d bytes", ErrFrame, f.kind, sizes[0], sizes[1])
	}
	if uint64(r.Buffered()) < sizes[0]+sizes[1] {
		before()
	}
	head, err := r.Peek(int(sizes[0]))
	if err != nil {
		return frame{}, err
	}
	f.head = string(head)
	if _, err := r.Discard(len(head)); err != nil {
		return frame{}, err
	}
	if sizes[1] > 0 {
		f.body = make([]byte, sizes[1])
		if _, err := io.ReadFull(r, f.body); err != nil {
			return frame{}, err
		}
	}
	return f, nil
}

// appendFrame appends a frame to b.
func appendFrame(b []byte, kind, id uint64, head, body []byte) []byte {
	b = binary.AppendUvarint(b, kind)
	b = binary.AppendUvarint(b, id)
	b = binary.AppendUvarint(b, uint64(len(head)))
	b = binary.AppendUvarint(b, uint64(len(body)))
	b = append(b, head...)
	return append(b, body...)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendHeader(b []byte, h http.Header) []byte {
	for name, values := range h {
		for _, v := range values {
			b = appendString(appendString(b, name), v)
		}
	}
	return b
}

// A head is what is left of one while it is read. bad says that it was none.
type head struct {
	rest string
	bad  bool
}

func (h *head) next() string {
	var n uint64
	for i := 0; ; i++ {
		if i == len(h.rest) || i == 3 { // no string of a head needs more
			h.rest, h.bad = "", true
			return ""
		}
		c := h.rest[i]
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			h.rest = h.rest[i+1:]
			break
		}
	}
	if n > uint64(len(h.rest)) {
		h.rest, h.bad = "", true
		return ""
	}
	s := h.rest[:n]
	h.rest = h.rest[n:]
	return s
}

// header reads header fields up to the end of the head. Names are made canonical;
// names and values that HTTP cannot carry are bad.
func (h *head) header() http.Header {
	out := make(http.Header, 8)
	values := make([]string, 0, 12) // most fields have one value: one room for all of them
	for h.rest != "" {
		name, value := h.next(), h.next()
		if h.bad || !fieldName(name) || !FieldValue(value) {
			h.bad = true
			return nil
		}
		name, value = textproto.CanonicalMIMEHeaderKey(name), textproto.TrimString(value)
		if len(out[name]) > 0 || len(values) == cap(values) {
			out[name] = append(out[name], value)
			continue
		}
		values = append(values, value)
		out[name] = values[len(values)-1 : len(values) : len(values)]
	}
	return out
}

// fieldName reports whether s is a token of RFC 9110, section 5.6.2.
func fieldName(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}

// FieldValue reports whether s has none of the characters that HTTP cannot carry in the
// value of a header field.
func FieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// carried reports whether HTTP can carry h.
func carried(h http.Header) bool {
	for name, values := range h {
		if !fieldName(name) || !allValues(values) {
			return false
		}
	}
	return true
}

func allValues(values []string) bool {
	for _, v := range values {
		if !FieldValue(v) {
			return false
		}
	}
	return true
}

// status reads a status, 0 to 999.
func (h *head) status() int {
	s := h.next()
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			n = math.MaxInt16
			break
		}
		n = n*10 + int(s[i]-'0')
	}
	h.bad = h.bad || s == "" || len(s) > 3 || n > 999
	return n
}
