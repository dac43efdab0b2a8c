package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"countersign/internal/factor"
	"countersign/internal/passkey"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/totp"
)

type factorsOutput struct {
	Body struct {
		Passkeys        []passkeyRow   `json:"passkeys" doc:"The oldest first."`
		Signal          passkey.Signal `json:"signal" doc:"For signalAllAcceptedCredentials, so that authenticators offer no passkey that was removed."`
		Apps            []appRow       `json:"apps" doc:"Authenticator apps and hardware tokens, the oldest first."`
		BackupCodesLeft int            `json:"backup_codes_left" doc:"How many of the list were not used."`
		Second          secondBody     `json:"second" doc:"How a second proof is asked for."`
	}
}

type secondBody struct {
	Policy factor.Policy `json:"policy" enum:"unrecognised_device,always,phishing_resistant" doc:"When it is asked for, and by what: the strictest of what the operator and the owner want."`
	Least  factor.Policy `json:"least" enum:"unrecognised_device,always,phishing_resistant" doc:"What the operator wants at least."`
	Ways   []secondRow   `json:"ways" doc:"In the order in which they are offered, and behind them those that open nothing."`
}

type secondRow struct {
	Way     factor.Way `json:"way" enum:"passkey,otp,sms,email,backup" doc:"Where a proof comes from."`
	Opens   bool       `json:"opens" doc:"Whether it is offered and taken."`
	Off     bool       `json:"off" doc:"Whether its owner has turned it off. It is taken all the same when nothing else is left."`
	Stopped bool       `json:"stopped" doc:"Whether it had a hundred wrong codes in a row, and must be set up anew."`
	Limited bool       `json:"restricted" doc:"Whether NIST SP 800-63B-4 calls it a restricted authenticator (section 3.1.3.3): offer a better one beside it."`
}

type chooseInput struct {
	Caller

	Body struct { // which ways there are is the choice's to judge, and to refuse by its own code
		Always bool         `json:"always,omitempty" doc:"Ask at every sign-in, more often than the operator wants."`
		Order  []factor.Way `json:"order,omitempty" maxItems:"5" example:"[\"otp\"]" doc:"The ways that come first, in order: passkey, otp, sms, email, backup. The others follow, the better first."`
		Off    []factor.Way `json:"off,omitempty" maxItems:"2" example:"[\"sms\"]" doc:"sms, email: no code is sent that way unless nothing else is left."`
	}
}

type appRow struct {
	ID         totp.ID    `json:"id" doc:"Names the app to its owner. Not a secret."`
	Name       string     `json:"name" example:"My phone" doc:"What its owner calls it. May be empty."`
	Serial     string     `json:"serial,omitempty" doc:"Of a hardware token."`
	AddedAt    time.Time  `json:"added_at" doc:"Since when."`
	LastUsedAt *time.Time `json:"last_used_at,omitempty" doc:"Missing if it never was."`
}

type newAppOutput struct {
	Body struct {
		ID        totp.ID   `json:"id" doc:"For the call that confirms it."`
		Key       string    `json:"key" example:"JBSW Y3DP EHPK 3PXP" doc:"base32 in groups of four. Shown this once."`
		URL       string    `json:"url" example:"otpauth://totp/…" doc:"For a QR code, or for a link on the phone itself; it has the name by which somebody signs in, for the app to show. Shown this once."`
		ExpiresAt time.Time `json:"expires_at" doc:"When it must be confirmed."`
	}
}

type confirmAppInput struct {
	Caller

	ID   string `path:"id" minLength:"1" maxLength:"64" doc:"From the call before."`
	Body struct {
		Code string `json:"code" minLength:"1" maxLength:"16" example:"492817" doc:"That the app shows. It opens nothing else."`
		Name string `json:"name,omitempty" maxLength:"60" example:"My phone" doc:"What its owner calls it."`
	}
}

type renameAppInput struct {
	Caller

	ID   string `path:"id" minLength:"1" maxLength:"64" doc:"From the list."`
	Body struct {
		Name string `json:"name" minLength:"1" maxLength:"60" example:"My phone" doc:"What its owner calls it."`
	}
}

type appIDInput struct {
	Caller

	ID string `path:"id" minLength:"1" maxLength:"64" doc:"From the list."`
}

type backupCodesOutput struct {
	Body struct {
		Codes []string `json:"codes" doc:"Each works once, in the place of an app's code. Shown this once."`
	}
}

