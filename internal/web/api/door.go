package api

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"countersign/internal/assurance"
	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/seconddoor"
	"countersign/internal/signin"
	"countersign/internal/web"
)

// secondDoor is the second door alone, for applications with accounts of their own.
type secondDoor interface {
	Put(context.Context, seconddoor.Named, seconddoor.Contact, secret.Token) (opened bool, err error)
	Remove(context.Context, seconddoor.Named) error
	Begin(ctx context.Context, n seconddoor.Named, site string, b signin.Begin) (signin.Started, signin.Next, error)
	Devices(context.Context, seconddoor.Named) ([]device.Device, error)
	Forget(context.Context, seconddoor.Named, device.ID) (ok bool, err error)
	Once(ctx context.Context, c seconddoor.Call, do func() ([]byte, error)) ([]byte, error)
}

// Application is who calls the second door.
type Application struct {
	ID    string
	Sites []string // origins of its pages, whose browsers may sign
}

// Door is the second door, and who may call it. All fields are required.
type Door struct {
	Second  secondDoor
	Factors doorFactors
	// Application returns who calls, and fault.Unauthenticated "client_unproved" for who has not proved it.
	Application func(*http.Request) (Application, error)
}

type referredInput struct {
	Caller

	Reference string `path:"reference" minLength:"1" maxLength:"128" example:"u-17" doc:"What your application calls the account. Printable characters without spaces; it never changes."`
}

func (c Caller) named(reference string) seconddoor.Named {
	return seconddoor.Named{App: c.application.ID, Reference: reference}
}

type putAccountInput struct {
	Caller

	Reference string `path:"reference" minLength:"1" maxLength:"128" example:"u-17" doc:"What your application calls the account. Printable characters without spaces; it never changes."`

	Body struct {
		Email    string `json:"email,omitempty" maxLength:"1024" example:"ada@example.org" doc:"Where codes and notices go, proved by you. Left out, it stays."`
		Phone    string `json:"phone,omitempty" maxLength:"64" example:"+4915112345678" doc:"The same, for text messages."`
		Language string `json:"language,omitempty" maxLength:"35" pattern:"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$" example:"de" doc:"Of letters (BCP 47)."`
		Flow     string `json:"flow,omitempty" maxLength:"64" doc:"A flow of this account's that was allowed within the last minutes: wanted where email or phone changes."`
	}
}

type putAccountOutput struct {
	Body struct {
		Opened bool `json:"opened" doc:"Whether the account is new."`
	}
}

// person is whose browser or app stands behind a call.
type person struct {
	Address   string `json:"address" minLength:"2" maxLength:"45" example:"192.0.2.7" doc:"The person's address of the network, as your application sees it. Limits count by it."`
	UserAgent string `json:"user_agent,omitempty" maxLength:"1024" doc:"As the person's browser or app sent it. Its name is told in letters."`
}

// at is the person at the second door of whoever calls.
func (p person) at(c Caller) (signin.Client, error) {
	from, err := netip.ParseAddr(p.Address)
	if err != nil {
		return signin.Client{}, web.RefuseField("person.address", "%s is no address of the network.")
	}
	return signin.Client{Source: from, UserAgent: p.UserAgent, App: c.application.ID}, nil
}

type beginDoorInput struct {
	Caller

	Body struct {
		Person person `json:"person" doc:"Whose browser or app stands behind the call."`

		Reference string   `json:"reference" minLength:"1" maxLength:"128" example:"u-17" doc:"What your application calls the account, whose first proof it has just looked at."`
		Site      string   `json:"site,omitempty" maxLength:"256" example:"https://photos.example.net" doc:"Origin of the page that the person is at, one of those that the client was registered with: what browsers sign names it. Left out, it is the first."`
		Devices   []string `json:"devices,omitempty" maxItems:"4" maxLength:"64" doc:"Handles that the browser or app keeps."`
	}
}

