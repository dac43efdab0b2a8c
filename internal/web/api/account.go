package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"countersign/internal/platform/fault"
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

// account registers what the signed-in may change about their account.
func (h *API) account(a huma.API) {
	register(a, operation{
		id: "change-password", method: http.MethodPost, path: "/account/password", tag: "Account", signedIn: true,
		summary: "Change the password",
		about: "Every other session ends, every device is forgotten but the one that this session was opened from, and every address " +
			"is told. The session that asks gets a new token. A wrong current password is password_refused, and counts as at a sign-in.",
		codes: []string{
			"password_refused", "password_unchanged", "password_malformed", "password_too_short", "password_too_long",
			"password_context", "password_common", "too_many_attempts", "busy",
		},
	}, h.changePassword)
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
	out.Body.Session = newSession{Token: st.Token.Reveal(), ExpiresAt: instant(st.ExpiresAt)}
	return out, nil
}
