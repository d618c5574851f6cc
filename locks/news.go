package locks

import "github.com/prytany/prytany/locks/internal/bells"

// news wakes those who wait for changes of the local machine.
type news = bells.Bells[topic]

// A topic is something that somebody may wait for.
type topic struct {
	kind    uint8
	name    string
	session string
	request string
	own     bool
}

func lockTopic(name string) topic { return topic{kind: 1, name: name} }
func keyTopic(key string) topic   { return topic{kind: 2, name: key} }

// placeTopic is one place in the queue of one lock: its end wakes one waiter,
// however many there are.
func placeTopic(lock, session string, r Request) topic {
	return topic{3, lock, session, r.ID, r.Own}
}
