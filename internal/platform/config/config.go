// Package config is the one struct of settings, and how it is filled: defaults, file, environment, flags.
//
// Later sources win. A key nobody knows is an error wherever it stands: in a security server a
// setting that was mistyped is a setting that is not in force.
package config

import (
	"net/netip"
	"net/url"
	"runtime"
	"strings"
	"time"

	"countersign/internal/platform/clientip"
	"countersign/internal/platform/secret"
)

// Config is everything an operator can set. The doc tags are the comments of every field; `config
// print` and docs/config.md are made from them, and the defaults from Default.
type Config struct {
	Site     Site     `toml:"site" doc:"Who we are, as people see it."`
	HTTP     HTTP     `toml:"http" doc:"Where we listen, and whom we believe."`
	Database Database `toml:"database" doc:"Where everything is kept."`
	Keys     Keys     `toml:"keys" doc:"The root keys that seal contact data and key every digest. They never live in the database."`
	Password Password `toml:"password" doc:"What a password must be, and what hashing it costs."`
	SignIn   SignIn   `toml:"signin" doc:"The sign-in flow."`
	Recovery recovery `toml:"recovery" doc:"Getting back into an account."`

	Registration registration `toml:"registration" doc:"How people open accounts. Without it only operators make them: countersign account create."`

	Account  accounts `toml:"account" doc:"What holders may do with their accounts as a whole."`
	Factor   factor   `toml:"factor" doc:"The second proof: when it is asked for, and what will do."`
	Passkey  Passkey  `toml:"passkey" doc:"Passkeys (WebAuthn). They are for the host of site.public_url."`
	Device   Device   `toml:"device" doc:"Remembered devices."`
	App      app      `toml:"app" doc:"Your own apps, whose phones vouch for the keys that they are recognised by. docs/apps.md says how an app asks for it."`
	Session  Session  `toml:"session" doc:"Signed-in browsers and apps."`
	Throttle Throttle `toml:"throttle" doc:"Limits. Their numbers are in docs/operating.md."`
	Email    Email    `toml:"email" doc:"How letters leave by e-mail."`
	SMS      SMS      `toml:"sms" doc:"How letters leave by SMS."`
	Bounces  bounces  `toml:"bounces" doc:"Letters that came back: read from a mailbox, where the provider is smtp, or told by a program of yours."`
	SIMSwap  simSwap  `toml:"sim_swap" doc:"Whether a number moved to another SIM card lately, as its operator says (CAMARA). Codes do not go there then."`
	Guard    guard    `toml:"guard" doc:"What keeps text messages from being pumped, at your cost. docs/operating.md has its limits."`
	Phone    Phone    `toml:"phone" doc:"How people write phone numbers."`
	API      api      `toml:"api" doc:"The JSON API. Which versions of which applications may call it is set with countersign client and countersign api."`
	Forward  forward  `toml:"forward_auth" doc:"Sites behind a proxy (nginx, Caddy, Traefik, HAProxy, Envoy) that asks us of each request."`
	OIDC     oidc     `toml:"oidc" doc:"Applications that sign people in through us, by OpenID Connect: docs/openid.md. Others than those of the file are registered with countersign oidc add."`
	Place    place    `toml:"place" doc:"Roughly where a sign-in comes from. Nothing is asked of anybody outside."`
	Log      Log      `toml:"log" doc:"What we write to standard error. It names no person, address or token."`
	Metrics  Metrics  `toml:"metrics" doc:"Numbers and health for whoever watches. Never on the public listener."`
}

// Site is who we are.
type Site struct {
	Name         string   `toml:"name" doc:"The name in pages and letters."`
	PublicURL    string   `toml:"public_url" doc:"The address people use: https, or http on localhost. Links, cookies and the Host check come from it alone, never from a request."`
	ContextWords []string `toml:"context_words" doc:"Words about you that no password may consist of (company, product). The name and the host count already."`
}

