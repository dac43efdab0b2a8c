package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"countersign/internal/message"
)

type accountChangeInput struct {
	Caller

	Body struct {
		Language string `json:"language" minLength:"2" maxLength:"35" example:"fr" doc:"Of letters to the holder."`
	}
}

type dataOutput struct {
	Disposition string `header:"Content-Disposition"`
	Body        json.RawMessage
}

type eraseOutput struct {
	Body struct {
		EraseAt time.Time `json:"erase_at" doc:"When the account is erased, unless somebody keeps it before."`
	}
}

// whole registers what concerns the account as a whole.
func (h *API) lifecycle(a huma.API) {
	const tag = "Account"
	register(a, operation{
		id: "change-account", method: http.MethodPatch, path: "/account", tag: tag, signedIn: true, status: http.StatusNoContent,
		summary: "Set the language of letters",
		about:   "One of " + spoken(message.Languages()) + ". Every address is told, in the language before." + aboutFresh,
		codes:   []string{"reauthentication_required", "language_unknown"},
	}, h.changeAccount)
	register(a, operation{
		id: "download-account", method: http.MethodPost, path: "/account/data", tag: tag, signedIn: true,
		summary: "Download everything that is kept of the account",
		about: "JSON that says itself what it holds, and what there is that it does not. Every address is told. " +
			"A few times an hour at most." + aboutFresh,
		codes: []string{"reauthentication_required", "too_many_attempts"},
	}, h.download)
	register(a, operation{
		id: "erase-account", method: http.MethodPost, path: "/account/erase", tag: tag, signedIn: true,
		summary: "Have the account erased",
		about: "Not at once: until then whoever signs in can keep it, and each letter about it has a link that does so too. Every other session ends. " +
			"Asking again changes nothing." + aboutFresh,
		codes: []string{"reauthentication_required"},
	}, h.erase)
	register(a, operation{
		id: "keep-account", method: http.MethodDelete, path: "/account/erase", tag: tag, signedIn: true, status: http.StatusNoContent,
		summary: "Keep the account after all", about: "Every address is told.", codes: []string{"not_found"},
	}, h.keep)
}

func spoken(all []string) string {
	list, _ := json.Marshal(all) //nolint:errchkjson // strings always can
	return string(list)
}

func (h *API) changeAccount(ctx context.Context, in *accountChangeInput) (*none, error) {
	return &none{}, h.Owner.SetLanguage(ctx, in.session, in.client, in.Body.Language)
}

func (h *API) download(ctx context.Context, in *callerInput) (*dataOutput, error) {
	data, err := h.Owner.Data(ctx, in.session, in.client)
	if err != nil {
		return nil, err
	}
	return &dataOutput{Disposition: `attachment; filename="account.json"`, Body: data}, nil
}

func (h *API) erase(ctx context.Context, in *callerInput) (*eraseOutput, error) {
	at, err := h.Owner.AskErase(ctx, in.session, in.client)
	if err != nil {
		return nil, err
	}
	out := &eraseOutput{}
	out.Body.EraseAt = instant(at)
	return out, nil
}

func (h *API) keep(ctx context.Context, in *callerInput) (*none, error) {
	kept, err := h.Owner.Keep(ctx, in.session, in.client)
	return found(kept, err)
}
