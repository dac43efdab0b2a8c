package oidc_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"countersign/internal/assurance"
	"countersign/internal/oidc"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/testkit"
)

// ears is an application that is told that people are signed out.
type ears struct {
	mu    sync.Mutex
	heard []string
	deaf  bool
}

func (e *ears) post(_ context.Context, to oidc.Client, token string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.heard = append(e.heard, to.ID+" "+token); e.deaf {
		return errors.New("it does not answer")
	}
	return nil
}

func (e *ears) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.heard)
}

// listening has the client told of logouts, and a node that tells it.
func (k *kit) listening() *ears {
	k.t.Helper()
	e := &ears{}
	k.client.Backchannel = "https://shop.example.com/logout"
	if _, err := k.Add(k.t.Context(), k.client); err != nil {
		k.t.Fatal(err)
	}
	k.Post, k.Sessions.Ended = e.post, k.SignedOut
	k.run(k.Service)
	return e
}

// run has a node tell applications until the test ends.
func (k *kit) run(s *oidc.Service) {
	ctx, stop := context.WithCancel(context.Background())
	var over sync.WaitGroup
	over.Go(func() { _ = s.Run(ctx) })
	k.t.Cleanup(func() {
		stop()
		over.Wait()
	})
}

// hears waits until the application was told so often, and no more often.
func (k *kit) hears(e *ears, n int) {
	k.t.Helper()
	for end := time.Now().Add(20 * time.Second); e.count() < n && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if got := e.count(); got != n {
		k.t.Fatalf("told %d times, want %d", got, n)
	}
}

// readLogout verifies a logout token as an application does (OpenID Connect Back-Channel Logout 1.0 section 2.6).
func (k *kit) readLogout(token string) (claims map[string]any) {
	k.t.Helper()
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		k.t.Fatal(err)
	}
	if typ := signed.Signatures[0].Protected.ExtraHeaders[jose.HeaderType]; typ != "logout+jwt" {
		k.t.Errorf("typ %v", typ)
	}
	text, err := k.JWKS(k.t.Context())
	if err != nil {
		k.t.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(text, &set); err != nil {
		k.t.Fatal(err)
	}
	payload, err := signed.Verify(set.Key(signed.Signatures[0].Protected.KeyID)[0])
	if err == nil {
		err = json.Unmarshal(payload, &claims)
	}
	if err != nil {
		k.t.Fatal(err)
	}
	return claims
}

func (k *kit) end(me session.Session) {
	k.t.Helper()
	if ok, err := k.m.Profile.EndSession(k.t.Context(), me, k.m.Client, me.ID); err != nil || !ok {
		k.t.Fatal(ok, err)
	}
}

// R-OI-10: what an application is told, and that it fits what it was told at the sign-in.
func TestAnApplicationIsToldOfALogout(t *testing.T) {
	each(t, func(k *kit) {
		e := k.listening()
		id, _ := k.claimsOf(k.tokens(redeeming(k.code())).ID)
		k.end(k.me)
		k.hears(e, 1)
		client, token, _ := strings.Cut(e.heard[0], " ")
		said := k.readLogout(token)
		if client != "shop" || said["iss"] != issuer || said["aud"] != "shop" || said["sub"] != id["sub"] || said["sid"] != id["sid"] || said["jti"] == "" {
			t.Errorf("told %v, and the ID token said %v", said, id)
		}
		if _, there := said["nonce"]; there {
			t.Error("it has a nonce, and could be taken for an ID token")
		}
		events, _ := said["events"].(map[string]any)
		if event, ok := events["http://schemas.openid.net/event/backchannel-logout"].(map[string]any); !ok || len(event) != 0 || len(events) != 1 {
			t.Errorf("events %v", said["events"])
		}
		from, _ := said["iat"].(float64)
		to, _ := said["exp"].(float64)
		if to-from != 120 {
			t.Errorf("it lasts %v s", to-from)
		}
		// And it is good for nothing else.
		if l := k.leave(k.me, "id_token_hint", token); !l.Ask {
			t.Error("a logout token is taken for an ID token")
		}
	})
}

