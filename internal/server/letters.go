package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/url"
	"strings"
	"time"

	"countersign/internal/audit"
	"countersign/internal/courier"
	"countersign/internal/courier/amazon"
	"countersign/internal/courier/anyhttp"
	"countersign/internal/courier/failover"
	"countersign/internal/courier/inbox"
	"countersign/internal/courier/infobip"
	"countersign/internal/courier/ses"
	"countersign/internal/courier/smpp"
	"countersign/internal/courier/smtp"
	"countersign/internal/courier/sns"
	"countersign/internal/courier/token"
	"countersign/internal/courier/twilio"
	"countersign/internal/courier/vonage"
	"countersign/internal/courier/webhook"
	"countersign/internal/courier/whatsapp"
	"countersign/internal/message"
	"countersign/internal/platform/config"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/web/hooks"
)

// checkLetters says what in the settings would keep letters from being written or from leaving. It
// connects to nothing.
func checkLetters(c config.Config, now func() time.Time) error {
	_, wordless := catalog(c)
	_, routeless := routes(c, slog.New(slog.DiscardHandler), now, &inbox.Inbox{Now: now}, back{})
	return errors.Join(wordless, routeless)
}

func catalog(c config.Config) (*message.Catalog, error) {
	words, err := message.New(typed(c.Public()))
	if err != nil {
		return nil, fmt.Errorf("site.public_url: %w", err)
	}
	return words, nil
}

// typed is what people type to reach an address: its port only where their browsers would choose another.
func typed(u *url.URL) string {
	if u.Port() == map[string]string{"http": "80", "https": "443"}[u.Scheme] {
		return u.Hostname()
	}
	return u.Host
}

// back is how providers tell what became of letters: those that call us at an address below at, unless it is empty, the others by take, unless it is nil.
type back struct {
	at    string
	mail  string // as at, for e-mail
	take  func(courier.Report)
	topic func(arn string) (*amazon.Topic, error) // where SES's events come from; nil for a real one
}

// reportsAt is where providers of text messages may call; no provider reaches this machine's own address.
func reportsAt(c config.Config) string {
	if !c.SMS.Reports || config.Loopback(c.Public().Hostname()) {
		return ""
	}
	return c.Public().JoinPath(hooks.Path, "sms").String() + "/"
}

// mailAt is where services that took e-mail may call about one letter.
func mailAt(c config.Config) string {
	if config.Loopback(c.Public().Hostname()) {
		return ""
	}
	return c.Public().JoinPath(hooks.Path, "mail").String() + "/"
}

// of is the address of one provider.
func (b back) of(name string) string {
	if b.at == "" {
		return ""
	}
	return b.at + name
}

// mailOf is of for e-mail.
func (b back) mailOf(name string) string {
	if b.mail == "" {
		return ""
	}
	return b.mail + name
}

// routes says how letters leave, by channel. box serves the provider inbox.
func routes(c config.Config, log *slog.Logger, now func() time.Time, box *inbox.Inbox, b back) (map[message.Channel]courier.Route, error) {
	out := map[message.Channel]courier.Route{}
	email, err := emailProvider(c, now, box, b)
	if err != nil {
		return nil, fmt.Errorf("email: %w", err)
	}
	if email != nil {
		out[message.Email] = courier.Route{Provider: email, From: c.Email.From}
	}
	sms, err := smsProviders(c, log, now, box, b)
	if err != nil {
		return nil, fmt.Errorf("sms: %w", err)
	}
	if sms != nil {
		out[message.SMS] = courier.Route{Provider: sms, From: c.SMS.From, Senders: c.SMS.Froms()}
	}
	return out, nil
}

// smsProviders is the one provider of text messages, or what chooses among several.
func smsProviders(c config.Config, log *slog.Logger, now func() time.Time, box *inbox.Inbox, b back) (courier.Provider, error) {
	s := c.SMS
	var all []courier.Provider
	for _, name := range s.Providers() {
		p, err := smsProvider(s, name, now, box, b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, p)
	}
	switch {
	case len(all) == 0:
		return nil, nil //nolint:nilnil // none is a provider an operator can choose
	case len(all) == 1 && len(s.Routes) == 0 && len(s.Rates) == 0:
		return all[0], nil
	}
	var rules []failover.Rule
	for _, r := range s.Rules() {
		rules = append(rules, failover.Rule{Prefix: r.Prefix, Country: r.Country, What: failover.What(r.What), Order: failover.Order(r.Order), Providers: r.Providers})
	}
	several, err := failover.New(all, rules, log, now)
	if err != nil {
		return nil, err
	}
	rates := map[string]failover.Rate{}
	for name, r := range s.Paces() {
		rates[name] = failover.Rate(r)
	}
	prices, err := guardRules(c)
	if err != nil {
		return nil, err
	}
	several.Follow(failover.Policy{Order: failover.Order(s.Order), Weights: s.Shares(), Rates: rates, Price: func(provider, to string) int64 {
		micros, known := prices.Prices.Of(provider, to)
		if !known {
			return math.MaxInt64 // nobody knows what it may cost
		}
		return micros
	}})
	return several, nil
}

