package api

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"countersign/internal/assurance"
	"countersign/internal/device"
	"countersign/internal/dpop"
	"countersign/internal/platform/fault"
	"countersign/internal/session"
	"countersign/internal/web"
)

// none is the input or output of calls without a body.
type none struct{}

type callerInput struct{ Caller }

type sessionInput struct {
	Caller

	ID session.ID `path:"id" minLength:"1" maxLength:"64" doc:"From the list of sessions."`
}

type listInput struct {
	Caller

	Lang string `query:"lang" default:"en" minLength:"2" maxLength:"2" pattern:"^[a-z]{2}$" doc:"The language that places are named in."`
}

type deviceInput struct {
	Caller

	ID device.ID `path:"id" minLength:"1" maxLength:"64" doc:"From the list of devices."`
}

type renameInput struct {
	Caller

	ID   device.ID `path:"id" minLength:"1" maxLength:"64" doc:"From the list of devices."`
	Body struct {
		Name string `json:"name" minLength:"1" maxLength:"128" example:"Ada's phone" doc:"What its owner will know it by. What does not print is dropped, and what is longer than 60 characters cut."`
	}
}

type endInput struct {
	Caller

	Body struct {
		Which string `json:"which" enum:"others,all" doc:"All but the one that asks, or that one as well."`
	}
}

type sessionsOutput struct {
	Body struct {
		Sessions []sessionRow `json:"sessions" doc:"The one last seen first."`
	}
}

type sessionRow struct {
	ID              session.ID `json:"id" doc:"Names the session to its owner. Not a secret."`
	Name            string     `json:"name" example:"Firefox on Linux" doc:"What its owner may know it by."`
	Current         bool       `json:"current" doc:"Whether it is the one that asks."`
	Device          device.ID  `json:"device,omitempty" doc:"The remembered device that it was opened from."`
	Bound           bool       `json:"bound" doc:"Whether it is bound to a key of that device's browser (DBSC), so that a copy of its cookie ends within minutes."`
	TokenType       string     `json:"token_type" enum:"Bearer,DPoP" doc:"DPoP: it is bound to an app's key, and a copy of its token is worth nothing."`
	Place           string     `json:"place,omitempty" example:"Graz, Austria" doc:"Roughly where it was opened. Missing where that is not known."`
	CreatedAt       time.Time  `json:"created_at" doc:"When it was opened."`
	AuthenticatedAt time.Time  `json:"authenticated_at" doc:"When somebody last proved who they are."`
	LastSeenAt      time.Time  `json:"last_seen_at" doc:"When it was last used, to within a minute."`
	ExpiresAt       time.Time  `json:"expires_at" doc:"When it ends at the latest."`

	proved
}

// proved is what the sign-in was worth.
type proved struct {
	Methods []string        `json:"methods" example:"[\"password\",\"sms\"]" doc:"What was proved: password, sms, email, otp, backup, device, dbsc. Expect more kinds, and decide by aal."`
	AAL     assurance.Level `json:"aal" enum:"aal0,aal1,aal2,aal3" doc:"The authenticator assurance level of NIST SP 800-63B-4 that the sign-in reached. aal0: nothing that it counts."`
	AMR     []string        `json:"amr" example:"[\"pwd\",\"sms\",\"mca\",\"mfa\"]" doc:"The same in the words of RFC 8176. What has no word there is missing: a code by e-mail."`
}

type devicesOutput struct {
	Body struct {
		Devices []deviceRow `json:"devices" doc:"The one last seen first."`
	}
}

type deviceRow struct {
	ID         device.ID       `json:"id" doc:"Names the device to its owner. Not a secret."`
	Name       string          `json:"name" example:"Ada's phone" doc:"What its owner may know it by."`
	Current    bool            `json:"current" doc:"Whether the session that asks was opened from it."`
	Strength   device.Strength `json:"strength" enum:"software_key,dbsc,android_tee,android_strongbox,app_attest" doc:"What it proves itself with: software_key is a key kept in the browser or app, dbsc one that the browser has bound to the machine. Of a key that its phone vouches for: android_tee is in protected hardware, android_strongbox in a security chip, app_attest of an app that is unchanged. Expect more kinds."`
	Place      string          `json:"place,omitempty" example:"Graz, Austria" doc:"Roughly where it was last seen. Missing where that is not known."`
	CreatedAt  time.Time       `json:"created_at" doc:"Since when it is remembered."`
	LastSeenAt time.Time       `json:"last_seen_at" doc:"When it was last recognised."`
	ExpiresAt  time.Time       `json:"expires_at" doc:"Until when it is recognised."`
}