type doorOutput struct {
	Body doorBody
}

type doorBody struct {
	Allowed   bool            `json:"allowed" doc:"Whether the second door is open: let the person in."`
	Flow      string          `json:"flow,omitempty" example:"csf_…" doc:"The flow's secret handle, in the first answer. Keep it on your server."`
	Step      string          `json:"step" enum:"device,second,done" doc:"What is wanted next: that the device signs, a code, or nothing."`
	Ways      []factor.Way    `json:"ways,omitempty" doc:"With step second: where a code can come from, the better first: sent by sms or email, read off an app or a token (otp) or a list (backup). No address, nor a part of one."`
	Nonce     string          `json:"nonce,omitempty" doc:"What the device signs next."`
	ExpiresAt *time.Time      `json:"expires_at,omitempty" doc:"When the flow must be finished."`
	ACR       assurance.Level `json:"acr,omitempty" enum:"aal0,aal1,aal2,aal3" doc:"With allowed: what was proved, the first proof included (NIST SP 800-63B-4)."`
	AMR       []string        `json:"amr,omitempty" doc:"With allowed: by which methods (RFC 8176)."`
	Device    *newRemembered  `json:"device,omitempty" doc:"What the device must keep from now on, in place of an older handle."`
}

type doorDeviceInput struct {
	Caller

	Body struct {
		Person person `json:"person" doc:"Whose browser or app stands behind the call."`

		Flow   string       `json:"flow" minLength:"1" maxLength:"64" doc:"From the first answer."`
		Device *deviceProof `json:"device,omitempty" doc:"What the device signed. Left out, it cannot: a code is asked for."`
	}
}

type doorSendInput struct {
	Caller

	Body struct {
		Person person `json:"person" doc:"Whose browser or app stands behind the call."`

		Flow string     `json:"flow" minLength:"1" maxLength:"64" doc:"From the first answer."`
		Way  factor.Way `json:"way" enum:"sms,email" doc:"One of the ways offered."`
	}
}

type doorCodeInput struct {
	Caller

	Body struct {
		Person person `json:"person" doc:"Whose browser or app stands behind the call."`

		Flow     string     `json:"flow" minLength:"1" maxLength:"64" doc:"From the first answer."`
		Way      factor.Way `json:"way,omitempty" enum:"otp,backup" doc:"Where the code is from, if the person had it already. Leave it out for a code that was sent."`
		Code     string     `json:"code" minLength:"1" maxLength:"64" example:"492817" doc:"As typed."`
		Remember *enrolment `json:"remember,omitempty" doc:"To be recognised from now on. What the browser signs names the origin of your page."`
	}
}

type doorDevicesOutput struct {
	Body struct {
		Devices []deviceRow `json:"devices" doc:"The one last seen first."`
	}
}

type forgetDoorInput struct {
	Caller

	Reference string `path:"reference" minLength:"1" maxLength:"128" example:"u-17" doc:"What your application calls the account."`

	ID device.ID `path:"id" minLength:"1" maxLength:"64" doc:"From the list."`
}

