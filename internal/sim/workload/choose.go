package workload

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prytany/prytany/internal/sim/dice"
	"github.com/prytany/prytany/locks"
)

// Features are the kinds of things that clients do beside the oldest: exclusive
// locks, sessions and keys.
type Features uint16

// The kinds.
const (
	WithShared   Features = 1 << iota // readers, downgrades, upgrades
	WithPool                          // semaphores
	WithAll                           // several locks at once
	WithYield                         // requests to yield, broken locks
	WithElection                      // campaigns, proclamations, transfers
	WithFence                         // fence registers
	WithTxn                           // transactions, guarded deletes
	WithDelay                         // lock-delays, sessions that nobody ends
	WithBorrow                        // locks without a session
	WithWatch                         // watchers, and events that are dropped
	WithHold                          // keepalives that are held back

	NumFeatures = 11

	// Everything is all of them.
	Everything = Features(1)<<NumFeatures - 1
)

// Has reports whether k is among ks.
func (ks Features) Has(k Features) bool { return ks&k != 0 }

// Choose picks what to do next.
func (u *User) Choose(id string) Op {
	r := u.rng
	o := Op{ID: id, Session: u.Session, own: u.index%2 == 1, since: u.revision}
	if u.Session == "" {
		u.chooseSession(&o)
		return o
	}
	if u.Features != 0 && (u.chooseTidy(&o) || u.chooseMore(&o)) {
		return o
	}
	if dice.Chance(r, u.KeyShare) {
		u.chooseKey(&o)
		return o
	}
	o.Name = u.history.lock(r.IntN(u.Locks))
	if _, ok := u.holds[o.Name]; ok {
		u.chooseRelease(&o)
		return o
	}
	if acquire, ok := u.waits[o.Name]; ok && dice.Chance(r, 0.9) {
		u.chooseWait(&o, acquire)
		return o
	}
	switch x := r.IntN(20); {
	case x == 0:
		o.Kind, o.Command = End, &locks.EndCommand{ID: o.Session}
	case x < 4:
		o.Kind = Look
	default:
		wait := u.Waiting && dice.Chance(r, 0.6)
		o.Kind, o.Command = Acquire, &locks.AcquireCommand{Lock: o.Name, Session: o.Session, Wait: wait, Note: o.ID}
	}
	return o
}

func (u *User) chooseSession(o *Op) {
	u.created++
	o.Kind, o.Session = Create, fmt.Sprintf("session-%d-%d", u.index+1, u.created)
	cmd := &locks.OpenCommand{ID: o.Session, TTL: u.TTL}
	if u.Features.Has(WithDelay) {
		cmd.LockDelay = dice.Pick[time.Duration](u.rng, 0, 300, 2000) * time.Millisecond
	}
	if u.Features.Has(WithHold) {
		cmd.Name = fmt.Sprintf("client-%d", u.index+1)
	}
	o.Command = cmd
}

// chooseRelease gives back the lock o.Name, which the client holds.
func (u *User) chooseRelease(o *Op) {
	r := u.rng
	cmd := &locks.ReleaseCommand{Lock: o.Name, Fence: u.holds[o.Name]}
	o.Kind, o.Command = Release, cmd
	if dice.Chance(r, 0.1) {
		cmd.Fence-- // an old fence must not release anything
	}
	if u.Features != 0 && dice.Chance(r, 0.8) {
		cmd.Session = o.Session
	}
}

// chooseWait looks at the lock o.Name, for which the client waits, or gives up.
func (u *User) chooseWait(o *Op, acquire string) {
	o.Kind = dice.Pick(u.rng, Look, Look, Cancel)
	o.waits = acquire
	if o.Kind == Cancel {
		o.cancels = acquire
		o.Command = &locks.CancelCommand{Lock: o.Name, Session: o.Session}
	}
}

