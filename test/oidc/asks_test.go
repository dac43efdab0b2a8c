package oidc_test

import (
	"net/http"
	"strings"
)

// ask is one request, put to both providers.
type ask struct {
	name   string
	to     string // an endpoint
	method string // without: GET at authorize, userinfo and what is published, and POST elsewhere
	// edits are changes of a request that is in order: "name=value" sets, "name+=value" repeats, "-name" leaves out.
	edits []string
	// auth is the Authorization header: without, what the endpoint wants; "-" is none. b64(…) is encoded. What stands in braces
	// everywhere is what a provider has handed out: see held.
	auth string
	kind string // Content-Type; without, a form
	// where has the parameters in the query of a POST.
	inQuery  bool
	stranger bool // nobody is signed in
}

// asks are the requests: what RFC 6749, 6750, 7009, 7636, 7662, 8414, 9207 and OpenID Connect Core say, and what they forbid.
func asks() (all []ask) {
	all = append(all, authorizeAsks()...)
	all = append(all, tokenAsks()...)
	all = append(all, tokenAuthAsks()...)
	all = append(all, introspectAsks()...)
	all = append(all, revokeAsks()...)
	all = append(all, userInfoAsks()...)
	return append(all, publicAsks()...)
}

// table makes requests of lines "name: edit & edit".
func table(to, lines string) (all []ask) {
	for line := range strings.Lines(lines) {
		name, edits, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok {
			continue
		}
		a := ask{name: to + ": " + name, to: to}
		if edits != "nothing" {
			a.edits = strings.Split(edits, " & ")
		}
		all = append(all, a)
	}
	return all
}

// each mutates every parameter alike.
func each(to string, names ...string) (all []ask) {
	for _, one := range names {
		all = append(
			all,
			ask{name: to + ": without " + one, to: to, edits: []string{"-" + one}},
			ask{name: to + ": with an empty " + one, to: to, edits: []string{one + "="}},
			ask{name: to + ": with " + one + " twice", to: to, edits: []string{one + "+=again"}},
		)
	}
	return all
}