// own registers what the signed-in may see and end. Every call takes the account from the session
// and never from the request, so an id of somebody else's finds nothing (P-1.1).
func (h *API) own(a huma.API) {
	const sessions, devices = "Sessions", "Devices"
	for _, c := range []struct {
		operation

		handle func(context.Context, *callerInput) (*none, error)
	}{
		{operation{id: "sign-out", method: http.MethodDelete, path: "/session", tag: sessions, enrols: true, summary: "Sign out", about: "Ends the session that asks."}, h.signOut},
		{operation{id: "forget-devices", method: http.MethodDelete, path: "/devices", tag: devices, summary: "Forget every device", about: "From now on each asks for a code. Every session but the one that asks ends."}, h.forgetAll},
	} {
		c.status, c.signedIn = http.StatusNoContent, true
		register(a, c.operation, c.handle)
	}
	register(a, operation{
		id: "list-sessions", method: http.MethodGet, path: "/sessions", tag: sessions, signedIn: true,
		summary: "List where the account is signed in", about: "Live sessions only.",
	}, h.listSessions)
	register(a, operation{
		id: "end-session", method: http.MethodDelete, path: "/sessions/{id}", tag: sessions, signedIn: true, status: http.StatusNoContent,
		summary: "End one session", about: "Every node knows within a second.", codes: []string{"not_found"},
	}, h.endSession)
	register(a, operation{
		id: "end-sessions", method: http.MethodPost, path: "/sessions/end", tag: sessions, signedIn: true, status: http.StatusNoContent,
		summary: "End the other sessions, or all", about: "Every node knows within a second.",
	}, h.endSessions)
	register(a, operation{
		id: "list-devices", method: http.MethodGet, path: "/devices", tag: devices, signedIn: true,
		summary: "List remembered devices", about: "Those that are asked for no code.",
	}, h.listDevices)
	register(a, operation{
		id: "forget-device", method: http.MethodDelete, path: "/devices/{id}", tag: devices, signedIn: true, status: http.StatusNoContent,
		summary: "Forget one device", about: "From now on it asks for a code. Sessions opened from it end, but for the one that asks.", codes: []string{"not_found"},
	}, h.forget)
	register(a, operation{
		id: "rename-device", method: http.MethodPatch, path: "/devices/{id}", tag: devices, signedIn: true, status: http.StatusNoContent,
		summary: "Rename one device", about: "The name is for its owner alone.", codes: []string{"not_found", "device_name_empty"},
	}, h.rename)
}

func (h *API) signOut(ctx context.Context, in *callerInput) (*none, error) {
	_, err := h.Owner.EndSession(ctx, in.session, in.client, in.session.ID)
	return &none{}, err
}

func (h *API) listSessions(ctx context.Context, in *listInput) (*sessionsOutput, error) {
	all, err := h.Owner.ListSessions(ctx, in.session)
	if err != nil {
		return nil, err
	}
	out := &sessionsOutput{}
	out.Body.Sessions = make([]sessionRow, 0, len(all))
	for _, s := range all {
		out.Body.Sessions = append(out.Body.Sessions, sessionRow{
			ID: s.ID, Name: s.Name, Current: s.ID == in.session.ID, CreatedAt: instant(s.CreatedAt),
			AuthenticatedAt: instant(s.AuthenticatedAt), LastSeenAt: instant(s.LastSeenAt), ExpiresAt: instant(s.ExpiresAt),
			Device: s.Device, Bound: !s.BoundAt.IsZero(), TokenType: s.TokenType(), Place: h.Where(s.Source, in.Lang),
			proved: proved{s.Methods, s.Assurance().Level, slices.AppendSeq([]string{}, s.Assurance().AMR())},
		})
	}
	return out, nil
}

func (h *API) endSession(ctx context.Context, in *sessionInput) (*none, error) {
	ok, err := h.Owner.EndSession(ctx, in.session, in.client, in.ID)
	return found(ok, err)
}

func (h *API) endSessions(ctx context.Context, in *endInput) (*none, error) {
	if in.Body.Which == "all" {
		return &none{}, h.Owner.EndAllSessions(ctx, in.session, in.client)
	}
	return &none{}, h.Owner.EndOtherSessions(ctx, in.session, in.client)
}

