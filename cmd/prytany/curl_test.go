package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// curlMain is as much of curl(1) as the README needs, for machines without it:
// the tests need Go and nothing else.
func curlMain() {
	if err := request(os.Args[1:]); err != nil {
		if !slices.Contains(os.Args, "-s") {
			fmt.Fprintln(os.Stderr, "curl:", err)
		}
		os.Exit(1)
	}
}

func request(args []string) error {
	var method, url, body string
	header := http.Header{}
	include, data := false, false
	limit := time.Minute
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
		case "-d", "--data-raw":
			body = value()
			data = true
		case "--data-binary": // "@-" only
			value()
			in, err := io.ReadAll(os.Stdin)
			if err != nil {
				return err
			}
			body, data = string(in), true
		case "-H":
			name, v, _ := strings.Cut(value(), ":")
			header.Set(name, strings.TrimSpace(v))
		case "-m":
			seconds, err := strconv.Atoi(value())
			if err != nil {
				return err
			}
			limit = time.Duration(seconds) * time.Second
		case "-i":
			include = true
		case "-s", "-sS", "-N", "--path-as-is":
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
	if data && method == "" {
		req.Method = http.MethodPost
	}
	if data && header.Get("Content-Type") == "" {
		header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	req.Header = header
	if h := header.Get("Host"); h != "" {
		req.Host = h
	}
	resp, err := (&http.Client{Timeout: limit}).Do(req)
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
