package codec

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"

	"github.com/prytany/prytany/paxos/replica"
)

// MaxFrame is the largest frame, in bytes after the checksum, that is read.
const MaxFrame = 32 << 20

const frameHead = 8

// AppendFrame appends one frame with all of ps to dst.
func AppendFrame(dst []byte, ps []replica.Packet) []byte {
	encoded := make([][]byte, len(ps))
	for i, p := range ps {
		encoded[i] = AppendPacket(nil, p)
	}
	return AppendRawFrame(dst, encoded)
}

// AppendRawFrame appends one frame with packets that are encoded already.
func AppendRawFrame(dst []byte, packets [][]byte) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, frameHead)...)
	dst = append(dst, Version)
	for _, p := range packets {
		dst = appendString(dst, p)
	}
	return seal(dst, start)
}

// seal fills in length and checksum of the frame that begins at start.
func seal(b []byte, start int) []byte {
	body := b[start+frameHead:]
	binary.LittleEndian.PutUint32(b[start:], uint32(len(body)))
	binary.LittleEndian.PutUint32(b[start+4:], Checksum(body))
	return b
}

// A Reader reads frames. Not safe for concurrent use.
type Reader struct {
	r   *bufio.Reader
	buf []byte
}

// NewReader returns a Reader of r.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReaderSize(r, 64<<10)} }

// Next returns the packets of the next frame. Errors: io.EOF at the end of a
// whole frame, io.ErrUnexpectedEOF within one, ErrTooLarge, ErrCorrupt,
// ErrVersion. After an error nothing more can be read.
func (r *Reader) Next() ([]replica.Packet, error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint32(head[:])
	if size > MaxFrame {
		return nil, ErrTooLarge
	}
	if err := r.fill(int(size)); err != nil {
		return nil, err
	}
	if Checksum(r.buf) != binary.LittleEndian.Uint32(head[4:]) {
		return nil, ErrCorrupt
	}
	return decodeFrame(r.buf)
}

// fill reads size bytes. It grows step by step, so that a length which lies
// costs no memory.
func (r *Reader) fill(size int) error {
	const step = 1 << 20
	r.buf = r.buf[:0]
	for len(r.buf) < size {
		n := min(step, size-len(r.buf))
		at := len(r.buf)
		r.buf = append(r.buf, make([]byte, n)...)
		if _, err := io.ReadFull(r.r, r.buf[at:]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	if cap(r.buf) > 4*step && size < step {
		r.buf = append([]byte(nil), r.buf...) // one large frame must not pin memory
	}
	return nil
}

// decodeFrame decodes what follows a frame's checksum.
func decodeFrame(body []byte) ([]replica.Packet, error) {
	d := &decoder{b: body}
	if d.byte() != Version {
		return nil, ErrVersion
	}
	var ps []replica.Packet
	for len(d.b) > 0 {
		p, err := DecodePacket(d.bytes())
		if err != nil {
			return nil, err
		}
		ps = append(ps, p)
	}
	return ps, d.end()
}
