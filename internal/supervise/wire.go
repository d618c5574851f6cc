//go:build unix

package supervise

import (
	"encoding/gob"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

// A task is the first message to the guard; with it come three files, the
// command's standard ones.
type task struct {
	Path       string
	Args, Env  []string
	Foreground bool // put it in the foreground of its standard input, a terminal
}

// An order is every further message to the guard. Times are readings of clock.
type order struct {
	Term, Kill time.Duration // when to send SIGTERM and SIGKILL unless an order says otherwise
	End        bool          // the command has been told to end; only the SIGKILL is left to do
}

// A report is what the guard says: that it begins to start the command, that it has
// or why not, that the command has ended, and after the good-bye how.
type report struct {
	Begun bool // if no other report comes, the command may have run
	Pid   int
	Errno syscall.Errno // with Text: the command was not started
	Text  string
	Late  bool // there was no time left to start it

	Ended  bool
	Reaped bool
	Status syscall.WaitStatus // with Reaped
	Lost   bool               // with Reaped: the guard had to end it
}

// err says why the command was not started.
func (r report) err(path string) error {
	switch {
	case r.Late:
		return ErrNotRun
	case r.Errno != 0:
		return &os.PathError{Op: "exec", Path: path, Err: r.Errno}
	case r.Text != "":
		return errors.New(r.Text)
	}
	return nil
}

// A wire is one end of the connection between the two.
type wire struct {
	conn *net.UnixConn
	enc  *gob.Encoder
	dec  *gob.Decoder
}

// newWire takes over f, a connected socket.
func newWire(f *os.File) (*wire, error) {
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	_ = f.Close() // conn has a copy
	u, ok := conn.(*net.UnixConn)
	if !ok {
		_ = conn.Close()
		return nil, fmt.Errorf("%s is no unix socket", f.Name())
	}
	return &wire{u, gob.NewEncoder(u), gob.NewDecoder(u)}, nil
}

// socketPair returns the files of two connected sockets.
func socketPair() (ours, theirs *os.File, err error) {
	syscall.ForkLock.RLock() // no child may get them
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(fds[0]), "guard"), os.NewFile(uintptr(fds[1]), "supervisor"), nil
}

// send writes one message. A guard that is stopped must not stop the
// supervisor: what does not fit into the buffer is lost.
func (w *wire) send(v any, within time.Duration) error {
	if err := w.conn.SetWriteDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	return w.enc.Encode(v)
}

// sendFiles passes open files to the other side.
func (w *wire) sendFiles(files ...*os.File) error {
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	_, _, err := w.conn.WriteMsgUnix([]byte{byte(len(fds))}, syscall.UnixRights(fds...), nil)
	return err
}

// receiveFiles is the other side of sendFiles.
func (w *wire) receiveFiles(n int) ([]*os.File, error) {
	oob := make([]byte, syscall.CmsgSpace(n*4))
	_, got, _, _, err := w.conn.ReadMsgUnix(make([]byte, 1), oob)
	if err != nil {
		return nil, err
	}
	msgs, err := syscall.ParseSocketControlMessage(oob[:got])
	if err != nil || len(msgs) != 1 {
		return nil, fmt.Errorf("%d messages instead of files: %w", len(msgs), err)
	}
	fds, err := syscall.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != n {
		return nil, fmt.Errorf("%d files instead of %d: %w", len(fds), n, err)
	}
	var files []*os.File
	for _, fd := range fds {
		syscall.CloseOnExec(fd)
		files = append(files, os.NewFile(uintptr(fd), "standard file of the command"))
	}
	return files, nil
}
