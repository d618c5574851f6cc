package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// floodPatience is how long a client of a flood waits for an answer.
const floodPatience = 30 * time.Second

// A flood is writes that are sent when they are due, if one of so many clients is free.
// Each client is one connection and writes HTTP by hand: net/http takes as much of the
// processor for a request as the node that answers it, and most of what would be measured
// were its own queues.
type flood struct {
	addr    string
	work    chan int // numbers of writes, for whoever is free
	clients sync.WaitGroup
	stop    context.CancelFunc

	sent, unsent, failed, noRetryAfter atomic.Int64

	mu       sync.Mutex
	statuses map[int][]time.Duration
	first    error // of those without an answer
}

// openFlood makes the clients. Each connects when it has something to send: a node cuts
// off who connects and is silent for ten seconds.
func openFlood(ctx context.Context, n *node, clients int) (*flood, error) {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return nil, err
	}
	if most := max(int(lim.Cur)-2*spares, 1); clients > most {
		say("NOTE: %d clients instead of %d, because there may be %d open files: see ulimit -n", most, clients, lim.Cur)
		clients = most
	}
	f := &flood{addr: strings.TrimPrefix(n.URL, "http://"), work: make(chan int), statuses: map[int][]time.Duration{}}
	ctx, f.stop = context.WithCancel(ctx)
	for range clients {
		f.clients.Go(func() { f.client(ctx) })
	}
	return f, nil
}

func (f *flood) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Timeout: floodPatience}
	c, err := d.DialContext(ctx, "tcp", f.addr)
	if err != nil {
		return nil, err // not a nil *TCPConn
	}
	return c, nil
}

// run has so many a second fall due for so long, waits for all answers, and returns how
// long they fell due.
func (f *flood) run(ctx context.Context, rate float64, last time.Duration) time.Duration {
	begin := time.Now()
	for due := 0; sleep(ctx, time.Millisecond) && time.Since(begin) < last; {
		for now := int(time.Since(begin).Seconds() * rate); due < now; due++ {
			select {
			case f.work <- due:
				f.sent.Add(1)
			default:
				f.unsent.Add(1)
			}
		}
	}
	took := time.Since(begin)
	close(f.work)
	f.clients.Wait()
	return took
}

// close ends the clients that are left.
func (f *flood) close() {
	f.stop()
	f.clients.Wait()
}

// client sends what falls due while it is free.
func (f *flood) client(ctx context.Context) {
	var c net.Conn
	var in *bufio.Reader
	for {
		var i int
		var ok bool
		select {
		case i, ok = <-f.work:
		case <-ctx.Done():
		}
		if !ok {
			break
		}
		begin := time.Now()
		var err error
		if c == nil {
			if c, err = f.dial(ctx); err == nil {
				in = bufio.NewReaderSize(c, 1024)
			}
		}
		var status int
		var retryAfter bool
		if err == nil {
			status, retryAfter, err = exchange(c, in, i)
		}
		f.count(status, retryAfter, time.Since(begin), err)
		if err != nil && c != nil {
			_ = c.Close()
			c = nil
		}
	}
	if c != nil {
		_ = c.Close()
	}
}

// count counts what became of a write.
func (f *flood) count(status int, retryAfter bool, took time.Duration, err error) {
	if err != nil {
		f.failed.Add(1)
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.first == nil {
			f.first = err
		}
		return
	}
	if refusal(status) && !retryAfter {
		f.noRetryAfter.Add(1)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.statuses[status] = append(f.statuses[status], took)
}

// exchange sends the i-th write and reads its answer.
func exchange(c net.Conn, in *bufio.Reader, i int) (status int, retryAfter bool, err error) {
	if err := c.SetDeadline(time.Now().Add(floodPatience)); err != nil {
		return 0, false, err
	}
	if _, err := fmt.Fprintf(c, "PUT /v1/config/overload/%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx", i%1000); err != nil {
		return 0, false, err
	}
	length := 0
	for first := true; ; first = false {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return 0, false, err
		}
		line = bytes.TrimSpace(line)
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch {
		case first:
			if len(line) < len("HTTP/1.1 200") {
				return 0, false, errors.New("no status")
			}
			if status, err = strconv.Atoi(string(line[9:12])); err != nil {
				return 0, false, err
			}
		case len(line) == 0:
			_, err = in.Discard(length)
			return status, retryAfter, err
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, false, err
			}
		case bytes.EqualFold(name, []byte("Retry-After")):
			retryAfter = true
		case bytes.EqualFold(name, []byte("Connection")) && bytes.EqualFold(value, []byte("close")):
			return 0, false, io.ErrUnexpectedEOF
		}
	}
}
