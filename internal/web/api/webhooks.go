package api

import (
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"countersign/internal/subscriber"
)

// documentWebhooks describes what applications are told of: one entry for each type of event, under its name. docs/webhooks.md has the rest.
func documentWebhooks(a huma.API) {
	o := a.OpenAPI()
	const tag = "Webhooks"
	o.Tags = append(o.Tags, &huma.Tag{Name: tag, Description: "What an application of yours is told of, at an address that the operator has added (countersign webhook add). " +
		"Signed by Standard Webhooks: check the signature over the bytes that came. An event is told at least once, always under one id; those of an account in their order. " +
		"No body has an address, a number, a name, a token, a code or a network address in it."})
	text := func(about string) *huma.Schema { return &huma.Schema{Type: huma.TypeString, Description: about} }
	header := func(name, about string) *huma.Param {
		return &huma.Param{Name: name, In: "header", Required: true, Description: about, Schema: &huma.Schema{Type: huma.TypeString}}
	}
	o.Components.Parameters["webhook-id"] = header("webhook-id", "The event's id: the same in every try and every replay.")
	o.Components.Parameters["webhook-timestamp"] = header("webhook-timestamp", "When this try was made, in seconds since 1970: refuse one that is more than five minutes off.")
	o.Components.Parameters["webhook-signature"] = header("webhook-signature", "One or two signatures, v1 and base64 of an HMAC with SHA-256, with a blank between them.")
	o.Webhooks = map[string]*huma.PathItem{}
	for _, t := range subscriber.Types() {
		kind := string(t.Kind)
		detail := open(map[string]*huma.Schema{})
		for _, field := range strings.Fields(t.Fields) {
			detail.Properties[field] = text("")
		}
		data := open(map[string]*huma.Schema{
			"id": text("The event's."), "account": text("Left out where the event is of no account."),
			"application": text("Whose own account it is, at the second door."), "reference": text("What that application calls the account."),
			"actor": {Type: huma.TypeString, Enum: []any{"person", "operator", "application", "system"}}, "detail": detail,
		}, "id", "actor")
		body := open(map[string]*huma.Schema{
			"type": {Type: huma.TypeString, Const: kind}, "timestamp": {Type: huma.TypeString, Format: "date-time", Description: "When it happened."}, "data": data,
		}, "type", "timestamp", "data")
		o.Webhooks[kind] = &huma.PathItem{Post: &huma.Operation{
			OperationID: "told-" + strings.ReplaceAll(kind, "_", "-"), Method: http.MethodPost, Tags: []string{tag}, Summary: t.Says,
			Description: "Answer within 15 seconds, as soon as you have it: do the work afterwards.",
			Parameters: []*huma.Param{
				{Ref: "#/components/parameters/webhook-id"}, {Ref: "#/components/parameters/webhook-timestamp"}, {Ref: "#/components/parameters/webhook-signature"},
			},
			RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: body}}},
			Responses: map[string]*huma.Response{
				"2XX": {Description: "You have it."}, "410": {Description: "Tell me no more: the webhook is paused."},
				"default": {Description: "Anything else is tried again, for three days. Retry-After is heeded, up to an hour."},
			},
		}}
	}
}

// open is a schema that later releases may add to: types and fields are only ever added.
func open(properties map[string]*huma.Schema, required ...string) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, Properties: properties, Required: required, AdditionalProperties: true}
}
