package oidc

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"countersign/internal/account"
	"countersign/internal/assurance"
	"countersign/internal/audit"
	"countersign/internal/dpop"
	"countersign/internal/keyring"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
)

// Asked is an authorization request as a browser brings it.
type Asked struct {
	Query   url.Values
	Browser secret.Token
	Session session.Session // that the browser has now; the zero Session for none
	Source  netip.Addr
}

// request is what is kept of one that is in order.
type request struct {
	Client    string          `json:"client"`
	Redirect  string          `json:"redirect"`
	Scopes    []string        `json:"scopes,omitempty"`
	State     string          `json:"state,omitempty"`
	Nonce     string          `json:"nonce,omitempty"`
	Challenge string          `json:"challenge,omitempty"`
	Key       dpop.Thumbprint `json:"jkt,omitempty"`    // that what comes of it is bound to (dpop_jkt)
	Before    session.ID      `json:"before,omitempty"` // the session that the browser had when it came
	wish

	Door *firstProof `json:"door,omitempty"` // at the second door: what the application has looked at; nil at our own
	// Pair is there where somebody lets in a device by its code (RFC 8628); then nobody is sent back to a redirect URI.
	Pair struct {
		Device string `json:"device,omitempty"`
		Typed  string `json:"typed,omitempty"` // as the device shows it
	} `json:"pair,omitzero"`

	id      string
	browser secret.Token // in which it is under way
	created time.Time
}

// wish is what a request wants of a sign-in.
type wish struct {
	Prompt  []string        `json:"prompt,omitempty"`
	Since   int64           `json:"since,omitempty"`   // a sign-in before that is too old, in milliseconds
	Least   assurance.Level `json:"least,omitempty"`   // that the sign-in has to have proved
	Subject string          `json:"subject,omitempty"` // whom it is about (id_token_hint)
	Locales string          `json:"locales,omitempty"` // languages of the pages on the way, best first (ui_locales)
}

func (q request) prompts(what string) bool { return slices.Contains(q.Prompt, what) }

// Begun is a request that is kept, or an answer that is due at once.
type Begun struct {
	Request string // its id; no secret
	Answer  string // where to send the browser: set if the request was refused
}

const (
	maxParameter = 4096 // of a request line that most servers take
	digestLen    = 43   // of a SHA-256 in base64url
)

// Begin judges a request and keeps it. Of one whose client is not known ("oidc_request_invalid") or whose redirect URI is not in the client's list
// ("oidc_redirect_unregistered", both fault.Invalid) the browser is sent nowhere (RFC 9700 section 4.11.2). At our own door login_hint is looked at by
// nobody: an answer that knew it could tell whether there is such an account.
func (s *Service) Begin(ctx context.Context, a Asked) (b Begun, err error) {
	q := request{Before: a.Session.ID, id: uuid.Must(uuid.NewV7()).String(), created: s.DB.Now()}
	c, t, err := s.brought(ctx, a, q)
	if err != nil {
		return Begun{}, err
	}
	q.Client = c.ID
	if !t.pushed && t.begun == "" {
		t, err = s.unpushed(ctx, c, q, a)
	}
	no, ok := errors.AsType[*Refusal](err)
	if ok { // what is signed is not to be believed: it is said where the query wants it, if that is the client's
		t.says = a.Query
	} else if err != nil || t.begun != "" {
		return Begun{Request: t.begun}, err
	}
	q.Redirect, q.State = t.says.Get("redirect_uri"), t.says.Get("state")
	registered := len(t.says["redirect_uri"]) == 1 && c.redirects(q.Redirect)
	switch {
	case !registered && ok:
		return Begun{}, fault.New(fault.Invalid, "oidc_request_invalid", c.Refused(no, no.Why))
	case !registered:
		return Begun{}, fault.New(fault.Invalid, "oidc_redirect_unregistered", c.Refused(errors.New("nowhere to answer"), "the redirect URI is missing, or none of the client's"))
	}
	if no == nil {
		if err = s.read(ctx, &q, c, t.says); err == nil && t.pushed {
			err = q.readDoor(c, t.says)
		}
		no, ok = errors.AsType[*Refusal](err)
	}
	if ok {
		return Begun{Answer: s.refused(q, no)}, nil
	}
	if err != nil {
		return Begun{}, err
	}
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error { return putRequest(ctx, tx, q, s.Ring.Digest(browserPurpose, a.Browser)) })
	return Begun{Request: q.id}, err
}

