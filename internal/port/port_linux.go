package port

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// attempts is how many ports are tried whose number somebody has for datagrams.
const attempts = 10

func keep() (addr string, release func(), err error) {
	for range attempts {
		if addr, release, err = bind(); err != nil {
			return "", nil, err
		}
		c, err := net.ListenPacket("udp4", addr)
		if err == nil {
			_ = c.Close()
			return addr, release, nil
		}
		release()
		if !errors.Is(err, syscall.EADDRINUSE) {
			return "", nil, err
		}
	}
	return "", nil, errors.New("datagrams have them all")
}

// bind has the system choose a port for a socket of TCP that never listens. With
// SO_REUSEADDR, which net.Listen sets too, one that does listen may have the same address;
// whoever leaves the choice to the system does not get it.
func bind() (addr string, release func(), err error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", nil, err
	}
	release = func() { _ = syscall.Close(fd) }
	err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	if err == nil {
		err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	var at syscall.Sockaddr
	if err == nil {
		at, err = syscall.Getsockname(fd)
	}
	in, ok := at.(*syscall.SockaddrInet4)
	if !ok {
		release()
		return "", nil, errors.Join(err, fmt.Errorf("bound to %v", at))
	}
	return fmt.Sprintf("127.0.0.1:%d", in.Port), release, nil
}
