package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"countersign/internal/account"
	"countersign/internal/factor"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/profile"
)

type passwordChangeInput struct {
	Caller

	Body struct {
		Current string   `json:"current" minLength:"1" maxLength:"4096" doc:"The password that is in use."`
		New     string   `json:"new" minLength:"1" maxLength:"4096" doc:"The one to be, as typed. Never trimmed, folded or cut."`
		Devices []string `json:"devices,omitempty" maxItems:"4" maxLength:"64" doc:"Handles this app keeps of remembered devices."`
	}
}

type renewedOutput struct {
	Body struct {
		Session newSession `json:"session" doc:"What to use from now on in place of the token that asked."`
	}
}

type accountOutput struct {
	Body struct {
		ID           account.ID   `json:"id" doc:"The account, under the id that never changes."`
		Language     string       `json:"language" example:"en" doc:"Of letters to its holder."`
		CreatedAt    time.Time    `json:"created_at" doc:"Since when there is the account."`
		Addresses    []addressRow `json:"addresses" doc:"Oldest first."`
		SavedCode    bool         `json:"saved_code" doc:"Whether there is a saved recovery code. It is shown only when it is made."`
		Contacts     int          `json:"contacts" doc:"How many recovery contacts there are."`
		FrozenUntil  *time.Time   `json:"frozen_until,omitempty" doc:"Before then addresses, contacts and the saved code stay as they are."`
		Frozen       bool         `json:"frozen" doc:"Whether that holds for the session that asks: not for one of a device that was remembered long before."`
		EraseAt      *time.Time   `json:"erase_at,omitempty" doc:"When the account is erased, since its holder has asked for it."`
		DueForReview bool         `json:"due_for_review" doc:"Whether it is time to ask the holder if all this is still right."`
	}
}

type addressesOutput struct {
	Body struct {
		Addresses []addressRow `json:"addresses" doc:"Oldest first."`
	}
}

type addressRow struct {
	ID        string       `json:"id" doc:"Names the address to its owner. Not a secret."`
	Kind      account.Kind `json:"kind" enum:"email,phone,username" doc:"What it is."`
	Address   string       `json:"address" example:"ada@example.org" doc:"The address, number or name itself."`
	Verified  bool         `json:"verified" doc:"Whether it was proved to be the holder's."`
	Uses      uses         `json:"uses" doc:"What it is for."`
	AddedAt   time.Time    `json:"added_at" doc:"Since when it is the account's."`
	SettledAt time.Time    `json:"settled_at" doc:"From when it can recover the account and take changes back."`
}

type uses struct {
	SignsIn  bool `json:"signs_in" doc:"Whether the account is found by it."`
	Notices  bool `json:"notices" doc:"Whether it is told of what happens."`
	Recovers bool `json:"recovers" doc:"Whether it may be used to get back in."`
}

type addressInput struct {
	Caller

	Body struct {
		Address string `json:"address" minLength:"1" maxLength:"1024" example:"ada@example.org" doc:"E-mail address or phone number, as the person wrote it."`
	}
}

type addressFlowOutput struct {
	Body struct {
		Flow      string     `json:"flow" example:"csa_…" doc:"The secret handle of what was begun."`
		Way       factor.Way `json:"way" enum:"sms,email" doc:"The way the code goes."`
		ResendAt  *time.Time `json:"resend_at,omitempty" doc:"When another code can be asked for. Missing after the last one."`
		ExpiresAt time.Time  `json:"expires_at" doc:"Until when the address waits for its code."`
	}
}

type addressSendInput struct {
	Caller

	Body struct {
		Flow string `json:"flow" minLength:"1" maxLength:"64" doc:"From the first call."`
	}
}

type addressProveInput struct {
	Caller

	Body struct {
		Flow string `json:"flow" minLength:"1" maxLength:"64" doc:"From the first call."`
		Code string `json:"code" minLength:"1" maxLength:"32" example:"492817" doc:"The digits received."`
	}
}

type addressIDInput struct {
	Caller

	ID string `path:"id" minLength:"1" maxLength:"64" doc:"From the list of addresses."`
}