// HTTP is where we listen.
type HTTP struct {
	Listen          string   `toml:"listen" doc:"Address and port of the public listener. Loopback by default: a proxy or a certificate should stand before the world."`
	TLSCertFile     string   `toml:"tls_cert_file" doc:"Certificate chain in PEM. Empty means plain HTTP, for a proxy that ends TLS."`
	TLSKeyFile      string   `toml:"tls_key_file" doc:"Private key of the certificate in PEM."`
	TrustedProxies  []string `toml:"trusted_proxies" doc:"Networks (CIDR) of the proxies before us. Only they are believed about the client's address; empty believes nobody."`
	ForwardedHeader string   `toml:"forwarded_header" doc:"The one header those proxies write: x-forwarded-for, or forwarded (RFC 7239). The other is ignored, since a proxy passes it through as the client sent it."`
	InternalHosts   []string `toml:"internal_hosts" doc:"Further Host values under which applications inside may call /api/, such as \"countersign:8080\"."`
	StopAfter       Duration `toml:"stop_after" doc:"How long requests under way may take to finish when the server stops."`
}

// Database is where everything is kept.
type Database struct {
	URL            Secret   `toml:"url" doc:"sqlite:PATH or postgres://USER:PASSWORD@HOST/NAME. Printed as a secret because it may hold one."`
	MaxConns       int      `toml:"max_conns" doc:"Most connections (PostgreSQL) or readers (SQLite)."`
	MigrateAtStart bool     `toml:"migrate_at_start" doc:"Bring the schema up to date when the server starts. With false the server refuses to start on an old schema, and countersign migrate does it."`
	MaxStaleness   Duration `toml:"max_staleness" doc:"How long a node trusts its memory of sessions while the database is away. Longer keeps people signed in; shorter makes an ended session end sooner."`
}

// Keys names the root keys.
type Keys struct {
	File  string `toml:"file" doc:"The key file (mode 0600). Made on the first start with an empty database, and never again. Keep a copy apart from the database's backups."`
	Value Secret `toml:"value" env:"COUNTERSIGN_KEYS" doc:"The keys themselves, as they would stand in the file, for platforms that keep secrets in the environment. Wins over file."`
}

// Password is what a password must be and cost.
type Password struct {
	MinLength int      `toml:"min_length" doc:"Fewest characters. 15 because a recognised device signs in with the password alone (NIST SP 800-63B-4, 3.1.1.2); 8 is the floor."`
	MemoryKiB int      `toml:"memory_kib" doc:"argon2id memory of one hash. Memory in use is at most this times parallel. The default and the floor follow OWASP."`
	Time      int      `toml:"time" doc:"argon2id passes. countersign doctor measures and suggests."`
	Threads   int      `toml:"threads" doc:"argon2id lanes. 1, so that one sign-in uses one core."`
	Parallel  int      `toml:"parallel" doc:"Hashes at once; the rest waits in a bounded queue. 0 means one for each core."`
	MaxWait   Duration `toml:"max_wait" doc:"Longest wait for a turn. After it the answer is 503 and Retry-After, so that a flood costs no memory."`
}

// SignIn is the sign-in flow.
type SignIn struct {
	FlowTTL            Duration `toml:"flow_ttl" doc:"How long a begun sign-in may take."`
	CodeDigits         int      `toml:"code_digits" doc:"Digits of a one-time code."`
	CodeTTL            Duration `toml:"code_ttl" doc:"How long a code can be used. At most 10m (NIST SP 800-63B-4, 3.1.3.2)."`
	HidePasswordResult bool     `toml:"hide_password_result" doc:"Ask everybody for a code before saying whether the password was right. Tells a guesser less, and sends more codes."`
}

// recovery is getting back into an account.
type recovery struct {
	Wait Duration `toml:"wait" doc:"How long somebody waits who can prove one thing only, while the account's addresses can stop it; three times as long if the account has a verified address that was not proved. 1h to 168h; 0s lets nobody in with one proof."`
}

// accounts is about accounts as a whole.
type accounts struct {
	EraseAfter Duration `toml:"erase_after" doc:"How long an account is kept that its holder wants erased, for anybody to find out who did not want that. 72h to 720h: what happened can be taken back for so long."`
}

