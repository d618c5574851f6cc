package storage_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/prytany/prytany/internal/storage"
)

// TestADirectoryThatCannotBeWritten runs as somebody whom permissions bind:
// root may write everywhere, so it gives up that right for this thread.
func TestADirectoryThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o555)); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		const nobody = 65534
		runtime.LockOSThread() // and never unlocked: the thread ends with the test
		if err := unix.Setfsuid(nobody); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { // before the directory is removed
			if err := unix.Setfsuid(0); err != nil {
				t.Error(err)
			}
		})
	}
	_, err := storage.Open(dir, storage.Options{})
	refused(t, err, os.ErrPermission, "writable")
}
