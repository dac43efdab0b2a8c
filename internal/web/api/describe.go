package api

import (
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"countersign/internal/web"
)

func newHuma(h *API, m *http.ServeMux) huma.API {
	takeOverErrors()
	c := huma.DefaultConfig("Countersign", "1")
	c.CreateHooks = nil // one would build $schema from the Host header
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "", "", ""
	c.RejectUnknownQueryParameters = true
	c.Info.Description = "Sign people in, get them back in, check and end their sessions, list and forget their devices.\n\n" +
		"An application names itself and its version with each call (`Countersign-Client: ios/4.2.1`). An answer with `Deprecation`, `Sunset` or a " +
		"`Link` to `deprecation` says that this version of the application or of the API will be refused; 426 client_outdated and 410 api_retired, " +
		"which any call can get, say that it is: show the person `detail`.\n\n" +
		"An answer never tells whether an account exists, and holds no address or part of one but one's own, under /account. " +
		"Failures are application/problem+json; programs should look at `code`."
	c.Servers = []*huma.Server{{URL: h.Public}}
	c.Tags = []*huma.Tag{
		{Name: "Sign-in", Description: "Password, recognised device or code, session. After the first call nothing names an account."},
		{Name: "Recovery", Description: "Back into an account: two proofs, or one and a waiting time, then a new password. After the first call nothing names an account or an address."},
		{Name: "Registration", Description: "An address, its code, then password and the rest. Before the code nothing tells whether the address has an account."},
		{Name: "Sessions", Description: "Where the account is signed in."},
		{Name: "Devices", Description: "Which devices are remembered."},
		{Name: "Protection", Description: "What the links in letters are for. Opening a link must do nothing: ask the person first."},
		{Name: doorTag, Description: "For applications with accounts of their own: they look at the first proof, name the account by a reference, and hear whether the " +
			"device is recognised and what was proved. Whoever calls proves that it is a client registered for it (countersign oidc add --second-door): with its secret " +
			"(Authorization: Basic), a fresh assertion by its key (Authorization: Bearer, RFC 7523 section 3), each good for one call, or, where the operator has a listener " +
			"for certificates, a certificate (RFC 8705) and its id without a secret (Authorization: Basic)."},
		{Name: "Account", Description: "What its holder may see and change. The only answers with contact data, and only with the holder's own."},
	}
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer": {Type: "http", Scheme: "bearer", BearerFormat: "css_…", Description: "The session's token, for apps."},
		"dpop": {
			Type: "http", Scheme: "dpop", BearerFormat: "css_…",
			Description: "The session's token, where it is of type DPoP (RFC 9449). Each call comes with a new proof in the header DPoP: with htm, htu (under " +
				"the public URL), iat, jti, ath and nonce, by ES256 or EdDSA. 401 dpop_nonce_needed brings a nonce in the header DPoP-Nonce, as other answers may.",
		},
		"client_secret":      {Type: "http", Scheme: "basic", Description: "A client's id and secret, for the second door."},
		"client_assertion":   {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "A client's assertion (RFC 7523 section 3), for the second door. Each is good for one call."},
		"client_certificate": {Type: "mutualTLS", Description: "A client's certificate, for the second door at the listener for certificates; its id comes as with client_secret, and no secret."},
		"cookie":             {Type: "apiKey", In: "cookie", Name: web.SessionCookie, Description: "The session's cookie, for this site's own pages."},
	}
	c.Components.Parameters = map[string]*huma.Param{"proof": {
		Name: "DPoP", In: "header",
		Description: "A proof of the app's key (RFC 9449), to which the session is then bound: its nonce is the newest of the sign-in, or the challenge of a " +
			"passkey. Left out, the session is not bound, and whoever has its token has it.",
		Schema: &huma.Schema{Type: huma.TypeString, MaxLength: new(4096)},
	}, "once": {
		Name: onceHeader, In: "header", Example: `"8e03978e-40d5-43dd-bc93-6f60f2a4f2d1"`,
		Description: "A name that you give the call, another for each (draft-ietf-httpapi-idempotency-key-header). Repeated within a day, with the same body, it " +
			"has no other effect and gets the same answer.",
		Schema: &huma.Schema{Type: huma.TypeString, MaxLength: new(maxCallName + 2)},
	}, "client": {
		Name: web.ClientHeader, In: "header", Example: "ios/4.2.1",
		Description: "The application's name (letters, digits and hyphens, 32 at most), a slash, and its version: one to four numbers with dots between " +
			"them, and perhaps a pre-release after a hyphen, as in 4.2.0-beta.3. One that cannot be read counts as none.",
		Schema: &huma.Schema{Type: huma.TypeString, MaxLength: new(81), Pattern: "^[A-Za-z][A-Za-z0-9-]*/[0-9]+(\\.[0-9]+){0,3}(-[A-Za-z0-9.-]+)?$"},
	}}
	return huma.NewAPI(c, mux{api: h, ServeMux: m})
}