// factor is about the second proof.
type factor struct {
	Policy        string   `toml:"policy" doc:"unrecognised_device asks on devices that are not recognised, always at every sign-in, phishing_resistant at every sign-in and for a passkey: until an account has one, any other way opens a session in which one can be enrolled, and nothing else."`
	Groups        []string `toml:"groups" doc:"Stricter policies of groups, such as admins=phishing_resistant. Who is in a group: countersign group. An account's own: countersign factor policy. The strictest counts."`
	Enrol         string   `toml:"enrol" doc:"Whether people are asked, when they have signed in, to enrol a passkey or an app: never; suggest, at enrol_skips sign-ins; require, and from then on the session is good for nothing else before they have."`
	EnrolSkips    int      `toml:"enrol_skips" doc:"At how many sign-ins people may go on without, 0 to 100."`
	EnrolDeadline string   `toml:"enrol_deadline" doc:"With require: the day, such as 2027-01-31 (UTC), from which on nobody may go on without, however often they were asked. Empty: there is none."`
}

// OfGroups are the policies of groups, by group.
func (f factor) OfGroups() map[string]string {
	out := map[string]string{}
	for _, one := range f.Groups {
		group, policy, _ := strings.Cut(one, "=") // Validate has refused what is none
		out[group] = policy
	}
	return out
}

// Deadline is when enrolling may not be put off any more; zero if there is none.
func (f factor) Deadline() time.Time {
	day, _ := time.Parse(time.DateOnly, f.EnrolDeadline) // Validate has refused what is none
	return day
}

// Passkey is about passkeys.
type Passkey struct {
	Origins []string `toml:"origins" doc:"Who else may ask for them: other sites of yours, such as https://shop.example (browsers find them at /.well-known/webauthn, and take a few), and apps, such as android:apk-key-hash:HASH."`

	Attestation    string   `toml:"attestation" doc:"What the authenticator of a new passkey must show: none; known (its maker vouches for it, and its model is in metadata_file) or certified (and the FIDO Alliance has certified the model). The last two turn away most passkeys that are copied between devices, and browsers ask people whether the model may be told. docs/operating.md has the consequences."`
	MetadataFile   string   `toml:"metadata_file" doc:"The file of the FIDO Metadata Service, fetched from https://mds.fidoalliance.org. Verified at start, and read again when it changes. With attestation none it only names models."`
	MetadataRoot   string   `toml:"metadata_root" doc:"Certificate (PEM) that the file's signature must lead to. Empty is the service's own (GlobalSign Root R46)."`
	MetadataSigner string   `toml:"metadata_signer" doc:"Host name in the certificate that signs the file: the root vouches for others too. Empty takes any, for a root of your own."`
	AllowModels    []string `toml:"allow_models" doc:"AAGUIDs of the only models that new passkeys are taken from. Empty takes all that attestation lets in."`
	DenyModels     []string `toml:"deny_models" doc:"AAGUIDs of models that are not taken. Passkeys of theirs that are there already no longer sign in."`
	DenyStatuses   []string `toml:"deny_statuses" doc:"Statuses in the file that have the same consequence for a model."`
}

// Device is about remembered devices.
type Device struct {
	RememberFor Duration `toml:"remember_for" doc:"How long a device that proved itself is recognised without a code. At most 720h."`
}

// Session is about signed-in browsers and apps.
type Session struct {
	Idle     Duration `toml:"idle" doc:"A session unused for so long ends."`
	Absolute Duration `toml:"absolute" doc:"A session ends after so long whatever happens."`
}

// Throttle is about limits.
type Throttle struct {
	ExemptSources []string `toml:"exempt_sources" doc:"Networks (CIDR) without limits per source, such as an application server that signs in for many people. Limits per account still hold."`
}

// Exempt returns the networks without limits per source.
func (t Throttle) Exempt() (out []netip.Prefix) {
	for _, s := range t.ExemptSources {
		if p, err := netip.ParsePrefix(s); err == nil { // Validate reports the others
			out = append(out, p.Masked())
		}
	}
	return out
}

