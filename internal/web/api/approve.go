package api

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"countersign/internal/approval"
	"countersign/internal/device"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/profile"
	"countersign/internal/signin"
)

// approvals is how the machine lets a sign-in in from another device.
type approvals interface {
	Ask(context.Context, signin.Ref, signin.Client) (signin.Approval, error)
	Enter(context.Context, signin.Ref, signin.Client, signin.CodeProof) (signin.Next, error)
}

type askInput struct {
	Caller

	Body struct {
		Flow string `json:"flow" minLength:"1" maxLength:"64" doc:"From the first call."`
	}
}

type askOutput struct {
	Body struct {
		Number    string         `json:"number" example:"492817" doc:"Show it. Its person types it on the other device."`
		URL       string         `json:"url" doc:"The page where it is typed, with the number behind the #: for a QR code."`
		State     approval.State `json:"state" enum:"waiting,approved,over" doc:"Where it stands. A sign-in asks once: with over, use another way."`
		ExpiresAt time.Time      `json:"expires_at" doc:"Until when the number can be typed."`
	}
}

type enterInput struct {
	Caller

	Body struct {
		Flow     string     `json:"flow" minLength:"1" maxLength:"64" doc:"From the first call."`
		Remember *enrolment `json:"remember,omitempty" doc:"To be recognised from now on."`
	}
}

type approvalsOutput struct {
	Body struct {
		Approvals []approvalRow `json:"approvals" doc:"The newest first."`
	}
}

type approvalRow struct {
	ID        approval.ID `json:"id" doc:"Names the sign-in to its owner, and is what the device signs to let it in. Not a secret."`
	Name      string      `json:"name" example:"Firefox on Linux" doc:"The browser or app that asks, as it calls itself. May be empty."`
	Place     string      `json:"place,omitempty" example:"Graz, Austria" doc:"Roughly where it is. Missing where that is not known."`
	AskedAt   time.Time   `json:"asked_at" doc:"Since when it waits."`
	ExpiresAt time.Time   `json:"expires_at" doc:"Until when it waits."`
}

type approveInput struct {
	Caller

	ID   approval.ID `path:"id" minLength:"1" maxLength:"64" doc:"From the list."`
	Body struct {
		Number string       `json:"number" minLength:"1" maxLength:"16" example:"492817" doc:"As the new device shows it, typed by the person."`
		Device approveProof `json:"device" doc:"That the app that asks is the recognised one."`
	}
}

type approveProof struct {
	Handle    string `json:"handle" minLength:"1" maxLength:"64" doc:"The newest handle given to this device. It stays."`
	Signature string `json:"signature" minLength:"86" maxLength:"86" pattern:"^[A-Za-z0-9_-]+$" doc:"base64url of 64 bytes: with P-256 r‖s of ECDSA with SHA-256, with Ed25519 as it is, over \"countersign-device-v1\\napprove\\n\" origin \"\\n\" id."`
}

type refuseInput struct {
	Caller

	ID approval.ID `path:"id" minLength:"1" maxLength:"64" doc:"From the list."`
}

