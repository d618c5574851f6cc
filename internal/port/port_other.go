//go:build !linux

package port

import "net"

// keep only finds a port: where two sockets cannot have one address, it cannot be kept for
// somebody else.
func keep() (addr string, release func(), err error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	return l.Addr().String(), func() {}, l.Close()
}
