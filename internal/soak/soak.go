package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// soaked is a soak under way.
type soaked struct {
	o       options
	c       *cluster
	begin   time.Time
	load    *workload
	samples []sample
	faults  []struck
}

// soak works on a cluster for long, and judges what is left.
func soak(ctx context.Context, o options) ([]verdict, error) {
	say("starting %d nodes", o.nodes)
	c, err := start(ctx, o.binary, o.nodes)
	if err != nil {
		return nil, err
	}
	defer c.stop()
	r := &soaked{o: o, c: c, load: newWorkload(c, o)}
	if _, err := c.settle(ctx); err != nil {
		return nil, err
	}
	r.begin = time.Now()
	before := r.calm(ctx)
	end, err := r.work(ctx)
	if err != nil {
		return nil, err
	}
	after, skipped, err := r.leave(ctx)
	if err != nil {
		return nil, err
	}
	say("reading everything at every node")
	r.load.verify(ctx)
	if o.csv != "" {
		if err := r.write(o.csv); err != nil {
			return nil, err
		}
	}
	return judge(facts{
		nodes: o.nodes, worked: end, warm: o.warm, drain: o.drain, skipped: skipped,
		before: before, after: after, samples: r.samples, faults: r.faults, load: r.load.result(),
	}), nil
}

// calm looks at all nodes while nothing happens, a few times, and returns the last look.
func (r *soaked) calm(ctx context.Context) (last []sample) {
	for range 5 {
		sleep(ctx, time.Second)
		last = r.look(ctx)
	}
	return last
}

// work has clients work for as long as they are to, and faults strike meanwhile. It
// returns when they ended.
func (r *soaked) work(ctx context.Context) (end time.Duration, err error) {
	say("working for %v: %.0f operations a second, %d sessions and %d watchers at a time", r.o.last, r.o.rate, r.o.sessions, r.o.watchers)
	ctx, cancel := context.WithTimeout(ctx, r.o.last)
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() { r.load.run(ctx) })
	all.Go(func() {
		if err = r.breakNow(ctx); err != nil {
			cancel()
		}
	})
	for sleep(ctx, r.o.sample) {
		r.look(ctx)
	}
	all.Wait()
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = errors.Join(err, ctx.Err())
	}
	return time.Since(r.begin), err
}

// look samples all nodes at once.
func (r *soaked) look(ctx context.Context) []sample {
	now := make([]sample, len(r.c.nodes))
	var all sync.WaitGroup
	for i, n := range r.c.nodes {
		all.Go(func() { now[i] = n.take(ctx, r.begin) })
	}
	all.Wait()
	if ctx.Err() != nil {
		return nil
	}
	r.samples = append(r.samples, now...)
	return now
}

// leave waits until what clients have left is gone, at most as long as it is to, and
// returns the last look at each node. skipped are the tables that a short wait left out.
func (r *soaked) leave(ctx context.Context) (last []sample, skipped []string, err error) {
	const answersLast = 10*time.Minute + 30*time.Second
	s, err := r.c.settle(ctx)
	if err != nil {
		return nil, nil, err
	}
	if r.o.drain < answersLast {
		skipped = append(skipped, callersAnswers)
		say("NOTE: -drain %v is less than the ten minutes for which answers are kept: that table is not judged", r.o.drain)
	}
	say("all clients have left, %s leads; waiting for %v at most until nothing is left of them", s.leader.Name, r.o.drain)
	until := time.Now().Add(r.o.drain)
	for time.Now().Before(until) {
		if last = r.look(ctx); empty(last, skipped) {
			say("nothing is left")
			break
		}
		if !sleep(ctx, r.o.sample) {
			return nil, nil, ctx.Err()
		}
	}
	// The tables are empty; what they held is garbage until it is collected, which an idle
	// process does every two minutes.
	return last, skipped, nil
}

// empty reports whether all nodes have told, and have nothing in their tables.
func empty(now []sample, but []string) bool {
	for _, s := range now {
		if s.Error != "" {
			return false
		}
		for name, n := range s.Tables { //lint:ordered any will do
			if n > 0 && !slices.Contains(but, name) {
				return false
			}
		}
	}
	return len(now) > 0
}

// write puts all samples into a file.
func (r *soaked) write(file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	w := csv.NewWriter(f)
	names := slices.Sorted(maps.Values(tables))
	head := []string{"at_s", "node", "life", "error", "goroutines", "files", "segments", "resident", "heap", "collected", "dir", "state", "slots", "first", "changes", "entries", "fences", "led", "leads"}
	rows := [][]string{append(head, names...)}
	num := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	for _, s := range r.samples {
		row := []string{fmt.Sprintf("%.1f", s.At.Seconds()), s.Node, strconv.Itoa(s.Life), strings.ReplaceAll(s.Error, "\n", " "), num(s.Goroutines), strconv.Itoa(s.Files), strconv.Itoa(s.Segments),
			num(s.Resident), num(s.Heap), num(s.Collected), num(s.Dir), num(s.State), num(s.Slots), num(s.First), num(s.Changes), num(s.Entries), num(s.Fences), num(s.Led), strconv.FormatBool(s.Leads)}
		for _, name := range names {
			row = append(row, num(s.Tables[name]))
		}
		rows = append(rows, row)
	}
	return errors.Join(w.WriteAll(rows), f.Close())
}