// The words by which the mux knows operation.enrols, operation.begins and operation.door.
const enrols, begins, atDoor = "enrols", "begins", "door"

// describe makes huma's form of an operation.
func (op operation) describe() *huma.Operation {
	codes := op.codes
	o := &huma.Operation{
		OperationID: op.id, Method: op.method, Path: base + op.path, Tags: []string{op.tag},
		Summary: op.summary, Description: op.about, DefaultStatus: op.status, MaxBodyBytes: 2 * web.MaxBody,
	}
	if op.signedIn {
		o.Security = []map[string][]string{{"bearer": {}}, {"dpop": {}}, {"cookie": {}}}
		codes = append([]string{"session_ended", "session_key_unproved", "dpop_nonce_needed", "dpop_proof_refused"}, codes...)
		if !op.enrols {
			codes = append(slices.Clone(codes), "enrolment_required")
		}
	}
	if op.door {
		o.Security = []map[string][]string{{"client_secret": {}}, {"client_assertion": {}}, {"client_certificate": {}}}
		codes = append([]string{"client_unproved"}, codes...)
	}
	codes = append(slices.Clone(codes), "internal", "database_unavailable", "keys_missing", "client_outdated", "api_retired")
	o.Metadata = map[string]any{enrols: op.enrols, begins: op.begins, atDoor: op.door}
	o.Parameters = []*huma.Param{{Ref: "#/components/parameters/client"}}
	if op.door && op.method == http.MethodPost {
		o.Parameters = append(o.Parameters, &huma.Param{Ref: "#/components/parameters/once"})
		codes = append(codes, "idempotency_key_malformed", "call_differs", "call_under_way")
	}
	if op.begins {
		o.Parameters = append(o.Parameters, &huma.Param{Ref: "#/components/parameters/proof"})
		codes = append(codes, "dpop_proof_refused", "session_key_unproved")
	}
	if !op.bare {
		codes = append(codes, "input_invalid", "body_malformed")
	}
	if op.method == http.MethodPost || op.method == http.MethodPatch || op.method == http.MethodPut {
		codes = append(codes, "body_too_large", "body_timeout", "content_type_unsupported")
	}
	if op.method != http.MethodGet {
		codes = append(codes, "cross_site")
	}
	o.Extensions = map[string]any{"x-error-codes": codes}
	for _, c := range web.Codes() {
		if slices.Contains(codes, c.Code) && !slices.Contains(o.Errors, c.Status) {
			o.Errors = append(o.Errors, c.Status)
		}
	}
	return o
}

// documentSession describes the one call that huma does not serve.
func documentSession(a huma.API) {
	op := operation{
		id: "check-session", method: http.MethodGet, path: "/session", tag: "Sessions", signedIn: true, bare: true,
		summary: "Check the session", about: "Cheap enough to be asked at each request of an application: it is answered from memory.",
	}.describe()
	op.Responses = map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{
		"application/json": {Schema: a.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[sessionBody](), true, "")},
	}}}
	for _, status := range op.Errors {
		op.Responses[strconv.Itoa(status)] = &huma.Response{Content: map[string]*huma.MediaType{
			"application/problem+json": {Schema: a.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "")},
		}}
	}
	a.OpenAPI().AddOperation(op)
}

// finishDescription names the codes: all in the schema of problems, each call's own with its answers.
func finishDescription(o *huma.OpenAPI) {
	status := map[string]int{}
	schema := o.Components.Schemas.Map()["Problem"].Properties["code"]
	for _, c := range web.Codes() {
		status[c.Code] = c.Status
		schema.Enum = append(schema.Enum, c.Code)
	}
	for _, item := range o.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
			if op == nil {
				continue
			}
			codes, _ := op.Extensions["x-error-codes"].([]string)
			for text, r := range op.Responses {
				var mine []string
				for _, code := range codes {
					if strconv.Itoa(status[code]) == text {
						mine = append(mine, code)
					}
				}
				if len(mine) > 0 {
					r.Description = strings.Join(mine, ", ")
				}
				if text == "426" {
					r.Headers = map[string]*huma.Param{"Upgrade": {
						Description: "The application and the first version of it that is accepted, if there is one. In HTTP/1.1 only.", Schema: &huma.Schema{Type: huma.TypeString},
					}}
				}
				if text == "429" || text == "503" {
					r.Headers = map[string]*huma.Param{"Retry-After": {
						Description: "Seconds to wait, rounded up to one of a few steps.", Schema: &huma.Schema{Type: huma.TypeInteger},
					}}
				}
			}
		}
	}
}