func authorizeAsks() []ask {
	const at = "authorize"
	all := []ask{
		{name: at + ": in order", to: at},
		{name: at + ": in order, nobody is signed in", to: at, stranger: true},
		{name: at + ": prompt=none, nobody is signed in", to: at, stranger: true, edits: []string{"prompt=none"}},
		{name: at + ": posted", to: at, method: http.MethodPost},
		{name: at + ": posted as JSON", to: at, method: http.MethodPost, kind: "application/json"},
		{name: at + ": posted, in the query", to: at, method: http.MethodPost, inQuery: true},
		{name: at + ": put", to: at, method: http.MethodPut},
		{name: at + ": deleted", to: at, method: http.MethodDelete},
		{name: at + ": HEAD", to: at, method: http.MethodHead},
	}
	all = append(all, each(at, "client_id", "redirect_uri", "response_type", "scope", "state", "nonce", "code_challenge", "code_challenge_method")...)
	return append(all, table(at, `
		a client that there is not: client_id=nobody
		a client with a blank after it: client_id=shop%20
		another redirect URI: redirect_uri=https://evil.example/callback
		a redirect URI with a query more: redirect_uri=https://shop.example.com/callback?x=1
		a redirect URI with a fragment: redirect_uri=https://shop.example.com/callback#x
		a redirect URI with a slash more: redirect_uri=https://shop.example.com/callback/
		a redirect URI in capitals: redirect_uri=https://SHOP.example.com/callback
		a redirect URI without TLS: redirect_uri=http://shop.example.com/callback
		a redirect URI with a port: redirect_uri=https://shop.example.com:443/callback
		a redirect URI with dots: redirect_uri=https://shop.example.com/x/../callback
		a redirect URI with a user: redirect_uri=https://shop.example.com@evil.example/callback
		a loopback redirect URI with another port: client_id=app & redirect_uri=http://127.0.0.1:5151/done
		a loopback redirect URI by name: client_id=app & redirect_uri=http://localhost:5151/done
		response_type=token: response_type=token
		response_type=id_token: response_type=id_token
		response_type=code id_token: response_type=code id_token
		response_type=none: response_type=none
		response_type=CODE: response_type=CODE
		response_type=code code: response_type=code code
		response_mode=query: response_mode=query
		response_mode=fragment: response_mode=fragment
		response_mode=form_post: response_mode=form_post
		response_mode=pigeon: response_mode=pigeon
		scope=openid: scope=openid
		a scope that there is not: scope=openid pigeon
		no scope that there is: scope=pigeon
		without openid: scope=offline_access
		a scope twice: scope=openid openid
		a scope in capitals: scope=OPENID
		offline_access and prompt=consent: scope=openid offline_access & prompt=consent
		a state of 5000: state={5000}
		a nonce of 5000: nonce={5000}
		a state with a line break: state=a%0Ab
		a state in another script: state=%E2%82%AC
		a challenge that is short: code_challenge=abc
		a challenge that is padded: code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-c=
		a challenge of 44: code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cMM
		a challenge that is none: code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw.~M
		code_challenge_method=plain: code_challenge_method=plain
		code_challenge_method=s256: code_challenge_method=s256
		code_challenge_method=S512: code_challenge_method=S512
		no PKCE: -code_challenge & -code_challenge_method
		prompt=none: prompt=none
		prompt=login: prompt=login
		prompt=consent: prompt=consent
		prompt=select_account: prompt=select_account
		prompt=create: prompt=create
		prompt=none login: prompt=none login
		prompt=login consent: prompt=login consent
		prompt=pigeon: prompt=pigeon
		an empty prompt: prompt=
		max_age=1000: max_age=1000
		max_age=0: max_age=0
		max_age=-1: max_age=-1
		max_age=1e3: max_age=1e3
		max_age=ten: max_age=ten
		max_age=0 and prompt=none: max_age=0 & prompt=none
		an acr that is met: acr_values=aal1
		an acr that there is not: acr_values=gold
		login_hint: login_hint=ada@example.org
		display: display=popup
		a display that there is not: display=pigeon
		ui_locales: ui_locales=de fr
		an id_token_hint that is none: id_token_hint=e30.e30.e30
		claims that are none: claims={}
		a request_uri: request_uri=https://shop.example.com/request.jwt
		a registration: registration={}
		a resource: resource=https://api.example.com
		authorization_details: authorization_details=[{"type":"pigeon"}]
		a parameter that nobody knows: pigeon=1
		a parameter that nobody knows, twice: pigeon=1 & pigeon+=2
		a client's secret in it: client_secret=pigeon
	`)...)
}

func tokenAsks() []ask {
	const at = "token"
	const code = " & -code & -code_verifier & -redirect_uri"
	all := []ask{
		{name: at + ": in order", to: at},
		{name: at + ": by GET", to: at, method: http.MethodGet},
		{name: at + ": by PUT", to: at, method: http.MethodPut},
		{name: at + ": by HEAD", to: at, method: http.MethodHead},
		{name: at + ": in the query", to: at, inQuery: true},
		{name: at + ": as JSON", to: at, kind: "application/json"},
		{name: at + ": as text", to: at, kind: "text/plain"},
		{name: at + ": with a charset", to: at, kind: "application/x-www-form-urlencoded; charset=utf-8"},
		{name: at + ": of a multipart form", to: at, kind: "multipart/form-data; boundary=x"},
	}
	all = append(all, each(at, "grant_type", "code", "redirect_uri", "code_verifier")...)
	return append(all, table(at, `
		offline_access: code={offline code}
		an unknown grant_type: grant_type=pigeon
		grant_type in capitals: grant_type=AUTHORIZATION_CODE
		grant_type=password: grant_type=password & username=ada & password=secret`+code+`
		grant_type=implicit: grant_type=implicit
		a code that there is not: code=pigeon
		a code that was used: code={used code}
		another client's code: code={other code}
		an access token for a code: code={access}
		another redirect URI: redirect_uri=https://evil.example/callback
		another verifier: code_verifier=another-verifier-of-43-characters-0123456789
		a verifier that is short: code_verifier=short
		a verifier of 129: code_verifier={129}
		a verifier with a forbidden character: code_verifier=a+verifier/of=forty-three!characters-0123456789
		a scope: scope=openid
		a resource: resource=https://api.example.com
		a parameter that nobody knows: pigeon=1
		a parameter that nobody knows, twice: pigeon=1 & pigeon+=2
		refresh: grant_type=refresh_token & refresh_token={refresh}`+code+`
		refresh, once more: grant_type=refresh_token & refresh_token={used refresh}`+code+`
		refresh, the next after one came again: grant_type=refresh_token & refresh_token={next refresh after one came again}`+code+`
		refresh for less: grant_type=refresh_token & refresh_token={refresh} & scope=openid`+code+`
		refresh for the same: grant_type=refresh_token & refresh_token={refresh} & scope=offline_access openid`+code+`
		refresh for more: grant_type=refresh_token & refresh_token={refresh} & scope=openid email`+code+`
		refresh for what there is not: grant_type=refresh_token & refresh_token={refresh} & scope=pigeon`+code+`
		refresh with an empty scope: grant_type=refresh_token & refresh_token={refresh} & scope=`+code+`
		refresh without a token: grant_type=refresh_token`+code+`
		refresh with an empty token: grant_type=refresh_token & refresh_token=`+code+`
		refresh with two tokens: grant_type=refresh_token & refresh_token={refresh} & refresh_token+=again`+code+`
		refresh with a token that there is not: grant_type=refresh_token & refresh_token=pigeon`+code+`
		refresh with another client's: grant_type=refresh_token & refresh_token={other refresh}`+code+`
		refresh with one that was revoked: grant_type=refresh_token & refresh_token={revoked refresh}`+code+`
		refresh with an access token: grant_type=refresh_token & refresh_token={access}`+code+`
		refresh of a code that came again: grant_type=refresh_token & refresh_token={refresh of a code that came again}`+code+`
	`)...)
}