// Every end that somebody makes is told, and none that a clock makes, nor that a step-up makes.
func TestWhichEndsAreTold(t *testing.T) {
	each(t, func(k *kit) {
		e := k.listening()
		fresh := func() session.Session {
			k.me = k.signIn(k.who, assurance.Password, assurance.SMS)
			k.tokens(redeeming(k.code()))
			return k.me
		}
		k.tokens(redeeming(k.code()))
		k.me = k.proveAgain(k.me)
		k.settled()
		if n := k.waiting() + e.count(); n != 0 {
			t.Errorf("%d are told of a line that goes on", n)
		}
		k.end(k.me)
		k.hears(e, 1)
		var elsewhere session.Session
		for name, end := range map[string]func() error{
			"from another device": func() error {
				_, err := k.m.Profile.EndSession(t.Context(), elsewhere, k.m.Client, k.me.ID)
				return err
			},
			"the others": func() error { return k.m.Profile.EndOtherSessions(t.Context(), elsewhere, k.m.Client) },
			"all":        func() error { return k.m.Profile.EndAllSessions(t.Context(), k.me, k.m.Client) },
			"a lock":     func() error { return k.m.Profile.Lock(t.Context(), k.who) },
			"a recovery's end": func() error {
				return k.DB.Write(t.Context(), func(tx *sqldb.Tx) error { return k.Sessions.EndAll(t.Context(), tx, k.who, "password recovered") })
			},
			"consent taken back": func() error {
				_, err := k.Withdraw(t.Context(), k.me, k.m.Client, "shop")
				return err
			},
		} {
			k.Sessions.Ended = nil // whatever is left of the one before
			k.write(func(tx *sqldb.Tx) error { return k.Sessions.EndAll(t.Context(), tx, k.who, "test") })
			k.Sessions.Ended = k.SignedOut
			elsewhere = k.signIn(k.who, assurance.Password)
			fresh()
			told := e.count()
			if err := end(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			k.hears(e, told+1)
			if name == "a lock" {
				if err := k.m.Profile.Unlock(t.Context(), k.who); err != nil {
					t.Fatal(err)
				}
			}
		}
		told := e.count()
		k.me = k.signIn(k.who, assurance.Password)
		k.code() // which nobody redeems
		k.end(k.me)
		fresh()
		k.clock.Advance(400 * 24 * time.Hour) // its time runs out
		k.write(func(tx *sqldb.Tx) error {
			n, err := k.Sessions.Prune(t.Context(), tx)
			if n == 0 {
				t.Error("no session's time ran out")
			}
			return err
		})
		if n := k.waiting() + e.count() - told; n != 0 { // in this order: what is told stands in one of the two
			t.Errorf("%d are told of a code that nobody redeemed, or of a session whose time ran out", n)
		}
		k.end(fresh())
		k.hears(e, told+1)
	})
}

// What keeps a node from telling is logged: it would look like nothing to tell.
func TestWhatKeepsLogoutsFromBeingToldIsLogged(t *testing.T) {
	each(t, func(k *kit) {
		var log testkit.Log
		k.Log = slog.New(slog.NewTextHandler(&log, nil))
		k.write(func(tx *sqldb.Tx) error { _, err := tx.Exec(t.Context(), `DROP TABLE oidc_logout`); return err })
		k.listening()
		for end := time.Now().Add(20 * time.Second); !strings.Contains(log.String(), "look for logouts"); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("logged: %q", log.String())
			}
		}
	})
}

// What is not taken is tried again, by whichever node is there, and not for ever; an application that is gone is told nothing.
func TestALogoutIsToldAgain(t *testing.T) {
	each(t, func(k *kit) {
		e := k.listening()
		second := provider(k.m)
		second.Post = e.post
		k.run(second)
		e.deaf = true
		k.tokens(redeeming(k.code()))
		k.end(k.me)
		k.hears(e, 1)
		for n := 2; n < 5; n++ {
			k.settled()
			k.clock.Advance(2 * time.Minute)
			k.hears(e, n)
		}
		k.settled()
		e.mu.Lock()
		e.deaf = false
		e.mu.Unlock()
		k.clock.Advance(2 * time.Minute)
		k.hears(e, 5)
		k.settled()
		if n := k.waiting(); n != 0 {
			t.Errorf("%d wait after it was told", n)
		}
		ids := map[any]bool{}
		for _, one := range e.heard {
			_, token, _ := strings.Cut(one, " ")
			ids[k.readLogout(token)["jti"]] = true
		}
		if len(ids) != 5 {
			t.Errorf("%d ids of 5 tokens: an application may refuse one that it has seen", len(ids))
		}
		// For a day.
		e.mu.Lock()
		e.deaf = true
		e.mu.Unlock()
		k.me = k.signIn(k.who, assurance.Password)
		k.tokens(redeeming(k.code()))
		k.end(k.me)
		k.hears(e, 6)
		k.settled()
		k.clock.Advance(25 * time.Hour)
		k.hears(e, 7)
		k.settled()
		if n := k.waiting(); n != 0 {
			t.Errorf("%d wait after a day", n)
		}
	})
}

// A transaction that is undone tells nobody.
func TestAnEndThatIsUndoneIsNotTold(t *testing.T) {
	each(t, func(k *kit) {
		e := k.listening()
		k.tokens(redeeming(k.code()))
		undone := errors.New("undone")
		err := k.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			return errors.Join(k.Sessions.EndAll(t.Context(), tx, k.who, "test"), undone)
		})
		if !errors.Is(err, undone) {
			t.Fatal(err)
		}
		if n := k.waiting(); n != 0 || e.count() != 0 {
			t.Errorf("%d wait, %d told", n, e.count())
		}
	})
}

// RFC 9700 section 4.11's care holds for addresses that we call, too.
func TestBackchannelURIsAreChecked(t *testing.T) {
	for _, bad := range []string{"http://shop.example.com/logout", "https://shop.example.com/#x", "ftp://shop.example.com/", "org.example.app:/logout", "https://u:p@shop.example.com/"} {
		c := oidc.Client{ID: "shop", Name: "Shop", RedirectURIs: []string{callback}, Backchannel: bad}
		if c.Check() == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

// waiting is how many applications are still to be told.
func (k *kit) waiting() (n int) {
	k.t.Helper()
	if err := k.DB.Read(k.t.Context(), func(tx *sqldb.Tx) error {
		return tx.QueryRow(k.t.Context(), `SELECT COUNT(*) FROM oidc_logout`).Scan(&n)
	}); err != nil {
		k.t.Fatal(err)
	}
	return n
}

// settled waits until no node is in the middle of telling.
func (k *kit) settled() {
	k.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		leased := 0
		if err := k.DB.Read(k.t.Context(), func(tx *sqldb.Tx) error {
			return tx.QueryRow(k.t.Context(), `SELECT COUNT(*) FROM oidc_logout WHERE lease IS NOT NULL`).Scan(&leased)
		}); err != nil {
			k.t.Fatal(err)
		}
		if leased == 0 {
			return
		}
	}
	k.t.Fatal("still being told")
}
