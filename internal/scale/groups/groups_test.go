package main

import (
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

// A bar is missed by what is beyond it, and only by that.
func TestCompare(t *testing.T) {
	l := func(packets int64, cpu time.Duration) load {
		return load{traffic{packets / 2, packets - packets/2, 1000}, cpu, 10 * time.Second}
	}
	for _, tc := range []struct {
		one, many load
		sent, cpu bool
	}{
		{l(1000, time.Second), l(1000, time.Second), true, true},
		{l(1000, time.Second), l(1100, 1099*time.Millisecond), true, true},
		{l(1000, time.Second), l(1101, 1101*time.Millisecond), false, false},
		{l(1000, time.Second), l(500, 5*time.Second), true, false},
	} {
		f := compare(tc.one, tc.many, 1001)
		if f[0].OK != tc.sent || f[1].OK != tc.cpu {
			t.Errorf("%+v", f)
		}
		if strings.HasSuffix(f[0].Bar, "yes") != tc.sent {
			t.Errorf("%q", f[0].Bar)
		}
	}
	if f := compare(l(1000, time.Second), l(1101, time.Second), 1001); !strings.Contains(f[0].Value, "110.1 a second (55.0 TCP, 55.1 UDP, 100 bytes) against 100.0") {
		t.Error(f[0].Value)
	}
}

func TestMedian(t *testing.T) {
	if m := median([]float64{3, 1, 2}); m != 2 {
		t.Error(m)
	}
	if m := median([]float64{4, 1, 2, 3}); m != 2.5 {
		t.Error(m)
	}
}

// Only what is between the marks is replaced, and a file without them is left alone.
func TestReplaced(t *testing.T) {
	got, err := replaced("a\n"+begins+"old\n"+ends+"b\n", "new\n")
	if err != nil || got != "a\n"+begins+"new\n"+ends+"b\n" {
		t.Errorf("%q, %v", got, err)
	}
	for _, text := range []string{"", begins, ends, ends + begins} {
		if _, err := replaced(text, "new"); err == nil {
			t.Errorf("%q has no marks", text)
		}
	}
}

// Every packet is counted.
func TestTraffic(t *testing.T) {
	before, err := readTraffic()
	if err != nil {
		if runtime.GOOS == "linux" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	const n = 50
	for range n {
		if _, err := c.WriteTo(make([]byte, 100), c.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	after, err := readTraffic()
	if d := after.minus(before); err != nil || d.datagrams < n || d.packets() < n || d.bytes < n*100 {
		t.Errorf("%+v, %v", d, err)
	}
}
