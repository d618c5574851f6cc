package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
)

// proxyMain is "prytany-test-proxy LISTEN TARGET": a network that passes
// everything on until a SIGUSR1 comes, and then takes everything and passes
// nothing on, as one does that drops packets silently.
func proxyMain() {
	ln, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var dropped atomic.Bool
	drop := make(chan os.Signal, 1)
	signal.Notify(drop, syscall.SIGUSR1)
	go func() {
		<-drop
		dropped.Store(true)
		fmt.Println("dropping")
	}()
	fmt.Println("ready")
	for {
		c, err := ln.Accept()
		if err != nil {
			os.Exit(1)
		}
		go func() {
			to, err := net.Dial("tcp", os.Args[2])
			if err != nil {
				_ = c.Close()
				return
			}
			go pass(to, c, &dropped)
			pass(c, to, &dropped)
		}()
	}
}

// pass copies from one side to the other.
func pass(to, from net.Conn, dropped *atomic.Bool) {
	for b := make([]byte, 32<<10); ; {
		n, err := from.Read(b)
		if dropped.Load() {
			_, _ = io.Copy(io.Discard, from)
			select {} // the connection stays open and silent
		}
		if err != nil {
			_ = to.Close()
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
			_ = from.Close()
			return
		}
	}
}
