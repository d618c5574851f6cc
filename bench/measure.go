package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/prytany/prytany/bench/peer"
	"github.com/prytany/prytany/internal/load"
)

// A cell is one kind of work with so many clients.
type cell struct {
	Kind    string `json:"kind"`
	Clients int    `json:"clients"`
}

// A sample is what one round of a cell measured of one system.
type sample struct {
	System   string  `json:"system"`
	Cell     cell    `json:"cell"`
	Round    int     `json:"round"`
	Done     int64   `json:"done"`
	Failed   int64   `json:"failed"`
	Error    string  `json:"first_error,omitempty"`
	Verified int64   `json:"verified"` // operations, of the warm-up too
	Rate     float64 `json:"rate"`
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	Max      float64 `json:"max_ms"`
	CPU      float64 `json:"server_cpu_us"`    // of all nodes, for each operation
	Client   float64 `json:"generator_cpu_us"` // of this process, for each operation
	Mallocs  float64 `json:"server_mallocs"`   // of all nodes, for each operation, the warm-up's too
	Bytes    float64 `json:"server_alloc_bytes"`
	Syncs    float64 `json:"server_syncs"` // durable writes of all nodes, for each operation
	Resident int64   `json:"resident"`     // bytes, of the node that has most
	Private  int64   `json:"resident_private"`
}

// measure drives a system that runs.
func (b *bench) measure(ctx context.Context, s peer.System, c cell, round int) (out sample, err error) {
	at, err := b.targets(ctx, s)
	if err != nil {
		return out, err
	}
	clients, err := s.Clients(at, false)
	if err != nil {
		return out, err
	}
	defer clients.Close()
	w, err := newWork(ctx, clients, c.Kind, fmt.Sprintf("bench/%s/%d/%d/", c.Kind, c.Clients, round), c.Clients, b.size)
	if err != nil {
		return out, fmt.Errorf("%s: preparing %s with %d clients: %w", s.Name(), c.Kind, c.Clients, err)
	}
	defer w.end(ctx)
	counted, err := peer.CountsOf(ctx, s.Nodes())
	if err != nil {
		return out, err
	}
	// Processor time is read where the warm-up ends.
	type reading struct {
		used peer.Usage
		own  time.Duration
		err  error
	}
	first := make(chan reading, 1)
	stop := b.profile(s, c, round)
	timer := time.AfterFunc(b.warmup, func() {
		u, err := peer.Usages(s.Nodes())
		first <- reading{u, ownCPU(), err}
	})
	defer timer.Stop()
	res, err := load.Run(ctx, load.Plan{Workers: c.Clients, Warmup: b.warmup, Duration: b.duration, Kinds: []string{c.Kind}, Do: w.do})
	if err != nil {
		return out, err
	}
	own := ownCPU()
	used, err := peer.Usages(s.Nodes())
	before := <-first
	if err := errors.Join(err, before.err, stop(), ctx.Err()); err != nil {
		return out, err
	}
	used = used.Sub(before.used)
	counts, err := peer.CountsOf(ctx, s.Nodes())
	if err != nil {
		return out, err
	}
	counts = counts.Sub(counted)
	k := res.Kinds[0]
	if errors.Is(k.First, errWrong) || k.Done == 0 {
		return out, fmt.Errorf("%s: %s with %d clients: %d done: %w", s.Name(), c.Kind, c.Clients, k.Done, k.First)
	}
	n, all := float64(k.Done), float64(w.done.Load())
	out = sample{
		System: s.Name(), Cell: c, Round: round, Done: k.Done, Failed: k.Failed, Rate: res.Rate(k),
		P50: ms(load.Quantile(k.Latency, 50)), P99: ms(load.Quantile(k.Latency, 99)), Max: ms(load.Quantile(k.Latency, 100)),
		CPU: us(used.CPU) / n, Client: us(own-before.own) / n, Mallocs: counts.Mallocs / all, Bytes: counts.Bytes / all, Syncs: counts.Syncs / all,
		Resident: used.Resident, Private: used.Private,
	}
	if k.First != nil {
		out.Error = k.First.Error()
	}
	out.Verified, err = w.verify(ctx)
	if err != nil {
		err = fmt.Errorf("%s: %w", s.Name(), err)
	}
	return out, err
}

// targets are the nodes that clients talk to: each, or the one that leads.
func (b *bench) targets(ctx context.Context, s peer.System) (at []int, err error) {
	if b.at == "leader" {
		err = peer.Await(ctx, s, func(ctx context.Context) error {
			i, err := s.Leader(ctx)
			at = []int{i}
			return err
		})
		return at, err
	}
	for i := range s.Nodes().All {
		at = append(at, i)
	}
	return at, nil
}

// profile samples where the nodes of s spend their time, with perf(1), while the
// last round of a cell is measured. stop ends that.
func (b *bench) profile(s peer.System, c cell, round int) (stop func() error) {
	if b.perf == "" || round != b.rounds {
		return func() error { return nil }
	}
	var pids []string
	for _, p := range s.Nodes().All {
		pids = append(pids, fmt.Sprint(p.PID()))
	}
	name := filepath.Join(b.perf, fmt.Sprintf("%s-%s-%d", strings.ReplaceAll(s.Name(), " ", "-"), c.Kind, c.Clients))
	seconds := fmt.Sprintf("%.1f", b.duration.Seconds())
	delay := fmt.Sprint(b.warmup.Milliseconds())
	all := strings.Join(pids, ",")
	record := exec.Command("perf", "record", "-q", "-D", delay, "-F", "499", "-g", "-p", all, "-o", name+".data", "--", "sleep", seconds)
	count := exec.Command("perf", "stat", "-D", delay, "-x", ";", "-p", all, "-o", name+".stat", "-e",
		"raw_syscalls:sys_enter,syscalls:sys_enter_fdatasync,syscalls:sys_enter_fsync,syscalls:sys_enter_futex,syscalls:sys_enter_read,syscalls:sys_enter_write,syscalls:sys_enter_epoll_pwait,context-switches",
		"--", "sleep", seconds)
	var said [2]bytes.Buffer
	record.Stderr, count.Stderr = &said[0], &said[1]
	err := errors.Join(record.Start(), count.Start())
	return func() error {
		if err == nil {
			err = errors.Join(record.Wait(), count.Wait())
		}
		if err != nil {
			return fmt.Errorf("perf: %w: %s%s", err, &said[0], &said[1])
		}
		return nil
	}
}

// ownCPU is the processor time that this process has taken.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // the arguments are constants
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func us(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
