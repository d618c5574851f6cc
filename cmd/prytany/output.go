package main

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

// json reports whether programs are to read the output.
func (a *app) json() bool { return a.output == "json" || a.output == "jsonl" }

// printJSON prints v as one document, on one line with -o jsonl.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	if a.output == "json" {
		enc.SetIndent("", "  ")
	}
	return enc.Encode(v)
}

// printList prints items as one JSON array, or one a line with -o jsonl.
func printList[T any](a *app, items []T) error {
	if a.output == "json" {
		if items == nil {
			items = []T{}
		}
		return a.printJSON(items)
	}
	for _, it := range items {
		if err := a.printJSON(it); err != nil {
			return err
		}
	}
	return nil
}

// A table is aligned text with a header.
type table struct{ rows [][]string }

func newTable(head ...string) *table { return &table{rows: [][]string{head}} }

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// print writes t; with -o name only the first column, without the header.
func (a *app) print(t *table) error {
	if a.output == "name" {
		for _, row := range t.rows[1:] {
			if err := a.printName(row[0]); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
	for _, row := range t.rows {
		for i := range row {
			row[i] = printable(row[i], "")
		}
		if _, err := fmt.Fprintln(w, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	return w.Flush()
}

// printName prints a name on a line of its own: as it is for programs, harmless
// for a terminal.
func (a *app) printName(name string) error {
	if f, ok := a.stdout.(*os.File); ok && isTerminal(f) {
		name = printable(name, "")
	}
	_, err := fmt.Fprintln(a.stdout, name)
	return err
}

// printf prints text for people.
func (a *app) printf(format string, args ...any) {
	_, _ = io.WriteString(a.stdout, printable(fmt.Sprintf(format, args...), "\n"))
}

// printable replaces what could command a terminal. Names, notes and values are
// other people's bytes: an escape sequence in a lock's note must not do anything
// to who looks at it. Characters in keep stay.
func printable(s, keep string) string {
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

// say prints talk to stderr.
func (a *app) say(format string, args ...any) {
	if a.stderr != nil {
		_, _ = io.WriteString(a.stderr, printable(fmt.Sprintf(format, args...), "\n")+"\n")
	}
}

// round makes a duration readable: 14.2s, 350ms.
func round(d time.Duration) time.Duration {
	if d >= time.Second {
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Millisecond)
}

// ms is a duration given in milliseconds, "-" if unknown.
func ms(n *int64) string {
	if n == nil {
		return "-"
	}
	return round(time.Duration(*n) * time.Millisecond).String()
}

// dash stands for an empty cell.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func ordinal(n int) string {
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