// Email is how letters leave by e-mail.
type Email struct {
	Provider      string   `toml:"provider" doc:"smtp, ses (Amazon), http (any service that takes a request), webhook, inbox or none. inbox keeps letters in memory for a demonstration and works on localhost only."`
	From          string   `toml:"from" doc:"The sender, such as \"Example <no-reply@example.org>\"."`
	SMTPHost      string   `toml:"smtp_host" doc:"The mail relay's host name; its certificate must have this name."`
	SMTPPort      int      `toml:"smtp_port" doc:"587 for STARTTLS, 465 for TLS from the first byte."`
	SMTPUser      string   `toml:"smtp_user" doc:"User at the relay; empty sends without signing in."`
	SMTPPassword  Secret   `toml:"smtp_password" doc:"Password at the relay."`
	SMTPAtOnce    int      `toml:"smtp_connections" doc:"How many connections to have to the relay at once, each taking letter after letter. Microsoft 365 allows 3."`
	OAuthTokenURL string   `toml:"smtp_oauth_token_url" doc:"Where tokens are to be had that the relay takes in the place of a password (OAUTHBEARER or XOAUTH2)."`
	OAuthClientID string   `toml:"smtp_oauth_client_id" doc:"The client that asks for them."`
	OAuthSecret   Secret   `toml:"smtp_oauth_client_secret" doc:"Its secret."`
	OAuthRefresh  Secret   `toml:"smtp_oauth_refresh_token" doc:"A refresh token of the mailbox's owner, who has consented. Empty asks in the client's own name (client credentials)."`
	OAuthScope    string   `toml:"smtp_oauth_scope" doc:"Scopes to ask for, with spaces between, such as https://outlook.office365.com/.default."`
	SMTPTLS       string   `toml:"smtp_tls" doc:"starttls (demanded, never just tried), implicit, or none, which is allowed to a relay on localhost only."`
	SESRegion     string   `toml:"ses_region" doc:"The region of Amazon SES, such as eu-central-1."`
	SESKey        string   `toml:"ses_key" doc:"Id of an IAM user's access key; the user may do ses:SendEmail and needs no more."`
	SESSecret     Secret   `toml:"ses_secret" doc:"The access key's secret."`
	SESSet        string   `toml:"ses_configuration_set" doc:"The configuration set to send with. Empty leaves the one of the sender's identity."`
	SESTopic      string   `toml:"ses_topic" doc:"The topic of Amazon SNS that bounces and complaints are published to, such as arn:aws:sns:eu-central-1:123456789012:name. It posts them to /hooks/mail/ses. Empty takes none."`
	SESURL        string   `toml:"ses_url" doc:"The address of SES where it does not follow from the region."`
	HTTPURL       string   `toml:"http_url" doc:"The service's address. Here, in headers and in the body, {to}, {from}, {from_name}, {from_address}, {subject}, {text}, {html}, {id}, {secret} and {report} (an address) are filled in."`
	HTTPMethod    string   `toml:"http_method" doc:"POST, PUT or GET."`
	HTTPHeaders   []string `toml:"http_headers" doc:"Headers, such as \"Authorization: Bearer {secret}\" or \"Idempotency-Key: {id}\"."`
	HTTPType      string   `toml:"http_type" doc:"What the body is, and how fields in it are escaped: application/json, application/x-www-form-urlencoded, application/xml or text/xml."`
	HTTPBody      string   `toml:"http_body" doc:"The body. In JSON, fields stand between quotation marks."`
	HTTPSecret    Secret   `toml:"http_secret" doc:"What {secret} stands for."`
	HTTPTaken     []string `toml:"http_taken" doc:"A letter was taken if the answer fits all of these: a status (2xx, 202), a value in its JSON (ErrorCode=0), a text in it (~OK)."`
	HTTPRefused   []string `toml:"http_refused" doc:"It was refused for good, as to an address that does not exist, if the answer fits any of these. Otherwise it is tried again."`
	HTTPID        string   `toml:"http_id" doc:"Where the service's id of the letter stands in its JSON, such as MessageID."`
	HTTPDelivered []string `toml:"http_delivered" doc:"A report, posted to {report}, that fits any of these says that the letter has arrived, such as event=delivered."`
	HTTPFailed    []string `toml:"http_failed" doc:"One that fits any of these says that it will not, such as event=bounced."`
	WebhookURL    string   `toml:"webhook_url" doc:"Where letters are posted with the provider webhook."`
	WebhookSecret Secret   `toml:"webhook_secret" doc:"Key of the signature over each posted letter: whsec_ and base64 of 24 to 64 bytes (Standard Webhooks)."`
}

