package httpapi

import (
	"net/http"
	"time"

	"github.com/prytany/prytany/httpapi/internal/feed"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/locks/service"
)

// A pipe is what a stream is written to. The first error of writing ends it: a
// reader that is gone or too slow resumes after the last thing it has read.
type pipe struct {
	c   *call
	w   http.ResponseWriter
	rc  *http.ResponseController
	err error
}

// open begins a stream; nil means that the reader wants the head of it alone.
func (c *call) open(mediaType string) *pipe {
	h := c.w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("X-Accel-Buffering", "no") // else nginx keeps events to itself
	p := &pipe{c: c, w: c.w, rc: http.NewResponseController(c.raw)}
	p.limit()
	c.w.WriteHeader(http.StatusOK)
	if c.r.Method == http.MethodHead {
		return nil
	}
	return p
}

// A teller writes one stream of what happens to names.
type teller struct {
	*pipe
	topic feed.Topic
	upTo  uint64 // everything up to it has been told
	buf   []byte // of bookmarks
}

// run tells what s has to tell until one of the two ends.
func (t *teller) run(s service.Stream) {
	ctx := t.c.r.Context()
	for t.err == nil {
		changes, upTo, err := s.Next(ctx, t.c.s.cfg.BookmarkEvery)
		if err != nil {
			t.end(err)
			return
		}
		for i := range changes {
			t.change(&changes[i])
		}
		if len(changes) == 0 {
			t.bookmark(upTo)
		}
		t.upTo = max(t.upTo, upTo)
		t.flush()
	}
}

// limit bounds how long the reader may take to take what is written next.
func (p *pipe) limit() { _ = p.rc.SetWriteDeadline(time.Now().Add(p.c.s.cfg.StreamTimeout)) }

// write writes all that belongs together.
func (p *pipe) write(b []byte) {
	if p.err == nil {
		p.limit()
		_, p.err = p.w.Write(b)
	}
}

// flush hands on what was written. While there is nothing to tell, the reader
// has all the time there is.
func (p *pipe) flush() {
	if p.err != nil {
		return
	}
	p.limit()
	if p.err = p.rc.Flush(); p.err == nil {
		_ = p.rc.SetWriteDeadline(time.Time{})
	}
}

// change tells what one change did.
func (t *teller) change(ch *locks.Change) {
	t.upTo = ch.Revision
	t.write(t.c.s.told.Get(t.topic, ch))
}

// bookmark tells that everything up to a revision has been told.
func (t *teller) bookmark(revision uint64) {
	t.upTo = max(t.upTo, revision)
	t.buf = feed.AppendBookmark(t.buf[:0], t.upTo, t.topic.SSE)
	t.write(t.buf)
}

// end tells why the stream ends, if there is somebody to tell.
func (t *teller) end(err error) {
	if t.c.gone() {
		return
	}
	p := t.c.problemOf(err)
	e := api.Event{Type: api.EventError, Revision: t.upTo, Problem: p}
	t.write(feed.Events([]api.Event{e}, t.topic.SSE))
	t.flush()
}
