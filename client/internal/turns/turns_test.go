package turns

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all Turns
		inside, done := 0, make(chan error)
		for range 20 {
			go func() {
				leave, err := all.Enter(t.Context(), "a", 0)
				if err == nil {
					if inside++; inside != 1 {
						t.Errorf("%d have the turn", inside)
					}
					time.Sleep(time.Second)
					inside--
					leave()
				}
				done <- err
			}()
		}
		for range 20 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if all.Len() != 0 {
			t.Error("something is left")
		}
	})
}

func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all Turns
		leave, err := all.Enter(t.Context(), "a", -1)
		if err != nil {
			t.Fatal(err)
		}
		other, err := all.Enter(t.Context(), "b", -1)
		if err != nil {
			t.Fatal(err)
		}
		other()
		begin := time.Now()
		if _, err := all.Enter(t.Context(), "a", -1); !errors.Is(err, ErrTaken) || time.Since(begin) != 0 {
			t.Errorf("not waiting: %v after %v", err, time.Since(begin))
		}
		if _, err := all.Enter(t.Context(), "a", time.Minute); !errors.Is(err, ErrTaken) || time.Since(begin) != time.Minute {
			t.Errorf("waiting: %v after %v", err, time.Since(begin))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := all.Enter(ctx, "a", time.Hour); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a context: %v", err)
		}
		leave()
		if all.Len() != 0 {
			t.Error("something is left")
		}
	})
}
