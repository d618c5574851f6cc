// Package feed makes the bytes of streams of events, in either of their formats,
// and keeps those that many streams want.
package feed

import (
	"bytes"
	"strconv"

	"github.com/prytany/prytany/httpapi/internal/reply"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
)

// Encode returns what a stream says about ch.
func Encode(ch *locks.Change, sse bool) []byte {
	events := make([]api.Event, len(ch.Events))
	for i := range ch.Events {
		events[i] = reply.Event(&ch.Events[i], ch.Revision)
		events[i].More = i+1 < len(events)
	}
	return Events(events, sse)
}

// Events returns one line for each event, or as [server-sent events] a
// message, whose id is there only if all that belongs to the revision is.
//
// [server-sent events]: https://html.spec.whatwg.org/multipage/server-sent-events.html
func Events(events []api.Event, sse bool) []byte {
	var b bytes.Buffer
	for i := range events {
		e := &events[i]
		line := reply.JSON(e) // JSON has no bare line ends within
		if !sse {
			b.Write(line)
			continue
		}
		if !e.More {
			b.Write(appendID(b.AvailableBuffer(), e.Revision))
		}
		b.WriteString("event: " + e.Type + "\ndata: ")
		b.Write(line)
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// NodeEvents is [Events] for what a node saw: each event has an id.
func NodeEvents(events []api.NodeEvent, sse bool) []byte {
	var b bytes.Buffer
	for i := range events {
		line := reply.JSON(&events[i])
		if sse {
			b.Write(appendID(b.AvailableBuffer(), events[i].ID))
			b.WriteString("event: " + events[i].Kind + "\ndata: ")
		}
		b.Write(line)
		if sse {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

// AppendBookmark appends to b that everything up to a revision has been told. It
// takes no other memory: there may be many streams without news.
func AppendBookmark(b []byte, revision uint64, sse bool) []byte {
	if sse {
		b = appendID(b, revision)
		b = append(b, "event: bookmark\ndata: "...)
	}
	b = append(b, `{"type":"bookmark","revision":`...)
	b = strconv.AppendUint(b, revision, 10)
	b = append(b, "}\n"...)
	if sse {
		b = append(b, '\n')
	}
	return b
}

func appendID(b []byte, revision uint64) []byte {
	b = append(b, "id: "...)
	b = strconv.AppendUint(b, revision, 10)
	return append(b, '\n')
}