// door registers the second door.
func (h *API) door(a huma.API) {
	flow := []string{"flow_ended", "step_out_of_order", "too_many_attempts"}
	named := []string{"reference_malformed", "account_unknown"}
	register(a, operation{
		id: "put-door-account", method: http.MethodPut, path: "/door/accounts/{reference}", tag: doorTag, door: true,
		summary: "Open an account, or change where its codes go",
		about: "Nobody signs in to it here, and nothing of it is ever read back. Where codes go changes after the second door alone: name a flow that was " +
			"allowed within the last minutes, or whoever has taken your account over has every code from then on. Every address is told.",
		codes: []string{"reference_malformed", "identifier_malformed", "contact_missing", "contact_proof_required", "account_frozen", "reference_held", "too_many_addresses"},
	}, h.putDoorAccount)
	register(a, operation{
		id: "remove-door-account", method: http.MethodDelete, path: "/door/accounts/{reference}", tag: doorTag, door: true, status: http.StatusNoContent,
		summary: "Erase an account", about: "And all that is kept of it, at once. Every address is told, and for 72 hours the account opens under no other.", codes: named,
	}, h.removeDoorAccount)
	register(a, operation{
		id: "list-door-devices", method: http.MethodGet, path: "/door/accounts/{reference}/devices", tag: doorTag, door: true,
		summary: "List the devices that are remembered", about: "Show them to their owner.", codes: named,
	}, h.listDoorDevices)
	register(a, operation{
		id: "forget-door-devices", method: http.MethodDelete, path: "/door/accounts/{reference}/devices", tag: doorTag, door: true, status: http.StatusNoContent,
		summary: "Forget all devices", about: "Each meets a code at its next sign-in: after a theft, or a new password.", codes: named,
	}, h.forgetDoorDevices)
	register(a, operation{
		id: "forget-door-device", method: http.MethodDelete, path: "/door/accounts/{reference}/devices/{id}", tag: doorTag, door: true, status: http.StatusNoContent,
		summary: "Forget a device", about: "It meets a code at its next sign-in.", codes: append(slices.Clone(named), "not_found"),
	}, h.forgetDoorDevice)
	register(a, operation{
		id: "begin-door", method: http.MethodPost, path: "/door/begin", tag: doorTag, door: true, status: http.StatusCreated,
		summary: "Come to the second door",
		about: "Call it when the first proof, a password mostly, was right, and before. With step device have the browser sign the nonce; with step second have " +
			"a code sent and typed in. Let the person in when an answer says allowed, and not before.",
		codes: append(slices.Clone(named), "site_unknown", "account_locked", "too_many_attempts"),
	}, h.beginDoor)
	register(a, operation{
		id: "prove-door-device", method: http.MethodPost, path: "/door/device", tag: doorTag, door: true,
		summary: "Show what the device signed", about: "A device that is not recognised is no failure: a code is asked for.", codes: flow,
	}, h.doorDevice)
	register(a, operation{
		id: "send-door-code", method: http.MethodPost, path: "/door/code/send", tag: doorTag, door: true, status: http.StatusAccepted,
		summary: "Have a code sent", about: "To the address of the kind asked for.", codes: append([]string{"way_unknown", "resend_too_soon"}, flow...),
	}, h.doorSend)
	register(a, operation{
		id: "prove-door-code", method: http.MethodPost, path: "/door/code", tag: doorTag, door: true,
		summary: "Prove the code, and be remembered if the person likes",
		about:   "A wrong, old or expired code is code_refused. A malformed key to remember is found before the code is spent.",
		codes:   slices.Concat([]string{"code_refused"}, keyCodes(), flow),
	}, h.doorCode)
}

const doorTag = "Second door"

func (h *API) putDoorAccount(ctx context.Context, in *putAccountInput) (*putAccountOutput, error) {
	b := in.Body
	out := &putAccountOutput{}
	var err error
	out.Body.Opened, err = h.Door.Second.Put(ctx, in.named(in.Reference), seconddoor.Contact{Email: b.Email, Phone: b.Phone, Language: b.Language}, secret.Of(b.Flow))
	return out, err
}

func (h *API) removeDoorAccount(ctx context.Context, in *referredInput) (*struct{}, error) {
	return nil, h.Door.Second.Remove(ctx, in.named(in.Reference))
}

func (h *API) listDoorDevices(ctx context.Context, in *referredInput) (*doorDevicesOutput, error) {
	all, err := h.Door.Second.Devices(ctx, in.named(in.Reference))
	if err != nil {
		return nil, err
	}
	out := &doorDevicesOutput{}
	out.Body.Devices = make([]deviceRow, 0, len(all))
	for _, d := range all {
		out.Body.Devices = append(out.Body.Devices, h.deviceRow(d, ""))
	}
	return out, nil
}

