package config

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nyaruka/phonenumbers"

	"countersign/internal/platform/clientip"
)

// checker collects what is wrong.
type checker struct{ bad Problems }

// want notes a problem of a setting unless ok.
func (k *checker) want(ok bool, key, format string, args ...any) {
	if !ok {
		k.bad = append(k.bad, key+": "+fmt.Sprintf(format, args...))
	}
}

func (k *checker) oneOf(key, value string, allowed ...string) {
	k.want(slices.Contains(allowed, value), key, "want one of %s, not %q", strings.Join(allowed, ", "), value)
}

func (k *checker) between(key string, value, least, most int) {
	k.want(value >= least && value <= most, key, "want %d to %d, not %d", least, most, value)
}

func (k *checker) lasts(key string, value Duration, least, most time.Duration) {
	if d := value.D().Abs(); d > 0 && d < time.Millisecond { // TOML reads a number without a unit as nanoseconds
		k.want(false, key, "%s", errDuration)
		return
	}
	k.want(value.D() >= least && value.D() <= most, key, "want %s to %s, not %s", Duration(least), Duration(most), value)
}

// Validate checks the whole configuration, and returns every problem in words that say what to do.
func (c Config) Validate() error {
	k := &checker{}
	c.checkSite(k)
	c.checkHTTP(k)
	c.checkStore(k)
	c.checkPassword(k)
	c.checkTimes(k)
	c.checkFactor(k)
	c.checkPasskeys(k)
	c.checkApp(k)
	c.checkRegistration(k)
	c.checkEmail(k)
	c.checkBounces(k)
	c.checkSIMSwap(k)
	c.checkSMS(k)
	c.checkGuard(k)
	c.checkForward(k)
	c.checkOIDC(k)
	c.checkWatch(k)
	if len(k.bad) > 0 {
		return k.bad
	}
	return nil
}

// Loopback reports whether host is this machine and nobody else's.
func Loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

func (c Config) checkSite(k *checker) {
	name := c.Site.Name
	k.want(name != "" && utf8.RuneCountInString(name) <= 64 && !strings.ContainsFunc(name, unicode.IsControl), "site.name", "want 1 to 64 characters without line breaks")
	u, err := url.Parse(c.Site.PublicURL)
	if err != nil || u.Host == "" {
		k.want(false, "site.public_url", "want an address such as https://id.example.org")
		return
	}
	k.want(u.Scheme == "https" || u.Scheme == "http" && Loopback(u.Hostname()), "site.public_url",
		"want https (http is for localhost and 127.0.0.1 only: elsewhere browsers refuse our cookies)")
	k.want(strings.TrimSuffix(u.Path, "/") == "" && u.RawQuery == "" && u.Fragment == "" && u.User == nil, "site.public_url",
		"want scheme and host alone, without a path, query or user: give Countersign a host name of its own")
}

