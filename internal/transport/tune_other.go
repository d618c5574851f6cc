//go:build !linux

package transport

import (
	"net"
	"time"
)

// setUserTimeout does nothing: the deadline of each write must do.
func setUserTimeout(*net.TCPConn, time.Duration) error { return nil }
