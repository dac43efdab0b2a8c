package config

import (
	"net"
	"slices"
	"strings"
)

// Providers are those that text messages go by, in order; none if the first is none.
func (s SMS) Providers() []string {
	if s.Provider == "none" {
		return nil
	}
	return append([]string{s.Provider}, s.Then...)
}

// Froms are other senders than From, by the beginning of a number.
func (s SMS) Froms() map[string]string { return byBeginning(s.Senders) }

// byBeginning reads settings such as +49=value; Validate has refused others.
func byBeginning(lines []string) map[string]string {
	out := map[string]string{}
	for _, line := range lines {
		prefix, value, _ := strings.Cut(line, "=")
		out[prefix] = value
	}
	return out
}

func (k *checker) beginnings(key string, lines []string, fits func(value string) bool, want string) {
	for _, line := range lines {
		prefix, value, _ := strings.Cut(line, "=")
		ok := strings.HasPrefix(prefix, "+") && strings.Trim(prefix[1:], "0123456789") == "" && len(prefix) <= 16
		k.want(ok && fits(value), key, "%q: want the beginning of a number and %s", line, want)
	}
	k.want(len(byBeginning(lines)) == len(lines), key, "a beginning stands there twice")
}

func (c Config) checkSMS(k *checker) {
	s := c.SMS
	senders := []string{"smpp", "twilio", "vonage", "infobip", "sns", "http", "webhook", "whatsapp", "twilio_call", "vonage_call"}
	k.oneOf("sms.provider", s.Provider, append(slices.Clone(senders), "inbox", "none")...)
	c.checkInbox(k, "sms.provider", s.Provider)
	k.want(len(s.Then) == 0 || s.Provider != "none", "sms.then", "name the first of them as sms.provider")
	all := s.Providers()
	for i, name := range all {
		if i > 0 {
			k.oneOf("sms.then", name, senders...)
		}
		k.want(slices.Index(all, name) == i, "sms.then", "%s stands there twice", name)
		c.checkSMSProvider(k, name)
	}
	c.checkRouting(k)
	k.beginnings("sms.senders", s.Senders, func(value string) bool { return value != "" }, "a sender, such as +1=+15005550006")
	c.checkCodesAlone(k)
	r := c.Phone.DefaultRegion
	k.want(r == "" || len(r) == 2 && strings.ToUpper(r) == r, "phone.default_region", "want two capital letters such as DE, or nothing")
}

func (c Config) checkSMSProvider(k *checker, name string) {
	s := c.SMS
	switch name {
	case "smpp":
		_, port, err := net.SplitHostPort(s.SMPPAddress)
		k.want(err == nil && port != "", "sms.smpp_address", "want the message centre's host:port, such as smsc.example.net:3550")
		k.want(s.SMPPSystemID != "", "sms.smpp_system_id", "give the name that the operator gave you")
		k.want(!s.SMPPPassword.Empty(), "sms.smpp_password", "give the password (or COUNTERSIGN_SMS_SMPP_PASSWORD_FILE)")
		k.between("sms.smpp_window", s.SMPPWindow, 1, 1000)
		k.want(s.From != "", "sms.from", "give the sender: a number such as +4915112345678, a short code, or a name of up to 11 characters")
	case "twilio":
		k.want(s.TwilioAccount != "", "sms.twilio_account", "give the account SID")
		k.want(!s.TwilioPassword.Empty(), "sms.twilio_password", "give the auth token (or COUNTERSIGN_SMS_TWILIO_PASSWORD_FILE)")
		k.want(s.From != "", "sms.from", "give the sending number, such as +15005550006")
		k.outbound("sms.twilio_url", s.TwilioURL)
	case "vonage":
		k.want(s.VonageKey != "", "sms.vonage_key", "give the API key")
		k.want(!s.VonageSecret.Empty() || !s.VonageSig.Empty(), "sms.vonage_secret", "give the API secret (or COUNTERSIGN_SMS_VONAGE_SECRET_FILE), or the signature secret as sms.vonage_signature")
		k.want(s.From != "", "sms.from", "give the sender: a number such as +15005550006, or a name of up to 11 characters")
		k.outbound("sms.vonage_url", s.VonageURL)
	case "infobip":
		k.want(!s.InfobipKey.Empty(), "sms.infobip_key", "give the API key (or COUNTERSIGN_SMS_INFOBIP_KEY_FILE)")
		k.want(s.From != "", "sms.from", "give the sender: a number such as +15005550006, or a name of up to 11 characters")
		k.outbound("sms.infobip_url", s.InfobipURL)
	case "sns":
		k.want(s.SNSRegion != "", "sms.sns_region", "name the region, such as eu-central-1")
		k.want(s.SNSKey != "", "sms.sns_key", "give the id of the access key")
		k.want(!s.SNSSecret.Empty(), "sms.sns_secret", "give the access key's secret (or COUNTERSIGN_SMS_SNS_SECRET_FILE)")
		if s.SNSURL != "" {
			k.outbound("sms.sns_url", s.SNSURL)
		}
	case "http":
		address, _, _ := strings.Cut(s.HTTPURL, "?")
		k.outbound("sms.http_url", address)
	case "whatsapp":
		c.checkWhatsApp(k)
	case "twilio_call":
		k.want(s.TwilioAccount != "", "sms.twilio_account", "give the account SID")
		k.want(!s.TwilioPassword.Empty(), "sms.twilio_password", "give the auth token (or COUNTERSIGN_SMS_TWILIO_PASSWORD_FILE)")
		k.want(s.TwilioUser == "" || s.TwilioUser == s.TwilioAccount || !s.TwilioToken.Empty(), "sms.twilio_token", "calls take the account's auth token, which Twilio's questions are signed with")
		k.outbound("sms.twilio_url", s.TwilioURL)
		c.checkCall(k)
	case "vonage_call":
		k.want(s.VonageApp != "", "sms.vonage_application", "give the id of an application that may call")
		k.want(!s.VonageAppKey.Empty(), "sms.vonage_private_key", "give the application's private key (or COUNTERSIGN_SMS_VONAGE_PRIVATE_KEY_FILE)")
		k.want(!s.VonageSig.Empty(), "sms.vonage_signature", "calls take the account's signature secret, which Vonage's questions are signed with (or COUNTERSIGN_SMS_VONAGE_SIGNATURE_FILE)")
		k.outbound("sms.vonage_voice_url", s.VonageVoiceURL)
		c.checkCall(k)
	case "webhook":
		k.webhook("sms", s.WebhookURL, s.WebhookSecret)
	}
}