func tokenAuthAsks() []ask {
	const at = "token"
	with := func(name, auth string, edits ...string) ask {
		return ask{name: at + ": " + name, to: at, auth: auth, edits: edits}
	}
	return []ask{
		with("no client", "-"),
		with("the client named and not proved", "-", "client_id=shop"),
		with("a wrong secret", "Basic b64(shop:wrong)"),
		with("an empty secret", "Basic b64(shop:)"),
		with("a client that there is not", "Basic b64(nobody:wrong)"),
		with("a header in small letters", "basic b64(shop:{secret of shop})"),
		with("a header that is not base64", "Basic ***"),
		with("a header without a colon", "Basic b64(shop)"),
		with("a header that is empty", "Basic "),
		with("an id that is encoded", "Basic b64(%73hop:{secret of shop})"),
		with("an id that is encoded badly", "Basic b64(%zz:{secret of shop})"),
		with("a bearer token for a client", "Bearer {access}"),
		with("a scheme that there is not", "Pigeon shop"),
		with("the header, and the id in the form", "", "client_id=shop"),
		with("the header, and another's id in the form", "", "client_id=other"),
		with("the header, and the secret in the form", "", "client_id=shop", "client_secret={secret of shop}"),
		with("the secret in the form, of a client of the header", "-", "client_id=shop", "client_secret={secret of shop}"),
		with("the header, of a client of the form", "Basic b64(post:{secret of post})", "code={post code}"),
		with("a client of the form", "-", "client_id=post", "client_secret={secret of post}", "code={post code}"),
		with("a client of the form, without its secret", "-", "client_id=post", "code={post code}"),
		with("a client of the form, with the secret twice", "-", "client_id=post", "client_secret={secret of post}", "client_secret+=again", "code={post code}"),
		with("a public client", "-", "client_id=app", "code={app code}"),
		with("a public client with a secret", "-", "client_id=app", "client_secret=secret", "code={app code}"),
		with("a public client in the header", "Basic b64(app:)", "code={app code}"),
		with("a public client with another's code", "-", "client_id=app"),
		with("a public client without a verifier", "-", "client_id=app", "code={app code}", "-code_verifier"),
		with("an assertion that is none", "-", "client_id=shop", "client_assertion=pigeon", "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
		with("an assertion of another type", "-", "client_id=shop", "client_assertion=e30.e30.e30", "client_assertion_type=pigeon"),
		with("an assertion without a type", "-", "client_id=shop", "client_assertion=e30.e30.e30"),
		with("the header, and an assertion", "", "client_assertion=e30.e30.e30", "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
	}
}

func introspectAsks() []ask {
	const at = "introspection"
	return append(table(at, `
		an access token: token={access}
		a refresh token: token={refresh}
		with the right hint: token={refresh} & token_type_hint=refresh_token
		with the wrong hint: token={access} & token_type_hint=refresh_token
		with a hint that there is not: token={access} & token_type_hint=pigeon
		a token that there is not: token=pigeon
		a token that was revoked: token={revoked access}
		a refresh token that was used: token={used refresh}
		of a code that came again: token={access of a code that came again}
		of a refresh token that was revoked: token={access of a refresh token that was revoked}
		a code: token={code}
		another client's token: token={other access}
		without a token: -token
		an empty token: token=
		two tokens: token={access} & token+=again
	`), []ask{
		{name: at + ": no client", to: at, auth: "-"},
		{name: at + ": a public client", to: at, auth: "-", edits: []string{"client_id=app"}},
		{name: at + ": a wrong secret", to: at, auth: "Basic b64(shop:wrong)"},
		{name: at + ": by GET", to: at, method: http.MethodGet},
		{name: at + ": as JSON", to: at, kind: "application/json"},
		{name: at + ": in the query", to: at, inQuery: true},
	}...)
}

func revokeAsks() []ask {
	const at = "revocation"
	return append(table(at, `
		an access token: token={fresh access}
		a refresh token: token={refresh}
		with the wrong hint: token={refresh} & token_type_hint=access_token
		with a hint that there is not: token={refresh} & token_type_hint=pigeon
		a token that there is not: token=pigeon
		a token that was revoked: token={revoked access}
		a code: token={code}
		another client's token: token={other access}
		without a token: -token
		an empty token: token=
		two tokens: token=pigeon & token+=again
	`), []ask{
		{name: at + ": no client", to: at, auth: "-"},
		{name: at + ": a public client", to: at, auth: "-", edits: []string{"client_id=app", "token={app access}"}},
		{name: at + ": a public client, another's token", to: at, auth: "-", edits: []string{"client_id=app", "token={other access}"}},
		{name: at + ": a wrong secret", to: at, auth: "Basic b64(shop:wrong)"},
		{name: at + ": by GET", to: at, method: http.MethodGet},
		{name: at + ": as JSON", to: at, kind: "application/json"},
	}...)
}

func userInfoAsks() []ask {
	const at = "userinfo"
	with := func(name, method, auth string, edits ...string) ask {
		return ask{name: at + ": " + name, to: at, method: method, auth: auth, edits: edits}
	}
	return []ask{
		with("by GET", http.MethodGet, ""),
		with("by POST", http.MethodPost, ""),
		with("by POST, in the form", http.MethodPost, "-", "access_token={access}"),
		with("by POST, in both", http.MethodPost, "", "access_token={access}"),
		with("by PUT", http.MethodPut, ""),
		with("by HEAD", http.MethodHead, ""),
		with("in the query", http.MethodGet, "-", "access_token={access}"),
		with("in the header, and the query", http.MethodGet, "", "access_token={access}"),
		with("without a token", http.MethodGet, "-"),
		with("a token that there is not", http.MethodGet, "Bearer pigeon"),
		with("an empty token", http.MethodGet, "Bearer "),
		with("in small letters", http.MethodGet, "bearer {access}"),
		with("two blanks", http.MethodGet, "Bearer  {access}"),
		with("two tokens in the header", http.MethodGet, "Bearer {access} {access}"),
		with("by Basic", http.MethodGet, "Basic b64(shop:{secret of shop})"),
		with("a refresh token", http.MethodGet, "Bearer {refresh}"),
		with("a token that was revoked", http.MethodGet, "Bearer {revoked access}"),
		with("of a code that came again", http.MethodGet, "Bearer {access of a code that came again}"),
		{name: at + ": by POST, as JSON", to: at, method: http.MethodPost, auth: "-", kind: "application/json", edits: []string{"access_token={access}"}},
	}
}

func publicAsks() []ask {
	return []ask{
		{name: "metadata", to: "metadata"},
		{name: "metadata: by HEAD", to: "metadata", method: http.MethodHead},
		{name: "metadata: by POST", to: "metadata", method: http.MethodPost},
		{name: "metadata: with a query", to: "metadata", edits: []string{"pigeon=1"}},
		{name: "metadata of RFC 8414", to: "rfc8414"},
		{name: "keys", to: "keys"},
		{name: "keys: by POST", to: "keys", method: http.MethodPost},
		{name: "keys: with a query", to: "keys", edits: []string{"pigeon=1"}},
	}
}
