package api

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"countersign/internal/account"
	"countersign/internal/factor"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/registration"
	"countersign/internal/signin"
)

// Registrations opens accounts.
type Registrations interface {
	Begin(context.Context, registration.Begin) (registration.Begun, error)
	Send(context.Context, signin.Ref, signin.Client) (registration.Sent, error)
	Code(context.Context, signin.Ref, signin.Client, secret.Token) (registration.Next, error)
	Finish(context.Context, signin.Ref, signin.Client, registration.About) (registration.Opened, error)
}

type asksOutput struct {
	Body struct {
		Mode              registration.Mode `json:"mode" enum:"open,invitation,closed" doc:"Who may open an account."`
		PasswordMinLength int               `json:"password_min_length" doc:"Fewest characters of a password."`
		Terms             *asksTerms        `json:"terms,omitempty" doc:"What people must accept."`
		Claims            []asksClaim       `json:"claims" doc:"What else people are asked for, in this order."`
	}
}

type asksTerms struct {
	URL     string `json:"url" doc:"Where they can be read."`
	Version string `json:"version" doc:"Which text it is: what the last call sends back."`
}

type asksClaim struct {
	Name     string `json:"name" example:"given_name" doc:"As OpenID Connect names it, or of the operator's own."`
	Required bool   `json:"required" doc:"Whether it has to be given."`

	Label  string            `json:"label,omitempty" example:"Team" doc:"What people read beside it, in the operator's words. Without it the claim is a standard one, for which an application has words of its own."`
	Labels map[string]string `json:"labels,omitempty" doc:"The same in other languages, by their code, as far as the operator has given them."`
}

type registerInput struct {
	Caller

	Body struct {
		Address    string `json:"address" minLength:"1" maxLength:"1024" example:"ada@example.org" doc:"E-mail address or phone number, as the person wrote it."`
		Language   string `json:"language,omitempty" maxLength:"64" example:"de" doc:"Of the letters (BCP 47)."`
		Invitation string `json:"invitation,omitempty" maxLength:"64" example:"csi_…" doc:"With mode invitation: what stands behind the # of the link."`
	}
}

type registerOutput struct {
	Body struct {
		Flow          string     `json:"flow" example:"csr_…" doc:"The registration's secret handle. Keep it to yourself."`
		Step          string     `json:"step" enum:"code" doc:"What is wanted next."`
		Way           factor.Way `json:"way" enum:"sms,email" doc:"The way the message goes."`
		ResendAt      *time.Time `json:"resend_at,omitempty" doc:"When another message can be asked for."`
		CodeExpiresAt time.Time  `json:"code_expires_at" doc:"Until when a code can be used."`
		ExpiresAt     time.Time  `json:"expires_at" doc:"When the code must have been given."`
	}
}

type registerFlowInput struct {
	Caller

	Body struct {
		Flow string `json:"flow" minLength:"1" maxLength:"64" doc:"From the first call."`
	}
}

type registerCodeInput struct {
	Caller

	Body struct {
		Flow string `json:"flow" minLength:"1" maxLength:"64" doc:"From the first call."`
		Code string `json:"code" minLength:"1" maxLength:"32" example:"492817" doc:"The digits received."`
	}
}

type registerCodeOutput struct {
	Body struct {
		Step      string    `json:"step" enum:"about" doc:"What is wanted next: the last call."`
		Nonce     string    `json:"nonce" doc:"What a device signs to be remembered."`
		ExpiresAt time.Time `json:"expires_at" doc:"When the registration must be finished."`
	}
}

type registerFinishInput struct {
	Caller

	Body struct {
		Flow     string            `json:"flow" minLength:"1" maxLength:"64" doc:"From the first call."`
		Password string            `json:"password" minLength:"1" maxLength:"4096" doc:"As typed. Never trimmed, folded or cut."`
		Claims   map[string]string `json:"claims,omitempty" maxProperties:"32" doc:"What people are asked for, by name. A date is YYYY-MM-DD."`
		Terms    string            `json:"terms,omitempty" maxLength:"64" doc:"The version of the terms that the person has accepted."`
		Language string            `json:"language,omitempty" maxLength:"64" example:"de" doc:"Of letters to the account (BCP 47)."`
		Remember *enrolment        `json:"remember,omitempty" doc:"To be recognised from now on."`
	}
}

type registerFinishOutput struct {
	Body struct {
		Account account.ID     `json:"account" doc:"The new account's id. Not a secret."`
		Session newSession     `json:"session" doc:"Its holder is signed in."`
		Device  *newRemembered `json:"device,omitempty" doc:"What the device must keep from now on."`
	}
}

