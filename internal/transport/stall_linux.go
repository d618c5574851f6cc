package transport

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// progressOf asks the kernel, if conn has anything to do with it.
func progressOf(conn net.Conn) (p progress, ok bool) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return p, false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return p, false
	}
	var info *unix.TCPInfo
	var get error
	err = raw.Control(func(fd uintptr) { info, get = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	if err != nil || get != nil {
		return p, false
	}
	return progress{
		waits:   info.Unacked > 0 || info.Notsent_bytes > 0,
		backoff: info.Retransmits > 0,
		acked:   info.Bytes_acked,
		rtt:     time.Duration(info.Rtt) * time.Microsecond,
	}, true
}