// brought finds the client of a request, and what it says.
func (s *Service) brought(ctx context.Context, a Asked, q request) (c Client, t taken, err error) {
	within, known := false, false
	var over error
	name, isPushed := pushed(a.Query)
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		t = taken{says: a.Query}
		if within, err = s.Throttle.TakeSource(ctx, tx, beginSource, a.Source); err == nil && within {
			within, err = s.Throttle.Take(ctx, tx, beginAll, "")
		}
		if err != nil || !within {
			return err
		}
		c, known, err = s.find(ctx, tx, a.Query.Get("client_id"))
		if known = known && len(a.Query["client_id"]) == 1; err != nil || !known || !isPushed {
			return err
		}
		q.Client = c.ID
		t, err = s.take(ctx, tx, name, q, a.Browser)
		if over = nil; fault.Of(err).Kind == fault.Gone { // which is counted, so nothing is undone
			over, err = err, nil
		}
		return err
	})
	switch {
	case err != nil:
	case over != nil:
		err = over
	case !within:
		err = tooMany()
	case !known:
		err = fault.New(fault.Invalid, "oidc_request_invalid", Client{}.Refused(errors.New("no such client"), "client_id is missing, repeated, or of no application that is registered"))
	}
	return c, t, err
}

const browserPurpose = "oidc/browser"

// read fills in a request, or says in the words of OAuth what is wrong with it.
func (s *Service) read(ctx context.Context, q *request, c Client, v url.Values) error {
	for name, values := range v {
		text := utf8.ValidString(values[0]) && !strings.ContainsRune(values[0], 0)
		if len(values) > 1 || len(values[0]) > maxParameter || !text {
			if name == "state" && (len(values) > 1 || !text) { // what would be sent back?
				q.State = ""
			}
			return oauth(invalidRequest, "a parameter is repeated, too long, or no text")
		}
	}
	// What has no value counts as left out (RFC 6749 section 3.1).
	v = maps.Clone(v)
	maps.DeleteFunc(v, func(_ string, values []string) bool { return values[0] == "" })
	switch {
	case v.Has("request_uri"):
		return oauth("request_uri_not_supported", "request_uri is none of those that are given where requests are pushed")
	case !v.Has("response_type"):
		return oauth(invalidRequest, "response_type is missing")
	case v.Get("response_type") != "code":
		return oauth("unsupported_response_type", "response_type must be code")
	case v.Has("response_mode") && v.Get("response_mode") != "query":
		return oauth(invalidRequest, "response_mode must be query")
	}
	q.Nonce, q.Locales = v.Get("nonce"), v.Get("ui_locales")
	if err := q.readChallenge(c, v); err != nil {
		return err
	}
	if c.CertificateBound && v.Has("dpop_jkt") {
		return oauth(invalidRequest, "the client's tokens are bound to its certificate, and to no key")
	}
	if q.Key = dpop.Thumbprint(v.Get("dpop_jkt")); v.Has("dpop_jkt") && !digestOf(v.Get("dpop_jkt")) {
		return oauth(invalidRequest, "dpop_jkt is no thumbprint of a key")
	}
	for one := range strings.FieldsSeq(v.Get("scope")) {
		if slices.Contains(c.Scopes, one) && !slices.Contains(q.Scopes, one) { // what it may not have is left out, and the token says so
			q.Scopes = append(q.Scopes, one)
		}
	}
	if len(q.Scopes) == 0 {
		return oauth("invalid_scope", "no scope is asked for that the client may have")
	}
	if err := q.readPrompt(v); err != nil {
		return err
	}
	q.Least = leastOf(v.Get("acr_values"))
	if v.Has("id_token_hint") {
		subject, ok, err := s.hinted(ctx, c.ID, v.Get("id_token_hint"))
		if err != nil {
			return err
		}
		if !ok {
			return oauth(invalidRequest, "id_token_hint is no token of ours for this client")
		}
		q.Subject = subject
	}
	if !v.Has("claims") {
		return nil
	}
	return q.readClaims(v.Get("claims"))
}

func (q *request) readChallenge(c Client, v url.Values) error {
	q.Challenge = v.Get("code_challenge")
	if !v.Has("code_challenge") && !v.Has("code_challenge_method") {
		switch {
		case !c.WithoutPKCE:
			return oauth(invalidRequest, "code_challenge is missing: PKCE with S256 is needed")
		case q.Nonce == "":
			return oauth(invalidRequest, "a request without PKCE needs a nonce")
		}
		return nil
	}
	if v.Get("code_challenge_method") != "S256" {
		return oauth(invalidRequest, "code_challenge_method must be S256")
	}
	if !digestOf(q.Challenge) {
		return oauth(invalidRequest, "code_challenge is not what S256 makes")
	}
	return nil
}

