// Package deadline bounds how long the other end of an exchange may take.
package deadline

import (
	"net/http"
	"time"
)

// A Control sets the deadlines of one exchange. Writers without deadlines have none,
// which costs them no error of [http.ResponseController] each time.
type Control struct {
	read  interface{ SetReadDeadline(time.Time) error }
	write interface{ SetWriteDeadline(time.Time) error }
}

// Of returns the control of what w replies to, or of what w wraps.
func Of(w http.ResponseWriter) (k Control) {
	for {
		if k.read == nil {
			k.read, _ = w.(interface{ SetReadDeadline(time.Time) error })
		}
		if k.write == nil {
			k.write, _ = w.(interface{ SetWriteDeadline(time.Time) error })
		}
		inner, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok || k.read != nil && k.write != nil {
			return k
		}
		w = inner.Unwrap()
	}
}

// LimitRead bounds how long the request may take from now on.
func (k Control) LimitRead(d time.Duration) { k.setRead(time.Now().Add(d)) }

// ClearRead lets it take as long as it likes.
func (k Control) ClearRead() { k.setRead(time.Time{}) }

// LimitWrite bounds how long the reply may take from now on.
func (k Control) LimitWrite(d time.Duration) { k.setWrite(time.Now().Add(d)) }

// ClearWrite undoes what the last reply of the connection has set.
func (k Control) ClearWrite() { k.setWrite(time.Time{}) }

func (k Control) setRead(t time.Time) {
	if k.read != nil {
		_ = k.read.SetReadDeadline(t)
	}
}

func (k Control) setWrite(t time.Time) {
	if k.write != nil {
		_ = k.write.SetWriteDeadline(t)
	}
}
