package client_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"countersign/client"
)

// An API behind Countersign: apps sign in there, and send the session's token.
func ExampleSessions_Require() {
	countersign, err := client.New(client.Config{URL: "https://id.example.org"})
	if err != nil {
		panic(err)
	}
	sessions := &client.Sessions{Client: countersign} // a session that ended is refused after five seconds at the latest
	http.Handle("/photos", sessions.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		me, _ := client.SessionOf(r.Context())
		_, _ = fmt.Fprintln(w, "photos of", me.Account)
	})))
}

// The second door of an application with passwords of its own.
func ExampleClient_Begin() {
	countersign, err := client.New(client.Config{URL: "https://id.example.org", ID: "photos", Secret: os.Getenv("COUNTERSIGN_SECRET")})
	if err != nil {
		panic(err)
	}
	http.HandleFunc("POST /signin", func(w http.ResponseWriter, r *http.Request) {
		// The password was right. devices are what the browser has from you in a cookie.
		address, _, err := net.SplitHostPort(r.RemoteAddr) // without the port; behind a proxy, the address that the proxy names
		if err != nil {
			http.Error(w, "please try again", http.StatusInternalServerError)
			return
		}
		who := client.Person{Address: address, UserAgent: r.UserAgent()}
		answer, err := countersign.Begin(r.Context(), client.Arrival{Reference: "u-17", Devices: nil, Person: who})
		switch {
		case err != nil:
			http.Error(w, "please try again", http.StatusServiceUnavailable) // nobody gets in
		case answer.Allowed:
			// a session of yours begins
		case answer.Step == "device":
			// the browser signs answer.Nonce; then countersign.ProveDevice
		default:
			err = countersign.SendCode(r.Context(), answer.Flow, who, answer.Ways[0]) // then countersign.ProveCode
		}
		_ = err
	})
}

// Sessions that ended are known at once.
func ExampleWebhook_Verify() {
	hook := client.Webhook{Secrets: []string{os.Getenv("COUNTERSIGN_WEBHOOK_SECRET")}}
	sessions := &client.Sessions{}
	http.HandleFunc("POST /hooks/countersign", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			return
		}
		event, err := hook.Verify(r.Header, body)
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		switch event.Type {
		case "session_logout", "account_protected", "authn_password_change":
			sessions.Forget(event.Account)
		}
	})
}
