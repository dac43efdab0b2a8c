package config_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/platform/config"
)

// load reads settings from a file's text, an environment and flags.
func load(t *testing.T, toml string, environ []string, flags map[string]string) (config.Config, error) {
	t.Helper()
	files := map[string]string{"c.toml": toml, "/run/secrets/token": "from-a-file\n"}
	return config.Load(config.Source{
		File: "c.toml", Environ: environ, Flags: flags,
		ReadFile: func(name string) ([]byte, error) {
			if text, ok := files[name]; ok {
				return []byte(text), nil
			}
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		},
	})
}

func TestDefaultsAreValid(t *testing.T) {
	if err := config.Default().Validate(); err != nil {
		t.Fatal(err)
	}
}

func TestLaterSourcesWin(t *testing.T) {
	c, err := load(t, `
[site]
name = "File"
context_words = ["acme"]
[session]
idle = "30m"
[database]
url = "sqlite:file.db"
max_conns = 3
`, []string{
		"PATH=/bin", "COUNTERSIGN_SESSION_IDLE=45m", "COUNTERSIGN_SMS_TWILIO_PASSWORD_FILE=/run/secrets/token",
		"COUNTERSIGN_HTTP_TRUSTED_PROXIES=10.0.0.0/8, fd00::/8", "COUNTERSIGN_DATABASE_URL=sqlite:env.db",
	}, map[string]string{"database.url": "sqlite:flag.db"})
	if err != nil {
		t.Fatal(err)
	}
	got := []any{c.Site.Name, c.Site.ContextWords, c.Session.Idle.D(), c.Database.URL.Reveal(), c.Database.MaxConns, c.SMS.TwilioPassword.Reveal(), c.HTTP.TrustedProxies, c.SignIn.CodeDigits}
	want := []any{"File", []string{"acme"}, 45 * time.Minute, "sqlite:flag.db", 3, "from-a-file", []string{"10.0.0.0/8", "fd00::/8"}, 6}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestEveryUnknownKeyIsNamedWithItsLine(t *testing.T) {
	_, err := load(t, "[site]\nname = \"x\"\npublic_ulr = \"x\"\n\n[sesion]\nidle = \"1m\"\n", []string{"COUNTERSIGN_SITE_NMAE=x"}, nil)
	want := `c.toml line 3: there is no setting site.public_ulr; did you mean site.public_url?
c.toml line 5: there is no setting sesion; did you mean [session]?
COUNTERSIGN_SITE_NMAE: there is no such setting; see countersign config print`
	if got := fmt.Sprint(err); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestAMistypedKeyIsRecognised(t *testing.T) {
	_, err := load(t, "[signin]\ncode_digit = 6\n", nil, nil)
	if got := fmt.Sprint(err); !strings.Contains(got, "did you mean signin.code_digits?") {
		t.Error(got)
	}
}

func TestMalformedValuesAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		toml    string
		environ []string
		want    string
	}{
		"not TOML":              {toml: "[site\n", want: "c.toml line 1"},
		"duration without unit": {toml: "[session]\nidle = \"30\"\n", want: `want a duration such as "10m"`},
		"text for a number":     {toml: "[database]\nmax_conns = \"three\"\n", want: "c.toml line 2 database.max_conns: want a whole number without quotes, such as max_conns = 10"},
		"an amount for text":    {toml: "[guard]\n\nhour_cap = 25.50 # a day\n", want: `c.toml line 3 guard.hour_cap: want text in quotes: hour_cap = "25.50"`},
		"a number for a time":   {toml: "[session]\nidle = 10\n", want: "session.idle: want a duration such as"},
		"text for a switch":     {toml: "[guard]\nenabled = \"yes\"\n", want: "guard.enabled: want true or false without quotes"},
		"text for a list":       {toml: "[guard]\ncountries = \"DE\"\n", want: `guard.countries: want a list of texts, such as countries = ["one", "another"]`},
		"a list for a secret":   {toml: "[email]\nsmtp_password = [\"271828\"]\n", want: `email.smtp_password: want text in quotes, such as smtp_password = "…"`},
		"no country":            {toml: "[guard]\ncountries = [\"XX\"]\n", want: `guard.countries: "XX": want the two capital letters of a country`},
		"a country in words":    {toml: "[guard]\ncountries = [\"de\"]\n", want: `guard.countries: "de": want`},
		"key twice":             {toml: "[site]\nname = \"a\"\nname = \"b\"\n", want: "already defined"},
		"number in environ":     {environ: []string{"COUNTERSIGN_DATABASE_MAX_CONNS=x"}, want: "COUNTERSIGN_DATABASE_MAX_CONNS: want a whole number"},
		"bool in environ":       {environ: []string{"COUNTERSIGN_SIGNIN_HIDE_PASSWORD_RESULT=maybe"}, want: "want true or false"},
		"duration in environ":   {environ: []string{"COUNTERSIGN_SESSION_IDLE=soon"}, want: "COUNTERSIGN_SESSION_IDLE: want a duration"},
		"secret file missing":   {environ: []string{"COUNTERSIGN_SMS_TWILIO_PASSWORD_FILE=/nowhere"}, want: "COUNTERSIGN_SMS_TWILIO_PASSWORD_FILE: cannot read /nowhere: file does not exist"},
		"secret given twice":    {environ: []string{"COUNTERSIGN_SMS_TWILIO_PASSWORD=x", "COUNTERSIGN_SMS_TWILIO_PASSWORD_FILE=/run/secrets/token"}, want: "both set sms.twilio_password"},
		"file for no secret":    {environ: []string{"COUNTERSIGN_SITE_NAME_FILE=/run/secrets/token"}, want: "there is no such setting"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := load(t, c.toml, c.environ, nil); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// Whoever names statuses means those, and not the default's as well.
func TestAListTakesThePlaceOfItsDefault(t *testing.T) {
	for toml, want := range map[string]int{"": 5, "deny_statuses = [\"REVOKED\"]": 1, "deny_statuses = []": 0} {
		c, err := load(t, "[passkey]\n"+toml+"\n", nil, nil)
		if err != nil || len(c.Passkey.DenyStatuses) != want {
			t.Errorf("%q: %v, %v", toml, c.Passkey.DenyStatuses, err)
		}
	}
}

func TestValidateSaysWhatToDo(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*config.Config)
		want   string
	}{
		"attestation":                   {func(c *config.Config) { c.Passkey.Attestation = "always" }, "passkey.attestation: want one of none, known, certified"},
		"http elsewhere":                {func(c *config.Config) { c.Site.PublicURL = "http://id.example.org" }, "site.public_url: want https"},
		"http on a lookalike":           {func(c *config.Config) { c.Site.PublicURL = "http://localhost.example.org" }, "site.public_url: want https"},
		"a group that nobody can be in": {func(c *config.Config) { c.Factor.Groups = []string{"Admins=phishing_resistant"} }, "factor.groups: \"Admins"},
		"public URL with a path":        {func(c *config.Config) { c.Site.PublicURL = "http://localhost/id" }, "a host name of its own"},
		"no URL":                        {func(c *config.Config) { c.Site.PublicURL = "id.example.org" }, "want an address such as"},
		"name with a line break":        {func(c *config.Config) { c.Site.Name = "a\r\nBcc: x" }, "site.name"},
		"one half of TLS":               {func(c *config.Config) { c.HTTP.TLSCertFile = "x.pem" }, "go together"},
		"proxy without a mask":          {func(c *config.Config) { c.HTTP.TrustedProxies = []string{"10.0.0.1"} }, "10.0.0.1\" is no network"},
		"everybody is a proxy":          {func(c *config.Config) { c.HTTP.TrustedProxies = []string{"0.0.0.0/0"} }, "would believe everybody"},
		"unknown header":                {func(c *config.Config) { c.HTTP.ForwardedHeader = "x-real-ip" }, "want one of x-forwarded-for, forwarded"},
		"unknown engine":                {func(c *config.Config) { c.Database.URL = config.NewSecret("mysql://hunter2@h/n") }, "database.url: want sqlite:PATH"},
		"weak hashing":                  {func(c *config.Config) { c.Password.Time = 1 }, "weaker than OWASP's least"},
		"short password":                {func(c *config.Config) { c.Password.MinLength = 7 }, "password.min_length: want 8 to 64"},
		"code lives too long":           {func(c *config.Config) { c.SignIn.CodeTTL = config.Duration(11 * time.Minute) }, "signin.code_ttl: want 1m to 10m, not 11m"},
		"idle beyond absolute":          {func(c *config.Config) { c.Session.Idle = config.Duration(200 * time.Hour) }, "session.idle: must not be longer"},
		"remembered for ever":           {func(c *config.Config) { c.Device.RememberFor = config.Duration(9000 * time.Hour) }, "device.remember_for: want 1h to 720h"},
		"no way to send":                {func(c *config.Config) { c.Email.Provider, c.SMS.Provider = "none", "none" }, "nobody could be sent a code"},
		"a bounce's key that is none": {func(c *config.Config) {
			c.Email.Provider, c.Email.SMTPHost, c.Email.From, c.Bounces.Secret = "smtp", "localhost", "a@example.org", config.NewSecret("hunter2")
		}, "bounces.webhook_secret: want whsec_"},
		"mail by HTTP without an address": {func(c *config.Config) {
			c.Email.Provider, c.Email.From = "http", "a@example.org"
		}, "email.http_url: want an https address"},
		"calls alone": {func(c *config.Config) {
			c.SMS.Provider, c.SMS.TwilioAccount, c.SMS.CallFrom, c.SMS.TwilioPassword = "twilio_call", "AC1", "+15005550006", config.NewSecret("x")
		}, "sms.then: twilio_call carries codes and nothing else"},
		"calls that Twilio cannot ask about": {func(c *config.Config) {
			c.SMS.Provider, c.SMS.Then, c.SMS.TwilioAccount, c.SMS.CallFrom, c.SMS.TwilioPassword = "twilio", []string{"twilio_call"}, "AC1", "+15005550006", config.NewSecret("x")
		}, "sms.reports: during a call the provider asks"},
		"calls from a name": {func(c *config.Config) {
			c.SMS.Provider, c.SMS.Then, c.SMS.TwilioAccount, c.SMS.CallFrom, c.SMS.TwilioPassword = "twilio", []string{"twilio_call"}, "AC1", "Example", config.NewSecret("x")
		}, "sms.call_from: give the number"},
		"calls by Vonage that nobody signs": {func(c *config.Config) {
			c.SMS.Provider, c.SMS.Then, c.SMS.VonageKey, c.SMS.VonageSecret, c.SMS.From = "vonage", []string{"vonage_call"}, "a", config.NewSecret("x"), "Example"
			c.SMS.CallFrom, c.SMS.VonageApp, c.SMS.VonageAppKey = "+15005550006", "78d335fa", config.NewSecret("x")
		}, "sms.vonage_signature: calls take"},
		"calls by two": {func(c *config.Config) {
			c.SMS.Provider, c.SMS.Then, c.SMS.CallFrom = "webhook", []string{"twilio_call", "vonage_call"}, "+15005550006"
		}, "sms.then: twilio_call and vonage_call call from one number"},
		"WhatsApp alone": {func(c *config.Config) {
			c.SMS.Provider, c.SMS.WhatsAppPhone, c.SMS.WhatsAppText, c.SMS.WhatsAppToken = "whatsapp", "1", "code", config.NewSecret("x")
		}, "sms.then: whatsapp carries codes and nothing else"},
		"WhatsApp alone in a country": {func(c *config.Config) {
			c.SMS.Provider, c.SMS.WhatsAppPhone, c.SMS.WhatsAppText, c.SMS.WhatsAppToken = "whatsapp", "1", "code", config.NewSecret("x")
			c.SMS.Then, c.SMS.Routes = []string{"infobip"}, []string{"BR=whatsapp"}
		}, "sms.routes: whatsapp carries codes and nothing else"},
		"WhatsApp's number for its id": {func(c *config.Config) {
			c.SMS.Provider, c.SMS.WhatsAppPhone = "whatsapp", "+4915112345678"
		}, "sms.whatsapp_phone: give the id"},
		"a mailbox with a token and a password": {func(c *config.Config) {
			c.Email.Provider, c.Email.SMTPHost, c.Email.From = "smtp", "localhost", "a@example.org"
			c.Bounces.Host, c.Bounces.User, c.Bounces.Password = "imap.example.org", "bounces@example.org", config.NewSecret("x")
			c.Bounces.OAuthTokenURL, c.Bounces.OAuthClientID, c.Bounces.OAuthSecret = "https://login.example.org/token", "client", config.NewSecret("x")
		}, "bounces.imap_password: a token takes the place"},
		"a mailbox's token from nowhere": {func(c *config.Config) {
			c.Email.Provider, c.Email.SMTPHost, c.Email.From = "smtp", "localhost", "a@example.org"
			c.Bounces.Host, c.Bounces.User, c.Bounces.Password, c.Bounces.OAuthClientID = "imap.example.org", "bounces@example.org", config.NewSecret("x"), "client"
		}, "bounces.imap_oauth_token_url: say where"},
		"SES without a key": {func(c *config.Config) {
			c.Email.Provider, c.Email.From, c.Email.SESRegion, c.Email.SESSecret = "ses", "a@example.org", "eu-central-1", config.NewSecret("x")
		}, "email.ses_key: give the id"},
		"SES without a sender": {func(c *config.Config) {
			c.Email.Provider, c.Email.SESRegion, c.Email.SESKey, c.Email.SESSecret = "ses", "eu-central-1", "AKID", config.NewSecret("x")
		}, "email.from: want a sender"},
		"a topic that is none": {func(c *config.Config) {
			c.Site.PublicURL, c.SMS.Provider = "https://id.example.org", "none"
			c.Email.Provider, c.Email.From, c.Email.SESRegion, c.Email.SESKey, c.Email.SESSecret = "ses", "a@example.org", "eu-central-1", "AKID", config.NewSecret("x")
			c.Email.SESTopic = "arn:aws:sqs:eu-central-1:123456789012:queue"
		}, "email.ses_topic: want a standard topic's ARN"},
		"a topic nobody hears": {func(c *config.Config) {
			c.Email.Provider, c.Email.From, c.Email.SESRegion, c.Email.SESKey, c.Email.SESSecret = "ses", "a@example.org", "eu-central-1", "AKID", config.NewSecret("x")
			c.Email.SESTopic = "arn:aws:sns:eu-central-1:123456789012:letters"
		}, "email.ses_topic: Amazon cannot reach localhost"},
		"inbox in the world": {func(c *config.Config) { c.Site.PublicURL = "https://id.example.org" }, "email.provider: inbox delivers to nobody"},
		"smtp in clear": {func(c *config.Config) {
			c.Email = config.Email{Provider: "smtp", SMTPHost: "mail", SMTPPort: 25, SMTPTLS: "none", From: "a@b.example"}
		}, "email.smtp_tls: none is for a relay on localhost only"},
		"a token in clear": {func(c *config.Config) {
			c.Email = config.Email{
				Provider: "smtp", SMTPHost: "localhost", SMTPPort: 25, SMTPTLS: "none", From: "a@b.example", SMTPUser: "a@b.example",
				OAuthTokenURL: "https://login.example.org/token", OAuthClientID: "id", OAuthSecret: config.NewSecret("hunter2"),
			}
		}, "email.smtp_tls: a token is not shown in clear"},
		"a token and a password": {func(c *config.Config) {
			c.Email = config.Email{
				Provider: "smtp", SMTPHost: "mail", SMTPPort: 587, SMTPTLS: "starttls", From: "a@b.example", SMTPUser: "a@b.example", SMTPPassword: config.NewSecret("hunter2"),
				OAuthTokenURL: "https://login.example.org/token", OAuthClientID: "id", OAuthSecret: config.NewSecret("hunter2"),
			}
		}, "email.smtp_password: a token takes the place"},
		"tokens from nowhere": {func(c *config.Config) {
			c.Email = config.Email{
				Provider: "smtp", SMTPHost: "mail", SMTPPort: 587, SMTPTLS: "starttls", From: "a@b.example", OAuthClientID: "id",
			}
		}, "email.smtp_oauth_token_url: say where"},
		"sender with a header": {func(c *config.Config) {
			c.Email = config.Email{Provider: "smtp", SMTPHost: "mail", SMTPPort: 25, SMTPTLS: "starttls", From: "a@b.example\r\nBcc: c@d.example"}
		}, "email.from"},
		"twilio without a token":     {func(c *config.Config) { c.SMS.Provider = "twilio" }, "sms.twilio_password: give the auth token"},
		"vonage without a secret":    {func(c *config.Config) { c.SMS.Provider = "vonage" }, "sms.vonage_secret: give the API secret"},
		"infobip without a key":      {func(c *config.Config) { c.SMS.Provider = "infobip" }, "sms.infobip_key: give the API key"},
		"infobip without an address": {func(c *config.Config) { c.SMS.Provider = "infobip" }, "sms.infobip_url: want an https address"},
		"sns without a region":       {func(c *config.Config) { c.SMS.Provider = "sns" }, "sms.sns_region: name the region"},
		"sns without a secret":       {func(c *config.Config) { c.SMS.Provider = "sns" }, "sms.sns_secret: give the access key's secret"},
		"http in clear":              {func(c *config.Config) { c.SMS.Provider, c.SMS.HTTPURL = "http", "http://sms.example.org/?to={to}" }, "sms.http_url: want an https address"},
		"smpp without an address":    {func(c *config.Config) { c.SMS.Provider = "smpp" }, "sms.smpp_address: want the message centre's host:port"},
		"smpp without a password":    {func(c *config.Config) { c.SMS.Provider = "smpp" }, "sms.smpp_password: give the password (or COUNTERSIGN_SMS_SMPP_PASSWORD_FILE)"},
		"webhook with a weak key": {func(c *config.Config) {
			c.SMS.Provider, c.SMS.WebhookURL, c.SMS.WebhookSecret = "webhook", "https://s.example", config.NewSecret("hunter2")
		}, "sms.webhook_secret: want"},
		"webhook in clear":          {func(c *config.Config) { c.SMS.Provider, c.SMS.WebhookURL = "webhook", "http://sms.example.org" }, "sms.webhook_url: want an https address"},
		"metrics where people come": {func(c *config.Config) { c.Metrics.Listen = c.HTTP.Listen }, "the public must not read it"},
		"page in clear":             {func(c *config.Config) { c.API.DeprecationURL = "http://example.org/old" }, "api.deprecation_url: want an https address"},
		"page that ends the header": {func(c *config.Config) { c.API.DeprecationURL = `https://example.org/>; rel="next"` }, "api.deprecation_url: want an address as it stands"},
		"page in other letters":     {func(c *config.Config) { c.API.DeprecationURL = "https://example.org/ä b" }, "api.deprecation_url: want an address as it stands"},
		"an app without a root":     {func(c *config.Config) { c.App.AndroidPackage = "org.example.app" }, "android_digests and android_roots go together"},
		"an app of no package": {func(c *config.Config) {
			c.App.AndroidPackage, c.App.AndroidRoots, c.App.AndroidDigests = "app", "r.pem", []string{strings.Repeat("AB:", 31) + "AB"}
		}, "app.android_package: \"app\""},
		"a short digest": {func(c *config.Config) {
			c.App.AndroidPackage, c.App.AndroidRoots, c.App.AndroidDigests = "org.example.app", "r.pem", []string{"abcd"}
		}, "app.android_digests: \"abcd\": want a SHA-256"},
		"revoked for nobody":      {func(c *config.Config) { c.App.AndroidStatus = "s.json" }, "app.android_status"},
		"an app without a team":   {func(c *config.Config) { c.App.AppleAppID, c.App.AppleRoot = "org.example.app", "r.pem" }, "app.apple_app_id: \"org.example.app\""},
		"an Apple without a root": {func(c *config.Config) { c.App.AppleAppID = "A1B2C3D4E5.org.example.app" }, "set both or neither"},
		"attested by nobody":      {func(c *config.Config) { c.App.RequireAttestation = true }, "app.require_attestation"},
		"region in words":         {func(c *config.Config) { c.Phone.DefaultRegion = "Germany" }, "phone.default_region"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config.Default()
			c.change(&cfg)
			err := cfg.Validate()
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("a secret stands in %q", err)
			}
		})
	}
}

