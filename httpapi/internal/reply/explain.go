package reply

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
)

// Explain returns why l would not be granted at once, in exclusive mode, to
// session, or to a new one if that is empty: first a lock-delay, then who holds
// it, then who waits for longer, which is the order in which they end. position
// is the place of session in the queue, from 1.
func Explain(l locks.Lock, session string) (reasons []api.Reason, position int) {
	reasons = []api.Reason{}
	say := func(code, format string, args ...any) {
		reasons = append(reasons, api.Reason{Code: code, Text: fmt.Sprintf(format, args...)})
	}
	position = 1 + slices.IndexFunc(l.Waiters, func(w locks.Waiter) bool { return session != "" && w.Session == session })
	others := slices.DeleteFunc(slices.Clone(l.Holders), func(h locks.Holder) bool { return session != "" && h.Session == session })
	holds := len(others) < len(l.Holders)
	if holds && (len(others) == 0 || l.Slots > 1) {
		return reasons, position // a renewal, or an upgrade of the only reader
	}
	if l.LockDelayRemaining != 0 {
		say(api.ReasonLockDelay, "its last holder expired, and its lock-delay keeps it closed for %s", longer(l.LockDelayRemaining))
	}
	switch {
	case len(others) == 0:
	case l.Slots > 1 && len(others) < l.Slots:
	case l.Slots > 1:
		say(api.ReasonFull, "all %d slots are taken: %s%s", l.Slots, holdersText(others), yieldText(l.Yield))
	case others[0].Mode == locks.Shared:
		say(api.ReasonShared, "%s it: %s%s", count(len(others), "reader shares", "readers share"), holdersText(others), yieldText(l.Yield))
	default:
		say(api.ReasonHeld, "it is held by %s%s", holdersText(others), yieldText(l.Yield))
	}
	ahead := l.Waiters
	if position > 0 {
		ahead = ahead[:position-1]
	}
	if len(ahead) > 0 && !holds {
		say(api.ReasonQueue, "%s for longer; %s is next", count(len(ahead), "other waits", "others wait"), ownerText(ahead[0].Owner, ahead[0].Session))
	}
	return reasons, position
}

// holdersText names the holders of a lock, and up to when they surely hold it.
func holdersText(list []locks.Holder) string {
	const most = 3
	var names []string
	for i, h := range list {
		if i == most {
			names = append(names, fmt.Sprintf("%d more", len(list)-most))
			break
		}
		text := fmt.Sprintf("%s with fence %d", ownerText(h.Owner, h.Session), h.Fence)
		if h.ExpiresIn >= 0 {
			text += fmt.Sprintf(", whose lease lasts for %s unless it is renewed", longer(h.ExpiresIn))
		}
		names = append(names, text)
	}
	return strings.Join(names, "; ")
}

// ownerText says a session's name, if it has one, and its id.
func ownerText(owner, session string) string {
	if owner == "" || owner == session {
		return session
	}
	return owner + " (" + session + ")"
}

func yieldText(y *locks.Yield) string {
	if y == nil {
		return ""
	}
	text := "; they were asked to yield"
	if y.Reason != "" {
		text += " (" + y.Reason + ")"
	}
	if y.Within > 0 {
		text += " and lose it in " + strings.TrimSuffix(longer(y.Remaining), " more")
	}
	return text
}

// longer says how much time is left.
func longer(d time.Duration) string {
	if d < 0 {
		return "a while"
	}
	return d.Round(100*time.Millisecond).String() + " more"
}

// count says n of one or of many.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
