package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"countersign/internal/passkey"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/profile"
	"countersign/internal/signin"
)

// passkeys are those parts of the sign-in machine that ask for a passkey.
type passkeys interface {
	AskPasskey(context.Context, signin.Asked) (passkey.Begun, error)
	Passkey(context.Context, signin.Asked, signin.Client, signin.PasskeyProof) (signin.Next, error)
}

type askPasskeyInput struct {
	Caller

	Body struct {
		Flow string `json:"flow,omitempty" maxLength:"64" doc:"Of a sign-in that stands at the step second. Without it, whoever has a passkey for us may answer, and no password is asked for."`
	}
}

type passkeyOptionsOutput struct {
	Body struct {
		Options json.RawMessage `json:"options" doc:"For the authenticator, as PublicKeyCredential.parseRequestOptionsFromJSON or parseCreationOptionsFromJSON takes them, and Android's Credential Manager as text."`
		State   string          `json:"state" doc:"Give it back with the answer, within ten minutes. Keep it to yourself."`
	}
}

type passkeyInput struct {
	Caller

	Body struct {
		PasskeyAnswer

		Flow     string       `json:"flow,omitempty" maxLength:"64" doc:"As in the call before."`
		Device   *deviceProof `json:"device,omitempty" doc:"Proof that the device is remembered. The challenge of the options takes the place of the nonce."`
		Remember *enrolment   `json:"remember,omitempty" doc:"To be recognised from now on, unless it is already. The challenge takes the place of the nonce here too."`
	}
}

type againPasskeyInput struct {
	Caller

	Body PasskeyAnswer
}

// PasskeyAnswer is what an authenticator answers. The credential is text: its names are not written as ours are.
type PasskeyAnswer struct {
	State      string `json:"state" minLength:"1" maxLength:"2048" pattern:"^[A-Za-z0-9_-]+$" doc:"From the call before."`
	Credential string `json:"credential" minLength:"1" maxLength:"16384" doc:"The credential's toJSON() as text, as Android's Credential Manager gives it."`
}

func (a PasskeyAnswer) proof() (signin.PasskeyProof, error) {
	state, err := base64.RawURLEncoding.DecodeString(a.State)
	if err != nil {
		return signin.PasskeyProof{}, invalid("state")
	}
	return signin.PasskeyProof{State: state, Response: []byte(a.Credential)}, nil
}

type newPasskeyInput struct {
	Caller

	Body struct {
		PasskeyAnswer

		Name string `json:"name,omitempty" maxLength:"60" example:"My phone" doc:"What its owner will know it by."`
	}
}

type renamePasskeyInput struct {
	Caller

	ID   string `path:"id" minLength:"1" maxLength:"64" doc:"From the list."`
	Body struct {
		Name string `json:"name" minLength:"1" maxLength:"60" example:"My phone" doc:"What its owner calls it."`
	}
}

type passkeyRow struct {
	ID           passkey.ID `json:"id" doc:"Names the passkey to its owner. Not a secret."`
	Name         string     `json:"name" example:"My phone" doc:"What its owner calls it. May be empty."`
	DeviceBound  bool       `json:"device_bound" doc:"It stays in the authenticator that made it. The others are copied to their owner's other devices."`
	UserVerified bool       `json:"user_verified" doc:"It checks who holds it, so that it is both factors at once. If not, it is asked for beside the password."`
	Model        string     `json:"model,omitempty" example:"Example Key 5 with NFC" doc:"What the maker calls the authenticator, where that is known. A hint: unless attested, the authenticator itself says which it is."`
	Attested     bool       `json:"attested" doc:"The maker vouched for the model."`
	Denied       string     `json:"denied,omitempty" enum:"listed,reported" doc:"The passkey no longer signs in, because of its model: the operator does not take it (listed), or something is wrong with it (reported)."`
	AddedAt      time.Time  `json:"added_at" doc:"Since when."`
	LastUsedAt   *time.Time `json:"last_used_at,omitempty" doc:"Missing if it never was."`
}

