//go:build linux

package world

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/prytany/prytany/jepsen/wire"
)

// A Host is where processes run: a network namespace with one interface, whose
// other end is the switch, or this machine's loopback if there are no namespaces.
// The namespace has no name: it ends with the last process in it and with Close, so
// that nothing is left behind however this process ends.
type Host struct {
	Name string
	At   netip.Addr

	ns   *os.File // nil: this machine's
	tun  *os.File
	stop func()
	read sync.WaitGroup
}

const mtu = 1500

// home is the network that this process was started in. It is looked up before any
// thread leaves it.
var home = sync.OnceValues(func() (*os.File, error) { return os.Open("/proc/thread-self/ns/net") })

// newHost makes a namespace and joins it to sw.
func newHost(name string, at netip.Addr, sw *wire.Switch) (h *Host, err error) {
	h = &Host{Name: name, At: at}
	if _, err := home(); err != nil {
		return nil, err
	}
	if h.ns, err = newNamespace(); err != nil {
		return nil, fmt.Errorf("network namespace: %w", err)
	}
	if err := h.Do(func() (err error) { h.tun, err = openTUN(at); return err }); err != nil {
		return nil, errors.Join(fmt.Errorf("interface of %s: %w", name, err), h.ns.Close())
	}
	h.stop = sw.Attach(name, at, func(p []byte) { _, _ = h.tun.Write(p) }) // a host that takes nothing loses it
	h.read.Go(func() {
		buf := make([]byte, 1<<16)
		for {
			n, err := h.tun.Read(buf)
			if err != nil {
				return
			}
			sw.Send(buf[:n])
		}
	})
	return h, nil
}

// Close takes the host from the switch. Its processes must have ended.
func (h *Host) Close() error {
	if h.ns == nil {
		return nil
	}
	err := h.tun.Close()
	h.read.Wait()
	h.stop()
	return errors.Join(err, h.ns.Close())
}

// Loopback sets the loopback of the present network up: in a namespace that has just
// been made it is down.
func Loopback() error { return linkUp("lo") }

// newNamespace makes a network namespace with loopback up.
func newNamespace() (ns *os.File, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with the goroutine, and takes its namespace along
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return
		}
		if err = linkUp("lo"); err != nil {
			return
		}
		ns, err = os.Open("/proc/thread-self/ns/net")
	}()
	<-done
	return ns, err
}

// Do runs f on a thread that is in the host's network. Sockets and processes that f
// makes there stay there; goroutines that it starts are not there.
func (h *Host) Do(f func() error) error {
	if h.ns == nil {
		return f()
	}
	back, err := home()
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := unix.Setns(int(h.ns.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	err = f()
	if stuck := unix.Setns(int(back.Fd()), unix.CLONE_NEWNET); stuck != nil {
		return errors.Join(err, stuck) // the thread stays locked, and ends with the goroutine
	}
	runtime.UnlockOSThread()
	return err
}

// Start starts a process on the host. It dies with this process.
func (h *Host) Start(cmd *exec.Cmd) error { return h.Do(cmd.Start) }

// Client is an HTTP client on the host: what is asked of its own node passes no
// switch and meets no fault of the network.
func (h *Host) Client(timeout time.Duration) *http.Client {
	dial := func(ctx context.Context, network, address string) (c net.Conn, err error) {
		err = h.Do(func() error { c, err = (&net.Dialer{}).DialContext(ctx, network, address); return err })
		return c, err
	}
	return &http.Client{Timeout: timeout, Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Second}}
}

// openTUN makes the one interface of the present namespace, with an address.
func openTUN(at netip.Addr) (*os.File, error) {
	const name = "tun0"
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	if err := makeTUN(fd, name, at); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	// Only now, for until it has a name it cannot be waited for.
	return os.NewFile(uintptr(fd), name), nil
}

func makeTUN(fd int, name string, at netip.Addr) error {
	r, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, r); err != nil {
		return fmt.Errorf("make: %w", err)
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(s) }()
	for _, set := range []struct {
		what uint
		ip   netip.Addr
	}{{unix.SIOCSIFADDR, at}, {unix.SIOCSIFNETMASK, netip.AddrFrom4([4]byte{255, 255, 255, 0})}} {
		r, _ := unix.NewIfreq(name)
		ip := set.ip.As4()
		if err := r.SetInet4Addr(ip[:]); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(s, set.what, r); err != nil {
			return fmt.Errorf("address: %w", err)
		}
	}
	r, _ = unix.NewIfreq(name)
	r.SetUint32(mtu)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFMTU, r); err != nil {
		return fmt.Errorf("mtu: %w", err)
	}
	return linkUp(name)
}

// linkUp sets an interface of the present namespace up.
func linkUp(name string) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(s) }()
	r, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(s, unix.SIOCGIFFLAGS, r); err != nil {
		return err
	}
	r.SetUint16(r.Uint16() | unix.IFF_UP)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, r)
}