type usesInput struct {
	Caller

	ID   string `path:"id" minLength:"1" maxLength:"64" doc:"From the list of addresses."`
	Body uses
}

const aboutFresh = " Takes a session that proved who it is at most ten minutes ago."

// guarded are the codes of calls that change what the account is reached and recovered by.
func guarded(more ...string) []string {
	return append([]string{"reauthentication_required", "account_frozen"}, more...)
}

// account registers what the signed-in may see and change of their account. Contact data is in these
// answers and in no others, and only the holder's own.
func (h *API) account(a huma.API) {
	const tag = "Account"
	register(a, operation{
		id: "get-account", method: http.MethodGet, path: "/account", tag: tag, signedIn: true,
		summary: "See one's own account", about: "What it is reached and recovered by, and what it may not do for a while.",
	}, h.getAccount)
	register(a, operation{
		id: "change-password", method: http.MethodPost, path: "/account/password", tag: tag, signedIn: true,
		summary: "Change the password",
		about: "Every other session ends, every device is forgotten but the one that this session was opened from, and every address " +
			"is told. The session that asks gets a new token. A wrong current password is password_refused, and counts as at a sign-in.",
		codes: []string{
			"password_refused", "password_unchanged", "password_malformed", "password_too_short", "password_too_long",
			"password_context", "password_common", "too_many_attempts", "busy",
		},
	}, h.changePassword)
	register(a, operation{
		id: "list-addresses", method: http.MethodGet, path: "/account/addresses", tag: tag, signedIn: true,
		summary: "List one's own addresses", about: "E-mail addresses, phone numbers and user names.",
	}, h.listAddresses)
	register(a, operation{
		id: "begin-own-address", method: http.MethodPost, path: "/account/addresses", tag: tag, signedIn: true, status: http.StatusAccepted,
		summary: "Begin to add an address",
		about:   "Sends a code there. The answer is the same whether or not another account has the address; then no code fits." + aboutFresh,
		codes:   guarded("identifier_malformed", "way_unknown", "address_known", "too_many_addresses", "too_many_attempts"),
	}, h.beginOwn)
	register(a, operation{
		id: "send-own-address-code", method: http.MethodPost, path: "/account/addresses/send", tag: tag, signedIn: true, status: http.StatusAccepted,
		summary: "Have another code sent", about: "The older code is worthless from then on.",
		codes: []string{"flow_ended", "resend_too_soon", "too_many_attempts"},
	}, h.sendOwn)
	register(a, operation{
		id: "prove-own-address", method: http.MethodPost, path: "/account/addresses/prove", tag: tag, signedIn: true, status: http.StatusNoContent,
		summary: "Add the address with its code", about: "Every address of the account is told.",
		codes: guarded("flow_ended", "code_refused", "too_many_attempts", "identifier_taken", "too_many_addresses"),
	}, h.proveOwn)
	register(a, operation{
		id: "remove-address", method: http.MethodDelete, path: "/account/addresses/{id}", tag: tag, signedIn: true, status: http.StatusNoContent,
		summary: "Remove an address", about: "It is told all the same, and can take that back for 72 hours." + aboutFresh,
		codes: guarded("not_found", "last_notice_address", "last_signin_address"),
	}, h.removeAddress)
	register(a, operation{
		id: "set-address-uses", method: http.MethodPatch, path: "/account/addresses/{id}", tag: tag, signedIn: true, status: http.StatusNoContent,
		summary: "Say what an address is for", about: "All three uses are given. What serves for less is told like one that was removed." + aboutFresh,
		codes: guarded("not_found", "last_notice_address", "last_signin_address", "identifier_uses_invalid", "identifier_taken"),
	}, h.setUses)
}

func (h *API) getAccount(ctx context.Context, in *callerInput) (*accountOutput, error) {
	o, err := h.Owner.Overview(ctx, in.session)
	if err != nil {
		return nil, err
	}
	out := &accountOutput{}
	b := &out.Body
	b.ID, b.Language, b.CreatedAt, b.Addresses = o.Account.ID, o.Account.Language, instant(o.Account.CreatedAt), addressRows(o)
	b.SavedCode, b.Contacts, b.Frozen, b.DueForReview = o.SavedCode, len(o.Contacts), o.Frozen, o.DueForReview
	b.FrozenUntil, b.EraseAt = someInstant(o.Standing.FrozenUntil), someInstant(o.Standing.EraseAt)
	return out, nil
}

