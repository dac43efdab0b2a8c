package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"sync"
	"time"
)

// letters is everybody's mailbox: the program to which the server posts letters.
type letters struct {
	code *regexp.Regexp

	mu      sync.Mutex
	waiting map[string]letter
	slow    time.Duration  // an answer's
	seen    map[string]int // how often each letter came, while they are counted
}

// letter is one that somebody waits for.
type letter chan string

func newLetters() *letters {
	return &letters{code: regexp.MustCompile(`\b\d{6}\b`), waiting: map[string]letter{}}
}

// to returns the next letter with a code to an address.
func (b *letters) to(address string) letter {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting[address] = make(letter, 1)
	return b.waiting[address]
}

func (l letter) wait(ctx context.Context) (string, error) {
	select {
	case code := <-l:
		return code, nil
	case <-ctx.Done():
		return "", ctx.Err()
	case <-time.After(30 * time.Second):
		return "", errors.New("no letter came")
	}
}

// count begins to count, with answers that take a while.
func (b *letters) count(slow time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.slow, b.seen = slow, map[string]int{}
}

// counted says how many different letters came so far, and how many came again.
func (b *letters) counted() (o outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o.Done = len(b.seen)
	for _, times := range b.seen {
		o.Odd += times - 1
	}
	return o
}

// ServeHTTP takes a letter.
func (b *letters) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	slow := b.slow
	if b.seen != nil {
		b.seen[r.Header.Get("webhook-id")]++
	}
	b.mu.Unlock()
	time.Sleep(slow)
	var event struct {
		Data struct{ To, Text string }
	}
	if json.NewDecoder(r.Body).Decode(&event) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
	code := b.code.FindString(event.Data.Text)
	b.mu.Lock()
	defer b.mu.Unlock()
	if l, ok := b.waiting[event.Data.To]; ok && code != "" {
		delete(b.waiting, event.Data.To)
		l <- code
	}
}
