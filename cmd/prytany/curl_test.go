package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"sort"
	"strings"
	"time"
)

// curlMain is as much of curl(1) as the README needs, for machines without it:
// the tests need Go and nothing else.
func curlMain() {
	if err := curl(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "curl:", err)
		os.Exit(1)
	}
}

func curl(args []string) error {
	var method, url, body string
	header := http.Header{}
	include := false
	for i := 0; i < len(args); i++ {
		value := func() string {
			if i++; i < len(args) {
				return args[i]
			}
			return ""
		}
		switch a := args[i]; a {
		case "-X":
			method = value()
		case "-d":
			body = value()
			header.Set("Content-Type", "application/x-www-form-urlencoded")
		case "-H":
			name, v, _ := strings.Cut(value(), ":")
			header.Set(name, strings.TrimSpace(v))
		case "-m":
			value()
		case "-i":
			include = true
		case "-s", "-sS":
		default:
			if strings.HasPrefix(a, "-") {
				return fmt.Errorf("this stand-in does not know %s", a)
			}
			url = a
		}
	}
	if !strings.Contains(url, "://") {
		url = "http://" + url
	}
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = header
	resp, err := (&http.Client{Timeout: time.Minute}).Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if include {
		fmt.Printf("%s %s\r\n", resp.Proto, resp.Status)
		var lines []string
		for name := range resp.Header {
			lines = append(lines, name+": "+resp.Header.Get(name)+"\r\n")
		}
		sort.Strings(lines)
		fmt.Print(strings.Join(lines, ""), "\r\n")
	}
	_, err = io.Copy(os.Stdout, resp.Body)
	return err
}