func emailProvider(c config.Config, now func() time.Time, box *inbox.Inbox, b back) (courier.Provider, error) {
	e := c.Email
	switch e.Provider {
	case "smtp":
		return smtpProvider(e, c.Bounces.Address, now)
	case "ses":
		return sesProvider(e, now, b)
	case "http":
		return anyhttp.New(anyhttp.Config{
			Mail: true, URL: e.HTTPURL, Method: e.HTTPMethod, Headers: e.HTTPHeaders, Body: e.HTTPBody, Type: e.HTTPType, Secret: e.HTTPSecret.Token,
			Taken: e.HTTPTaken, Refused: e.HTTPRefused, ID: e.HTTPID, Reports: b.mailOf("http"), Delivered: e.HTTPDelivered, NotDelivered: e.HTTPFailed,
		})
	case "webhook":
		return webhook.New(webhook.Config{URL: e.WebhookURL, Secrets: []secret.Token{e.WebhookSecret.Token}, Now: now, Reports: b.mailOf("webhook")})
	case "inbox":
		return box, nil
	}
	return nil, nil //nolint:nilnil // none is a provider an operator can choose
}

func sesProvider(e config.Email, now func() time.Time, b back) (courier.Provider, error) {
	s := ses.Config{Region: e.SESRegion, Key: e.SESKey, Secret: e.SESSecret.Token, Set: e.SESSet, Base: e.SESURL, Now: now}
	if e.SESTopic != "" {
		open := b.topic
		if open == nil {
			open = func(arn string) (*amazon.Topic, error) { return amazon.NewTopic(arn, now, nil, nil) }
		}
		var err error
		if s.Topic, err = open(e.SESTopic); err != nil {
			return nil, fmt.Errorf("ses_topic: %w", err)
		}
	}
	return ses.New(s)
}

func smtpProvider(e config.Email, bounces string, now func() time.Time) (courier.Provider, error) {
	var tokens *token.Config
	if e.OAuthTokenURL != "" {
		tokens = &token.Config{
			URL: e.OAuthTokenURL, ClientID: e.OAuthClientID, ClientSecret: e.OAuthSecret.Token,
			RefreshToken: e.OAuthRefresh.Token, Scopes: strings.Fields(e.OAuthScope),
		}
	}
	return smtp.New(smtp.Config{
		Host: e.SMTPHost, Port: e.SMTPPort, Security: smtp.Security(e.SMTPTLS),
		User: e.SMTPUser, Password: e.SMTPPassword.Token, OAuth: tokens, Bounces: bounces, Connections: e.SMTPAtOnce, Now: now,
	})
}

