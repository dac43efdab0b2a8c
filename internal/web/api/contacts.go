package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"countersign/internal/account"
	"countersign/internal/profile"
)

type contactsOutput struct {
	Body struct {
		Contacts   []contactRow `json:"contacts" doc:"Oldest first."`
		ReviewedAt *time.Time   `json:"reviewed_at,omitempty" doc:"When the holder last said that all is still right."`
	}
}

type contactRow struct {
	ID      string       `json:"id" doc:"Names the contact to the holder. Not a secret."`
	Label   string       `json:"label" example:"My sister" doc:"What the holder calls them."`
	Holder  string       `json:"holder" example:"Ada" doc:"What they call the holder."`
	Kind    account.Kind `json:"kind" enum:"email,phone" doc:"What the address is."`
	Address string       `json:"address" example:"grace@example.org" doc:"Where they are reached."`
	AddedAt time.Time    `json:"added_at" doc:"Since when. They can help 72 hours later."`
}

type contactInput struct {
	Caller

	Body struct {
		Label   string `json:"label" minLength:"1" maxLength:"60" example:"My sister" doc:"What the holder calls them."`
		Holder  string `json:"holder" minLength:"1" maxLength:"60" example:"Ada" doc:"What they call the holder. It stands in letters to them."`
		Address string `json:"address" minLength:"1" maxLength:"1024" example:"grace@example.org" doc:"E-mail address or phone number."`
	}
}

type contactIDInput struct {
	Caller

	ID string `path:"id" minLength:"1" maxLength:"64" doc:"From the list of contacts."`
}

type savedCodeOutput struct {
	Body struct {
		Code string `json:"code" example:"0123-4567-89AB-CDEF-GHJK-MNPQ" doc:"Shown this once. To be kept on paper, or where passwords are kept."`
	}
}

// contacts registers recovery contacts and the saved recovery code.
func (h *API) contacts(a huma.API) {
	const tag = "Account"
	register(a, operation{
		id: "list-contacts", method: http.MethodGet, path: "/account/contacts", tag: tag, signedIn: true,
		summary: "List one's recovery contacts", about: "People who help their holder back in by reading out a code.",
	}, h.listContacts)
	register(a, operation{
		id: "add-contact", method: http.MethodPost, path: "/account/contacts", tag: tag, signedIn: true, status: http.StatusNoContent,
		summary: "Name a recovery contact", about: "They are told, and can help 72 hours later." + aboutFresh,
		codes: guarded("identifier_malformed", "contact_malformed", "contact_unreachable", "contact_known", "contact_is_own", "too_many_contacts", "too_many_attempts"),
	}, h.addContact)
	register(a, operation{
		id: "remove-contact", method: http.MethodDelete, path: "/account/contacts/{id}", tag: tag, signedIn: true, status: http.StatusNoContent,
		summary: "Remove a recovery contact", about: "A code of theirs is worth nothing from then on." + aboutFresh,
		codes: guarded("not_found"),
	}, h.removeContact)
	register(a, operation{
		id: "make-saved-code", method: http.MethodPost, path: "/account/saved-code", tag: tag, signedIn: true, status: http.StatusCreated,
		summary: "Make a saved recovery code", about: "In place of the one there is. It is shown in this answer and never again." + aboutFresh,
		codes: guarded(),
	}, h.makeSavedCode)
	register(a, operation{
		id: "drop-saved-code", method: http.MethodDelete, path: "/account/saved-code", tag: tag, signedIn: true, status: http.StatusNoContent,
		summary: "Remove the saved recovery code", about: "It is worth nothing from then on." + aboutFresh,
		codes: guarded("not_found"),
	}, h.dropSavedCode)
	register(a, operation{
		id: "review-account", method: http.MethodPost, path: "/account/review", tag: tag, signedIn: true, status: http.StatusNoContent,
		summary: "Say that all is still right", about: "Addresses, contacts and saved code. due_for_review is false for a year from then on.",
	}, h.review)
}

func (h *API) listContacts(ctx context.Context, in *callerInput) (*contactsOutput, error) {
	o, err := h.Owner.Overview(ctx, in.session)
	if err != nil {
		return nil, err
	}
	out := &contactsOutput{}
	out.Body.ReviewedAt = someInstant(o.ReviewedAt)
	out.Body.Contacts = make([]contactRow, 0, len(o.Contacts))
	for _, c := range o.Contacts {
		out.Body.Contacts = append(out.Body.Contacts, contactRow{
			ID: c.ID, Label: c.Label, Holder: c.Holder, Kind: c.Identifier.Kind(), Address: c.Identifier.Normal(), AddedAt: instant(c.AddedAt),
		})
	}
	return out, nil
}

func (h *API) addContact(ctx context.Context, in *contactInput) (*none, error) {
	n := profile.NewContact{Label: in.Body.Label, Holder: in.Body.Holder, Address: in.Body.Address}
	return &none{}, h.Owner.AddContact(ctx, in.session, in.client, n)
}

func (h *API) removeContact(ctx context.Context, in *contactIDInput) (*none, error) {
	return &none{}, h.Owner.RemoveContact(ctx, in.session, in.client, in.ID)
}

func (h *API) makeSavedCode(ctx context.Context, in *callerInput) (*savedCodeOutput, error) {
	code, err := h.Owner.NewSavedCode(ctx, in.session, in.client)
	if err != nil {
		return nil, err
	}
	out := &savedCodeOutput{}
	out.Body.Code = code.Reveal()
	return out, nil
}

func (h *API) dropSavedCode(ctx context.Context, in *callerInput) (*none, error) {
	return &none{}, h.Owner.DropSavedCode(ctx, in.session, in.client)
}

func (h *API) review(ctx context.Context, in *callerInput) (*none, error) {
	return &none{}, h.Owner.Review(ctx, in.session)
}