// chooseKey picks an operation on a key.
func (u *User) chooseKey(o *Op) {
	r := u.rng
	put := &locks.PutCommand{Value: []byte(o.ID + strings.Repeat(".", u.Bulk))}
	if dice.Chance(r, 0.1) {
		o.Kind = dice.Pick(r, Put, Put, Get)
		o.Name = fmt.Sprintf("attached-%d", r.IntN(u.Keys))
		if o.Kind == Put {
			put.Key, put.Session = o.Name, o.Session
			o.Command = put
		}
		return
	}
	o.Name = u.history.key(r.IntN(u.Keys))
	o.Kind = dice.Pick(r, Get, Get, Put, CAS, CAS, Delete)
	lock := u.history.lock(r.IntN(u.Locks))
	put.Key = o.Name
	switch {
	case o.Kind == Delete:
		o.Command = u.chooseDelete(o.Name, lock)
	case o.Kind == CAS:
		revision := u.history.guess(o.Name)
		put.IfRevision = &revision
		o.Command = put
	case o.Kind == Put:
		put.Guard = u.guard(lock)
		o.Command = put
	}
}

// guard returns the guard of a grant of lock, if the client has one.
func (u *User) guard(lock string) *locks.Guard {
	if u.holds[lock] == 0 {
		return nil
	}
	return &locks.Guard{Lock: lock, Fence: u.holds[lock]}
}

func (u *User) chooseDelete(key, lock string) *locks.DeleteCommand {
	cmd := &locks.DeleteCommand{Key: key}
	if u.Features.Has(WithTxn) {
		cmd.Guard = u.guard(lock)
		if revision := u.history.guess(key); dice.Chance(u.rng, 0.3) {
			cmd.IfRevision = &revision
		}
	}
	return cmd
}

// chooseTidy gives back some lock if the user holds several.
func (u *User) chooseTidy(o *Op) bool {
	if len(u.holds) < 2 || dice.Chance(u.rng, 0.6) {
		return false
	}
	names := slices.Sorted(maps.Keys(u.holds))
	o.Name = dice.Pick(u.rng, names...)
	u.chooseRelease(o)
	return true
}

// chooseMore picks an operation of one of the newer kinds, if any.
func (u *User) chooseMore(o *Op) bool {
	r := u.rng
	k := Features(1) << r.IntN(NumFeatures)
	if !u.Features.Has(k) {
		return false
	}
	switch k {
	case WithShared:
		u.chooseShared(o)
	case WithPool:
		u.choosePool(o)
	case WithAll:
		u.chooseAll(o)
	case WithYield:
		u.chooseYield(o)
	case WithElection:
		u.chooseElection(o)
	case WithFence:
		u.chooseFence(o)
	case WithTxn:
		u.chooseTxn(o)
	case WithBorrow:
		u.chooseBorrow(o)
	case WithDelay:
		if dice.Chance(r, 0.1) {
			u.Leave() // it goes away without a word
			o.Session = ""
			u.chooseSession(o)
			return true
		}
		return false
	default:
		return false
	}
	return true
}

// chooseShared picks an acquire in either mode: of who holds the lock it is a
// renewal, a downgrade or an upgrade.
func (u *User) chooseShared(o *Op) {
	r := u.rng
	o.Name = u.history.lock(r.IntN(u.Locks))
	if acquire, ok := u.waits[o.Name]; ok && dice.Chance(r, 0.8) {
		u.chooseWait(o, acquire)
		return
	}
	if _, ok := u.holds[o.Name]; ok && dice.Chance(r, 0.3) {
		u.chooseRelease(o)
		return
	}
	o.Kind = Acquire
	o.Command = &locks.AcquireCommand{Lock: o.Name, Session: o.Session, Shared: dice.Chance(r, 0.7), Wait: dice.Chance(r, 0.6), Note: o.ID}
}