// digestOf reports whether a text is a SHA-256 in base64url, as S256 makes them and RFC 7638.
func digestOf(text string) bool {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	return err == nil && len(text) == digestLen && len(raw) == sha256.Size
}

func (q *request) readPrompt(v url.Values) error {
	q.Prompt = strings.Fields(v.Get("prompt"))
	for _, one := range q.Prompt {
		if !slices.Contains([]string{"none", "login", "consent", "select_account"}, one) {
			return oauth(invalidRequest, "there is no such prompt")
		}
	}
	if q.prompts("none") && len(q.Prompt) > 1 {
		return oauth(invalidRequest, "prompt=none stands alone")
	}
	if q.prompts("login") {
		q.Since = q.created.UnixMilli()
	}
	if !v.Has("max_age") {
		return nil
	}
	seconds, err := strconv.Atoi(v.Get("max_age"))
	if err != nil || seconds < 0 {
		return oauth(invalidRequest, "max_age is no number of seconds")
	}
	q.Since = max(q.Since, q.created.Add(-time.Duration(min(seconds, maxAge))*time.Second).UnixMilli())
	return nil
}

// maxAge bounds what is asked, in seconds: no session lasts for so long.
const maxAge = 10 * 365 * 24 * 60 * 60

// leastOf is the least level among those that would do. They rank, so whoever takes several takes the lowest; words that are none of
// ours are wishes that nobody can meet, and are left alone (OpenID Connect Core section 3.1.2.1).
func leastOf(acrs string) (least assurance.Level) {
	for one := range strings.FieldsSeq(acrs) {
		if l := assurance.Level(one); slices.Contains(levels(), l) && (least == "" || l < least) {
			least = l
		}
	}
	return least
}

// levels are the values of acr, the lowest first.
func levels() []assurance.Level {
	return []assurance.Level{assurance.AAL1, assurance.AAL2, assurance.AAL3}
}

// Ref names a request in the browser that brought it.
type Ref struct {
	Request string
	Browser secret.Token
}

// Step is what a request lacks.
type Step string

// The steps.
const (
	StepSignIn  Step = "signin"  // somebody signed in
	StepAgain   Step = "again"   // another proof of who is signed in
	StepConsent Step = "consent" // their consent
	StepDoor    Step = "door"    // that the second door is passed: see Vouch
	StepAnswer  Step = "answer"  // nothing: the browser goes back
)

// Next is what a request wants next.
type Next struct {
	Step    Step
	Answer  string          // at StepAnswer: where to send the browser
	Least   assurance.Level // at StepSignIn and StepAgain: what the sign-in has to prove; empty for the usual
	Name    string          // of the client, at StepConsent
	Host    string          // where it is answered, at StepConsent
	Scopes  []string        // that it asks for, at StepConsent
	Code    string          // that a device shows, where one is let in; empty otherwise
	Locales string          // what the client says in ui_locales, whatever it is; empty at StepAnswer
}

// At says what a request wants next, for whoever is signed in. If that is nothing, it ends the request, and gives what was asked for.
func (s *Service) At(ctx context.Context, ref Ref, me session.Session, from netip.Addr) (n Next, err error) {
	var q request
	var c Client
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) error {
		if q, c, err = s.pending(ctx, tx, ref); err != nil {
			return err
		}
		n, err = s.judge(ctx, tx, q, c, me)
		return err
	})
	if err != nil || n.Step != StepAnswer {
		return n, err
	}
	n.Code = q.Pair.Typed
	if n.Answer == "" && q.Door != nil {
		n.Answer, err = s.giveDoor(ctx, q, from)
		return n, err
	}
	if n.Answer == "" {
		n.Answer, err = s.give(ctx, q, me, giving{from: from})
		return n, err
	}
	return n, s.drop(ctx, q)
}

// pending loads a request that is under way in a browser.
func (s *Service) pending(ctx context.Context, tx *sqldb.Tx, ref Ref) (request, Client, error) {
	q, ok, err := requestOf(ctx, tx, ref.Request, s.Ring.Digests(browserPurpose, ref.Browser))
	if err != nil || !ok {
		return request{}, Client{}, errors.Join(err, absent(ok))
	}
	q.browser = ref.Browser
	c, ok, err := s.find(ctx, tx, q.Client)
	ok = ok && (q.Pair.Device != "" && c.Device || c.redirects(q.Redirect)) && (q.Door == nil || len(c.SecondDoor) > 0) // which an operator may have taken away since
	return q, c, errors.Join(err, absent(ok))
}