// someInstant is nothing for the zero time.
func someInstant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = instant(t)
	return &t
}

func addressRows(o profile.Overview) []addressRow {
	rows := make([]addressRow, 0, len(o.Addresses))
	for _, a := range o.Addresses {
		rows = append(rows, addressRow{
			ID: a.ID, Kind: a.Kind, Address: a.Normal, Verified: a.Verified, Uses: uses{a.SignsIn, a.Notices, a.Recovers},
			AddedAt: instant(a.AddedAt), SettledAt: instant(a.SettledAt(o.Account)),
		})
	}
	return rows
}

func (h *API) changePassword(ctx context.Context, in *passwordChangeInput) (*renewedOutput, error) {
	st, ok, err := h.Owner.ChangePassword(ctx, in.session, in.client, profile.PasswordChange{
		Current: in.Body.Current, New: in.Body.New, Handles: tokens(in.Body.Devices),
	})
	if err == nil && !ok {
		err = fault.New(fault.Unauthenticated, "password_refused", errors.New("wrong current password"))
	}
	if err != nil {
		return nil, err
	}
	out := &renewedOutput{}
	out.Body.Session = opened(st)
	return out, nil
}

func (h *API) listAddresses(ctx context.Context, in *callerInput) (*addressesOutput, error) {
	o, err := h.Owner.Overview(ctx, in.session)
	if err != nil {
		return nil, err
	}
	out := &addressesOutput{}
	out.Body.Addresses = addressRows(o)
	return out, nil
}

func (h *API) beginOwn(ctx context.Context, in *addressInput) (*addressFlowOutput, error) {
	f, err := h.Owner.BeginAddress(ctx, in.session, in.client, in.Body.Address)
	if err != nil {
		return nil, err
	}
	return addressFlow(f, f.Handle.Reveal()), nil
}

func addressFlow(f profile.AddressFlow, handle string) *addressFlowOutput {
	out := &addressFlowOutput{}
	out.Body.Flow, out.Body.Way, out.Body.ExpiresAt = handle, f.Way, instant(f.ExpiresAt)
	if !f.ResendAt.IsZero() {
		next := instant(f.ResendAt.Add(time.Second - 1)) // rounded up: nobody is told to come back too early
		out.Body.ResendAt = &next
	}
	return out
}

func (h *API) sendOwn(ctx context.Context, in *addressSendInput) (*addressFlowOutput, error) {
	f, err := h.Owner.SendAddress(ctx, in.session, in.client, secret.Of(in.Body.Flow))
	if err != nil {
		return nil, err
	}
	if f.TooSoon {
		wait := time.Hour // this flow gets no more
		if !f.ResendAt.IsZero() {
			wait = f.ResendAt.Sub(h.Now())
		}
		return nil, fault.Later(fault.TooMany, "resend_too_soon", wait, errors.New("a code was sent lately"))
	}
	return addressFlow(f, in.Body.Flow), nil
}

func (h *API) proveOwn(ctx context.Context, in *addressProveInput) (*none, error) {
	f, err := h.Owner.ProveAddress(ctx, in.session, in.client, secret.Of(in.Body.Flow), secret.Of(in.Body.Code))
	if err == nil && f.Refused {
		err = fault.New(fault.Unauthenticated, "code_refused", errors.New("wrong, old or expired code"))
	}
	return &none{}, err
}

func (h *API) removeAddress(ctx context.Context, in *addressIDInput) (*none, error) {
	return &none{}, h.Owner.RemoveAddress(ctx, in.session, in.client, in.ID)
}

func (h *API) setUses(ctx context.Context, in *usesInput) (*none, error) {
	u := in.Body
	return &none{}, h.Owner.SetAddressUses(ctx, in.session, in.client, in.ID, account.Uses{SignsIn: u.SignsIn, Notices: u.Notices, Recovers: u.Recovers})
}