// choosePool picks an operation on a semaphore.
func (u *User) choosePool(o *Op) {
	r := u.rng
	o.Name = u.history.name("pool", 0)
	if acquire, ok := u.waits[o.Name]; ok && dice.Chance(r, 0.8) {
		u.chooseWait(o, acquire)
		return
	}
	if _, ok := u.holds[o.Name]; ok && dice.Chance(r, 0.7) {
		u.chooseRelease(o)
		return
	}
	slots := uint64(2)
	if dice.Chance(r, 0.05) {
		slots = dice.Pick(r, uint64(1), 3)
	}
	o.Kind = dice.Pick(r, Acquire, Acquire, Acquire, Look)
	if o.Kind == Acquire {
		o.Command = &locks.AcquireCommand{Lock: o.Name, Session: o.Session, Slots: slots, Wait: dice.Chance(r, 0.6), Note: o.ID}
	}
}

// chooseAll picks an acquire of several locks.
func (u *User) chooseAll(o *Op) {
	cmd := &locks.AcquireAllCommand{Session: o.Session, Note: o.ID}
	for i := range u.Locks {
		if i == 0 || dice.Chance(u.rng, 0.7) {
			cmd.Locks = append(cmd.Locks, u.history.name("lock", i))
		}
	}
	o.Kind, o.Command = All, cmd
}

// someLock picks any lock, semaphore or election.
func (u *User) someLock() string {
	switch u.rng.IntN(4) {
	case 0:
		return u.history.name("pool", 0)
	case 1:
		return u.history.name("seat", 0)
	}
	return u.history.lock(u.rng.IntN(u.Locks))
}

// chooseYield asks holders to let go, or makes them.
func (u *User) chooseYield(o *Op) {
	r := u.rng
	o.Name = u.someLock()
	switch r.IntN(10) {
	case 0:
		o.Kind, o.Command = Break, &locks.ReleaseCommand{Lock: o.Name, Force: true, Reason: dice.Pick(r, "", "maintenance")}
	case 1, 2, 3:
		o.Kind = Look
	default:
		within := dice.Pick[time.Duration](r, 0, 50, 300, 1500) * time.Millisecond
		o.Kind, o.Command = Yield, &locks.YieldCommand{Lock: o.Name, Within: within, Reason: dice.Pick(r, "", "deploy")}
	}
}

// chooseElection picks an operation on an election.
func (u *User) chooseElection(o *Op) {
	r := u.rng
	o.Name = u.history.name("seat", 0)
	acquire, waits := u.waits[o.Name]
	term, leads := u.holds[o.Name]
	switch x := r.IntN(10); {
	case waits && x < 2:
		u.chooseWait(o, acquire)
	case leads && x < 3:
		o.Kind, o.Command = Proclaim, &locks.ProclaimCommand{Lock: o.Name, Fence: term, Value: o.ID}
	case leads && x < 5:
		u.chooseRelease(o)
	case x < 4 && leads || x == 3:
		o.Kind, o.Command = Transfer, &locks.TransferCommand{Lock: o.Name, Fence: term * uint64(r.IntN(2)), To: u.someSession()}
	case waits || x < 5:
		o.Kind = Look
	case x == 5 && !leads: // a lock like any other
		o.Kind, o.Command = Acquire, &locks.AcquireCommand{Lock: o.Name, Session: o.Session, Note: o.ID}
	default:
		o.Kind = Campaign
		o.Command = &locks.AcquireCommand{Lock: o.Name, Session: o.Session, Campaign: true, Value: o.ID, Wait: dice.Chance(r, 0.8), Note: o.ID}
	}
}

// someSession returns the session of any user.
func (u *User) someSession() string {
	return u.users[u.rng.IntN(len(u.users))].Session
}

// chooseFence picks an operation on a fence register.
func (u *User) chooseFence(o *Op) {
	r := u.rng
	o.Name = u.history.name("register", r.IntN(2))
	fence := u.history.guess(o.Name)
	if dice.Chance(r, 0.5) { // what somebody does who holds a lock
		fence = u.holds[u.history.lock(r.IntN(u.Locks))]
	}
	fence += uint64(r.IntN(3))
	switch r.IntN(6) {
	case 0, 1:
		o.Kind = Reading
	case 2:
		o.Kind, o.Command = Forget, &locks.ForgetFenceCommand{Resource: o.Name, Fence: fence}
	default:
		o.Kind, o.Command = Advance, &locks.AdvanceCommand{Resource: o.Name, Fence: fence}
	}
}

