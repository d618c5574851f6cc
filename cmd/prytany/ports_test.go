package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
)

// A portPicker hands out loopback ports for TCP and UDP, each once. They are not among those that
// the system gives to whoever leaves it the choice, so that nobody takes one before the node
// for which it is meant.
type portPicker struct {
	mu       sync.Mutex
	from, to int // those that it has: from and below to
	next     int // the one to look at next
}

var ports portPicker

// pick returns the first of n free ports in a row.
func (p *portPicker) pick(n int) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.to == 0 {
		p.from, p.to = quietPorts()
		p.next = p.from + rand.IntN(p.to-p.from) // other processes may do the same
	}
	for range p.to - p.from {
		first := p.next
		if first+n > p.to {
			p.next = p.from
			continue
		}
		if taken := firstTaken(first, n); taken >= 0 {
			p.next = taken + 1
			continue
		}
		p.next = first + n
		return first, nil
	}
	return 0, errors.New("no free ports")
}

// quietPorts are the ports that the system gives to nobody by itself. Where it does not say
// which, or they are too few, they are those that it rarely gives.
func quietPorts() (from, to int) {
	const least, most, enough = 10000, 65536, 2000
	var low, high int
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err == nil {
		_, err = fmt.Sscan(string(b), &low, &high)
	}
	switch {
	case err == nil && low-least >= enough:
		return least, low
	case err == nil && most-high > enough:
		return high + 1, most
	}
	return least, least + enough
}

// firstTaken returns the first of n ports from first on that is in use, -1 if none is.
func firstTaken(first, n int) int {
	for port := first; port < first+n; port++ {
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		tcp, err := net.Listen("tcp", addr)
		if err != nil {
			return port
		}
		udp, err := net.ListenPacket("udp", addr)
		_ = tcp.Close()
		if err != nil {
			return port
		}
		_ = udp.Close()
	}
	return -1
}
