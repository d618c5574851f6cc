package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prytany/prytany/bench/peer"
)

// cells measures all cells, round after round. In each round the systems take
// turns, and the order turns, too.
func (b *bench) cells(ctx context.Context, cells []cell) error {
	all, err := b.startAll(ctx)
	defer func() {
		for _, s := range all {
			s.Nodes().Stop()
		}
	}()
	if err != nil {
		return err
	}
	for _, c := range cells {
		for round := 1; round <= b.rounds; round++ {
			for i := range all {
				s := all[(i+round)%len(all)]
				got, err := b.turn(ctx, s, c, round)
				if err != nil {
					return err
				}
				b.out.Samples = append(b.out.Samples, got)
				say("%s, %d clients, round %d: %s: %.0f/s, 50 %% %.2fms, 99 %% %.2fms, %.0f µs of server, %.0f µs of client", c.Kind, c.Clients, round, s.Name(), got.Rate, got.P50, got.P99, got.CPU, got.Client)
			}
		}
	}
	return nil
}

// startAll starts one cluster of each system, ready and stopped.
func (b *bench) startAll(ctx context.Context) (all []peer.System, err error) {
	for _, name := range split(b.systems) {
		s, err := b.start(name)
		if err != nil {
			return all, err
		}
		all = append(all, s)
		if err := peer.Await(ctx, s, s.Ready); err != nil {
			return all, err
		}
		if b.keys > 0 {
			if err := b.fill(ctx, s); err != nil {
				return all, fmt.Errorf("%s: %w", name, err)
			}
		}
		if err := s.Nodes().Freeze(); err != nil {
			return all, err
		}
	}
	return all, nil
}

// fill writes the keys that are to be there before anything is measured.
func (b *bench) fill(ctx context.Context, s peer.System) error {
	lead, err := s.Leader(ctx)
	if err != nil {
		return err
	}
	c, err := s.Clients([]int{lead}, false)
	if err != nil {
		return err
	}
	defer c.Close()
	began := time.Now()
	if err := fill(ctx, c, b.keys, b.size); err != nil {
		return err
	}
	say("%s: %d keys are there after %s", s.Name(), b.keys, time.Since(began).Round(time.Millisecond))
	return nil
}

// fill writes n keys with values of size bytes, in transactions of at most 256 KiB.
func fill(ctx context.Context, c peer.Clients, n, size int) error {
	const workers = 8
	value := bytes.Repeat([]byte{'v'}, size)
	each := min(peer.MaxFill, max(1, 256<<10/size))
	var next atomic.Int64
	errs := make([]error, workers)
	var all sync.WaitGroup
	for i := range workers {
		all.Go(func() {
			for errs[i] == nil {
				last := int(next.Add(int64(each)))
				var keys []string
				for k := last - each; k < min(last, n); k++ {
					keys = append(keys, fmt.Sprintf("there/%07d", k))
				}
				if len(keys) == 0 {
					return
				}
				errs[i] = c.Fill(ctx, i, keys, value)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// turn measures one cell of a system whose nodes are stopped, and stops them again.
func (b *bench) turn(ctx context.Context, s peer.System, c cell, round int) (got sample, err error) {
	if err := s.Nodes().Thaw(); err != nil {
		return got, err
	}
	if err := b.settle(ctx, s); err != nil {
		return got, err
	}
	if got, err = b.measure(ctx, s, c, round); err != nil {
		return got, err
	}
	return got, s.Nodes().Freeze()
}

// settle waits until every node has served for a while again.
func (b *bench) settle(ctx context.Context, s peer.System) error {
	var at []int
	for i := range s.Nodes().All {
		at = append(at, i)
	}
	c, err := s.Clients(at, false)
	if err != nil {
		return err
	}
	defer c.Close()
	const inRow = 10
	good := 0
	return peer.Await(ctx, s, func(ctx context.Context) error {
		for ; good < inRow; good++ {
			for i := range at {
				try, cancel := context.WithTimeout(ctx, 2*time.Second)
				err := c.Put(try, i, fmt.Sprintf("settle/%d", i), []byte("x"))
				cancel()
				if err != nil {
					good = 0
					return err
				}
			}
		}
		return nil
	})
}

// median of xs, 0 if there are none.
func median(xs []float64) float64 {
	if len(xs) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(xs))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}
