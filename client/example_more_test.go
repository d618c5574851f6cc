package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/prytany/prytany/client"
)

func ExampleClient_RLock() {
	c, stop := newClient()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	one, err := c.RLock(ctx, "prices")
	if err != nil {
		log.Fatal(err)
	}
	two, err := c.RLock(ctx, "prices")
	if err != nil {
		log.Fatal(err)
	}
	_, err = c.TryLock(ctx, "prices")
	fmt.Println("alone:", !errors.Is(err, client.ErrHeld))
	fmt.Println("upgrade beside another reader refused:", errors.Is(one.Upgrade(ctx), client.ErrUpgradeRefused))
	if err := two.Unlock(ctx); err != nil {
		log.Fatal(err)
	}
	before := one.Fence()
	fmt.Println("upgrade:", one.Upgrade(ctx), one.Mode(), one.Fence() > before)
	fmt.Println("downgrade:", one.Downgrade(ctx), one.Mode())
	// Output:
	// alone: false
	// upgrade beside another reader refused: true
	// upgrade: <nil> exclusive true
	// downgrade: <nil> shared
}

func ExampleClient_Semaphore() {
	c, stop := newClient()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	for range 2 {
		if _, err := c.Semaphore(ctx, "downloads", 2); err != nil {
			log.Fatal(err)
		}
	}
	_, err := c.Acquire(ctx, "downloads", client.Options{Slots: 2, Try: true})
	fmt.Println("full:", errors.Is(err, client.ErrHeld))
	_, err = c.Semaphore(ctx, "downloads", 3)
	var p *client.ProblemError
	if errors.Is(err, client.ErrLimitMismatch) && errors.As(err, &p) {
		fmt.Println("there are", p.Slots, "slots, not", p.RequestedSlots)
	}
	// Output:
	// full: true
	// there are 2 slots, not 3
}

func ExampleClient_AcquireAll() {
	c, stop := newClient()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	other, err := c.NewSession(ctx, client.SessionConfig{Name: "worker-7"})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := c.Acquire(ctx, "account/2", client.Options{Session: other}); err != nil {
		log.Fatal(err)
	}
	names := []string{"account/1", "account/2"}
	_, err = c.AcquireAll(ctx, names, client.Options{})
	var p *client.ProblemError
	if errors.Is(err, client.ErrHeld) && errors.As(err, &p) {
		for _, h := range p.Held {
			fmt.Println(h.Name, "is held by", h.Holder.Owner)
		}
	}
	if err := other.End(ctx); err != nil {
		log.Fatal(err)
	}
	all, err := c.AcquireAll(ctx, names, client.Options{Note: "transfer"})
	fmt.Println(len(all), "locks:", err)
	// Output:
	// account/2 is held by worker-7
	// 2 locks: <nil>
}

func ExampleHeld_Yield() {
	c, stop := newClient()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	h, err := c.Lock(ctx, "migration")
	if err != nil {
		log.Fatal(err)
	}
	if err := c.AskYield(ctx, "migration", 0, "deploy"); err != nil { // an operator, from elsewhere
		log.Fatal(err)
	}
	fmt.Println("asked to yield:", (<-h.Yield()).Reason)
	if err := c.Break(ctx, "migration", "stuck"); err != nil { // who lost patience
		log.Fatal(err)
	}
	<-h.Done()
	var lost *client.LostError
	if err := h.Err(); errors.Is(err, client.ErrLockLost) && errors.As(err, &lost) {
		fmt.Println("lost:", lost.Reason)
	}
	// Output:
	// asked to yield: deploy
	// lost: forced: stuck
}

func ExampleSession_Events() {
	c, stop := newClient()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	s, err := c.NewSession(ctx, client.SessionConfig{})
	if err != nil {
		log.Fatal(err)
	}
	for e := range s.Events(ctx) {
		fmt.Println(e.State)
		if e.State == client.SessionOK {
			if err := s.End(ctx); err != nil {
				log.Fatal(err)
			}
		}
	}
	// Output:
	// ok
	// expired
}

func ExampleElection_Run() {
	c, stop := newClient()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	e := c.Election("scheduler", client.ElectionConfig{Value: "http://10.0.0.7:8080"})
	done := errors.New("the work is done")
	err := e.Run(ctx, func(ctx context.Context, t client.Term) error {
		l, err := e.Leader(ctx)
		if err != nil {
			return err
		}
		fmt.Println(l.Value, "leads:", l.Term == t.Fence)
		// Work while ctx lasts, and pass t.Fence to what the work writes to.
		return done
	})
	fmt.Println(err)
	_, err = e.Leader(ctx)
	fmt.Println("nobody leads:", errors.Is(err, client.ErrNotFound))
	// Output:
	// http://10.0.0.7:8080 leads: true
	// the work is done
	// nobody leads: true
}

