package transport

import (
	"net"
	"time"
)

// tune sets what both sides of a connection want. Keep-alives are for the side
// that only reads: it would not notice otherwise that the other machine has
// lost its power.
func (t *Transport) tune(conn net.Conn) error {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	if err := tcp.SetNoDelay(true); err != nil {
		return err
	}
	if err := tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}); err != nil {
		return err
	}
	return setUserTimeout(tcp, t.cfg.UserTimeout)
}
