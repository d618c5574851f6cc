package reply

import (
	"fmt"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
)

// EventTypes holds the types of events by their names.
var EventTypes = map[string]locks.EventType{
	api.EventPut:     locks.EventPut,
	api.EventDelete:  locks.EventDelete,
	api.EventExpire:  locks.EventExpire,
	api.EventLock:    locks.EventLock,
	api.EventUnlock:  locks.EventUnlock,
	api.EventLeader:  locks.EventLeader,
	api.EventSession: locks.EventSession,
	api.EventYield:   locks.EventYield,
}

// eventNames is the inverse.
var eventNames = func() (names [locks.NumEventTypes]string) {
	for name, t := range EventTypes {
		names[t] = name
	}
	return names
}()

// Event says an event of a revision.
func Event(e *locks.Event, revision uint64) api.Event {
	out := api.Event{
		Revision: revision,
		Name:     e.Name,
		Session:  e.Session,
		Owner:    e.Owner,
		Fence:    e.Fence,
		Value:    e.Value,
		WithinMS: MS(e.Within),
		Reason:   e.Reason,
	}
	if int(e.Type) < len(eventNames) {
		out.Type = eventNames[e.Type]
	}
	if out.Type == "" {
		panic(fmt.Sprintf("reply: an event of type %d has no name", e.Type))
	}
	if e.Type == locks.EventLock {
		out.Mode = mode(e.Mode)
	}
	if e.Entry != nil {
		entry := Entry(*e.Entry)
		out.Entry = &entry
	}
	return out
}
