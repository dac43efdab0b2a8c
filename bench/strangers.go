package main

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit in which Linux counts processor time for us.
const tick = 10 * time.Millisecond

// strangers returns the processor time that all but our processes have had since the machine
// started, its hypervisor included. A measurement in which it grows much is worth little.
func strangers() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	busy, err := busyTicks(string(text))
	if err != nil {
		return 0, err
	}
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	group := strconv.Itoa(syscall.Getpgrp())
	for _, file := range all {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has just ended
		}
		if p, err := parseProcess(string(text)); err == nil && p.group == group {
			busy -= p.ticks
		}
	}
	return time.Duration(busy) * tick, nil
}

// busyTicks reads /proc/stat: everything but idling and waiting for a disk.
func busyTicks(text string) (busy int64, err error) {
	first, _, _ := strings.Cut(text, "\n")
	field := strings.Fields(first)
	if len(field) < 9 || field[0] != "cpu" {
		return 0, errors.New("/proc/stat of an unknown form")
	}
	for i, f := range field[1:9] { // user nice system idle iowait irq softirq steal
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		if i != 3 && i != 4 {
			busy += n
		}
	}
	return busy, nil
}

// process is a line of /proc/…/stat.
type process struct {
	group string
	ticks int64 // user and system
}

func parseProcess(text string) (p process, err error) {
	at := strings.LastIndex(text, ") ") // the name before may hold anything
	if at < 0 {
		return p, errors.New("a stat file of an unknown form")
	}
	field := strings.Fields(text[at+2:])
	if len(field) < 13 {
		return p, errors.New("a stat file of an unknown form")
	}
	p.group = field[2]
	for _, f := range field[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return p, err
		}
		p.ticks += n
	}
	return p, nil
}
