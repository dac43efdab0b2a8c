package api

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/seconddoor"
	"countersign/internal/totp"
)

// doorFactors is what an application does of what its accounts have set up.
type doorFactors interface {
	Factors(context.Context, seconddoor.Named) (seconddoor.Factors, error)
	BeginApp(ctx context.Context, n seconddoor.Named, proof secret.Token, label string) (totp.Enrolment, error)
	ConfirmApp(ctx context.Context, n seconddoor.Named, proof secret.Token, c totp.Confirmation) (ok bool, err error)
	RemoveApp(ctx context.Context, n seconddoor.Named, proof secret.Token, id totp.ID) (ok bool, err error)
	NewBackupCodes(ctx context.Context, n seconddoor.Named, proof secret.Token) ([]secret.Token, error)
}

type doorFactorsOutput struct {
	Body struct {
		Apps            []appRow `json:"apps" doc:"Authenticator apps and hardware tokens, the oldest first."`
		BackupCodesLeft int      `json:"backup_codes_left" doc:"How many of the list were not used."`
	}
}

// passedFlow shows that the person at the application is the account's.
type passedFlow struct {
	Flow string `json:"flow" minLength:"1" maxLength:"64" doc:"A flow of this account's that was allowed within the last minutes."`
}

type addDoorAppInput struct {
	Caller

	Reference string `path:"reference" minLength:"1" maxLength:"128" example:"u-17" doc:"What your application calls the account."`

	Body struct {
		Flow  string `json:"flow" minLength:"1" maxLength:"64" doc:"A flow of this account's that was allowed within the last minutes."`
		Label string `json:"label,omitempty" maxLength:"60" example:"ada" doc:"What the person knows the account by, for the app to show beside your name. Left out, it is your name."`
	}
}

type confirmDoorAppInput struct {
	Caller

	Reference string `path:"reference" minLength:"1" maxLength:"128" example:"u-17" doc:"What your application calls the account."`

	ID   totp.ID `path:"id" minLength:"1" maxLength:"64" doc:"From the call before."`
	Body struct {
		Flow string `json:"flow" minLength:"1" maxLength:"64" doc:"A flow of this account's that was allowed within the last minutes."`
		Code string `json:"code" minLength:"1" maxLength:"16" example:"492817" doc:"That the app shows. It opens nothing else."`
		Name string `json:"name,omitempty" maxLength:"60" example:"My phone" doc:"What its owner calls it."`
	}
}

type removeDoorAppInput struct {
	Caller

	Reference string `path:"reference" minLength:"1" maxLength:"128" example:"u-17" doc:"What your application calls the account."`

	ID   totp.ID `path:"id" minLength:"1" maxLength:"64" doc:"From the list."`
	Body passedFlow
}

type doorBackupInput struct {
	Caller

	Reference string `path:"reference" minLength:"1" maxLength:"128" example:"u-17" doc:"What your application calls the account."`

	Body passedFlow
}

const aboutPassed = " It takes a flow of the account's that was allowed within the last minutes, and the person's addresses are told."

// doorFactors registers what an application sets up for its people.
func (h *API) doorFactors(a huma.API) {
	named := []string{"reference_malformed", "account_unknown"}
	proved := append(slices.Clone(named), "second_door_required", "account_frozen")
	register(a, operation{
		id: "list-door-factors", method: http.MethodGet, path: "/door/accounts/{reference}/factors", tag: doorTag, door: true,
		summary: "List what the person has set up", about: "Apps, tokens and backup codes. Nothing secret, and no address.", codes: named,
	}, h.listDoorFactors)
	register(a, operation{
		id: "add-door-app", method: http.MethodPost, path: "/door/accounts/{reference}/apps", tag: doorTag, door: true, status: http.StatusCreated,
		summary: "Make the key of a new authenticator app", about: "Show it to the person as a QR code and keep it nowhere. It counts for nothing until its first code has confirmed it." + aboutPassed,
		codes: append(slices.Clone(proved), "too_many_authenticators"),
	}, h.addDoorApp)
	register(a, operation{
		id: "confirm-door-app", method: http.MethodPost, path: "/door/accounts/{reference}/apps/{id}/confirm", tag: doorTag, door: true, status: http.StatusNoContent,
		summary: "Confirm a new app by its first code", about: "From then on the second door asks for it, and sends no code by e-mail: have the person make backup codes." + aboutPassed,
		codes: append(slices.Clone(proved), "code_refused", "too_many_authenticators"),
	}, h.confirmDoorApp)
	register(a, operation{
		id: "remove-door-app", method: http.MethodPost, path: "/door/accounts/{reference}/apps/{id}/remove", tag: doorTag, door: true, status: http.StatusNoContent,
		summary: "Remove an app or a token", about: "It is not asked for any more." + aboutPassed, codes: append(slices.Clone(proved), "not_found"),
	}, h.removeDoorApp)
	register(a, operation{
		id: "make-door-backup-codes", method: http.MethodPost, path: "/door/accounts/{reference}/backup-codes", tag: doorTag, door: true, status: http.StatusCreated,
		summary: "Make a list of backup codes", about: "In place of the one there is. Show it to the person, once, and keep it nowhere." + aboutPassed, codes: proved,
	}, h.makeDoorBackupCodes)
}

func (h *API) listDoorFactors(ctx context.Context, in *referredInput) (*doorFactorsOutput, error) {
	f, err := h.Door.Factors.Factors(ctx, in.named(in.Reference))
	if err != nil {
		return nil, err
	}
	out := &doorFactorsOutput{}
	out.Body.Apps, out.Body.BackupCodesLeft = appRows(f.Apps), f.Backup
	return out, nil
}

func (h *API) addDoorApp(ctx context.Context, in *addDoorAppInput) (*newAppOutput, error) {
	e, err := h.Door.Factors.BeginApp(ctx, in.named(in.Reference), secret.Of(in.Body.Flow), in.Body.Label)
	if err != nil {
		return nil, err
	}
	return newApp(e), nil
}

func (h *API) confirmDoorApp(ctx context.Context, in *confirmDoorAppInput) (*none, error) {
	ok, err := h.Door.Factors.ConfirmApp(ctx, in.named(in.Reference), secret.Of(in.Body.Flow), totp.Confirmation{
		ID: in.ID, Code: secret.Of(in.Body.Code), Name: in.Body.Name,
	})
	if err == nil && !ok {
		err = fault.New(fault.Unauthenticated, "code_refused", errors.New("the code does not fit, or the enrolment is over"))
	}
	return &none{}, err
}

func (h *API) removeDoorApp(ctx context.Context, in *removeDoorAppInput) (*none, error) {
	ok, err := h.Door.Factors.RemoveApp(ctx, in.named(in.Reference), secret.Of(in.Body.Flow), in.ID)
	if err == nil && !ok {
		err = fault.New(fault.NotFound, "not_found", errors.New("no such app"))
	}
	return &none{}, err
}

func (h *API) makeDoorBackupCodes(ctx context.Context, in *doorBackupInput) (*backupCodesOutput, error) {
	codes, err := h.Door.Factors.NewBackupCodes(ctx, in.named(in.Reference), secret.Of(in.Body.Flow))
	if err != nil {
		return nil, err
	}
	return backupCodes(codes), nil
}