// bounces is where letters come back to.
type bounces struct {
	Address       string `toml:"address" doc:"Where letters that cannot be delivered come back to. Empty means the address of email.from."`
	Host          string `toml:"imap_host" doc:"The server of that mailbox (IMAP with TLS). Empty reads none. The mailbox must be for bounces alone: all that is in it is marked as read."`
	Port          int    `toml:"imap_port" doc:"Its port."`
	User          string `toml:"imap_user" doc:"The mailbox's user."`
	Password      Secret `toml:"imap_password" doc:"Its password."`
	Folder        string `toml:"imap_folder" doc:"The folder."`
	OAuthTokenURL string `toml:"imap_oauth_token_url" doc:"Where tokens are to be had that the mailbox takes in the place of a password (OAUTHBEARER or XOAUTH2)."`
	OAuthClientID string `toml:"imap_oauth_client_id" doc:"The client that asks for them."`
	OAuthSecret   Secret `toml:"imap_oauth_client_secret" doc:"Its secret."`
	OAuthRefresh  Secret `toml:"imap_oauth_refresh_token" doc:"A refresh token of the mailbox's owner, who has consented. Empty asks in the client's own name (client credentials)."`
	OAuthScope    string `toml:"imap_oauth_scope" doc:"Scopes to ask for, with spaces between, such as https://outlook.office365.com/.default."`
	Secret        Secret `toml:"webhook_secret" doc:"Key of the signature over bounces that a program of yours posts to /hooks/mail/bounces: whsec_ and base64 of 24 to 64 bytes (Standard Webhooks). Empty takes none."`
}

