package httpapi

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A pen is a listener with the connections that a test makes.
type pen struct{ conns chan net.Conn }

func (p pen) Accept() (net.Conn, error) {
	c, ok := <-p.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pen) Close() error   { return nil }
func (p pen) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7480} }

// A tape is a connection whose other side has sent everything, and then waits for the
// replies with its half open for a moment: until the server reads on and has nothing to
// say.
type tape struct {
	mu     sync.Mutex
	in     []byte
	out    bytes.Buffer
	closed chan struct{}
	once   sync.Once
}

func (c *tape) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	default:
	}
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	n := copy(b, c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *tape) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.Write(b)
}

func (c *tape) Close() error                     { c.once.Do(func() { close(c.closed) }); return nil }
func (c *tape) LocalAddr() net.Addr              { return pen{}.Addr() }
func (c *tape) RemoteAddr() net.Addr             { return pen{}.Addr() }
func (c *tape) SetDeadline(time.Time) error      { return nil }
func (c *tape) SetReadDeadline(time.Time) error  { return nil }
func (c *tape) SetWriteDeadline(time.Time) error { return nil }

// hung is longer than a server with the default limits may hold a connection on which
// nothing more comes, by the clock of the bubble.
const hung = time.Hour

// A noise is an error log that must not tell of a panic.
type noise struct {
	mu   sync.Mutex
	said string
}

func (n *noise) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if bytes.Contains(b, []byte("panic")) {
		n.said += string(b)
	}
	return len(b), nil
}

// FuzzWire sends any bytes over one connection to the server as it is run, with its own
// limits: it answers with whole replies, none of them a 5xx but where the client has
// gone or asks for a protocol that is none, and closes the connection.
func FuzzWire(f *testing.F) {
	for _, s := range seeds {
		text := s[0] + " " + s[1] + " HTTP/1.1\r\nHost: 127.0.0.1:7480\r\n"
		if s[2] != "" {
			text += s[2] + "\r\n"
		}
		f.Add([]byte(text + "\r\n" + s[3]))
		f.Add([]byte(text + "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n0\r\n\r\n" + text + "\r\n"))
	}
	for _, text := range []string{
		"PUT /v1/config/a HTTP/1.1\nHost: x\nContent-Length: -1\n\n", "PUT /v1/config/a HTTP/1.1\nHost: x\nContent-Length: 99999999999999999999\n\n",
		"PUT /v1/config/a HTTP/1.1\nHost: 127.0.0.1:7480\nContent-Length: 600000\nExpect: 100-continue\n\n", "GET / HTTP/9.9\n\n", "PRI * HTTP/2.0\n\nSM\n\n",
		"GET /v1/status HTTP/1.0\n\n", "GET //v1//status HTTP/1.1\nHost: a\nHost: b\n\n", "\x16\x03\x01", strings.Repeat("GET /livez HTTP/1.1\nHost: 127.0.0.1:7480\n\n", 5),
	} {
		f.Add([]byte(strings.ReplaceAll(text, "\n", "\r\n")))
	}
	d := newDesk()
	f.Fuzz(func(t *testing.T, in []byte) {
		// Within a bubble, net/http's pauses before it closes a connection take no time.
		synctest.Test(t, func(t *testing.T) {
			d.fake = filled()
			srv, stop := d.s.NewHTTPServer()
			told := &noise{}
			srv.ErrorLog = log.New(told, "", 0)
			p := pen{make(chan net.Conn)}
			ended := make(chan error, 1)
			go func() { ended <- srv.Serve(p) }()
			c := &tape{in: in, closed: make(chan struct{})}
			p.conns <- c
			select {
			case <-c.closed:
			case <-time.After(hung):
				t.Error("the connection is not closed")
			}
			close(p.conns)
			<-ended
			stop()
			_ = srv.Close()
			synctest.Wait()
			if told.said != "" {
				t.Error(told.said)
			}
			if !bytes.HasPrefix(c.out.Bytes(), []byte{0, 0}) { // no frame of HTTP/2
				readReplies(t, bufio.NewReader(&c.out))
			}
		})
	})
}

// readReplies reads whole replies to the end, of which none is a 5xx that is not about
// the protocol, or the end of a wait.
func readReplies(t *testing.T, out *bufio.Reader) {
	for {
		resp, err := http.ReadResponse(out, nil)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return
		}
		if err != nil {
			t.Fatalf("no reply: %v", err)
		}
		switch resp.StatusCode {
		case http.StatusServiceUnavailable, http.StatusHTTPVersionNotSupported, http.StatusNotImplemented:
		default:
			if resp.StatusCode >= 500 {
				t.Fatalf("%d", resp.StatusCode)
			}
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return // to HEAD there is none, whatever its length says
		}
	}
}