// approve registers how one device lets another in: both ends of it.
func (h *API) approve(a huma.API) {
	flow := []string{"flow_ended", "step_out_of_order", "too_many_attempts"}
	register(a, operation{
		id: "ask-approval", method: http.MethodPost, path: "/signin/approval", tag: "Sign-in", status: http.StatusCreated,
		summary: "Ask for a sign-in to be approved on another device",
		about: "Where the way approve is offered. The answer has a number that the person types on a device that is signed in and recognised, whose page or " +
			"app shows what waits. Nothing is pushed to it.",
		codes: append([]string{"way_unknown"}, flow...),
	}, h.askApproval)
	register(a, operation{
		id: "enter-approved", method: http.MethodPost, begins: true, path: "/signin/approval/enter", tag: "Sign-in",
		summary: "See whether it was approved, and go in",
		about: "Call it every few seconds. With step second and refused, nobody has approved it so far; with step done the session is there. " +
			"A sign-in that was refused is flow_ended.",
		codes: append(keyCodes(), flow...),
	}, h.enterApproved)
	register(a, operation{
		id: "list-approvals", method: http.MethodGet, path: "/account/approvals", tag: "Account", signedIn: true,
		summary: "List the sign-ins that wait to be approved", about: "Each has had the right password, and wants to be let in from a device that is recognised.",
	}, h.listApprovals)
	register(a, operation{
		id: "approve-sign-in", method: http.MethodPost, path: "/account/approvals/{id}", tag: "Account", signedIn: true, status: http.StatusNoContent,
		summary: "Approve a sign-in by its number",
		about: "Have the person type the number; never fill it in, and offer no button that approves without it. A wrong one is code_refused, and after three " +
			"the sign-in does not wait any more. The session must be of a recognised device, which proves itself, and have proved who it is within a day.",
		codes: []string{"not_found", "code_refused", "device_unproved", "reauthentication_required", "too_many_attempts"},
	}, h.approveSignIn)
	register(a, operation{
		id: "refuse-sign-in", method: http.MethodPost, path: "/account/approvals/{id}/refuse", tag: "Account", signedIn: true, status: http.StatusNoContent,
		summary: "Refuse a sign-in",
		about:   "It ends, and every address is told. Whoever began it had the password: have the person change it next.",
		codes:   []string{"not_found", "too_many_attempts"},
	}, h.refuseSignIn)
}

func (h *API) askApproval(ctx context.Context, in *askInput) (*askOutput, error) {
	asked, err := h.Flows.Ask(ctx, ref(in.Body.Flow), in.client)
	if err != nil {
		return nil, err
	}
	out := &askOutput{}
	out.Body.Number, out.Body.State, out.Body.ExpiresAt = asked.Number.Reveal(), asked.State, instant(asked.ExpiresAt)
	out.Body.URL = h.Public + asked.Path()
	return out, nil
}

func (h *API) enterApproved(ctx context.Context, in *enterInput) (*nextOutput, error) {
	remember, held, err := in.Body.Remember.read()
	if err != nil {
		return nil, err
	}
	next, err := h.Flows.Enter(ctx, ref(in.Body.Flow), in.client, signin.CodeProof{Remember: remember, Handles: held})
	if err != nil {
		return nil, err
	}
	return &nextOutput{body(next)}, nil
}

func (h *API) listApprovals(ctx context.Context, in *listInput) (*approvalsOutput, error) {
	all, err := h.Owner.Approvals(ctx, in.session)
	if err != nil {
		return nil, err
	}
	out := &approvalsOutput{}
	out.Body.Approvals = make([]approvalRow, 0, len(all))
	for _, r := range all {
		out.Body.Approvals = append(out.Body.Approvals, approvalRow{
			ID: r.ID, Name: r.Device, Place: h.Where(r.Source, in.Lang), AskedAt: instant(r.AskedAt), ExpiresAt: instant(r.ExpiresAt),
		})
	}
	return out, nil
}

func (h *API) approveSignIn(ctx context.Context, in *approveInput) (*none, error) {
	signature, err := base64.RawURLEncoding.DecodeString(in.Body.Device.Signature)
	if err != nil {
		return nil, invalid("device.signature")
	}
	right, err := h.Owner.Approve(ctx, in.session, in.client, profile.Approval{
		ID: in.ID, Number: secret.Of(in.Body.Number), Proof: device.Proof{Handles: tokens([]string{in.Body.Device.Handle}), Signature: signature},
	})
	if err == nil && !right {
		err = fault.New(fault.Unauthenticated, "code_refused", errors.New("not the number that the new device shows"))
	}
	return &none{}, err
}

func (h *API) refuseSignIn(ctx context.Context, in *refuseInput) (*none, error) {
	ok, err := h.Owner.RefuseSignIn(ctx, in.session, in.client, in.ID)
	return found(ok, err)
}