func smsProvider(s config.SMS, name string, now func() time.Time, box *inbox.Inbox, b back) (courier.Provider, error) {
	switch name {
	case "smpp":
		source, err := smpp.ParseSource(s.SMPPSource)
		if err != nil {
			return nil, fmt.Errorf("smpp_source: %w", err)
		}
		return smpp.New(smpp.Config{
			Address: s.SMPPAddress, TLS: s.SMPPTLS, SystemID: s.SMPPSystemID, Password: s.SMPPPassword.Token, SystemType: s.SMPPSystemType,
			Window: s.SMPPWindow, Source: source, Report: b.take, Now: now,
		})
	case "twilio":
		return twilio.New(twilioConfig(s, b.of(name)))
	case "twilio_call":
		return twilio.NewCaller(twilioConfig(s, b.of(name)), s.CallFrom, now)
	case "vonage":
		return vonage.New(vonage.Config{Key: s.VonageKey, Secret: s.VonageSecret.Token, Signature: s.VonageSig.Token, Base: s.VonageURL, Reports: b.of(name), Now: now})
	case "vonage_call":
		return vonage.NewCaller(vonage.CallConfig{
			Application: s.VonageApp, Key: s.VonageAppKey.Token, Signature: s.VonageSig.Token, From: s.CallFrom, Reports: b.of(name), Base: s.VonageVoiceURL, Now: now,
		})
	case "infobip":
		return infobip.New(infobip.Config{Base: s.InfobipURL, Key: s.InfobipKey.Token, Reports: b.of(name), Now: now})
	case "sns":
		return sns.New(sns.Config{Region: s.SNSRegion, Key: s.SNSKey, Secret: s.SNSSecret.Token, Base: s.SNSURL, Now: now})
	case "http":
		return anyhttp.New(anyhttp.Config{
			URL: s.HTTPURL, Method: s.HTTPMethod, Headers: s.HTTPHeaders, Body: s.HTTPBody, Type: s.HTTPType, Secret: s.HTTPSecret.Token,
			Taken: s.HTTPTaken, Refused: s.HTTPRefused, ID: s.HTTPID, Reports: b.of(name), Delivered: s.HTTPDelivered, NotDelivered: s.HTTPFailed,
		})
	case "whatsapp":
		return whatsapp.New(whatsapp.Config{
			Phone: s.WhatsAppPhone, Token: s.WhatsAppToken.Token, Template: s.WhatsAppText, Languages: s.TemplateLanguages(),
			Secret: s.WhatsAppSecret.Token, Verify: s.WhatsAppVerify.Token, Base: s.WhatsAppURL, Now: now,
		})
	case "webhook":
		return webhook.New(webhook.Config{URL: s.WebhookURL, Secrets: []secret.Token{s.WebhookSecret.Token}, Now: now, Reports: b.of(name)})
	case "inbox":
		return box, nil
	}
	return nil, errors.New("there is no such provider") // Validate has refused it
}

func twilioConfig(s config.SMS, reports string) twilio.Config {
	user, token := s.TwilioUser, s.TwilioToken.Token
	if user == "" || user == s.TwilioAccount {
		user, token = s.TwilioAccount, s.TwilioPassword.Token
	}
	return twilio.Config{AccountSID: s.TwilioAccount, User: user, Password: s.TwilioPassword.Token, Base: s.TwilioURL, Reports: reports, Token: token}
}

// SendTest hands a letter to the provider of its channel at once, past the outbox and the guard.
func (c *Core) SendTest(ctx context.Context, l message.Letter) (courier.Receipt, error) {
	words, err := catalog(c.Config)
	if err != nil {
		return courier.Receipt{}, err
	}
	ways, err := routes(c.Config, slog.New(slog.DiscardHandler), c.DB.Now, &inbox.Inbox{Now: c.DB.Now}, back{})
	if err != nil {
		return courier.Receipt{}, err
	}
	r, ok := ways[l.Channel]
	if !ok {
		return courier.Receipt{}, fmt.Errorf("there is no provider for %s in the settings", l.Channel)
	}
	if _, demo := r.Provider.(*inbox.Inbox); demo {
		return courier.Receipt{}, errors.New("the provider inbox is for demonstrations, and delivers to nobody: set another")
	}
	defer func() { _ = hangUp(ways) }()
	return r.Now(ctx, words, l)
}

// PauseLetters keeps a channel's letters waiting on every node.
func (c *Core) PauseLetters(ctx context.Context, ch message.Channel, why string) (first bool, err error) {
	err = c.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if first, err = c.Outbox.Pause(ctx, tx, ch, why); err != nil {
			return err
		}
		return c.Audit.Append(ctx, tx, audit.Event{Kind: audit.LettersPaused, Actor: "operator", Detail: map[string]string{"channel": string(ch), "why": why}})
	})
	return first, err
}

// ResumeLetters lets them leave again.
func (c *Core) ResumeLetters(ctx context.Context, ch message.Channel) (paused bool, err error) {
	err = c.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if paused, err = c.Outbox.Resume(ctx, tx, ch); err != nil || !paused {
			return err
		}
		return c.Audit.Append(ctx, tx, audit.Event{Kind: audit.LettersResumed, Actor: "operator", Detail: map[string]string{"channel": string(ch)}})
	})
	return paused, err
}

// hangUp says goodbye to providers that a connection is kept to.
func hangUp(ways map[message.Channel]courier.Route) (err error) {
	for _, way := range ways {
		if p, ok := way.Provider.(io.Closer); ok {
			err = errors.Join(err, p.Close())
		}
	}
	return err
}
