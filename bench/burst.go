package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
)

// try is one of many who sign in at the same moment.
type try struct {
	who  *person
	at   step
	word string
	got  reply
	err  error
}

// burst has everybody begin, wait for one another, and give the password at the same moment. Some
// give a wrong one. Whoever is told to come back still has the sign-in that was begun.
func (l *load) burst(ctx context.Context, j job) (out outcome, err error) {
	all := make([]try, min(j.Clients, len(l.people)))
	for i := range all {
		all[i] = try{who: &l.people[i], word: secretWord}
		if i < j.Wrong {
			all[i].word = "a wrong word for a password"
		}
	}
	together(all, func(t *try) { t.at, t.err = l.begin(ctx, j.Addr, t.who) })
	began := l.now()
	together(all, func(t *try) {
		if t.err == nil {
			t.got, t.err = l.prove(ctx, j.Addr, t.who, t.at, t.word)
		}
	})
	out.Seconds = l.now().Sub(began).Seconds()
	var back []*try
	for i := range all {
		t := &all[i]
		switch wrong := t.word != secretWord; {
		case t.err != nil:
			out.Odd, err = out.Odd+1, t.err
		case t.got.status == http.StatusServiceUnavailable && t.got.retryAfter != "": // no turn for the hash, or none to write
			out.Told++
			if !wrong {
				back = append(back, t)
			}
		case wrong && t.got.status == http.StatusUnauthorized && t.got.Code == "password_refused":
			out.Denied++
		case !wrong && l.signedIn(ctx, j.Addr, t):
			out.Done++
		default:
			out.Odd++
			out.Strange = append(out.Strange, fmt.Sprintf("%d %s%s, wrong password: %t", t.got.status, t.got.Code, t.got.Step, wrong))
		}
	}
	back = back[:min(len(back), j.Again)]
	out.Again = l.again(ctx, j.Addr, back)
	out.Odd += len(back) - out.Again
	return out, err
}

// together does one thing for everybody at once.
func together(all []try, do func(*try)) {
	var ready, done sync.WaitGroup
	gate := make(chan struct{})
	ready.Add(len(all))
	for i := range all {
		done.Go(func() {
			ready.Done()
			<-gate
			do(&all[i])
		})
	}
	ready.Wait()
	close(gate)
	done.Wait()
}

// signedIn reports whether a try ended in a session, and in one's own.
func (l *load) signedIn(ctx context.Context, addr string, t *try) bool {
	if t.who.keep(t.got) != nil {
		return false
	}
	whose, err := l.whose(ctx, addr, t.who.Session)
	return err == nil && whose == t.who.Account
}

// again has those who were told to come back do so, and counts those who are signed in then.
func (l *load) again(ctx context.Context, addr string, back []*try) (n int) {
	const clients = 8
	var mu sync.Mutex
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for i := c; i < len(back); i += clients {
				t := back[i]
				t.got, t.err = l.prove(ctx, addr, t.who, t.at, t.word)
				ok := t.err == nil && l.signedIn(ctx, addr, t)
				mu.Lock()
				if ok {
					n++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return n
}
