package workload

import (
	"math/rand/v2"
	"time"

	"github.com/prytany/prytany/internal/sim/audit"
)

// Options say what users do.
type Options struct {
	Locks    int
	Keys     int
	TTL      time.Duration
	Waiting  bool // they also queue for locks
	Bulk     int  // bytes added to values, so that snapshots travel in pieces
	KeyShare float64
	Features Features // what they do beside the oldest; with none of them, the dice are those of old
}

// A Crowd is all users of a cluster.
type Crowd struct {
	Options
	rng     *rand.Rand
	history *History
	account *audit.Account
	users   []*User
}

// NewCrowd returns a crowd of nobody, whose history is h.
func NewCrowd(o Options, rng *rand.Rand, h *History, a *audit.Account) *Crowd {
	return &Crowd{Options: o, rng: rng, history: h, account: a}
}

// A User is what one client wants and has heard of.
type User struct {
	*Crowd
	Session string // "" if it has none
	News    uint64 // the revision up to which it has heard of what becomes of its session

	index    int
	created  int               // sessions
	holds    map[string]uint64 // fences
	waits    map[string]string // acquires with a place in a queue
	loans    map[string]loan   // locks held or waited for without a session of its own
	revision uint64            // the highest one heard of
	last     string            // the session before
}

// A loan is a lock that was asked for without a session.
type loan struct {
	session string
	request string
	fence   uint64 // 0 while it waits
}

// Add returns one more user.
func (c *Crowd) Add() *User {
	u := &User{
		Crowd: c, index: len(c.users),
		holds: make(map[string]uint64), waits: make(map[string]string), loans: make(map[string]loan),
	}
	c.users = append(c.users, u)
	return u
}