func ExampleElection_Observe() {
	c, stop := newClient()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	e := c.Election("scheduler", client.ElectionConfig{Value: "http://10.0.0.7:8080"})
	for l, err := range e.Observe(ctx) {
		switch {
		case err != nil:
			log.Fatal(err)
		case l.Term == 0:
			fmt.Println("nobody leads")
			if _, err := e.Campaign(ctx); err != nil {
				log.Fatal(err)
			}
			continue
		}
		fmt.Println(l.Owner, "leads at", l.Value)
		if l.Value != "http://10.0.0.8:8080" {
			if err := e.Proclaim(ctx, "http://10.0.0.8:8080"); err != nil {
				log.Fatal(err)
			}
			continue
		}
		break
	}
	// Output:
	// nobody leads
	// web-2 leads at http://10.0.0.7:8080
	// web-2 leads at http://10.0.0.8:8080
}

func ExampleElection_Transfer() {
	c, stop := newClient()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	old := c.Election("scheduler", client.ElectionConfig{Session: client.SessionConfig{Name: "old"}})
	h, err := old.Campaign(ctx)
	if err != nil {
		log.Fatal(err)
	}
	next := c.Election("scheduler", client.ElectionConfig{Session: client.SessionConfig{Name: "new"}})
	elected := make(chan *client.Held)
	go func() {
		h, err := next.Campaign(ctx)
		if err != nil {
			log.Fatal(err)
		}
		elected <- h
	}()
	var all []client.Candidate
	for len(all) == 0 {
		if all, err = old.Candidates(ctx); err != nil {
			log.Fatal(err)
		}
	}
	if err := old.Transfer(ctx, all[0].Session); err != nil {
		log.Fatal(err)
	}
	fmt.Println("a later term:", (<-elected).Fence() > h.Fence())
	l, err := old.Leader(ctx)
	fmt.Println(l.Owner, err)
	// Output:
	// a later term: true
	// new <nil>
}

func ExampleClient_Watch() {
	c, stop := newClient()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	if _, err := c.Put(ctx, "app/color", []byte("blue")); err != nil {
		log.Fatal(err)
	}
	// Read what there is, and go on from there.
	l, err := c.Browse(ctx, "app/", client.ListOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(l.Entries[0].Key, "is", string(l.Entries[0].Value))
	_, err = c.Txn(ctx, client.Txn{Then: []client.Op{client.PutOp("app/color", []byte("red")), client.DeleteOp("app/size"), client.PutOp("app/shape", []byte("round"))}})
	if err != nil {
		log.Fatal(err)
	}
	for e, err := range c.Watch(ctx, "app/", client.WatchOptions{From: l.Revision + 1}) {
		switch {
		case errors.Is(err, client.ErrCompacted):
			fmt.Println("too much has happened: read anew")
		case err != nil:
			log.Fatal(err)
		}
		fmt.Println(e.Type, e.Name, string(e.Entry.Value))
		if !e.More {
			break
		}
	}
	// Output:
	// app/color is blue
	// put app/color red
	// put app/shape round
}

func ExampleValue() {
	c, stop := newClient()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	type Limits struct{ RPS, Burst int }
	v, err := client.Value(ctx, c, "config/limits", client.JSON[Limits], client.ValueOptions[Limits]{Default: Limits{100, 10}})
	if err != nil {
		log.Fatal(err)
	}
	defer v.Close()
	fmt.Println(v.Load().RPS) // no I/O
	if _, err := c.Put(ctx, "config/limits", []byte(`{"RPS":200,"Burst":20}`)); err != nil {
		log.Fatal(err)
	}
	for l := range v.Changes(ctx) {
		if l.RPS == 200 {
			break
		}
	}
	fmt.Println(v.Load().RPS)
	// Output:
	// 100
	// 200
}

func ExampleClient_Txn() {
	c, stop := newClient()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	h, err := c.Lock(ctx, "migration")
	if err != nil {
		log.Fatal(err)
	}
	move := client.Txn{
		If:   []client.If{client.LockHeld(h), client.KeyAbsent("new/name")},
		Then: []client.Op{client.PutOp("new/name", []byte("x")), client.DeletePrefixOp("old/")},
		Else: []client.Op{client.GetOp("new/name")},
	}
	for range 2 {
		res, err := c.Txn(ctx, move)
		if err != nil {
			log.Fatal(err)
		}
		if res.Succeeded {
			fmt.Println("moved")
			continue
		}
		fmt.Println("condition", res.Failed[0].Index, "fails: it is", string(res.Results[0].Entry.Value))
	}
	// Output:
	// moved
	// condition 1 fails: it is x
}

func ExampleClient_AdvanceFence() {
	c, stop := newClient()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	first, err := c.Lock(ctx, "disk-1")
	if err != nil {
		log.Fatal(err)
	}
	if err := c.Break(ctx, "disk-1", "stuck"); err != nil {
		log.Fatal(err)
	}
	second, err := c.Acquire(ctx, "disk-1", client.Options{Slots: 1})
	if err != nil {
		log.Fatal(err)
	}
	// Before each step of the work, for a resource that cannot compare fences:
	_, err = c.AdvanceFence(ctx, "disk-1", second.Fence())
	fmt.Println(err)
	_, err = c.AdvanceFence(ctx, "disk-1", first.Fence())
	fmt.Println(errors.Is(err, client.ErrStaleFence))
	fmt.Println(errors.Is(c.CheckFence(ctx, "disk-1", first.Fence()), client.ErrStaleFence))
	// Output:
	// <nil>
	// true
	// true
}
