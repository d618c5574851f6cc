package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/client"
)

const (
	// repaintEvery is how often what changes without an event is read again.
	repaintEvery = 2 * time.Second
	// beginWithin is for how long what is read first waits for the events to begin.
	beginWithin = time.Second
)

// WatchFlag defines --watch.
func WatchFlag(cmd *cobra.Command, watch *bool) {
	cmd.Flags().BoolVar(watch, "watch", false, "go on, and show it again when it has changed")
}

// Ring returns a channel that rings when something of the name happens that is
// of one of the types, of any if there are none. It rings first when all that
// happens from then on is told: who looks after that misses nothing. It ends with
// ctx. An end of the events before that is one more ring: then somebody must look
// by himself.
func (a *App) Ring(ctx context.Context, c *client.Client, name string, types ...string) <-chan struct{} {
	ring := make(chan struct{}, 1)
	go func() {
		begun := false
		for e, err := range c.Watch(ctx, name, client.WatchOptions{Events: types, Bookmarks: true}) {
			switch {
			case err != nil:
			case e.Type == client.EventBookmark && begun, e.Type != client.EventBookmark && len(types) > 0 && e.Name != name:
				continue
			}
			begun = true
			select {
			case ring <- struct{}{}:
			default:
			}
		}
	}()
	return ring
}

// Show runs read, which prints, once or, with --watch, again and again: when
// something has happened to what begins with name, and every two seconds if
// name is "".
func (a *App) Show(cmd *cobra.Command, watch bool, name string, read func(context.Context, *client.Client) error) error {
	c, err := a.Client()
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	if !watch || a.Curl {
		return read(ctx, c)
	}
	out := a.Stdout
	defer func() { a.Stdout = out }()
	screen := false
	if f, ok := out.(*os.File); ok {
		screen = IsTerminal(f) && !a.JSON()
	}
	events := a.Ring(ctx, c, name)
	if name != "" { // or what shows how long ago something was would be shown twice
		await(ctx, events)
	}
	tick := time.NewTicker(repaintEvery)
	defer tick.Stop()
	var last []byte
	said := ""
	for {
		var b bytes.Buffer
		a.Stdout = &b
		err := read(ctx, c)
		var own *Error
		switch {
		case ctx.Err() != nil:
			return Unless(ctx, err)
		case err != nil:
			e := a.Classify(err)
			if e.Code != CodeNotFound && e.Code != CodeUnavailable && !(errors.As(err, &own) && own.Code == CodeNotFound) {
				return err
			}
			if e.Text != said {
				a.Say("prytany: %s", e.Text)
			}
			said, last = e.Text, nil
		case screen:
			said = ""
			_, err = io.WriteString(out, "\x1b[H\x1b[2J"+b.String())
		case !bytes.Equal(b.Bytes(), last):
			said = ""
			_, err = out.Write(news(b.Bytes(), last))
			last = bytes.Clone(b.Bytes())
		}
		if err != nil && a.Classify(err).Code == CodeError {
			return err
		}
		if !wait(ctx, events, tick.C, screen || name == "") {
			return nil
		}
	}
}

// Unless returns err unless a signal has ended ctx: for commands that go on until
// one comes.
func Unless(ctx context.Context, err error) error {
	if _, ok := SignalOf(ctx); ok {
		return nil
	}
	return err
}

// news is text without the header that was printed before.
func news(text, before []byte) []byte {
	head, rest, ok := bytes.Cut(text, []byte("\n"))
	old, more, _ := bytes.Cut(before, []byte("\n"))
	if ok && len(rest) > 0 && len(more) > 0 && bytes.Equal(head, old) {
		return rest
	}
	return text
}

// await waits for the events to begin, but not for long: nobody may be there who tells them.
func await(ctx context.Context, events <-chan struct{}) {
	limit := time.NewTimer(beginWithin)
	defer limit.Stop()
	select {
	case <-ctx.Done():
	case <-events:
	case <-limit.C:
	}
}

// wait returns when there is something to look at, false at the end of ctx.
func wait(ctx context.Context, events <-chan struct{}, tick <-chan time.Time, ticks bool) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case <-events:
			Pause(ctx, 20*time.Millisecond) // what comes together is shown together
			return ctx.Err() == nil
		case <-tick:
			if ticks {
				return true
			}
		}
	}
}
