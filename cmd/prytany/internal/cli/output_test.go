package cli

import (
	"testing"
)

// TestNothingCommandsTheTerminal says what becomes of other people's bytes.
func TestNothingCommandsTheTerminal(t *testing.T) {
	tests := []struct{ in, keep, want string }{
		{"web-2:4711", "", "web-2:4711"},
		{"größe ⏎ 数", "", "größe ⏎ 数"},
		{"a\x1b[2Jb", "", `a\x1b[2Jb`},
		{"two\nlines\there", "", `two\nlines\there`},
		{"two\nlines", "\n", "two\nlines"},
		{"\xff\xfe", "", `\xff\xfe`},
		{"\u202egnp.exe", "", `\u202egnp.exe`},
		{"\u009b31m", "", `\u009b31m`},
	}
	for _, tt := range tests {
		if got := Printable(tt.in, tt.keep); got != tt.want {
			t.Errorf("Printable(%q) = %q; want %q", tt.in, got, tt.want)
		}
	}
}
