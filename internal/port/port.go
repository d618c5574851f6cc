// Package port keeps ports of the loopback for servers that come and go: while one is
// down nobody else gets its port, unless it asks for that very number.
package port

import "fmt"

// A Port is one that this process keeps.
type Port struct {
	addr    string
	release func()
}

// Keep takes a port of 127.0.0.1 that nobody has, for TCP or for datagrams. Whoever is told
// its number can listen there, again and again; while nobody does, connections to it are
// refused.
func Keep() (*Port, error) {
	addr, release, err := keep()
	if err != nil {
		return nil, fmt.Errorf("cannot keep a port: %w", err)
	}
	return &Port{addr, release}, nil
}

// Addr returns 127.0.0.1 and the port.
func (p *Port) Addr() string { return p.addr }

// Release gives the port back, once. Who listens there goes on.
func (p *Port) Release() { p.release() }
