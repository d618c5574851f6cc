//go:build linux

package fault

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// disk makes a small file system, or skips where nobody may mount one.
func disk(t *testing.T) (*FileSystem, string) {
	t.Helper()
	if err := CheckTools(Tools); err != nil || os.Geteuid() != 0 {
		t.Skipf("file systems need root and tools: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "d")
	const small = 16 << 20
	fs, err := MakeFileSystem(dir, small)
	t.Cleanup(func() {
		if err := fs.Remove(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Skipf("file systems cannot be mounted here: %v", err)
	}
	return fs, dir
}

func write(t *testing.T, name, text string, sync bool) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if sync {
		d, err := os.Open(filepath.Dir(name))
		if err = errors.Join(err, f.Sync(), d.Sync(), d.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestPowerLossKeepsWhatWasSyncedAndNothingElse(t *testing.T) {
	fs, dir := disk(t)
	write(t, filepath.Join(dir, "synced"), "yes", true)
	write(t, filepath.Join(dir, "unsynced"), "no", false)
	if err := fs.Fail(true); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "later"), nil, 0o600); err == nil {
		t.Error("a disk that has failed takes a new file")
	}
	if err := fs.Repair(); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "synced")); string(text) != "yes" {
		t.Errorf("what was synced: %q, %v", text, err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "unsynced")); string(text) == "no" {
		t.Errorf("what was not synced is there: %v", err)
	}
}

func TestDeadDiskSaysSo(t *testing.T) {
	fs, dir := disk(t)
	f, err := os.Create(filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := fs.Fail(false); err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString("x")
	if err = errors.Join(err, f.Sync()); !errors.Is(err, syscall.EIO) {
		t.Errorf("a write to a dead disk: %v", err)
	}
	_ = f.Close()
	if err := fs.Repair(); err != nil {
		t.Error(err)
	}
}

func TestFrozenDiskHasWritesWait(t *testing.T) {
	fs, dir := disk(t)
	if err := fs.Freeze(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { write(t, filepath.Join(dir, "f"), "x", true); close(done) }()
	select {
	case <-done:
		t.Error("a write to a frozen disk has ended")
	case <-time.After(100 * time.Millisecond):
	}
	if err := fs.Thaw(); err != nil {
		t.Fatal(err)
	}
	<-done
}

func TestGroupOf(t *testing.T) {
	const mixed = "9:name=systemd:/\n4:cpu,cpuacct:/a:b/c\n3:cpuset:/no\n0::/second\n"
	for _, tt := range []struct {
		text  string
		first bool
		want  string
	}{
		{mixed, true, "/a:b/c"},
		{mixed, false, "/second"},
		{"0::/only\n", true, "/"},
		{"", false, "/"},
		{"0::/../outside\n", false, "/"},
	} {
		if got := groupOf(tt.text, tt.first); got != tt.want {
			t.Errorf("groupOf(%q, %v) = %q; want %q", tt.text, tt.first, got, tt.want)
		}
	}
}

func TestThrottle(t *testing.T) {
	name := "prytany-fault-test-" + strconv.Itoa(os.Getpid())
	limit, err := MakeThrottle(name, 5*time.Millisecond, 100*time.Millisecond)
	if err != nil {
		t.Skip(err)
	}
	cmd := exec.Command("sh", "-c", "while :; do :; done")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if err := limit.Take(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if got := Groups(name); len(got) == 0 {
		t.Error("the group is not found by its name")
	}
	if err := limit.Release(cmd.Process.Pid); err != nil {
		t.Error(err)
	}
	if got := Groups(name); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
	empty, err := MakeThrottle(name, 5*time.Millisecond, 100*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if err := empty.Release(os.Getpid()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat("cgroup.procs"); err == nil {
		t.Error("releasing nobody has written a file")
	}
}