func (h *API) listDevices(ctx context.Context, in *listInput) (*devicesOutput, error) {
	all, err := h.Owner.ListDevices(ctx, in.session)
	if err != nil {
		return nil, err
	}
	out := &devicesOutput{}
	out.Body.Devices = make([]deviceRow, 0, len(all))
	for _, d := range all {
		row := h.deviceRow(d, in.Lang)
		row.Current = d.ID == in.session.Device
		out.Body.Devices = append(out.Body.Devices, row)
	}
	return out, nil
}

func (h *API) deviceRow(d device.Device, lang string) deviceRow {
	return deviceRow{
		ID: d.ID, Name: d.Name, CreatedAt: instant(d.CreatedAt), LastSeenAt: instant(d.LastSeenAt), ExpiresAt: instant(d.ExpiresAt),
		Strength: d.Strength, Place: h.Where(d.Source, lang),
	}
}

func (h *API) forget(ctx context.Context, in *deviceInput) (*none, error) {
	ok, err := h.Owner.ForgetDevice(ctx, in.session, in.client, in.ID)
	return found(ok, err)
}

func (h *API) rename(ctx context.Context, in *renameInput) (*none, error) {
	ok, err := h.Owner.RenameDevice(ctx, in.session, in.client, in.ID, in.Body.Name)
	return found(ok, err)
}

func (h *API) forgetAll(ctx context.Context, in *callerInput) (*none, error) {
	return &none{}, h.Owner.ForgetAllDevices(ctx, in.session, in.client)
}

// found answers alike for what never was, what is gone and what is somebody else's.
func found(ok bool, err error) (*none, error) {
	if err == nil && !ok {
		err = fault.New(fault.NotFound, "not_found", errors.New("the account has none by that id"))
	}
	return &none{}, err
}

type sessionBody struct {
	ID              session.ID `json:"id" doc:"Names the session to its owner. Not a secret."`
	Account         string     `json:"account" doc:"The account, under the id that never changes."`
	AuthenticatedAt time.Time  `json:"authenticated_at" doc:"When somebody last proved who they are."`
	AuthTime        int64      `json:"auth_time" doc:"The same in seconds since 1970, as OpenID Connect writes it."`
	ExpiresAt       time.Time  `json:"expires_at" doc:"When it ends at the latest."`

	Confirmation *confirmation `json:"cnf,omitempty" doc:"The key that the session is bound to, and which this call has proved. Missing if it is bound to none."`

	proved
}

type confirmation struct {
	Thumbprint dpop.Thumbprint `json:"jkt" doc:"The key's thumbprint (RFC 7638, SHA-256)."`
}

// getSession answers every request of every application behind us, so it goes without huma and
// nearly without allocations. What it writes is described by sessionBody.
func (h *API) getSession(w http.ResponseWriter, r *http.Request) error {
	s, err := h.signedIn(w, r)
	if err == nil {
		err = s.Full()
	}
	if err != nil {
		return err
	}
	buffer, ok := h.buffers.Get().(*[]byte)
	if !ok {
		buffer = new(make([]byte, 0, 512))
	}
	proved := s.Assurance()
	b := (*buffer)[:0]
	b = append(b, `{"id":"`...) // ids are UUIDs, methods and references fixed words: nothing needs escaping
	b = append(b, s.ID...)
	b = append(b, `","account":"`...)
	b = append(b, s.Account...)
	b = append(b, `","methods":[`...)
	b = appendWords(b, slices.Values(s.Methods))
	b = append(b, `],"aal":"`...)
	b = append(b, proved.Level...)
	b = append(b, `","amr":[`...)
	b = appendWords(b, proved.AMR())
	b = append(b, `],"authenticated_at":"`...)
	b = instant(s.AuthenticatedAt).AppendFormat(b, time.RFC3339)
	b = append(b, `","auth_time":`...)
	b = strconv.AppendInt(b, s.AuthenticatedAt.Unix(), 10)
	b = append(b, `,"expires_at":"`...)
	b = instant(s.ExpiresAt).AppendFormat(b, time.RFC3339)
	if s.Key != "" {
		b = append(b, `","cnf":{"jkt":"`...)
		b = append(b, s.Key...)
		b = append(b, "\"}}\n"...)
	} else {
		b = append(b, "\"}\n"...)
	}
	web.WriteJSON(w, b)
	*buffer = b
	h.buffers.Put(buffer)
	return nil
}

func appendWords(b []byte, all iter.Seq[string]) []byte {
	comma := false
	for w := range all {
		if comma {
			b = append(b, ',')
		}
		comma = true
		b = append(b, '"')
		b = append(b, w...)
		b = append(b, '"')
	}
	return b
}
