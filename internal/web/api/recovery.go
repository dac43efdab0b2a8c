package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"countersign/internal/factor"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/recovery"
)

type recoverInput struct {
	Caller

	Body struct {
		Identifier string   `json:"identifier" minLength:"1" maxLength:"1024" example:"ada@example.org" doc:"E-mail address, phone number or user name, as the person wrote it."`
		To         string   `json:"to,omitempty" maxLength:"1024" doc:"The e-mail address or phone number that the first code should go to, as the person wrote it. Missing: the identifier itself."`
		Devices    []string `json:"devices,omitempty" maxItems:"4" maxLength:"64" doc:"Handles this app keeps of remembered devices. A known one gets limits of its own."`
	}
}

type recoveryOutput struct {
	Body recoveryBody
}

type recoveryBody struct {
	Flow      string       `json:"flow,omitempty" example:"csr_…" doc:"In the first answer only: the recovery's secret handle. Keep it to yourself, for days if the person waits."`
	Step      string       `json:"step" enum:"code,more,waiting,password" doc:"What is wanted next: the first proof; one more, or the waiting time; nothing before ready_at but one more proof; the new password."`
	Ways      []factor.Way `json:"ways" doc:"The ways a code can go from this server. Not what the account has."`
	Waits     bool         `json:"waits" doc:"Whether a waiting time can stand in for a second proof on this server."`
	Sent      factor.Way   `json:"sent,omitempty" enum:"sms,email" doc:"How the last code went. Before the first proof this follows from what was typed."`
	ResendAt  *time.Time   `json:"resend_at,omitempty" doc:"When another can be asked for. Missing after the last one."`
	Asked     bool         `json:"asked,omitempty" doc:"The contacts were asked, if there are any."`
	OneMore   bool         `json:"one_more,omitempty" doc:"The contact's code was right, and another contact's is needed, too."`
	ReadyAt   *time.Time   `json:"ready_at,omitempty" doc:"When the waiting time is over."`
	ExpiresAt time.Time    `json:"expires_at" doc:"When the recovery must be finished."`
}

type flowInput struct {
	Caller

	Body struct {
		Flow string `json:"flow" minLength:"1" maxLength:"64" doc:"From the first call."`
	}
}

type recoverySendInput struct {
	Caller

	Body struct {
		Flow string     `json:"flow" minLength:"1" maxLength:"64" doc:"From the first call."`
		Way  factor.Way `json:"way" enum:"sms,email" doc:"Before the first proof the one of the last answer; after it any of those offered."`
	}
}

type recoveryCodeInput struct {
	Caller

	Body struct {
		Flow string     `json:"flow" minLength:"1" maxLength:"64" doc:"From the first call."`
		Way  factor.Way `json:"way,omitempty" enum:"sms,email" doc:"How the code came. Needed after the first proof."`
		Code string     `json:"code" minLength:"1" maxLength:"32" example:"492817" doc:"The digits received."`
	}
}

type ownCodeInput struct {
	Caller

	Body struct {
		Flow string     `json:"flow" minLength:"1" maxLength:"64" doc:"From the first call."`
		Way  factor.Way `json:"way" enum:"otp,backup" doc:"Where the code is from: an app or a token, or a list of backup codes."`
		Code string     `json:"code" minLength:"1" maxLength:"64" doc:"As typed: small letters, spaces and hyphens do no harm."`
	}
}

type heldCodeInput struct {
	Caller

	Body struct {
		Flow string `json:"flow" minLength:"1" maxLength:"64" doc:"From the first call."`
		Code string `json:"code" minLength:"1" maxLength:"64" doc:"As typed: small letters, spaces and hyphens do no harm."`
	}
}

type recoveryPasswordInput struct {
	Caller

	Body struct {
		Flow     string `json:"flow" minLength:"1" maxLength:"64" doc:"From the first call."`
		Password string `json:"password" minLength:"1" maxLength:"4096" doc:"As typed. Never trimmed, folded or cut."`
	}
}

type recoveredOutput struct {
	Body struct {
		SavedCode string `json:"saved_code,omitempty" doc:"The new saved recovery code, if the old one was used. Shown this once."`
	}
}

// recovery registers the calls of a recovery. As in a sign-in, the handle is an app's own.
func (h *API) recovery(a huma.API) {
	const tag = "Recovery"
	flow := []string{"flow_ended", "step_out_of_order", "too_many_attempts"}
	post := func(id, path, summary, about string, codes ...string) operation {
		return operation{id: id, method: http.MethodPost, path: "/recovery" + path, tag: tag, summary: summary, about: about, codes: append(codes, flow...)}
	}
	begin := operation{
		id: "begin-recovery", method: http.MethodPost, path: "/recovery", tag: tag, status: http.StatusCreated,
		summary: "Begin a recovery, and have the first code sent",
		about: "Begins a recovery for whoever the identifier names, and sends a code to the address given if it is one of theirs. The answer is " +
			"the same for everything that can be typed; only a name that is no address needs one beside it.",
		codes: []string{"destination_missing", "too_many_attempts"},
	}
	register(a, begin, h.beginRecovery)
	register(a, post("recovery-state", "/state", "Ask where a recovery stands", "Costs no try."), h.recoveryState)
	register(a, post("recovery-code", "/code", "Prove an address by its code",
		"A wrong, old or expired code is code_refused.", "code_refused"), h.recoveryCode)
	register(a, post("recovery-send", "/send", "Have a code sent",
		"Before the first proof the first code again. After it a code to an address of this kind that was not proved yet, if the account has one: the answer does not say.",
		"way_unknown", "resend_too_soon"), h.recoverySend)
	register(a, post("recovery-saved-code", "/saved-code", "Prove the saved recovery code", "It may be the first proof.", "code_refused"), h.recoverySaved)
	register(a, post("recovery-own-code", "/own-code", "Prove a code of an app, a token or a list",
		"Never the first proof. Whoever has an app or a token is asked for it, or for a code of the list, whatever else they prove.",
		"code_refused", "way_unknown"), h.recoveryOwn)
	register(a, post("recovery-contacts", "/contacts", "Have the contacts sent their codes",
		"Once a recovery. Whether the account has any is not said."), h.recoveryAsk)
	register(a, post("recovery-contact-code", "/contacts/code", "Prove that a contact trusts you",
		"With two or more contacts the codes of two are needed: one_more says so.", "code_refused"), h.recoveryContact)
	register(a, post("recovery-old-password", "/old-password", "Prove the old password", "Never the first proof.", "password_refused", "busy"), h.recoveryOld)
	register(a, post("recovery-wait", "/wait", "Begin the waiting time",
		"Every address of the account is told, and can stop the recovery until ready_at."), h.recoveryWait)
	register(a, post("recovery-password", "/password", "Set the new password",
		"Ends every session, forgets every device, tells every address, and signs nobody in.",
		"password_malformed", "password_too_short", "password_too_long", "password_context", "password_common", "busy"), h.recoveryPassword)
}

