package api

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/outbox"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/signin"
)

type beginInput struct {
	Caller

	Body struct {
		Identifier string   `json:"identifier" minLength:"1" maxLength:"1024" example:"ada@example.org" doc:"E-mail address, phone number or user name, as the person wrote it."`
		Devices    []string `json:"devices,omitempty" maxItems:"4" maxLength:"64" doc:"Handles this app keeps of remembered devices. A known one gets limits of its own, so that strangers cannot lock its owner out."`
	}
}

type beginOutput struct {
	Body beginBody
}

type beginBody struct {
	Flow      string    `json:"flow" example:"csf_…" doc:"The sign-in's secret handle. Keep it to yourself."`
	Nonce     string    `json:"nonce" doc:"What a remembered device signs to be recognised."`
	ExpiresAt time.Time `json:"expires_at" doc:"When the sign-in must be finished."`
	Step      string    `json:"step" enum:"password" doc:"What is wanted next."`
}

type againInput struct {
	Caller

	Body struct {
		Devices []string `json:"devices,omitempty" maxItems:"4" maxLength:"64" doc:"Handles this app keeps of remembered devices."`
	}
}

type passwordInput struct {
	Caller

	Body struct {
		Flow     string       `json:"flow" minLength:"1" maxLength:"64" doc:"From the first call."`
		Password string       `json:"password" minLength:"1" maxLength:"4096" doc:"As typed. Never trimmed, folded or cut."`
		Device   *deviceProof `json:"device,omitempty" doc:"From a remembered device, to be recognised and spared the code."`
	}
}

type deviceProof struct {
	Handle    string `json:"handle" minLength:"1" maxLength:"64" doc:"The newest handle given to this device."`
	Signature string `json:"signature" minLength:"86" maxLength:"86" pattern:"^[A-Za-z0-9_-]+$" doc:"base64url of 64 bytes: with P-256 r‖s of ECDSA with SHA-256, with Ed25519 as it is, over \"countersign-device-v1\\nrecognise\\n\" origin \"\\n\" nonce."`
}

func (d *deviceProof) read() (held []secret.Token, signature []byte, err error) {
	if d == nil {
		return nil, nil, nil
	}
	if signature, err = base64.RawURLEncoding.DecodeString(d.Signature); err != nil {
		return nil, nil, invalid("device.signature")
	}
	return tokens([]string{d.Handle}), signature, nil
}

type nextOutput struct {
	Body nextBody
}

type nextBody struct {
	Step      string         `json:"step" enum:"password,second,done" doc:"What is wanted next: another password, a code, or nothing: signed in."`
	Refused   bool           `json:"refused,omitempty" doc:"With step password: the password was wrong, and the device has a new handle to keep. With step second: no other device has approved it so far."`
	Ways      []factor.Way   `json:"ways,omitempty" doc:"With step second: where a code can come from, the better first: sent by sms or email, read off an app or a token (otp) or a list (backup); with passkey none is needed: see /signin/passkey; with approve another device lets this one in: see /signin/approval. No address, nor a part of one."`
	Nonce     string         `json:"nonce,omitempty" doc:"What a device signs next."`
	ExpiresAt *time.Time     `json:"expires_at,omitempty" doc:"When the sign-in must be finished."`
	Session   *newSession    `json:"session,omitempty" doc:"With step done."`
	Enrol     *nudgeBody     `json:"enrol,omitempty" doc:"With step done: that the person is asked to enrol something better than codes that are sent. Offer it."`
	Device    *newRemembered `json:"device,omitempty" doc:"What the device must keep from now on, in place of an older handle."`
}

type nudgeBody struct {
	Required    bool       `json:"required" doc:"Whether the session is good for nothing else before (enrolment_required)."`
	PasskeyOnly bool       `json:"passkey_only" doc:"Whether it must be a passkey; otherwise an app will do."`
	PutOff      *int       `json:"put_off,omitempty" doc:"At how many further sign-ins it can still be put off, where it will be required some day."`
	Deadline    *time.Time `json:"deadline,omitempty" doc:"From when on it cannot be put off any more."`
}

type newSession struct {
	Token     string    `json:"token" example:"css_…" doc:"Send it in Authorization, behind its type. Shown this once."`
	TokenType string    `json:"token_type" enum:"Bearer,DPoP" doc:"DPoP if a proof came with the call: then each use of the token needs one by the same key."`
	ExpiresAt time.Time `json:"expires_at" doc:"When it ends at the latest."`
}

type newRemembered struct {
	ID        device.ID `json:"id" doc:"The device's name in the list of devices."`
	Handle    string    `json:"handle" example:"csd_…" doc:"Shown this once. Worth nothing without the key."`
	ExpiresAt time.Time `json:"expires_at" doc:"Until when the device is remembered."`
}