// SMS is how letters leave by SMS.
type SMS struct {
	Provider       string   `toml:"provider" doc:"smpp, twilio, vonage, infobip, sns (Amazon), http (any gateway that takes a request), webhook, whatsapp, twilio_call and vonage_call (codes alone), inbox or none."`
	Then           []string `toml:"then" doc:"Further providers, in order: when those before fail, messages go by the next, and back once they work again."`
	Order          string   `toml:"order" doc:"How one of several is chosen: listed (in order), weighted, cheapest (by guard.prices) or fastest (by what was delivered of late)."`
	Weights        []string `toml:"weights" doc:"The shares that providers have where they are weighted, such as twilio=3. One that is not named has 1; one with 0 is asked last."`
	Rates          []string `toml:"rates" doc:"The most that a node gives a provider, such as smpp=30/s or twilio=600/m, evenly spread; smpp=30/s:60 lets 60 go at once."`
	Routes         []string `toml:"routes" doc:"Other providers for some messages: +49=webhook,twilio (numbers that begin so), DE=cheapest:twilio,vonage (a country), */notice=sns (all but codes; also */code, DE/code). docs/operating.md says which counts."`
	From           string   `toml:"from" doc:"The sending number in international form, or a messaging service's id; with smpp also a short code, or a name of up to 11 characters."`
	Senders        []string `toml:"senders" doc:"Other senders for numbers that begin alike, such as +1=+15005550006. The longest beginning counts."`
	Reports        bool     `toml:"reports" doc:"Have providers tell, at /hooks/sms/ and their name, what became of each message. docs/operating.md says what each needs for it."`
	SMPPAddress    string   `toml:"smpp_address" doc:"The operator's message centre, host:port."`
	SMPPTLS        bool     `toml:"smpp_tls" doc:"TLS from the first byte. false is allowed to this machine and to private networks only, where a tunnel ends."`
	SMPPSystemID   string   `toml:"smpp_system_id" doc:"The name that the operator gave you."`
	SMPPPassword   Secret   `toml:"smpp_password" doc:"Its password."`
	SMPPSystemType string   `toml:"smpp_system_type" doc:"The system type, where the operator asks for one."`
	SMPPWindow     int      `toml:"smpp_window" doc:"How many messages may be unanswered at once; the operator's sheet says how many it allows."`
	SMPPSource     string   `toml:"smpp_source" doc:"Type of number and numbering plan of the sender, such as 5/0, where the operator wants others than follow from its form."`
	TwilioAccount  string   `toml:"twilio_account" doc:"Twilio's account SID."`
	TwilioUser     string   `toml:"twilio_user" doc:"SID of an API key, if you use one; empty means the account's SID."`
	TwilioPassword Secret   `toml:"twilio_password" doc:"The API key's secret, or the account's auth token."`
	TwilioToken    Secret   `toml:"twilio_token" doc:"The account's auth token, which reports are signed with, if twilio_user is an API key. Without it Twilio is asked for no reports."`
	TwilioURL      string   `toml:"twilio_url" doc:"Twilio's address; another region's, or a stand-in's."`
	CallFrom       string   `toml:"call_from" doc:"The number that calls come from, with twilio_call or vonage_call: one of the account's that can call."`
	VonageKey      string   `toml:"vonage_key" doc:"Vonage's API key."`
	VonageSecret   Secret   `toml:"vonage_secret" doc:"Its API secret. Not needed with vonage_signature."`
	VonageSig      Secret   `toml:"vonage_signature" doc:"Vonage's signature secret: requests are signed with it. Set the account to SHA-256 HMAC."`
	VonageURL      string   `toml:"vonage_url" doc:"Vonage's address, or a stand-in's."`
	VonageApp      string   `toml:"vonage_application" doc:"With vonage_call: the id of an application that may call (Voice), with signed webhooks."`
	VonageAppKey   Secret   `toml:"vonage_private_key" doc:"That application's private key, as Vonage gave it (PEM). Best in a file: COUNTERSIGN_SMS_VONAGE_PRIVATE_KEY_FILE."`
	VonageVoiceURL string   `toml:"vonage_voice_url" doc:"The address of Vonage's Voice API; another region's, or a stand-in's."`
	InfobipURL     string   `toml:"infobip_url" doc:"The account's own address at Infobip, such as https://xyz123.api.infobip.com."`
	InfobipKey     Secret   `toml:"infobip_key" doc:"Infobip's API key."`
	SNSRegion      string   `toml:"sns_region" doc:"The region of Amazon SNS, such as eu-central-1."`
	SNSKey         string   `toml:"sns_key" doc:"Id of an IAM user's access key; the user may do sns:Publish and needs no more."`
	SNSSecret      Secret   `toml:"sns_secret" doc:"The access key's secret."`
	SNSURL         string   `toml:"sns_url" doc:"The address of SNS where it does not follow from the region."`
	WhatsAppPhone  string   `toml:"whatsapp_phone" doc:"The id of the business' number at WhatsApp, which codes are sent from; it is not the number."`
	WhatsAppToken  Secret   `toml:"whatsapp_token" doc:"An access token of a system user who may send messages from it (whatsapp_business_messaging)."`
	WhatsAppText   string   `toml:"whatsapp_template" doc:"The name of an authentication template with a button that copies the code, which Meta has approved in the languages of your people."`
	WhatsAppLangs  []string `toml:"whatsapp_languages" doc:"What languages are called in the template where not as here (en, de, fr, es, ar), such as en=en_US."`
	WhatsAppSecret Secret   `toml:"whatsapp_app_secret" doc:"The app's secret, which statuses are signed with. Without it none are taken."`
	WhatsAppVerify Secret   `toml:"whatsapp_verify_token" doc:"A word of yours that Meta shows when you set the webhook up."`
	WhatsAppURL    string   `toml:"whatsapp_url" doc:"The address of WhatsApp's API with its version, or a stand-in's."`
	HTTPURL        string   `toml:"http_url" doc:"The gateway's address. Here, in headers and in the body, {to}, {number} (without +), {from}, {text}, {coding} (0 for GSM 03.38, 2 for UCS-2), {id}, {secret} and {report} (an address) are filled in."`
	HTTPMethod     string   `toml:"http_method" doc:"POST, PUT or GET."`
	HTTPHeaders    []string `toml:"http_headers" doc:"Headers, such as \"Authorization: Bearer {secret}\" or \"Idempotency-Key: {id}\"."`
	HTTPType       string   `toml:"http_type" doc:"What the body is, and how fields in it are escaped: application/json, application/x-www-form-urlencoded, application/xml or text/xml."`
	HTTPBody       string   `toml:"http_body" doc:"The body. In JSON, fields stand between quotation marks."`
	HTTPSecret     Secret   `toml:"http_secret" doc:"What {secret} stands for."`
	HTTPTaken      []string `toml:"http_taken" doc:"A message was taken if the answer fits all of these: a status (2xx, 201), a value in its JSON (messages.0.status=0), a text in it (~OK)."`
	HTTPRefused    []string `toml:"http_refused" doc:"It was refused for good, as to a number that does not exist, if the answer fits any of these. Otherwise it is tried again."`
	HTTPID         string   `toml:"http_id" doc:"Where the gateway's id of the message stands in its JSON, such as messages.0.id."`
	HTTPDelivered  []string `toml:"http_delivered" doc:"A report, sent to {report}, that fits any of these says that the message has arrived, such as status=delivered."`
	HTTPFailed     []string `toml:"http_failed" doc:"One that fits any of these says that it will not."`
	WebhookURL     string   `toml:"webhook_url" doc:"Where letters are posted with the provider webhook."`
	WebhookSecret  Secret   `toml:"webhook_secret" doc:"Key of the signature over each posted letter: whsec_ and base64 of 24 to 64 bytes (Standard Webhooks)."`
}