func passkeyRows(all []passkey.Passkey) []passkeyRow {
	rows := make([]passkeyRow, 0, len(all))
	for _, p := range all {
		rows = append(rows, passkeyRow{
			ID: p.ID, Name: p.Name, DeviceBound: p.DeviceBound, UserVerified: p.UserVerified,
			Model: p.Model, Attested: p.Attested, Denied: string(p.Denied), AddedAt: instant(p.CreatedAt), LastUsedAt: someInstant(p.LastUsedAt),
		})
	}
	return rows
}

// passkeys registers the calls that sign in by a passkey, and those about a person's own.
func (h *API) passkeys(a huma.API) {
	const signIn, account = "Sign-in", "Account"
	flow := []string{"flow_ended", "step_out_of_order", "too_many_attempts"}
	register(a, operation{
		id: "ask-for-passkey", method: http.MethodPost, path: "/signin/passkey/options", tag: signIn,
		summary: "Ask for a passkey",
		about: "At the beginning, and then nobody has to say who they are and no passkeys are named; or in a sign-in at the step second " +
			"that offers the way passkey.",
		codes: flow,
	}, h.askPasskey)
	register(a, operation{
		id: "prove-passkey", method: http.MethodPost, begins: true, path: "/signin/passkey", tag: signIn,
		summary: "Prove a passkey",
		about: "A passkey that verified its user is both factors: the session is there. passkey_unknown says that it is none of ours: tell the " +
			"authenticator (signalUnknownCredential). Whatever else does not fit is passkey_refused.",
		codes: slices.Concat([]string{"passkey_refused", "passkey_unknown"}, keyCodes(), flow),
	}, h.provePasskey)
	register(a, operation{
		id: "ask-for-passkey-again", method: http.MethodPost, path: "/signin/again/passkey/options", tag: signIn, signedIn: true,
		summary: "Ask who is signed in for a passkey", about: "For what answers reauthentication_required.",
	}, h.askPasskeyAgain)
	register(a, operation{
		id: "prove-passkey-again", method: http.MethodPost, path: "/signin/again/passkey", tag: signIn, signedIn: true,
		summary: "Prove once more who is signed in, by a passkey",
		about:   "It ends in a new session with a new token, and the one that asks ends then.",
		codes:   []string{"passkey_refused", "passkey_unknown", "flow_ended", "too_many_attempts"},
	}, h.provePasskeyAgain)
	register(a, operation{
		id: "begin-passkey", method: http.MethodPost, path: "/account/passkeys/options", tag: account, signedIn: true, enrols: true,
		summary: "Begin to add a passkey", about: "The options have an address of the account, by which the authenticator will know it." + aboutFresh,
		codes: guarded("too_many_passkeys"),
	}, h.beginPasskey)
	register(a, operation{
		id: "add-passkey", method: http.MethodPost, path: "/account/passkeys", tag: account, signedIn: true, enrols: true, status: http.StatusNoContent,
		summary: "Add the passkey that an authenticator has made",
		about:   "Every address is told. From then on it signs in, and a code by e-mail does no more from a new device." + aboutFresh,
		codes:   guarded("passkey_refused", "passkey_model_refused", "passkey_taken", "too_many_passkeys", "too_many_attempts"),
	}, h.addPasskey)
	register(a, operation{
		id: "rename-passkey", method: http.MethodPatch, path: "/account/passkeys/{id}", tag: account, signedIn: true, status: http.StatusNoContent,
		summary: "Give a passkey another name", about: "It is its owner's alone.",
		codes: []string{"not_found", "passkey_name_empty", "too_many_attempts"},
	}, h.renamePasskey)
	register(a, operation{
		id: "remove-passkey", method: http.MethodDelete, path: "/account/passkeys/{id}", tag: account, signedIn: true, status: http.StatusNoContent,
		summary: "Remove a passkey", about: "It opens nothing any more, and every address is told." + aboutFresh,
		codes: guarded("not_found"),
	}, h.removePasskey)
}