func absent(there bool) error {
	if there {
		return nil
	}
	return fault.New(fault.Gone, "oidc_request_ended", errors.New("no such request in this browser, or it is over"))
}

// judge says what a request lacks. A request with prompt=none that lacks anything is answered with what it is.
func (s *Service) judge(ctx context.Context, tx *sqldb.Tx, q request, c Client, me session.Session) (Next, error) {
	lacks := func(step Step, code, why string) (Next, error) {
		if q.prompts("none") {
			return Next{Step: StepAnswer, Answer: s.refused(q, &Refusal{code, why})}, nil
		}
		return Next{Step: step, Least: q.Least, Name: c.Name, Host: hostOf(q.Redirect), Scopes: q.Scopes, Code: q.Pair.Typed, Locales: q.Locales}, nil
	}
	if q.Door != nil {
		return s.judgeDoor(ctx, tx, q, c)
	}
	anew := me.ID != q.Before // somebody has signed in for this request
	switch {
	case me.ID == "" || me.Enrol:
		return lacks(StepSignIn, "login_required", "nobody is signed in")
	case q.Subject != "" && q.Subject != s.subject(c, me.Account):
		return Next{Step: StepAnswer, Answer: s.refused(q, &Refusal{"login_required", "somebody else is signed in"})}, nil
	case me.AuthenticatedAt.UnixMilli() < q.Since, q.prompts("login") && !anew:
		return lacks(StepAgain, "login_required", "the sign-in is too old")
	case me.Assurance().Level < q.Least && anew:
		return Next{Step: StepAnswer, Answer: s.refused(q, &Refusal{unmet, "the account has no proof of that strength"})}, nil
	case me.Assurance().Level < q.Least:
		return lacks(StepAgain, "login_required", "the sign-in proved less")
	}
	if q.prompts("consent") || q.prompts("select_account") || q.Pair.Device != "" || !c.assured(q.Redirect) { // whoever has sent somebody a code is not to find them not even asked
		return lacks(StepConsent, "consent_required", "")
	}
	if c.FirstParty {
		return Next{Step: StepAnswer}, nil
	}
	agreed, err := consented(ctx, tx, me.Account, c.ID)
	if err != nil {
		return Next{}, err
	}
	if slices.ContainsFunc(q.Scopes, func(one string) bool { return !slices.Contains(agreed, one) }) {
		return lacks(StepConsent, "consent_required", "the holder was not asked for this yet")
	}
	return Next{Step: StepAnswer}, nil
}

// Decision is what whoever is signed in has said about a request.
type Decision struct {
	Session session.Session
	Agreed  bool
	Source  netip.Addr
}

// Decide answers a request that stands at StepConsent; one that stands at StepAgain may be declined as well. Where it wants something else by now,
// Next says what.
func (s *Service) Decide(ctx context.Context, ref Ref, d Decision) (n Next, err error) {
	var q request
	me := d.Session
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) error {
		var c Client
		if q, c, err = s.pending(ctx, tx, ref); err != nil {
			return err
		}
		n, err = s.judge(ctx, tx, q, c, me)
		return err
	})
	decides := n.Step == StepConsent || n.Step == StepAnswer || n.Step == StepAgain && !d.Agreed
	if err != nil || q.Door != nil || !decides || n.Answer != "" { // at the second door there is nothing to decide
		return n, err
	}
	n = Next{Step: StepAnswer, Code: q.Pair.Typed}
	if !d.Agreed {
		n.Answer = s.refused(q, &Refusal{"access_denied", "the holder did not agree"})
		return n, s.drop(ctx, q)
	}
	n.Answer, err = s.give(ctx, q, me, giving{from: d.Source, agreed: true})
	return n, err
}

// Least says what the sign-in has to prove that a request waits for; empty for the usual.
func (s *Service) Least(ctx context.Context, ref Ref) (least assurance.Level, err error) {
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) error {
		q, _, err := s.pending(ctx, tx, ref)
		least = q.Least
		return err
	})
	return least, err
}

// giving is how something is given.
type giving struct {
	from   netip.Addr
	agreed bool // the holder has just said so, which is remembered
}