// chooseBorrow picks an operation on a lock without a session: the session is
// made with the lock, and ends with it.
func (u *User) chooseBorrow(o *Op) {
	r := u.rng
	i := r.IntN(u.Locks)
	o.Name = u.history.name("lock", i)
	if l, ok := u.loans[o.Name]; ok {
		o.Session = l.session
		switch {
		case l.fence != 0 && dice.Chance(r, 0.8):
			o.Kind, o.Command = Release, &locks.ReleaseCommand{Lock: o.Name, Fence: l.fence, Session: l.session}
		case l.fence == 0 && dice.Chance(r, 0.3):
			o.Kind, o.cancels = Cancel, l.request
			o.Command = &locks.CancelCommand{Lock: o.Name, Session: l.session}
		default:
			o.Kind, o.waits = Look, l.request
		}
		return
	}
	o.Kind, o.Session = Borrow, "borrow-"+o.ID
	o.Command = &locks.AcquireCommand{
		Lock: o.Name, Session: o.Session, Open: true, TTL: u.TTL, Wait: dice.Chance(r, 0.5),
		Shared: u.Features.Has(WithShared) && dice.Chance(r, 0.4), Note: o.ID,
	}
}

// chooseTxn picks a transaction on a group of keys, or a read of all of it.
func (u *User) chooseTxn(o *Op) {
	r := u.rng
	o.Name = u.history.name("group", r.IntN(2))
	if dice.Chance(r, 0.3) {
		o.Kind = Peek
		return
	}
	o.Kind = Txn
	cmd := &locks.TxnCommand{}
	for range r.IntN(3) {
		cmd.If = append(cmd.If, u.condition(o))
	}
	for i := range GroupKeys {
		if dice.Chance(r, 0.6) {
			cmd.Then = append(cmd.Then, u.step(o, i))
		}
		if dice.Chance(r, 0.2) {
			cmd.Else = append(cmd.Else, u.step(o, i))
		}
	}
	if dice.Chance(r, 0.2) {
		cmd.Then = append(cmd.Then, locks.Op{
			Kind: locks.OpPut, Key: fmt.Sprintf("attached-%d", r.IntN(u.Keys)), Value: []byte(o.ID),
			Session: dice.Pick(r, o.Session, o.Session, o.Session, u.someSession(), u.last),
		})
	}
	o.Command = cmd
}

// condition picks a condition of a transaction.
func (u *User) condition(o *Op) locks.If {
	r := u.rng
	key := GroupKey(o.Name, r.IntN(GroupKeys))
	switch r.IntN(8) {
	case 0:
		return locks.If{Kind: locks.IfExists, Name: key}
	case 1:
		return locks.If{Kind: locks.IfAbsent, Name: key}
	case 2:
		return locks.If{Kind: locks.IfValue, Name: key, Value: []byte(u.history.values[key])}
	case 3:
		return locks.If{Kind: locks.IfAlive, Name: dice.Pick(r, o.Session, u.someSession(), u.last)}
	case 4, 5:
		lock := u.someLock()
		return locks.If{Kind: locks.IfCurrent, Name: lock, Revision: u.holds[lock]}
	default:
		return locks.If{Kind: locks.IfRevision, Name: key, Revision: u.history.guess(key)}
	}
}

// step picks an operation of a transaction on the i-th key of its group.
func (u *User) step(o *Op, i int) locks.Op {
	key := GroupKey(o.Name, i)
	switch u.rng.IntN(8) {
	case 0, 1:
		return locks.Op{Kind: locks.OpGet, Key: key}
	case 2:
		return locks.Op{Kind: locks.OpDelete, Key: key}
	case 3:
		return locks.Op{Kind: locks.OpDeletePrefix, Key: key[:len(key)-1]}
	default:
		return locks.Op{Kind: locks.OpPut, Key: key, Value: []byte(o.ID)}
	}
}
