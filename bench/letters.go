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

// ServeHTTP takes a letter.
func (b *letters) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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
