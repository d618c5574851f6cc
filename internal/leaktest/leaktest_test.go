package leaktest

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func linger(stop <-chan struct{}) { <-stop }

// A goroutine that stays is found; one that ends late, but later than goleak waits, is none
// that stays.
func TestFind(t *testing.T) {
	now := goleak.IgnoreCurrent()
	stop := make(chan struct{})
	go linger(stop)
	if err := find(0, now); err == nil || !strings.Contains(err.Error(), "leaktest.linger") {
		t.Errorf("%v; want the goroutine that stays", err)
	}
	time.AfterFunc(time.Second, func() { close(stop) })
	if err := find(patience, now); err != nil {
		t.Error(err)
	}
}
