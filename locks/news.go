package locks

import "github.com/prytany/prytany/locks/internal/bells"

// news wakes those who wait for changes of the local machine.
type news struct {
	bells.Bells[Topic]
	prefixes bells.Prefixes // of the names of events
}

// A Ring is what those who wait get: C is closed at the next change of what
// they subscribed to, and At then tells its revision. If a whole new state was
// installed that is the first revision which the old one did not have. As long
// as C is open there was no change.
type Ring = bells.Ring

// A Topic is something that somebody may wait for.
type Topic struct {
	kind    uint8
	name    string
	session string
	request string
	own     bool
}

// LockTopic is a change of a lock: of its holders or its queue.
func LockTopic(name string) Topic { return Topic{kind: 1, name: name} }

// KeyTopic is a change of a config entry.
func KeyTopic(key string) Topic { return Topic{kind: 2, name: key} }

// SessionTopic is an event about a session.
func SessionTopic(id string) Topic { return Topic{kind: 4, name: id} }

// placeTopic is one place in the queue of one lock: its end wakes one waiter,
// however many there are.
func placeTopic(lock, session string, r Request) Topic {
	return Topic{3, lock, session, r.ID, r.Own}
}

func nameTopic(name string) Topic { return Topic{kind: 5, name: name} }

// tell wakes those who wait for e, which is of revision at.
func (n *news) tell(e *Event, at uint64) {
	if e.Session != "" {
		n.Touch(SessionTopic(e.Session), at)
	}
	n.Touch(nameTopic(e.Name), at)
	n.prefixes.Touch(e.Name, at)
}