type sendInput struct {
	Caller

	Body struct {
		Flow string     `json:"flow" minLength:"1" maxLength:"64" doc:"From the first call."`
		Way  factor.Way `json:"way" enum:"sms,email" doc:"One of the ways offered."`
	}
}

type sendOutput struct {
	Body struct {
		Way       factor.Way `json:"way" enum:"sms,email" doc:"The way the code goes."`
		ResendAt  *time.Time `json:"resend_at,omitempty" doc:"When another code can be asked for; the second by another way needs no wait. Missing after the last one this sign-in gets."`
		ExpiresAt time.Time  `json:"expires_at" doc:"Until when the code can be used. An older code is worthless now."`
	}
}

type sentInput struct {
	Caller

	Body struct {
		Flow string `json:"flow" minLength:"1" maxLength:"64" doc:"From the first call."`
	}
}

type sentOutput struct {
	Body struct {
		State outbox.Fate `json:"state" enum:"underway,delivered,not_delivered" doc:"What the provider of text messages says. Some say nothing, and e-mail is always underway: then it stays at that."`
	}
}

type codeInput struct {
	Caller

	Body struct {
		Flow     string     `json:"flow" minLength:"1" maxLength:"64" doc:"From the first call."`
		Way      factor.Way `json:"way,omitempty" enum:"otp,backup" doc:"Where the code is from, if the person had it already: an app or a token, or a list of backup codes. Leave it out for a code that was sent."`
		Code     string     `json:"code" minLength:"1" maxLength:"64" example:"492817" doc:"As received or read off; spaces and hyphens do no harm in a code of a list."`
		Remember *enrolment `json:"remember,omitempty" doc:"To be recognised from now on."`
	}
}

// signIn registers the calls of a sign-in. An app has no browser secret: the flow's handle is its own.
func (h *API) signIn(a huma.API) {
	flow := []string{"flow_ended", "step_out_of_order", "too_many_attempts"}
	register(a, operation{
		id: "begin-sign-in", method: http.MethodPost, path: "/signin", tag: "Sign-in", status: http.StatusCreated,
		summary: "Begin a sign-in",
		about:   "Begins a sign-in for whoever the identifier names. The answer is the same whether or not anybody has it.",
		codes:   []string{"identifier_malformed", "too_many_attempts"},
	}, h.begin)
	register(a, operation{
		id: "sign-in-again", method: http.MethodPost, path: "/signin/again", tag: "Sign-in", status: http.StatusCreated, signedIn: true,
		summary: "Prove once more who is signed in",
		about: "For what answers reauthentication_required. The steps are those of any sign-in, the next being the password. The flow " +
			"ends in a new session with a new token, and the one that asks ends then.",
		codes: []string{"too_many_attempts"},
	}, h.again)
	register(a, operation{
		id: "prove-password", method: http.MethodPost, begins: true, path: "/signin/password", tag: "Sign-in",
		summary: "Prove the password",
		about: "A wrong password, an unknown, a locked and a closed account are all password_refused. With step second, have a code " +
			"sent; with step done the device was recognised and the session is there.",
		codes: append([]string{"password_refused", "busy"}, flow...),
	}, h.password)
	register(a, operation{
		id: "send-code", method: http.MethodPost, path: "/signin/code/send", tag: "Sign-in", status: http.StatusAccepted,
		summary: "Have a code sent",
		about:   "Sends a one-time code to the verified address of the kind asked for.",
		codes:   append([]string{"way_unknown", "resend_too_soon"}, flow...),
	}, h.send)
	register(a, operation{
		id: "see-sent", method: http.MethodPost, path: "/signin/code/sent", tag: "Sign-in",
		summary: "See whether the code arrived",
		about: "Says what became of the message that the last code was sent in: ask a few times, some seconds apart, and offer another way if it is " +
			"not delivered. Where the server does not say whether the password was right it is always underway.",
		codes: flow[:2],
	}, h.sent)
	register(a, operation{
		id: "prove-code", method: http.MethodPost, begins: true, path: "/signin/code", tag: "Sign-in",
		summary: "Prove the code, and be remembered if you like",
		about:   "A wrong, old or expired code is code_refused. A malformed key to remember is found before the code is spent.",
		codes:   slices.Concat([]string{"code_refused"}, keyCodes(), flow),
	}, h.code)
}

func (h *API) begin(ctx context.Context, in *beginInput) (*beginOutput, error) {
	st, err := h.Flows.Begin(ctx, signin.Begin{Identifier: in.Body.Identifier, Client: in.client, Handles: tokens(in.Body.Devices)})
	if err != nil {
		return nil, err
	}
	return begun(st), nil
}