// guard is what keeps text messages from being pumped.
type guard struct {
	Enabled    bool     `toml:"enabled" doc:"Withhold text messages that look pumped. Whoever asked for one sees no difference."`
	Countries  []string `toml:"countries" doc:"Countries (ISO 3166, such as \"DE\") that new numbers may be of, beside those that accounts' numbers are of already."`
	AnyKind    bool     `toml:"any_kind" doc:"Send to new numbers of every kind, premium, satellite, VoIP and fixed ones too, and not to mobile ones alone."`
	Prices     string   `toml:"prices" doc:"A file with what a message costs: a line for each beginning of a number and its price, such as +49,0.075. Without it nothing is capped."`
	HourCap    string   `toml:"hour_cap" doc:"The most to be spent within an hour, such as 25.00, in the currency of the prices. 0 is no cap."`
	DayCap     string   `toml:"day_cap" doc:"The most to be spent within 24 hours."`
	CountryCap string   `toml:"country_cap" doc:"The most to be spent on one country within 24 hours."`
}

// simSwap is how operators are asked about SIM cards.
type simSwap struct {
	URL          string   `toml:"url" doc:"Where the SIM Swap API is: its address without /check. Empty asks nobody."`
	TokenURL     string   `toml:"token_url" doc:"Where its tokens are to be had."`
	ClientID     string   `toml:"client_id" doc:"The client that asks."`
	ClientSecret Secret   `toml:"client_secret" doc:"Its secret."`
	Scope        string   `toml:"scope" doc:"Scopes of the tokens, with spaces between, as the operator wants them."`
	Numbers      []string `toml:"numbers" doc:"Beginnings of the numbers that it speaks for, such as +49. Empty means all."`
	Within       Duration `toml:"within" doc:"How long a new card gets no codes: whole hours."`
	ByDate       bool     `toml:"by_date" doc:"Ask for the date of the change (retrieve-date), for operators whose check looks back on less."`
	Refuse       bool     `toml:"refuse_unknown" doc:"Send no code either where the operator gives no answer. false sends it."`
}

// Phone is how people write phone numbers.
type Phone struct {
	DefaultRegion string `toml:"default_region" doc:"Country (ISO 3166, such as \"DE\") of numbers written without +. Empty asks for the international form."`
}

// api is about the JSON API. Nobody outside names it or place, so they are no names of this package.
type api struct {
	DeprecationURL string `toml:"deprecation_url" doc:"A page about old versions of your applications and of the API. Calls of versions that will be refused are answered with a Link to it. Empty links to none."`
}

// place is roughly where a sign-in comes from.
type place struct {
	Database string `toml:"database" doc:"A file in the MaxMind format (.mmdb) with countries or cities, read again when it changes. Empty shows no places. docs/operating.md says where to get one."`
}

// Log is what we write.
type Log struct {
	Format string `toml:"format" doc:"json or text."`
	Level  string `toml:"level" doc:"debug, info, warn or error. Each request is one event at info."`
}

// Metrics is for whoever watches.
type Metrics struct {
	Listen string `toml:"listen" doc:"Address of /metrics, /healthz and /readyz. Empty turns them off. Not for the public (ASVS 13.4.5)."`
}

