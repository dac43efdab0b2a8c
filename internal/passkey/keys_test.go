package passkey_test

import (
	"bytes"
	"encoding/base64"
	"testing"

	"countersign/internal/passkey"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// P4: rows are made anew with the next key, and what was enrolled and begun before goes on when the old one is dropped.
func TestPasskeysOutliveTheirKeys(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			clock := dbtest.NewClock()
			db := dbtest.Open(t, dbtest.NewURL(t, engine), clock)
			keys := testkit.NewKeys(t, db, "")
			m := testkit.NewMachine(t, db, keys.Ring)
			k := &kit{m.Passkeys, t, db, clock, m.Account("ada@example.org"), ""}
			a := newAuthenticator(t)
			p := k.enrol(k.ada, a)
			b := k.beginSignin(passkey.Signin{})
			old := keys.Change()
			if _, r := k.verify(passkey.Answer{Bound: flow, State: b.State, Response: a.signs(b.Options)}); r != "" {
				t.Errorf("begun before: %s", r)
			}
			keys.Renew(k.Holdings())
			for _, cell := range cells(t, db) {
				if bytes.Contains(cell, []byte(old)) {
					t.Errorf("something is still sealed with %s", old)
				}
			}
			keys.Drop(old)
			if v, r := k.signIn(passkey.Signin{}, a); r != "" || v.Passkey != p.ID {
				t.Errorf("%+v, %s", v, r)
			}
			if all := k.list(k.ada); len(all) != 1 || all[0].Name != "Phone" {
				t.Errorf("%+v", all)
			}
			again := k.beginEnrol(passkey.Enrol{Bound: flow, Account: k.ada})
			if _, r := k.finishEnrol(passkey.Answer{Bound: flow, State: again.State, Response: a.creates(again.Options)}, ""); r != passkey.Taken {
				t.Errorf("enrolled again under the new key: %q", r)
			}
		})
	}
}

// P4: who has the database alone has no names, and no credentials to look for elsewhere.
func TestAStolenDatabaseTellsNothing(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		a := newAuthenticator(t)
		k.enrol(k.ada, a)
		if _, r := k.signIn(passkey.Signin{}, a); r != "" {
			t.Fatal(r)
		}
		found := cells(t, k.db)
		if len(found) < 9 {
			t.Fatalf("looked at %d values", len(found))
		}
		for what, secret := range map[string][]byte{
			"credential id": a.id, "public key": a.public[-2].([]byte), "user handle": a.user, "make": a.make,
			"passkey's name": []byte("Phone"), "account's name": []byte("ada@example.org"),
		} {
			for _, cell := range found {
				if bytes.Contains(cell, secret) || bytes.Contains(cell, []byte(b64(secret))) || bytes.Contains(cell, []byte(base64.StdEncoding.EncodeToString(secret))) {
					t.Errorf("the %s is in the database", what)
				}
			}
		}
	})
}

// cells are the values of the package's tables.
func cells(t *testing.T, db *sqldb.DB) (all [][]byte) {
	t.Helper()
	err := db.Read(t.Context(), func(tx *sqldb.Tx) error {
		err := tx.Each(t.Context(), `SELECT id, account_id, lookup, credential, name, coalesce(ended_why, ''), created_at FROM passkey`, func(scan func(...any) error) error {
			cell := make([][]byte, 7)
			err := scan(&cell[0], &cell[1], &cell[2], &cell[3], &cell[4], &cell[5], &cell[6])
			all = append(all, cell...)
			return err
		})
		if err != nil {
			return err
		}
		return tx.Each(t.Context(), `SELECT challenge FROM passkey_spent`, func(scan func(...any) error) error {
			var challenge []byte
			err := scan(&challenge)
			all = append(all, challenge)
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A row that was damaged, or whose key is lost, takes nothing from the passkeys beside it, and opens nothing.
func TestAPasskeyThatDoesNotOpenIsPassedOver(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		bad, good := newAuthenticator(t), newAuthenticator(t)
		lost := k.enrol(k.ada, bad)
		k.enrol(k.ada, good)
		k.write(func(tx *sqldb.Tx) error {
			_, err := tx.Exec(t.Context(), `UPDATE passkey SET credential = $1 WHERE id = $2`, []byte("torn"), lost.ID)
			return err
		})
		k.write(func(tx *sqldb.Tx) error {
			s, err := k.Signal(t.Context(), tx, k.ada)
			if s.UserID != "" || len(s.Accepted) != 0 { // it would be deleted
				t.Errorf("%+v", s)
			}
			return err
		})
		if b := k.beginSignin(passkey.Signin{Account: k.ada}); b.Listed != 1 {
			t.Errorf("%d listed", b.Listed)
		}
		if _, r := k.signIn(passkey.Signin{}, bad); r != passkey.Wrong { // not Unknown, which would have it deleted: a key may come back
			t.Errorf("the damaged one: %q", r)
		}
		if _, r := k.signIn(passkey.Signin{}, good); r != "" {
			t.Errorf("the other: %q", r)
		}
		for range passkey.MaxPerAccount - 2 {
			k.enrol(k.ada, newAuthenticator(t))
		}
		k.write(func(tx *sqldb.Tx) error {
			_, r, err := k.BeginEnrol(t.Context(), tx, passkey.Enrol{Bound: flow, Account: k.ada})
			if r != passkey.Full {
				t.Errorf("it does not count: %q", r)
			}
			return err
		})
	})
}