// give ends a request with a code, whose grant it writes. The session that it is given in must be there still.
func (s *Service) give(ctx context.Context, q request, me session.Session, how giving) (answer string, err error) {
	code := secret.NewToken(codePrefix)
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if ok, err := s.Sessions.Holds(ctx, tx, me.Account, me.ID); err != nil || !ok {
			return errors.Join(err, absent(ok))
		}
		if first, err := finishRequest(ctx, tx, q.id); err != nil || !first {
			return errors.Join(err, absent(first))
		}
		if how.agreed && q.Pair.Device == "" { // what somebody agreed to for the device in front of them is for that alone
			if err := putConsent(ctx, tx, me.Account, q.Client, q.Scopes); err != nil {
				return err
			}
		}
		g := grant{
			id: uuid.Must(uuid.NewV7()).String(), client: q.Client, account: me.Account, session: me.Origin, scopes: q.Scopes,
			challenge: q.Challenge, nonce: q.Nonce, key: confirmation(q.Key), redirect: q.Redirect, methods: me.Methods, authenticated: me.AuthenticatedAt,
			expires: me.ExpiresAt,
		}
		if slices.Contains(q.Scopes, scopeOffline) {
			g.expires = tx.Now().Add(grantFor)
		}
		if err := putGrant(ctx, tx, g, s.Ring.Digest(codePurpose, code)); err != nil {
			return err
		}
		if q.Pair.Device != "" {
			if first, err := moveDevice(ctx, tx, waitingDevice{id: q.Pair.Device, state: deviceWaiting, grant: g.id}, deviceAllowed); err != nil || !first {
				return errors.Join(err, absent(first))
			}
		}
		return s.Audit.Append(ctx, tx, audit.Event{
			Kind: audit.ApplicationAllowed, Account: string(me.Account), Source: how.from,
			Detail: map[string]string{"client": q.Client, "scopes": strings.Join(q.Scopes, " "), "session": string(me.ID)},
		})
	})
	if err != nil {
		return "", err
	}
	return s.answer(q, "code", code.Reveal()), nil
}

func (s *Service) drop(ctx context.Context, q request) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if q.Pair.Device != "" {
			if _, err := moveDevice(ctx, tx, waitingDevice{id: q.Pair.Device, state: deviceWaiting}, deviceRefused); err != nil {
				return err
			}
		}
		_, err := finishRequest(ctx, tx, q.id)
		return err
	})
}

// refused is where a browser goes whose request came to nothing.
func (s *Service) refused(q request, no *Refusal) string {
	pairs := []string{"error", no.Word}
	if no.Why != "" {
		pairs = append(pairs, "error_description", no.Why)
	}
	return s.answer(q, pairs...)
}

// Seal hides where a browser is sent from whoever could change it on the way.
func (s *Service) Seal(answer string) string {
	plain := strconv.FormatInt(s.DB.Now().UnixMilli(), 10) + " " + answer
	return base64.RawURLEncoding.EncodeToString(s.Ring.Seal([]byte(plain), answerPlace()))
}

// Unseal reads what Seal made a moment ago, and nothing else: fault.NotFound for what it did not make, "oidc_request_ended" for what is old.
func (s *Service) Unseal(sealed string) (answer string, err error) {
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil {
		return "", fault.New(fault.NotFound, "not_found", err)
	}
	plain, err := s.Ring.Open(raw, answerPlace())
	if err != nil {
		return "", fault.New(fault.NotFound, "not_found", err)
	}
	made, answer, _ := strings.Cut(string(plain), " ")
	ms, err := strconv.ParseInt(made, 10, 64)
	return answer, errors.Join(err, absent(s.DB.Now().Before(time.UnixMilli(ms).Add(onwardFor))))
}

func answerPlace() keyring.Place { return keyring.Place{Table: "oidc_request", Column: "answer"} }

// answer is the redirect URI, which was looked up before, with an answer in it. iss says whose it is (RFC 9207).
func (s *Service) answer(q request, pairs ...string) string {
	if q.Pair.Device != "" { // the device asks by itself
		if pairs[0] == "code" {
			return s.at(DevicePath) + "?done=allowed"
		}
		return s.at(DevicePath) + "?done=refused"
	}
	v := url.Values{"iss": {s.Issuer}}
	if q.State != "" {
		v.Set("state", q.State)
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	joint := "?"
	if strings.Contains(q.Redirect, "?") {
		joint = "&"
	}
	return q.Redirect + joint + v.Encode()
}

// hostOf is what of a redirect URI a person can judge.
func hostOf(redirect string) string {
	u, err := url.Parse(redirect)
	switch {
	case err != nil:
		return ""
	case u.Host == "":
		return u.Scheme
	}
	return u.Host
}

// subject is what a client knows an account by: the same for all clients of a sector, and nothing to whoever has another's.
func (s *Service) subject(c Client, who account.ID) string {
	if c.Public {
		return string(who)
	}
	return base64.RawURLEncoding.EncodeToString(s.Ring.Stable("oidc/subject", c.Sector+"\x00"+string(who)))
}
