package api

import (
	"encoding/base64"
	"fmt"
	"unicode/utf8"
)

// EncodeValue says a value as text if that loses nothing, else in base64. One of
// the results is nil.
func EncodeValue(value []byte) (text, binary *string) {
	if utf8.Valid(value) {
		return new(string(value)), nil
	}
	return nil, new(base64.StdEncoding.EncodeToString(value))
}

// Bytes returns the value of e, nil if it has none. The only error is a value in
// something else than base64.
func (e *Entry) Bytes() ([]byte, error) {
	switch {
	case e.Value != nil:
		return []byte(*e.Value), nil
	case e.ValueBase64 != nil:
		b, err := base64.StdEncoding.DecodeString(*e.ValueBase64)
		if err != nil {
			return nil, fmt.Errorf("the value of %q makes no sense: %w", e.Key, err)
		}
		return b, nil
	}
	return nil, nil
}