// groupName is what account.CheckGroup takes: nobody could be in another, and its policy would be nobody's.
var groupName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,31}$`)

func (c Config) checkFactor(k *checker) {
	policies := []string{"unrecognised_device", "always", "phishing_resistant"}
	k.oneOf("factor.policy", c.Factor.Policy, policies...)
	for _, one := range c.Factor.Groups {
		group, policy, _ := strings.Cut(one, "=")
		k.want(groupName.MatchString(group) && slices.Contains(policies, policy), "factor.groups",
			"%q: want a group and its policy, such as admins=phishing_resistant; policies are %s", one, strings.Join(policies, ", "))
	}
	k.want(len(c.Factor.OfGroups()) == len(c.Factor.Groups), "factor.groups", "a group stands there twice")
	k.oneOf("factor.enrol", c.Factor.Enrol, "never", "suggest", "require")
	k.between("factor.enrol_skips", c.Factor.EnrolSkips, 0, 100)
	if day := c.Factor.EnrolDeadline; day != "" {
		_, err := time.Parse(time.DateOnly, day)
		k.want(err == nil, "factor.enrol_deadline", "want a day such as 2027-01-31, not %q", day)
		k.want(c.Factor.Enrol == "require", "factor.enrol_deadline", "a deadline needs enrol = \"require\"")
	}
}

func (c Config) checkGuard(k *checker) {
	for _, country := range c.Guard.Countries {
		k.want(phonenumbers.GetSupportedRegions()[country], "guard.countries", "%q: want the two capital letters of a country that has numbers (ISO 3166), such as DE", country)
	}
	for key, value := range map[string]string{"guard.hour_cap": c.Guard.HourCap, "guard.day_cap": c.Guard.DayCap, "guard.country_cap": c.Guard.CountryCap} {
		v, err := strconv.ParseFloat(value, 64)
		k.want(err == nil && v >= 0 && v <= 1e9, key, "want an amount such as 25.00, or 0 for no cap, not %q", value)
		k.want(v == 0 || c.Guard.Prices != "", key, "a cap needs prices: name a file as guard.prices")
	}
}

// appOrigin begins the origin of an Android app: the digest of its signing certificate follows.
const appOrigin = "android:apk-key-hash:"

func (c Config) checkPasskeys(k *checker) {
	k.oneOf("passkey.attestation", c.Passkey.Attestation, "none", "known", "certified")
	for _, o := range c.Passkey.Origins {
		hash, app := strings.CutPrefix(o, appOrigin)
		if app {
			raw, err := base64.RawURLEncoding.DecodeString(hash)
			k.want(err == nil && len(raw) == 32, "passkey.origins", "%q: want %s and the SHA-256 of the app's certificate in base64url", o, appOrigin)
			continue
		}
		u, err := url.Parse(o)
		k.want(err == nil && u.Scheme == "https" && u.Host != "" && o == "https://"+u.Host, "passkey.origins",
			"%q: want scheme and host alone, such as https://shop.example", o)
	}
}

func (c Config) checkHTTP(k *checker) {
	k.address("http.listen", c.HTTP.Listen)
	k.want((c.HTTP.TLSCertFile == "") == (c.HTTP.TLSKeyFile == ""), "http.tls_cert_file", "tls_cert_file and tls_key_file go together: set both or neither")
	k.want(c.HTTP.TLSCertFile == "" || strings.HasPrefix(c.Site.PublicURL, "https:"), "http.tls_cert_file", "site.public_url must begin with https when there is a certificate")
	for _, p := range c.HTTP.TrustedProxies {
		prefix, err := netip.ParsePrefix(p)
		k.want(err == nil, "http.trusted_proxies", "%q is no network: write 192.0.2.7/32 for one address", p)
		k.want(err != nil || prefix.Bits() > 0, "http.trusted_proxies", "%q would believe everybody", p)
	}
	for _, p := range c.Throttle.ExemptSources {
		prefix, err := netip.ParsePrefix(p)
		k.want(err == nil && prefix.Bits() > 0, "throttle.exempt_sources", "%q: want a network such as 192.0.2.7/32, and not everybody", p)
	}
	k.oneOf("http.forwarded_header", c.HTTP.ForwardedHeader, string(clientip.XForwardedFor), string(clientip.Forwarded))
	for _, h := range c.HTTP.InternalHosts {
		k.want(h != "" && !strings.ContainsAny(h, "/*@ "), "http.internal_hosts", "%q: want a host as it stands in the Host header, such as countersign:8080", h)
	}
	k.lasts("http.stop_after", c.HTTP.StopAfter, time.Second, 5*time.Minute)
}

func (k *checker) address(key, value string) {
	_, port, err := net.SplitHostPort(value)
	k.want(err == nil && port != "", key, "want an address and a port such as 127.0.0.1:8080, not %q", value)
}

func (c Config) checkStore(k *checker) {
	db := c.Database.URL.Reveal() // never printed: it may hold a password
	path, isFile := strings.CutPrefix(db, "sqlite:")
	k.want(isFile && path != "" || strings.HasPrefix(db, "postgres://") || strings.HasPrefix(db, "postgresql://"),
		"database.url", "want sqlite:PATH or postgres://USER:PASSWORD@HOST/NAME")
	k.between("database.max_conns", c.Database.MaxConns, 1, 1000)
	k.lasts("database.max_staleness", c.Database.MaxStaleness, time.Second, time.Hour)
	k.want(c.Keys.File != "" || !c.Keys.Value.Empty(), "keys.file", "name the key file, or give the keys in COUNTERSIGN_KEYS")
}

func (c Config) checkPassword(k *checker) {
	p := c.Password
	k.between("password.min_length", p.MinLength, 8, 64)
	k.between("password.memory_kib", p.MemoryKiB, 12<<10, 4<<20)
	k.between("password.time", p.Time, 1, 100)
	k.between("password.threads", p.Threads, 1, 16)
	k.between("password.parallel", p.Parallel, 0, 1024)
	least := map[int]int{1: 46 << 10, 2: 19 << 10} // OWASP's equal settings; 12 MiB with more passes
	floor, ok := least[p.Time]
	if !ok {
		floor = 12 << 10
	}
	k.want(p.MemoryKiB >= floor, "password.memory_kib", "%d with time %d is weaker than OWASP's least: want %d or more", p.MemoryKiB, p.Time, floor)
	k.lasts("password.max_wait", p.MaxWait, 100*time.Millisecond, 20*time.Second)
}

func (c Config) checkTimes(k *checker) {
	k.lasts("signin.flow_ttl", c.SignIn.FlowTTL, time.Minute, time.Hour)
	k.between("signin.code_digits", c.SignIn.CodeDigits, 6, 10)
	k.lasts("signin.code_ttl", c.SignIn.CodeTTL, time.Minute, 10*time.Minute)
	k.lasts("account.erase_after", c.Account.EraseAfter, 72*time.Hour, 720*time.Hour)
	k.lasts("device.remember_for", c.Device.RememberFor, time.Hour, 720*time.Hour)
	if c.Recovery.Wait != 0 {
		k.lasts("recovery.wait", c.Recovery.Wait, time.Hour, 168*time.Hour)
	}
	k.lasts("session.idle", c.Session.Idle, time.Minute, 720*time.Hour)
	k.lasts("session.absolute", c.Session.Absolute, time.Minute, 720*time.Hour)
	k.want(c.Session.Idle <= c.Session.Absolute, "session.idle", "must not be longer than session.absolute (%s)", c.Session.Absolute)
}

func (c Config) checkBounces(k *checker) {
	b := c.Bounces
	if b.Address != "" {
		a, err := mail.ParseAddress(b.Address)
		k.want(err == nil && a.Address == b.Address, "bounces.address", "want an address alone, such as bounces@example.org")
	}
	if !b.Secret.Empty() {
		k.webhookKey("bounces", b.Secret)
		k.want(c.Email.Provider != "none" && c.Email.Provider != "inbox", "bounces.webhook_secret", "there are no letters by e-mail that could bounce: set email.provider")
	}
	if b.Host == "" {
		return
	}
	k.want(c.Email.Provider == "smtp", "bounces.imap_host", "letters come back this way where email.provider is smtp")
	k.between("bounces.imap_port", b.Port, 1, 65535)
	c.checkMailboxTokens(k)
	k.want(b.Folder != "", "bounces.imap_folder", "name the folder: INBOX, usually")
}

func (c Config) checkSIMSwap(k *checker) {
	s := c.SIMSwap
	if s.URL == "" {
		return
	}
	k.outbound("sim_swap.url", s.URL)
	k.outbound("sim_swap.token_url", s.TokenURL)
	k.want(s.ClientID != "" && !s.ClientSecret.Empty(), "sim_swap.client_id", "give the client and its secret (or COUNTERSIGN_SIM_SWAP_CLIENT_SECRET_FILE)")
	k.lasts("sim_swap.within", s.Within, time.Hour, 2400*time.Hour)
	k.want(s.Within.D()%time.Hour == 0, "sim_swap.within", "want whole hours")
	for _, beginning := range s.Numbers {
		k.want(strings.HasPrefix(beginning, "+") && strings.Trim(beginning[1:], "0123456789") == "", "sim_swap.numbers", "%q: want the beginning of a number, such as +49", beginning)
	}
}

func (c Config) checkEmail(k *checker) {
	e := c.Email
	k.oneOf("email.provider", e.Provider, "smtp", "ses", "http", "webhook", "inbox", "none")
	k.want(e.Provider != "none" || c.SMS.Provider != "none", "email.provider", "e-mail and SMS are both none: nobody could be sent a code; set one of them")
	c.checkInbox(k, "email.provider", e.Provider)
	switch e.Provider {
	case "smtp":
		k.want(e.SMTPHost != "", "email.smtp_host", "name the mail relay")
		k.between("email.smtp_port", e.SMTPPort, 1, 65535)
		k.between("email.smtp_connections", e.SMTPAtOnce, 1, 100)
		k.oneOf("email.smtp_tls", e.SMTPTLS, "starttls", "implicit", "none")
		k.want(e.SMTPTLS != "none" || Loopback(e.SMTPHost), "email.smtp_tls", "none is for a relay on localhost only: codes must not cross a network in clear")
		c.checkTokens(k)
		c.checkSender(k)
	case "ses":
		c.checkSender(k)
		c.checkSES(k)
	case "http":
		c.checkSender(k)
		address, _, _ := strings.Cut(e.HTTPURL, "?")
		k.outbound("email.http_url", address)
	case "webhook":
		k.webhook("email", e.WebhookURL, e.WebhookSecret)
	}
}

// checkTokens looks at what the relay is shown: nothing, a password, or tokens.
func (c Config) checkTokens(k *checker) {
	e := c.Email
	if e.OAuthTokenURL == "" {
		k.want((e.SMTPUser == "") == e.SMTPPassword.Empty(), "email.smtp_user", "smtp_user and smtp_password go together: set both or neither")
		k.want(e.OAuthClientID == "" && e.OAuthSecret.Empty() && e.OAuthRefresh.Empty(), "email.smtp_oauth_token_url", "say where tokens are to be had")
		return
	}
	k.outbound("email.smtp_oauth_token_url", e.OAuthTokenURL)
	k.want(e.OAuthClientID != "", "email.smtp_oauth_client_id", "name the client that asks for tokens")
	k.want(!e.OAuthSecret.Empty() || !e.OAuthRefresh.Empty(), "email.smtp_oauth_client_secret", "give the client's secret (or COUNTERSIGN_EMAIL_SMTP_OAUTH_CLIENT_SECRET_FILE), or a refresh token")
	k.want(e.SMTPUser != "", "email.smtp_user", "name the mailbox that the token is for")
	k.want(e.SMTPPassword.Empty(), "email.smtp_password", "a token takes the place of the password: set one of them")
	k.want(e.SMTPTLS != "none", "email.smtp_tls", "a token is not shown in clear: want starttls or implicit")
}

// checkInbox keeps the demonstration's inbox away from real people: its letters never arrive.
func (c Config) checkInbox(k *checker, key, provider string) {
	k.want(provider != "inbox" || Loopback(c.Public().Hostname()), key, "inbox delivers to nobody and works on localhost only: choose a provider, or none")
}

func (k *checker) webhook(section, address string, key Secret) {
	k.outbound(section+".webhook_url", address)
	k.webhookKey(section, key)
}

func (k *checker) webhookKey(section string, key Secret) {
	b64, marked := strings.CutPrefix(key.Reveal(), "whsec_")
	raw, err := base64.StdEncoding.DecodeString(b64)
	k.want(marked && err == nil && len(raw) >= 24 && len(raw) <= 64, section+".webhook_secret",
		"want whsec_ and base64 of 24 to 64 bytes, known to the other side: echo whsec_$(openssl rand -base64 32)")
}

// outbound wants https to anywhere but this machine.
func (k *checker) outbound(key, address string) {
	u, err := url.Parse(address)
	ok := err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && Loopback(u.Hostname()))
	k.want(ok, key, "want an https address")
}

func (c Config) checkWatch(k *checker) {
	if page := c.API.DeprecationURL; page != "" {
		k.outbound("api.deprecation_url", page)
		u, err := url.Parse(page)
		k.want(err != nil || u.String() == page && !strings.ContainsAny(page, `<>"`), "api.deprecation_url", "want an address as it stands in a header: letters of other scripts and spaces as %%XX")
	}
	k.oneOf("log.format", c.Log.Format, "json", "text")
	k.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	if c.Metrics.Listen != "" {
		k.address("metrics.listen", c.Metrics.Listen)
		k.want(c.Metrics.Listen != c.HTTP.Listen, "metrics.listen", "must not be http.listen: the public must not read it")
	}
}