// factors registers what the signed-in have set up to be asked for beside the password.
func (h *API) factors(a huma.API) {
	const tag = "Account"
	register(a, operation{
		id: "list-factors", method: http.MethodGet, path: "/account/factors", tag: tag, signedIn: true, enrols: true,
		summary: "List what somebody has set up to sign in with", about: "Passkeys, apps, hardware tokens and backup codes. Nothing secret.",
	}, h.listFactors)
	register(a, operation{
		id: "choose-second-proof", method: http.MethodPut, path: "/account/second-proof", tag: tag, signedIn: true, status: http.StatusNoContent,
		summary: "Choose how a second proof is asked for",
		about:   "In the place of what was chosen before: what is left out is as the server would have it. Every address is told; of another order alone every e-mail address, once in half an hour." + aboutFresh,
		codes:   guarded("factor_choice_invalid", "too_many_attempts"),
	}, h.chooseSecond)
	register(a, operation{
		id: "add-app", method: http.MethodPost, path: "/account/apps", tag: tag, signedIn: true, enrols: true, status: http.StatusCreated,
		summary: "Make the key of a new authenticator app", about: "It counts for nothing until its first code has confirmed it." + aboutFresh,
		codes: guarded("too_many_authenticators", "too_many_attempts"),
	}, h.addApp)
	register(a, operation{
		id: "confirm-app", method: http.MethodPost, path: "/account/apps/{id}/confirm", tag: tag, signedIn: true, enrols: true, status: http.StatusNoContent,
		summary: "Confirm a new app by its first code",
		about:   "From then on a sign-in asks for it, and not for a code by e-mail. Every address is told. A code that does not fit is code_refused." + aboutFresh,
		codes:   guarded("code_refused", "too_many_authenticators", "too_many_attempts"),
	}, h.confirmApp)
	register(a, operation{
		id: "rename-app", method: http.MethodPatch, path: "/account/apps/{id}", tag: tag, signedIn: true, status: http.StatusNoContent,
		summary: "Give an app or a token another name", about: "It is its owner's alone.",
		codes: []string{"not_found", "authenticator_name_empty", "too_many_attempts"},
	}, h.renameApp)
	register(a, operation{
		id: "remove-app", method: http.MethodDelete, path: "/account/apps/{id}", tag: tag, signedIn: true, status: http.StatusNoContent,
		summary: "Remove an app or a token", about: "It is not asked for any more, and every address is told." + aboutFresh,
		codes: guarded("not_found"),
	}, h.removeApp)
	register(a, operation{
		id: "make-backup-codes", method: http.MethodPost, path: "/account/backup-codes", tag: tag, signedIn: true, status: http.StatusCreated,
		summary: "Make a list of backup codes", about: "In place of the one there is. It is shown in this answer and never again." + aboutFresh,
		codes: guarded(),
	}, h.makeBackupCodes)
}

func (h *API) listFactors(ctx context.Context, in *callerInput) (*factorsOutput, error) {
	f, err := h.Owner.Factors(ctx, in.session)
	if err != nil {
		return nil, err
	}
	out := &factorsOutput{}
	out.Body.BackupCodesLeft, out.Body.Apps = f.Backup, appRows(f.Apps)
	out.Body.Passkeys, out.Body.Signal = passkeyRows(f.Passkeys), f.Signal
	out.Body.Second = secondBody{Policy: f.Second.Policy, Least: f.Second.Least, Ways: make([]secondRow, 0, len(f.Second.Ways))}
	for _, w := range f.Second.Ways {
		out.Body.Second.Ways = append(out.Body.Second.Ways, secondRow{w.Way, w.Opens, w.Off, w.Stopped, w.Way == factor.SMS})
	}
	return out, nil
}

func appRows(apps []totp.Authenticator) []appRow {
	rows := make([]appRow, 0, len(apps))
	for _, app := range apps {
		rows = append(rows, appRow{
			ID: app.ID, Name: app.Name, Serial: app.Serial, AddedAt: instant(app.AddedAt), LastUsedAt: someInstant(app.LastUsedAt),
		})
	}
	return rows
}

func (h *API) chooseSecond(ctx context.Context, in *chooseInput) (*none, error) {
	return &none{}, h.Owner.Choose(ctx, in.session, in.client, func(c *factor.Choice) {
		c.Holder, c.Order, c.Off = "", in.Body.Order, in.Body.Off
		if in.Body.Always {
			c.Holder = factor.Always
		}
	})
}

func (h *API) addApp(ctx context.Context, in *callerInput) (*newAppOutput, error) {
	e, err := h.Owner.BeginApp(ctx, in.session)
	if err != nil {
		return nil, err
	}
	return newApp(e), nil
}

func newApp(e totp.Enrolment) *newAppOutput {
	out := &newAppOutput{}
	out.Body.ID, out.Body.Key, out.Body.URL, out.Body.ExpiresAt = e.ID, e.Key.Reveal(), e.URL.Reveal(), instant(e.ExpiresAt)
	return out
}

func (h *API) confirmApp(ctx context.Context, in *confirmAppInput) (*none, error) {
	ok, err := h.Owner.ConfirmApp(ctx, in.session, in.client, totp.Confirmation{
		ID: totp.ID(in.ID), Code: secret.Of(in.Body.Code), Name: in.Body.Name,
	})
	if err == nil && !ok {
		err = fault.New(fault.Unauthenticated, "code_refused", errors.New("the code does not fit, or the enrolment is over"))
	}
	return &none{}, err
}

func (h *API) renameApp(ctx context.Context, in *renameAppInput) (*none, error) {
	return &none{}, h.Owner.RenameApp(ctx, in.session, in.client, totp.ID(in.ID), in.Body.Name)
}

func (h *API) removeApp(ctx context.Context, in *appIDInput) (*none, error) {
	return &none{}, h.Owner.RemoveApp(ctx, in.session, in.client, totp.ID(in.ID))
}

func (h *API) makeBackupCodes(ctx context.Context, in *callerInput) (*backupCodesOutput, error) {
	codes, err := h.Owner.NewBackupCodes(ctx, in.session, in.client)
	if err != nil {
		return nil, err
	}
	return backupCodes(codes), nil
}

func backupCodes(codes []secret.Token) *backupCodesOutput {
	out := &backupCodesOutput{}
	for _, c := range codes {
		out.Body.Codes = append(out.Body.Codes, c.Reveal())
	}
	return out
}
