// Package audit keeps the append-only record of security events. It owns the table audit_event.
//
// An event says what was decided, about which account and from where; it never holds an
// address, a number, a name, a token or a code. The client's network address is sealed.
// Every row carries a keyed MAC over all its fields, so a changed row shows; Append is the
// only way in, and the one place where rows can be chained.
package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/google/uuid"

	"countersign/internal/keyring"
	"countersign/internal/platform/sqldb"
)

// Kind names what happened, in the words of OWASP's logging vocabulary where it has one.
type Kind string

// The kinds of events.
const (
	LoginSuccess     Kind = "authn_login_success"
	PasswordFailed   Kind = "authn_login_fail"
	PasswordPassed   Kind = "authn_password_success"
	CodeFailed       Kind = "authn_code_fail"
	CodeSent         Kind = "authn_code_sent"
	Throttled        Kind = "excess_rate_limit_exceeded"
	DeviceRemembered Kind = "device_remembered"
	DeviceRecognised Kind = "device_recognised"
	DeviceUnproved   Kind = "device_unproved"
	DeviceReplayed   Kind = "authn_token_reuse"
	DeviceForgotten  Kind = "device_forgotten"
	DeviceRenamed    Kind = "device_renamed"
	SessionEnded     Kind = "session_logout"
	RecoveryProved   Kind = "recovery_success" // of one proof
	RecoveryFailed   Kind = "recovery_fail"
	RecoveryAsked    Kind = "recovery_contacts_asked"
	RecoveryWaits    Kind = "recovery_waits"
	RecoveryStopped  Kind = "recovery_stopped"
	RecoveryDone     Kind = "authn_password_recovered"
	PasswordChanged  Kind = "authn_password_change"
	Protected        Kind = "account_protected" // its holder said that something was not them
	AccountCreated   Kind = "user_created"
	AccountChanged   Kind = "user_updated"
	AccountRead      Kind = "sensitive_read"

	ClientRuleChanged Kind = "client_rule_changed"
	APIRetired        Kind = "api_retired"
	APIUnretired      Kind = "api_unretired"
)

// Event is one security event. Detail holds fixed words only, never contact data.
type Event struct {
	Kind    Kind
	Account string
	Actor   string // person, operator or system
	Source  netip.Addr
	Detail  map[string]string
}

// Log appends events. Ring is required.
type Log struct{ Ring *keyring.Ring }

// Append writes the event in the transaction that decided on it: there is no decision
// without its record and no record of what was rolled back.
func (l *Log) Append(ctx context.Context, tx *sqldb.Tx, e Event) error {
	detail, err := json.Marshal(e.Detail) // keys sorted: one text for one meaning
	if err != nil {
		return err
	}
	if e.Actor == "" {
		e.Actor = "person"
	}
	r := row{ID: uuid.Must(uuid.NewV7()).String(), At: tx.Now().UnixMilli(), Kind: e.Kind, Account: e.Account, Actor: e.Actor, Detail: string(detail)}
	if e.Source.IsValid() {
		r.Source = l.Ring.Seal([]byte(e.Source.Unmap().String()), keyring.Place{Table: "audit_event", Row: r.ID, Column: "source"})
	}
	r.MAC = l.mac(r)
	return put(ctx, tx, r)
}

// Verified is what a look at some rows found.
type Verified struct {
	Rows    int
	Changed []string // ids of rows that are not as they were written
	Last    string   // where to go on; empty when there was no row left
}

// Verify re-computes the MACs of up to n rows, the oldest after the id after ("" for the very
// first). It sees a changed row; a deleted one leaves no trace.
func (l *Log) Verify(ctx context.Context, tx *sqldb.Tx, after string, n int) (v Verified, err error) {
	err = each(ctx, tx, after, n, func(r row) {
		v.Rows, v.Last = v.Rows+1, r.ID
		if string(l.mac(r)) != string(r.MAC) {
			v.Changed = append(v.Changed, r.ID)
		}
	})
	return v, err
}

func (l *Log) mac(r row) []byte {
	record := fmt.Appendf(nil, "%q %d %q %q %q %x %q", r.ID, r.At, r.Kind, r.Account, r.Actor, r.Source, r.Detail)
	return l.Ring.MAC("audit", record)
}