func (h *API) again(ctx context.Context, in *againInput) (*beginOutput, error) {
	st, err := h.Flows.Again(ctx, in.session, signin.Begin{Client: in.client, Handles: tokens(in.Body.Devices)})
	if err != nil {
		return nil, err
	}
	return begun(st), nil
}

func begun(st signin.Started) *beginOutput {
	return &beginOutput{beginBody{Flow: st.Flow.Reveal(), Nonce: st.Nonce, ExpiresAt: instant(st.ExpiresAt), Step: string(signin.StepPassword)}}
}

func tokens(values []string) (out []secret.Token) {
	for _, v := range values {
		out = append(out, secret.Of(v))
	}
	return out
}

func (h *API) password(ctx context.Context, in *passwordInput) (*nextOutput, error) {
	proof := signin.PasswordProof{Password: in.Body.Password}
	var err error
	if proof.Handles, proof.Signature, err = in.Body.Device.read(); err != nil {
		return nil, err
	}
	next, err := h.Flows.Password(ctx, ref(in.Body.Flow), in.client, proof)
	if err != nil {
		return nil, err
	}
	if next.Refused && next.Device == nil { // with a new handle to keep, the answer must bring it
		return nil, fault.New(fault.Unauthenticated, "password_refused", errors.New("wrong password, or what must look like one"))
	}
	return &nextOutput{body(next)}, nil
}

func (h *API) send(ctx context.Context, in *sendInput) (*sendOutput, error) {
	sent, err := h.Flows.Send(ctx, ref(in.Body.Flow), in.client, in.Body.Way)
	if err != nil {
		return nil, err
	}
	return h.sentAnswer(sent)
}

func (h *API) sentAnswer(sent signin.Sent) (*sendOutput, error) {
	if sent.TooSoon {
		return nil, tooSoon(sent.ResendAt, h.Now())
	}
	out := &sendOutput{}
	out.Body.Way, out.Body.ExpiresAt, out.Body.ResendAt = sent.Way, instant(sent.ExpiresAt), roundedUp(sent.ResendAt)
	return out, nil
}

func (h *API) sent(ctx context.Context, in *sentInput) (*sentOutput, error) {
	next, err := h.Flows.At(ctx, ref(in.Body.Flow))
	if err != nil {
		return nil, err
	}
	if next.Step != signin.StepSecond {
		return nil, fault.New(fault.Conflict, "step_out_of_order", errors.New("no code is asked for"))
	}
	out := &sentOutput{}
	out.Body.State = cmp.Or(next.Fate, outbox.Underway)
	return out, nil
}

// tooSoon says when a code may be asked for again; a zero time says that this flow gets no more.
func tooSoon(again, now time.Time) error {
	wait := time.Hour
	if !again.IsZero() {
		wait = again.Sub(now)
	}
	return fault.Later(fault.TooMany, "resend_too_soon", wait, errors.New("a code was sent lately"))
}

func (h *API) code(ctx context.Context, in *codeInput) (*nextOutput, error) {
	remember, held, err := in.Body.Remember.read()
	if err != nil {
		return nil, err
	}
	next, err := h.Flows.Code(ctx, ref(in.Body.Flow), in.client, signin.CodeProof{
		Way: in.Body.Way, Code: secret.Of(in.Body.Code), Remember: remember, Handles: held,
	})
	if err != nil {
		return nil, err
	}
	if next.Refused {
		return nil, fault.New(fault.Unauthenticated, "code_refused", errors.New("wrong, old or expired code"))
	}
	return &nextOutput{body(next)}, nil
}

func ref(flow string) signin.Ref { return signin.Ref{Flow: secret.Of(flow)} }

// instant is a time as it is answered: whole seconds, so that no answer's length varies with the clock.
func instant(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// body picks what an app may see of a step, field by field (P-3.1).
func body(n signin.Next) nextBody {
	b := nextBody{Step: string(n.Step), Refused: n.Refused, Ways: n.Ways}
	if n.Step != signin.StepDone {
		ends := instant(n.ExpiresAt)
		b.Nonce, b.ExpiresAt = n.Nonce, &ends
	}
	if n.Session != nil {
		b.Session = new(opened(*n.Session))
	}
	if n.Nudge.Wanted {
		b.Enrol = &nudgeBody{Required: n.Nudge.Must, PasskeyOnly: n.Nudge.Passkey, Deadline: someInstant(n.Nudge.Deadline)}
		if n.Nudge.Required && !n.Nudge.Must {
			b.Enrol.PutOff = &n.Nudge.Left
		}
	}
	if n.Device != nil {
		b.Device = remembered(*n.Device)
	}
	return b
}

func remembered(d device.Remembered) *newRemembered {
	return &newRemembered{ID: d.ID, Handle: d.Handle.Reveal(), ExpiresAt: instant(d.ExpiresAt)}
}
