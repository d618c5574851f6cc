package multiplex

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"sync"
)

// errLarge is what a handler hears that writes more than [MaxReply].
var errLarge = errors.New("multiplex: the answer is too large for a connection that is shared")

// An exchange is one request and its answer: the [http.ResponseWriter] of its handler.
type exchange struct {
	c      *conn
	id     uint64
	ctx    context.Context
	cancel context.CancelFunc
	frame  frame

	method string
	header http.Header
	status int
	head   []byte // of the answer, once the status is known
	body   []byte
	large  bool // the handler wrote more than there may be
	odd    bool // its header has what HTTP cannot carry

	reserved int // bytes of the answer for which there is room
}

// rooms keeps the buffers of answers for those that come.
var rooms = sync.Pool{New: func() any { return new(room) }}

type room struct{ head, body []byte }

// run has the handler answer.
func (x *exchange) run() {
	defer x.cancel()
	own := rooms.Get().(*room)
	x.head, x.body = own.head[:0], own.body[:0]
	x.answer()
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	switch {
	case x.large || len(x.head) > maxHead:
		x.abort(tooLarge)
	case x.odd, x.half(): // a frame that is none would end all else on the connection
		x.abort(noAnswer)
	}
	_ = x.reserve(0) // without a client the answer is dropped
	x.c.answer(x)
	if cap(x.body) <= keepBuffer {
		own.head, own.body = x.head, x.body
		rooms.Put(own)
	}
	x.head, x.body = nil, nil
}

// answer calls the handler. One that panics has answered nothing, unless it was told that
// its answer is too large.
func (x *exchange) answer() {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
			x.c.s.cfg.Log.Error("a handler panicked", "err", p, "stack", string(debug.Stack()))
		}
		if !x.large {
			x.abort(noAnswer)
		}
	}()
	r := x.request()
	if r == nil {
		x.WriteHeader(http.StatusBadRequest)
		return
	}
	x.c.s.cfg.Handler.ServeHTTP(x, r)
}

// half reports whether the handler said that the body would be longer, or shorter.
func (x *exchange) half() bool {
	n := x.header.Get("Content-Length")
	return n != "" && x.method != http.MethodHead && x.status != http.StatusNotModified && n != strconv.Itoa(len(x.body))
}

// abort says that there is no answer, and why.
func (x *exchange) abort(why int) {
	x.status, x.large = -1, false
	x.head, x.body = appendString(x.head[:0], strconv.Itoa(why)), x.body[:0]
}

// reserve makes room for the answer so far, and for n more bytes of it: for its frame and
// its head, too, which are most of a small one. It reports whether anybody takes them.
func (x *exchange) reserve(n int) bool {
	n += maxNumbers + len(x.head) + len(x.body) - x.reserved
	if n <= 0 {
		return true
	}
	if !x.c.out.reserve(x, n) {
		return false
	}
	x.reserved += n
	return true
}

// A content is the body of a request.
type content struct{ bytes.Reader }

func (*content) Close() error { return nil }

// request returns the request as a handler knows it, nil if it is none.
func (x *exchange) request() *http.Request {
	h := head{rest: x.frame.head}
	method, target := h.next(), h.next()
	header := h.header()
	if h.bad || !fieldName(method) || target == "" || target[0] != '/' {
		return nil
	}
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil
	}
	r := (&http.Request{
		Method: method, URL: u, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: http.NoBody, ContentLength: int64(len(x.frame.body)),
		Host: x.c.host, RemoteAddr: x.c.peer, RequestURI: target,
	}).WithContext(x.ctx)
	if len(x.frame.body) > 0 {
		b := new(content)
		b.Reset(x.frame.body)
		r.Body = b
	}
	x.frame, x.method = frame{}, method
	return r
}

var (
	_ http.ResponseWriter = (*exchange)(nil)
	_ io.ReadCloser       = (*content)(nil)
)

// Header implements [http.ResponseWriter].
func (x *exchange) Header() http.Header {
	if x.header == nil {
		x.header = make(http.Header, 12)
	}
	return x.header
}

// WriteHeader implements [http.ResponseWriter]. Interim answers are not sent.
func (x *exchange) WriteHeader(status int) {
	if x.status != 0 || status < 200 {
		return
	}
	x.status, x.odd = status, !carried(x.header)
	x.head = appendString(x.head, strconv.Itoa(min(status, 999)))
	x.head = appendHeader(x.head, x.header)
}

// Write implements [http.ResponseWriter]. A client that takes no answers holds up those
// who write more, until it is given up: then they hear [net.ErrClosed].
func (x *exchange) Write(b []byte) (int, error) {
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	if x.large = x.large || len(x.body)+len(b) > MaxReply; x.large {
		return 0, errLarge
	}
	if !x.reserve(len(b)) {
		return 0, net.ErrClosed
	}
	x.body = append(x.body, b...)
	return len(b), nil
}

// FlushError is called by [http.ResponseController.Flush]. Who wants a part of an answer
// to be read before the rest is made needs a connection of its own, like one whose answer
// is too large.
func (x *exchange) FlushError() error {
	x.large = true
	return errLarge
}
