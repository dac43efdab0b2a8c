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
	"strconv"
	"strings"
	"time"

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
	PasskeyFailed    Kind = "authn_passkey_fail"         // why
	PasskeyWentBack  Kind = "authn_passkey_counter_back" // a copy may be about
	PasswordPassed   Kind = "authn_password_success"
	CodeFailed       Kind = "authn_code_fail"
	SecondDoorPassed Kind = "authn_second_door_success" // of an account whose first proof an application looked at
	CodeSent         Kind = "authn_code_sent"
	Throttled        Kind = "excess_rate_limit_exceeded"
	DeviceRemembered Kind = "device_remembered"
	DeviceBound      Kind = "device_bound" // to a key of its machine
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
	AddressAdded     Kind = "user_address_added"
	AddressRemoved   Kind = "user_address_removed"
	AddressChanged   Kind = "user_address_changed" // what it is used for
	ContactsChanged  Kind = "recovery_contacts_changed"
	SavedCodeChanged Kind = "recovery_saved_code_changed"
	FactorChanged    Kind = "authn_factor_changed" // which: added, renamed, removed, reset, chosen
	FactorStopped    Kind = "authn_factor_stopped" // a hundred wrong codes in a row
	SIMSwapped       Kind = "phone_sim_swapped"    // so that a code was not sent to it
	BackupChanged    Kind = "authn_backup_changed" // which: made, removed
	AccountCreated   Kind = "user_created"
	AccountChanged   Kind = "user_updated"
	AccountRead      Kind = "sensitive_read"
	DataDownloaded   Kind = "data_downloaded"
	EraseAsked       Kind = "erase_asked"
	EraseStopped     Kind = "erase_stopped"
	AccountErased    Kind = "user_deleted"
	KeysChanged      Kind = "sys_keys_changed"
	LettersPaused    Kind = "sys_letters_paused"
	LettersResumed   Kind = "sys_letters_resumed"
	ApprovalAsked    Kind = "authn_approval_asked" // of another device
	ApprovalFailed   Kind = "authn_approval_fail"  // a wrong number
	ApprovalGiven    Kind = "authn_approval_given"
	ApprovalRefused  Kind = "authn_approval_refused"
	TokensImported   Kind = "tokens_imported" // hardware, for one-time codes
	TokenAssigned    Kind = "token_assigned"
	TokenUnassigned  Kind = "token_unassigned"

	ClientRuleChanged   Kind = "client_rule_changed"
	APIRetired          Kind = "api_retired"
	APIUnretired        Kind = "api_unretired"
	ApplicationChanged  Kind = "oidc_client_changed"
	ApplicationAllowed  Kind = "oidc_grant_given"
	ApplicationEnded    Kind = "oidc_grant_ended"
	ApplicationReplayed Kind = "oidc_token_reuse" // a code or a refresh token came again
	InvitationMade      Kind = "invitation_created"
	InvitationRevoked   Kind = "invitation_revoked"
	WebhookChanged      Kind = "sys_webhook_changed" // was: added, removed, paused, …
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
type Log struct {
	Ring *keyring.Ring
	// Told is told of each event, by its id, in the transaction that appends it. May be nil.
	Told func(ctx context.Context, tx *sqldb.Tx, id string, e Event) error
}

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
		r.Source = l.Ring.Seal([]byte(e.Source.Unmap().String()), place(r.ID))
	}
	r.MAC = l.mac(r)
	if err := put(ctx, tx, r); err != nil || l.Told == nil {
		return err
	}
	return l.Told(ctx, tx, r.ID, e)
}

// Past is an event of an account as it was recorded. Source is the zero Addr where it cannot be opened.
type Past struct {
	Event

	ID string
	At time.Time
}

// Mark is a place in an account's record: just before the event that it names. The zero Mark is its end.
type Mark struct {
	At time.Time
	ID string
}

// String is a mark as callers keep it.
func (m Mark) String() string { return strconv.FormatInt(m.At.UnixMilli(), 10) + "-" + m.ID }

// ParseMark reads what String wrote.
func ParseMark(text string) (m Mark, ok bool) {
	at, id, _ := strings.Cut(text, "-")
	ms, err := strconv.ParseInt(at, 10, 64)
	if err != nil || ms < 0 || uuid.Validate(id) != nil {
		return Mark{}, false
	}
	return Mark{At: time.UnixMilli(ms), ID: id}, true
}

// Span is a part of an account's record: up to Most events before a mark, and since a time.
type Span struct {
	Since  time.Time
	Before Mark
	Most   int
}

// Of returns a part of an account's record, the newest event first.
func (l *Log) Of(ctx context.Context, tx *sqldb.Tx, account string, s Span) (all []Past, err error) {
	if s.Before == (Mark{}) {
		s.Before.At = tx.Now().Add(time.Hour) // whatever the clocks of other nodes say
	}
	err = of(ctx, tx, account, s, func(r row) { all = append(all, l.past(r)) })
	return all, err
}

// Find returns one event of an account. ok is false if it has none by that id.
func (l *Log) Find(ctx context.Context, tx *sqldb.Tx, account, id string) (p Past, ok bool, err error) {
	r, ok, err := find(ctx, tx, account, id)
	if err != nil || !ok {
		return Past{}, false, err
	}
	return l.past(r), true, nil
}

// Read returns one event, whoever it is about. ok is false if there is none by that id, or if it is not as it was written.
func (l *Log) Read(ctx context.Context, tx *sqldb.Tx, id string) (p Past, ok bool, err error) {
	r, ok, err := read(ctx, tx, id)
	if err != nil || !ok || !l.authentic(r) {
		return Past{}, false, err
	}
	return l.past(r), true, nil
}

// Since is a part of the whole record: up to Most events since a time, of one account or of all.
type Since struct {
	At      time.Time
	Account string
	Most    int
}

// After returns the oldest events of a part that stand after the one named ("" for the very first).
func (l *Log) After(ctx context.Context, tx *sqldb.Tx, id string, s Since) (all []Past, err error) {
	err = since(ctx, tx, id, s, func(r row) { all = append(all, l.past(r)) })
	return all, err
}

func (l *Log) past(r row) Past {
	p := Past{Event: Event{Kind: r.Kind, Account: r.Account, Actor: r.Actor}, ID: r.ID, At: time.UnixMilli(r.At)}
	_ = json.Unmarshal([]byte(r.Detail), &p.Detail) // a row that was changed shows in Verify
	if plain, err := l.Ring.Open(r.Source, place(r.ID)); err == nil {
		p.Source, _ = netip.ParseAddr(string(plain))
	}
	return p
}

func place(id string) keyring.Place {
	return keyring.Place{Table: "audit_event", Row: id, Column: "source"}
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
		if !l.authentic(r) {
			v.Changed = append(v.Changed, r.ID)
		}
	})
	return v, err
}

const purpose = "audit"

func (l *Log) mac(r row) []byte { return l.Ring.MAC(purpose, record(r)) }

func (l *Log) authentic(r row) bool { return l.Ring.Authentic(purpose, record(r), r.MAC) }

func record(r row) []byte {
	return fmt.Appendf(nil, "%q %d %q %q %q %x %q", r.ID, r.At, r.Kind, r.Account, r.Actor, r.Source, r.Detail)
}