// Default returns the settings of a server that was told nothing.
func Default() Config {
	const hour, day = time.Hour, 24 * time.Hour
	return Config{
		Site:     Site{Name: "Countersign", PublicURL: "http://localhost:8080"},
		HTTP:     HTTP{Listen: "127.0.0.1:8080", ForwardedHeader: string(clientip.XForwardedFor), StopAfter: Duration(10 * time.Second)},
		Database: Database{URL: NewSecret("sqlite:countersign.db"), MaxConns: 16, MigrateAtStart: true, MaxStaleness: Duration(5 * time.Minute)},
		Keys:     Keys{File: "countersign.key"},
		Password: Password{MinLength: 15, MemoryKiB: 19456, Time: 2, Threads: 1, MaxWait: Duration(2 * time.Second)},
		SignIn:   SignIn{FlowTTL: Duration(15 * time.Minute), CodeDigits: 6, CodeTTL: Duration(10 * time.Minute)},
		Recovery: recovery{Wait: Duration(day)},

		Factor: factor{Policy: "unrecognised_device", Enrol: "never", EnrolSkips: 3},

		Registration: registration{Mode: "closed"},

		Account: accounts{EraseAfter: Duration(14 * day)},
		Passkey: Passkey{Attestation: "none", MetadataSigner: "mds.fidoalliance.org", DenyStatuses: []string{
			"REVOKED", "USER_VERIFICATION_BYPASS", "ATTESTATION_KEY_COMPROMISE", "USER_KEY_REMOTE_COMPROMISE", "USER_KEY_PHYSICAL_COMPROMISE",
		}},
		Device:  Device{RememberFor: Duration(30 * day)},
		Session: Session{Idle: Duration(12 * hour), Absolute: Duration(7 * day)},
		Bounces: bounces{Port: 993, Folder: "INBOX"},
		SIMSwap: simSwap{Scope: "sim-swap:check", Within: Duration(72 * hour)},
		Guard:   guard{Enabled: true, HourCap: "0", DayCap: "0", CountryCap: "0"},
		Email:   Email{Provider: "inbox", SMTPPort: 587, SMTPAtOnce: 8, SMTPTLS: "starttls", HTTPMethod: "POST", HTTPType: "application/json", HTTPTaken: []string{"2xx"}},
		SMS: SMS{
			Provider: "inbox", Order: "listed", Reports: true, SMPPTLS: true, SMPPWindow: 10, TwilioURL: "https://api.twilio.com", VonageURL: "https://rest.nexmo.com", VonageVoiceURL: "https://api.nexmo.com", WhatsAppURL: "https://graph.facebook.com/v21.0",
			HTTPMethod: "POST", HTTPType: "application/json", HTTPTaken: []string{"2xx"},
		},
		Log:     Log{Format: "json", Level: "info"},
		Metrics: Metrics{Listen: "127.0.0.1:9090"},
	}
}

// Secret is a setting that is never printed.
type Secret struct{ secret.Token }

// NewSecret makes a Secret.
func NewSecret(v string) Secret { return Secret{secret.Of(v)} }

// UnmarshalText reads a secret.
func (s *Secret) UnmarshalText(b []byte) error {
	s.Token = secret.Of(string(b))
	return nil
}

// Duration is written as "10m".
type Duration time.Duration

// UnmarshalText reads a duration.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return errDuration
	}
	*d = Duration(v)
	return nil
}

// String writes a duration without the zeros that time.Duration adds.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// D returns d as a time.Duration.
func (d Duration) D() time.Duration { return time.Duration(d) }

// Public returns the parsed public URL of a valid configuration.
func (c Config) Public() *url.URL {
	u, err := url.Parse(c.Site.PublicURL)
	if err != nil {
		return &url.URL{} // Validate has refused it
	}
	u.Host, u.Path = strings.ToLower(u.Host), ""
	return u
}

// Clients returns who is believed about a client's address.
func (c Config) Clients() clientip.Finder {
	f := clientip.Finder{Source: clientip.Source(c.HTTP.ForwardedHeader)}
	for _, p := range c.HTTP.TrustedProxies {
		if prefix, err := netip.ParsePrefix(p); err == nil { // Validate has refused the others
			f.Trusted = append(f.Trusted, prefix.Masked())
		}
	}
	return f
}

// Hashers returns how many passwords are hashed at once.
func (p Password) Hashers() int {
	if p.Parallel == 0 {
		return runtime.GOMAXPROCS(0)
	}
	return p.Parallel
}
