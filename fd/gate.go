package fd

import (
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// A gate is a transport that drops what goes to or comes from a peer that is
// not allowed, as a broken link would.
type gate struct {
	memberlist.NodeAwareTransport
	allowed func(addr string) bool
	packets chan *memberlist.Packet
	streams chan net.Conn
	done    chan struct{}
	running sync.WaitGroup
	once    sync.Once
}

// newGate wraps inner and starts to filter what it receives.
func newGate(inner memberlist.NodeAwareTransport, allowed func(string) bool) *gate {
	g := &gate{
		NodeAwareTransport: inner,
		allowed:            allowed,
		packets:            make(chan *memberlist.Packet),
		streams:            make(chan net.Conn),
		done:               make(chan struct{}),
	}
	g.running.Go(g.filter)
	return g
}

// filter passes on what may be received, until Shutdown.
func (g *gate) filter() {
	for {
		select {
		case <-g.done:
			return
		case p := <-g.NodeAwareTransport.PacketCh():
			if !g.allowed(p.From.String()) {
				continue
			}
			select {
			case g.packets <- p:
			case <-g.done:
				return
			}
		case c := <-g.NodeAwareTransport.StreamCh():
			if !g.allowed(c.RemoteAddr().String()) {
				c.Close()
				continue
			}
			select {
			case g.streams <- c:
			case <-g.done:
				c.Close()
				return
			}
		}
	}
}

func (g *gate) PacketCh() <-chan *memberlist.Packet { return g.packets }
func (g *gate) StreamCh() <-chan net.Conn           { return g.streams }

func (g *gate) WriteTo(b []byte, addr string) (time.Time, error) {
	return g.WriteToAddress(b, memberlist.Address{Addr: addr})
}

func (g *gate) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	if !g.allowed(a.Addr) {
		return time.Now(), nil // sent, and lost
	}
	return g.NodeAwareTransport.WriteToAddress(b, a)
}

func (g *gate) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return g.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

func (g *gate) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	if !g.allowed(a.Addr) {
		return nil, fmt.Errorf("dial %s: %w", a.Addr, os.ErrDeadlineExceeded)
	}
	return g.NodeAwareTransport.DialAddressTimeout(a, timeout)
}

// Shutdown closes the inner transport first: its listeners may wait for filter.
func (g *gate) Shutdown() error {
	err := g.NodeAwareTransport.Shutdown()
	g.once.Do(func() { close(g.done) })
	g.running.Wait()
	return err
}
