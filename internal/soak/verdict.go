package main

import (
	"fmt"
	"strings"
)

// A verdict is one line of the result.
type verdict struct {
	What   string
	Figure string
	Bound  string // "": the figure is information
	OK     bool
}

// within judges a number against the most that it may be.
func within(what string, got, most float64, format string) verdict {
	return verdict{what, fmt.Sprintf(format, got), "at most " + fmt.Sprintf(format, most), got <= most}
}

// none judges a list of what should not have happened.
func none(what, figure string, wrong []string) verdict {
	if len(wrong) > 0 {
		figure = fmt.Sprintf("%s; %d times: %s", figure, len(wrong), wrong[0])
	}
	return verdict{what, figure, "never", len(wrong) == 0}
}

// failed reports whether any of vs is a NO.
func failed(vs []verdict) bool {
	for _, v := range vs {
		if v.Bound != "" && !v.OK {
			return true
		}
	}
	return false
}

// table is vs in Markdown.
func table(vs []verdict) string {
	var b strings.Builder
	b.WriteString("| what | figure | bound | |\n|---|---|---|---|\n")
	for _, v := range vs {
		mark := "yes"
		switch {
		case v.Bound == "":
			mark = "–"
		case !v.OK:
			mark = "NO"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", v.What, v.Figure, v.Bound, mark)
	}
	return b.String()
}

func mib(n float64) float64 { return n / (1 << 20) }