func (h *API) forgetDoorDevices(ctx context.Context, in *referredInput) (*struct{}, error) {
	_, err := h.Door.Second.Forget(ctx, in.named(in.Reference), "")
	return nil, err
}

func (h *API) forgetDoorDevice(ctx context.Context, in *forgetDoorInput) (*struct{}, error) {
	ok, err := h.Door.Second.Forget(ctx, in.named(in.Reference), in.ID)
	if err == nil && !ok {
		err = fault.New(fault.NotFound, "not_found", errors.New("no such device"))
	}
	return nil, err
}

func (h *API) beginDoor(ctx context.Context, in *beginDoorInput) (*doorOutput, error) {
	b := in.Body
	who, err := b.Person.at(in.Caller)
	if err != nil {
		return nil, err
	}
	sites := in.application.Sites
	site := b.Site
	if site == "" && len(sites) > 0 {
		site = sites[0]
	}
	if !slices.Contains(sites, site) {
		return nil, fault.New(fault.Invalid, "site_unknown", errors.New("the client was not registered with this origin"))
	}
	started, next, err := h.Door.Second.Begin(ctx, in.named(b.Reference), site, signin.Begin{
		Client: who, Handles: tokens(b.Devices),
	})
	if err != nil {
		return nil, err
	}
	out := doorAnswer(next)
	out.Body.Flow = started.Flow.Reveal()
	return out, nil
}

func (h *API) doorDevice(ctx context.Context, in *doorDeviceInput) (*doorOutput, error) {
	who, err := in.Body.Person.at(in.Caller)
	if err != nil {
		return nil, err
	}
	var proof device.Proof
	if proof.Handles, proof.Signature, err = in.Body.Device.read(); err != nil {
		return nil, err
	}
	next, err := h.Flows.Device(ctx, ref(in.Body.Flow), who, proof)
	if err != nil {
		return nil, err
	}
	return doorAnswer(next), nil
}

func (h *API) doorSend(ctx context.Context, in *doorSendInput) (*sendOutput, error) {
	who, err := in.Body.Person.at(in.Caller)
	if err != nil {
		return nil, err
	}
	sent, err := h.Flows.Send(ctx, ref(in.Body.Flow), who, in.Body.Way)
	if err != nil {
		return nil, err
	}
	return h.sentAnswer(sent)
}

func (h *API) doorCode(ctx context.Context, in *doorCodeInput) (*doorOutput, error) {
	who, err := in.Body.Person.at(in.Caller)
	if err != nil {
		return nil, err
	}
	remember, held, err := in.Body.Remember.read()
	if err != nil {
		return nil, err
	}
	next, err := h.Flows.Code(ctx, ref(in.Body.Flow), who, signin.CodeProof{
		Way: in.Body.Way, Code: secret.Of(in.Body.Code), Remember: remember, Handles: held,
	})
	if err != nil {
		return nil, err
	}
	if next.Refused {
		return nil, fault.New(fault.Unauthenticated, "code_refused", errors.New("wrong, old or expired code"))
	}
	return doorAnswer(next), nil
}

// doorAnswer picks what an application may see of a step, field by field (P-3.1).
func doorAnswer(n signin.Next) *doorOutput {
	b := doorBody{Step: string(n.Step), Ways: n.Ways, Allowed: n.Step == signin.StepDone}
	if b.Allowed {
		words := make([]string, len(n.Methods))
		for i, m := range n.Methods {
			words[i] = string(m)
		}
		proved := assurance.Of(words)
		b.ACR, b.AMR = proved.Level, slices.Collect(proved.AMR())
	} else {
		ends := instant(n.ExpiresAt)
		b.Nonce, b.ExpiresAt = n.Nonce, &ends
	}
	if n.Device != nil {
		b.Device = remembered(*n.Device)
	}
	return &doorOutput{b}
}
