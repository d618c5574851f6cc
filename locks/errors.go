package locks

import "fmt"

func (e *Error) Error() string {
	s := e.Op
	if e.Name != "" {
		s += " " + e.Name
	}
	if e.Detail != "" {
		return s + ": " + e.Detail
	}
	if e.Err != nil {
		return s + ": " + e.Err.Error()
	}
	return fmt.Sprintf("%s: code %d", s, e.Code)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