func options(b passkey.Begun, err error) (*passkeyOptionsOutput, error) {
	if err != nil {
		return nil, err
	}
	out := &passkeyOptionsOutput{}
	out.Body.Options, out.Body.State = b.Options, base64.RawURLEncoding.EncodeToString(b.State)
	return out, nil
}

func (h *API) askPasskey(ctx context.Context, in *askPasskeyInput) (*passkeyOptionsOutput, error) {
	return options(h.Flows.AskPasskey(ctx, signin.Asked{Flow: secret.Of(in.Body.Flow)}))
}

func (h *API) askPasskeyAgain(ctx context.Context, in *callerInput) (*passkeyOptionsOutput, error) {
	return options(h.Flows.AskPasskey(ctx, signin.Asked{Session: in.session}))
}

func (h *API) provePasskey(ctx context.Context, in *passkeyInput) (*nextOutput, error) {
	proof, err := in.Body.proof()
	if err != nil {
		return nil, err
	}
	if proof.Handles, proof.Signature, err = in.Body.Device.read(); err != nil {
		return nil, err
	}
	remember, held, err := in.Body.Remember.read()
	if err != nil {
		return nil, err
	}
	proof.Remember, proof.Handles = remember, append(proof.Handles, held...)
	return judged(h.Flows.Passkey(ctx, signin.Asked{Flow: secret.Of(in.Body.Flow)}, in.client, proof))
}

func (h *API) provePasskeyAgain(ctx context.Context, in *againPasskeyInput) (*nextOutput, error) {
	proof, err := in.Body.proof()
	if err != nil {
		return nil, err
	}
	return judged(h.Flows.Passkey(ctx, signin.Asked{Session: in.session}, in.client, proof))
}

func judged(next signin.Next, err error) (*nextOutput, error) {
	switch {
	case err != nil:
		return nil, err
	case next.Unknown:
		return nil, fault.New(fault.Unauthenticated, "passkey_unknown", errors.New("no passkey of ours"))
	case next.Refused:
		return nil, passkeyRefused()
	}
	return &nextOutput{body(next)}, nil
}

func passkeyRefused() error {
	return fault.New(fault.Unauthenticated, "passkey_refused", errors.New("the answer is late, for something else, or not the passkey's"))
}

func (h *API) beginPasskey(ctx context.Context, in *callerInput) (*passkeyOptionsOutput, error) {
	return options(h.Owner.BeginPasskey(ctx, in.session))
}

func (h *API) addPasskey(ctx context.Context, in *newPasskeyInput) (*none, error) {
	proof, err := in.Body.proof()
	if err != nil {
		return nil, err
	}
	refused, err := h.Owner.AddPasskey(ctx, in.session, in.client, profile.NewPasskey{State: proof.State, Response: proof.Response, Name: in.Body.Name})
	switch {
	case err != nil:
		return nil, err
	case refused == passkey.Taken:
		return nil, fault.New(fault.Conflict, "passkey_taken", errors.New("the passkey was enrolled before"))
	case refused == passkey.Untaken:
		return nil, fault.New(fault.Invalid, "passkey_model_refused", errors.New("its model is not taken, or nobody vouches for it"))
	case refused != "":
		return nil, passkeyRefused()
	}
	return &none{}, nil
}

func (h *API) renamePasskey(ctx context.Context, in *renamePasskeyInput) (*none, error) {
	return &none{}, h.Owner.RenamePasskey(ctx, in.session, in.client, passkey.ID(in.ID), in.Body.Name)
}

func (h *API) removePasskey(ctx context.Context, in *appIDInput) (*none, error) {
	return &none{}, h.Owner.RemovePasskey(ctx, in.session, in.client, passkey.ID(in.ID))
}