// register registers the calls by which accounts are opened.
func (h *API) register(a huma.API) {
	const tag = "Registration"
	every := []string{"registration_closed", "flow_ended", "step_out_of_order", "too_many_attempts"}
	register(a, operation{
		id: "describe-registration", method: http.MethodGet, path: "/registration", tag: tag, bare: true,
		summary: "Ask what newcomers are asked for", about: "The same for everybody.",
	}, h.asks)
	register(a, operation{
		id: "begin-registration", method: http.MethodPost, path: "/registration", tag: tag, status: http.StatusCreated,
		summary: "Begin a registration",
		about: "Sends a message to the address: a code, or that it has an account already. The answer is the same whether or not it has, " +
			"and so are those of the next two calls.",
		codes: []string{"registration_closed", "invitation_refused", "identifier_malformed", "way_unknown", "too_many_attempts"},
	}, h.beginRegistration)
	register(a, operation{
		id: "send-registration-code", method: http.MethodPost, path: "/registration/send", tag: tag, status: http.StatusAccepted,
		summary: "Have another message sent", about: "To the same address. An older code is worthless then.",
		codes: append([]string{"resend_too_soon"}, every...),
	}, h.sendRegistration)
	register(a, operation{
		id: "prove-address", method: http.MethodPost, path: "/registration/code", tag: tag,
		summary: "Prove the address", about: "A wrong, old or expired code is code_refused; for an address that has an account every code is.",
		codes: append([]string{"code_refused"}, every...),
	}, h.proveAddress)
	register(a, operation{
		id: "finish-registration", method: http.MethodPost, begins: true, path: "/registration/finish", tag: tag, status: http.StatusCreated,
		summary: "Open the account",
		about:   "Whatever is wrong with the input costs nothing: put it right and call again.",
		codes: slices.Concat([]string{
			"password_too_short", "password_too_long", "password_malformed", "password_context", "password_common", "claim_missing", "claim_malformed",
			"terms_not_accepted", "invitation_refused", "identifier_taken", "busy",
		}, keyCodes(), every),
	}, h.finishRegistration)
}

func (h *API) asks(context.Context, *none) (*asksOutput, error) {
	out := &asksOutput{}
	out.Body.Mode, out.Body.PasswordMinLength, out.Body.Claims = h.Asks.Mode, h.MinPassword, []asksClaim{}
	if t := h.Asks.Terms; t.URL != "" {
		out.Body.Terms = &asksTerms{t.URL, t.Version}
	}
	for _, c := range h.Asks.Claims {
		labels := maps.Clone(c.Labels)
		delete(labels, "") // it is the label
		out.Body.Claims = append(out.Body.Claims, asksClaim{Name: c.Name, Required: c.Required, Label: c.Labels[""], Labels: labels})
	}
	return out, nil
}

func (h *API) beginRegistration(ctx context.Context, in *registerInput) (*registerOutput, error) {
	b, err := h.Registrations.Begin(ctx, registration.Begin{
		Address: in.Body.Address, Client: in.client, Language: in.Body.Language, Invitation: secret.Of(in.Body.Invitation),
	})
	if err != nil {
		return nil, err
	}
	out := &registerOutput{}
	out.Body.Flow, out.Body.Step, out.Body.Way = b.Flow.Reveal(), string(b.Next.Step), b.Sent.Way
	out.Body.ResendAt, out.Body.CodeExpiresAt, out.Body.ExpiresAt = roundedUp(b.Sent.ResendAt), instant(b.Sent.ExpiresAt), instant(b.Next.ExpiresAt)
	return out, nil
}

func (h *API) sendRegistration(ctx context.Context, in *registerFlowInput) (*sendOutput, error) {
	sent, err := h.Registrations.Send(ctx, ref(in.Body.Flow), in.client)
	if err != nil {
		return nil, err
	}
	if sent.TooSoon {
		return nil, tooSoon(sent.ResendAt, h.Now())
	}
	out := &sendOutput{}
	out.Body.Way, out.Body.ExpiresAt, out.Body.ResendAt = sent.Way, instant(sent.ExpiresAt), roundedUp(sent.ResendAt)
	return out, nil
}

func (h *API) proveAddress(ctx context.Context, in *registerCodeInput) (*registerCodeOutput, error) {
	next, err := h.Registrations.Code(ctx, ref(in.Body.Flow), in.client, secret.Of(in.Body.Code))
	if err != nil {
		return nil, err
	}
	if next.Refused {
		return nil, fault.New(fault.Unauthenticated, "code_refused", errors.New("wrong, old or expired code, or an address that is taken"))
	}
	out := &registerCodeOutput{}
	out.Body.Step, out.Body.Nonce, out.Body.ExpiresAt = string(next.Step), next.Nonce, instant(next.ExpiresAt)
	return out, nil
}

func (h *API) finishRegistration(ctx context.Context, in *registerFinishInput) (*registerFinishOutput, error) {
	remember, _, err := in.Body.Remember.read() // a handle is of another account's
	if err != nil {
		return nil, err
	}
	about := registration.About{
		Password: in.Body.Password, Claims: in.Body.Claims, Terms: in.Body.Terms, Language: in.Body.Language, Remember: remember,
	}
	made, err := h.Registrations.Finish(ctx, ref(in.Body.Flow), in.client, about)
	if err != nil {
		return nil, err
	}
	for _, p := range made.Problems { // the first, as if they were found one by one
		return nil, fault.New(fault.Invalid, p.Code, errors.New("something is to be put right"))
	}
	out := &registerFinishOutput{}
	out.Body.Account = made.Account
	out.Body.Session = opened(made.Session)
	if d := made.Device; d != nil {
		out.Body.Device = &newRemembered{ID: d.ID, Handle: d.Handle.Reveal(), ExpiresAt: instant(d.ExpiresAt)}
	}
	return out, nil
}