func (h *API) beginRecovery(ctx context.Context, in *recoverInput) (*recoveryOutput, error) {
	st, err := h.Recovery.Begin(ctx, recovery.Begin{
		Identifier: in.Body.Identifier, To: in.Body.To, Client: in.client, Handles: tokens(in.Body.Devices),
	})
	if err != nil {
		return nil, err
	}
	out := recoveryOf(st.Next)
	out.Body.Flow = st.Flow.Reveal()
	return out, nil
}

func (h *API) recoveryState(ctx context.Context, in *flowInput) (*recoveryOutput, error) {
	return recovered(h.Recovery.At(ctx, ref(in.Body.Flow)))("")
}

func (h *API) recoveryCode(ctx context.Context, in *recoveryCodeInput) (*recoveryOutput, error) {
	return recovered(h.Recovery.Code(ctx, ref(in.Body.Flow), in.client, in.Body.Way, secret.Of(in.Body.Code)))("code_refused")
}

func (h *API) recoverySend(ctx context.Context, in *recoverySendInput) (*recoveryOutput, error) {
	next, err := h.Recovery.Send(ctx, ref(in.Body.Flow), in.client, in.Body.Way)
	if err == nil && next.TooSoon {
		err = tooSoon(next.ResendAt, h.Now())
	}
	return recovered(next, err)("")
}

func (h *API) recoveryOwn(ctx context.Context, in *ownCodeInput) (*recoveryOutput, error) {
	return recovered(h.Recovery.OwnCode(ctx, ref(in.Body.Flow), in.client, in.Body.Way, secret.Of(in.Body.Code)))("code_refused")
}

func (h *API) recoverySaved(ctx context.Context, in *heldCodeInput) (*recoveryOutput, error) {
	return recovered(h.Recovery.SavedCode(ctx, ref(in.Body.Flow), in.client, secret.Of(in.Body.Code)))("code_refused")
}

func (h *API) recoveryAsk(ctx context.Context, in *flowInput) (*recoveryOutput, error) {
	return recovered(h.Recovery.AskContacts(ctx, ref(in.Body.Flow), in.client))("")
}

func (h *API) recoveryContact(ctx context.Context, in *heldCodeInput) (*recoveryOutput, error) {
	return recovered(h.Recovery.ContactCode(ctx, ref(in.Body.Flow), in.client, secret.Of(in.Body.Code)))("code_refused")
}

func (h *API) recoveryOld(ctx context.Context, in *recoveryPasswordInput) (*recoveryOutput, error) {
	return recovered(h.Recovery.OldPassword(ctx, ref(in.Body.Flow), in.client, in.Body.Password))("password_refused")
}

func (h *API) recoveryWait(ctx context.Context, in *flowInput) (*recoveryOutput, error) {
	return recovered(h.Recovery.StartWait(ctx, ref(in.Body.Flow), in.client))("")
}

func (h *API) recoveryPassword(ctx context.Context, in *recoveryPasswordInput) (*recoveredOutput, error) {
	saved, err := h.Recovery.Finish(ctx, ref(in.Body.Flow), in.client, in.Body.Password)
	if err != nil {
		return nil, err
	}
	out := &recoveredOutput{}
	out.Body.SavedCode = saved.Reveal()
	return out, nil
}

// recovered makes the answer of a step; refused is the code of a proof that did not fit.
func recovered(next recovery.Next, err error) func(refused string) (*recoveryOutput, error) {
	return func(refused string) (*recoveryOutput, error) {
		switch {
		case err != nil:
			return nil, err
		case next.Refused:
			return nil, fault.New(fault.Unauthenticated, refused, errors.New("the proof does not fit"))
		}
		return recoveryOf(next), nil
	}
}

// recoveryOf picks what an app may see of a recovery, field by field (P-3.1).
func recoveryOf(n recovery.Next) *recoveryOutput {
	b := recoveryBody{
		Step: string(n.Step), Ways: n.Ways, Waits: n.Wait > 0, Sent: n.Sent, Asked: n.Asked, OneMore: n.OneMore,
		ResendAt: roundedUp(n.ResendAt), ReadyAt: roundedUp(n.ReadyAt), ExpiresAt: instant(n.ExpiresAt),
	}
	return &recoveryOutput{b}
}

// roundedUp is a time that nobody is to come before; nil if there is none.
func roundedUp(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = instant(t.Add(time.Second - 1))
	return &t
}
