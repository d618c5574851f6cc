package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"
)

// JSON reports whether programs are to read the output.
func (a *App) JSON() bool { return a.Output == "json" || a.Output == "jsonl" }

// PrintJSON prints v as one document, on one line with -o jsonl.
func (a *App) PrintJSON(v any) error {
	enc := json.NewEncoder(a.Stdout)
	enc.SetEscapeHTML(false)
	if a.Output == "json" {
		enc.SetIndent("", "  ")
	}
	return enc.Encode(v)
}

// PrintList prints items as one JSON array, or one a line with -o jsonl.
func PrintList[T any](a *App, items []T) error {
	if a.Output == "json" {
		if items == nil {
			items = []T{}
		}
		return a.PrintJSON(items)
	}
	for _, it := range items {
		if err := a.PrintJSON(it); err != nil {
			return err
		}
	}
	return nil
}

// A Table is aligned text with a header.
type Table struct{ rows [][]string }

// NewTable returns a table with that header.
func NewTable(head ...string) *Table { return &Table{rows: [][]string{head}} }

// Add adds a row.
func (t *Table) Add(cells ...string) { t.rows = append(t.rows, cells) }

// Print writes t; with -o name only the first column, without the header.
func (a *App) Print(t *Table) error {
	if a.Output == "name" {
		for _, row := range t.rows[1:] {
			if err := a.PrintName(row[0]); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(a.Stdout, 0, 8, 2, ' ', 0)
	for _, row := range t.rows {
		for i := range row {
			row[i] = Printable(row[i], "")
		}
		if _, err := fmt.Fprintln(w, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	return w.Flush()
}

// PrintName prints a name on a line of its own: as it is for programs, harmless
// for a terminal.
func (a *App) PrintName(name string) error {
	if f, ok := a.Stdout.(*os.File); ok && IsTerminal(f) {
		name = Printable(name, "")
	}
	_, err := fmt.Fprintln(a.Stdout, name)
	return err
}

// Printf prints text for people.
func (a *App) Printf(format string, args ...any) {
	_, _ = io.WriteString(a.Stdout, Printable(fmt.Sprintf(format, args...), "\n"))
}

// Printable replaces what could command a terminal. Names, notes and values are
// other people's bytes: an escape sequence in a lock's note must not do anything
// to who looks at it. Characters in keep stay.
func Printable(s, keep string) string {
	harmless := func(r rune) bool {
		return r != utf8.RuneError && (unicode.IsPrint(r) || strings.ContainsRune(keep, r))
	}
	if utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !harmless(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if harmless(r) {
			b.WriteString(s[:n])
		} else {
			quoted := strconv.QuoteToASCII(s[:n])
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		s = s[n:]
	}
	return b.String()
}

// Say prints talk to stderr.
func (a *App) Say(format string, args ...any) {
	if a.Stderr != nil {
		_, _ = io.WriteString(a.Stderr, Printable(fmt.Sprintf(format, args...), "\n")+"\n")
	}
}

// Round makes a duration readable: 14.2s, 350ms.
func Round(d time.Duration) time.Duration {
	if d >= time.Second {
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Millisecond)
}

// MS is a duration given in milliseconds, "-" if unknown.
func MS(n *int64) string {
	if n == nil {
		return "-"
	}
	return Round(time.Duration(*n) * time.Millisecond).String()
}

// Dash stands for an empty cell.
func Dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// Ordinal is 1st, 2nd and so on.
func Ordinal(n int) string {
	suffix := "th"
	switch {
	case n%100 >= 11 && n%100 <= 13:
	case n%10 == 1:
		suffix = "st"
	case n%10 == 2:
		suffix = "nd"
	case n%10 == 3:
		suffix = "rd"
	}
	return fmt.Sprintf("%d%s", n, suffix)
}