func TestAllProblemsAreListedAtOnce(t *testing.T) {
	cfg := config.Default()
	cfg.Site.PublicURL, cfg.SignIn.CodeDigits, cfg.Log.Level = "http://example.org", 4, "loud"
	if bad, ok := errors.AsType[config.Problems](cfg.Validate()); !ok || len(bad) < 3 {
		t.Fatalf("got %v", bad)
	}
}

// Secrets print as [secret] however a configuration is printed.
func TestNothingPrintsASecret(t *testing.T) {
	c, err := load(t, "", []string{
		"COUNTERSIGN_KEYS=canary-keys", "COUNTERSIGN_DATABASE_URL=postgres://u:canary-db@h/n",
		"COUNTERSIGN_SMS_TWILIO_PASSWORD=canary-token", "COUNTERSIGN_SMS_SMPP_PASSWORD=canary-smpp", "COUNTERSIGN_EMAIL_SMTP_PASSWORD=canary-smtp", "COUNTERSIGN_EMAIL_WEBHOOK_SECRET=canary-hook",
		"COUNTERSIGN_SMS_VONAGE_SECRET=canary-vonage", "COUNTERSIGN_SMS_VONAGE_SIGNATURE=canary-sig", "COUNTERSIGN_SMS_INFOBIP_KEY=canary-infobip", "COUNTERSIGN_SMS_SNS_SECRET=canary-sns", "COUNTERSIGN_SMS_HTTP_SECRET=canary-http",
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{c.Print(), fmt.Sprintf("%v %+v %#v", c, c, c)} {
		if strings.Contains(text, "canary") || !strings.Contains(text, "[secret]") {
			t.Errorf("printed: %s", text)
		}
	}
}

func TestWhatIsPrintedCanBeReadAgain(t *testing.T) {
	def := config.Default()
	text := strings.Replace(def.Print(), `url = "[secret]"`, `url = "sqlite:countersign.db"`, 1)
	again, err := load(t, text, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(def.Print(), again.Print()); d != "" {
		t.Error(d)
	}
}

func TestEverySettingHasAComment(t *testing.T) {
	for line := range strings.Lines(config.Markdown()) {
		if strings.HasPrefix(line, "| `") && strings.HasSuffix(line, "|  |\n") {
			t.Error("no comment: " + line)
		}
	}
}

func TestTheDocumentationIsInStep(t *testing.T) {
	text, err := os.ReadFile("../../../docs/config.md")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(config.Markdown(), string(text)); d != "" {
		t.Errorf("run: go run ./cmd/countersign config print --markdown > docs/config.md\n%s", d)
	}
}

func TestSeveralProvidersOfTextMessages(t *testing.T) {
	good := config.Default()
	good.SMS.Provider, good.SMS.Then, good.SMS.From = "twilio", []string{"webhook"}, "+15005550006"
	good.SMS.TwilioAccount, good.SMS.TwilioPassword = "AC1", config.NewSecret("x")
	good.SMS.WebhookURL, good.SMS.WebhookSecret = "https://sms.example.org", config.NewSecret("whsec_"+strings.Repeat("QUFB", 10))
	good.SMS.Routes, good.SMS.Senders = []string{"+49=webhook,twilio"}, []string{"+1=Example"}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*config.SMS){
		"one twice":                     func(s *config.SMS) { s.Then = []string{"twilio"} },
		"one nobody knows":              func(s *config.SMS) { s.Then = []string{"pigeon"} },
		"a second without its settings": func(s *config.SMS) { s.WebhookURL = "" },
		"none, and then one":            func(s *config.SMS) { s.Provider = "none" },
		"a route by another":            func(s *config.SMS) { s.Routes = []string{"+49=pigeon"} },
		"a route of no number":          func(s *config.SMS) { s.Routes = []string{"49=webhook"} },
		"two routes of one":             func(s *config.SMS) { s.Routes = []string{"+49=webhook", "+49=twilio"} },
		"a sender of nobody":            func(s *config.SMS) { s.Senders = []string{"+1="} },
	} {
		bad := good
		change(&bad.SMS)
		if bad.Validate() == nil {
			t.Errorf("%s is taken", what)
		}
	}
}

// An operator mends a file once: keys that there are not, values of another type and values that cannot be are said together.
func TestEverythingThatIsWrongIsSaidAtOnce(t *testing.T) {
	const file = `
[site]
public_url = "http://id.example.org"
[device]
remember_for = "90 days"
[password]
min_length = "x"
minimum = 8
[signin]
code_digits = 4
`
	_, err := config.Load(config.Source{File: "c.toml", ReadFile: func(string) ([]byte, error) { return []byte(file), nil }})
	for _, want := range []string{
		"c.toml line 5 device.remember_for: want a duration", "c.toml line 7 password.min_length: want a whole number", "c.toml line 8: there is no setting password.minimum",
		"site.public_url: want https", "signin.code_digits: ",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not said:\n%v", want, err)
		}
	}
	// What is broken in form is said alone: the rest of it would be our mistake.
	_, err = config.Load(config.Source{File: "c.toml", ReadFile: func(string) ([]byte, error) {
		return []byte("[site]\npublic_url = \"x\n[device]\nremember_for = 1\n"), nil
	}})
	if err == nil || strings.Count(err.Error(), "\n") != 0 || !strings.Contains(err.Error(), "c.toml line 2") {
		t.Errorf("%v", err)
	}
}
