package config

import (
	"regexp"
	"slices"
	"strings"
)

// codesAlone are providers that carry codes and nothing else.
func codesAlone() []string { return []string{"whatsapp", "twilio_call", "vonage_call"} }

// checkCodesAlone wants another provider beside those, since notices go by text message, too, and so do codes that those do not deliver.
func (c Config) checkCodesAlone(k *checker) {
	alone := func(names []string) bool {
		return len(names) > 0 && !slices.ContainsFunc(names, func(name string) bool { return !slices.Contains(codesAlone(), name) })
	}
	const want = "%s carries codes and nothing else: name a provider of text messages beside it"
	if all := c.SMS.Providers(); alone(all) {
		k.want(false, "sms.then", want, strings.Join(all, ","))
	}
	for _, r := range c.SMS.Rules() {
		k.want(!alone(r.Providers), "sms.routes", want, strings.Join(r.Providers, ","))
	}
}

// templateLanguage is a language of ours and what a template calls it.
var templateLanguage = regexp.MustCompile(`^(ar|de|en|es|fr)=[A-Za-z_]{2,10}$`)

func (c Config) checkWhatsApp(k *checker) {
	s := c.SMS
	k.want(s.WhatsAppPhone != "" && strings.Trim(s.WhatsAppPhone, "0123456789") == "", "sms.whatsapp_phone", "give the id of the sending number, digits alone, as the app's page of WhatsApp shows it")
	k.want(!s.WhatsAppToken.Empty(), "sms.whatsapp_token", "give a system user's access token (or COUNTERSIGN_SMS_WHATSAPP_TOKEN_FILE)")
	k.want(s.WhatsAppText != "", "sms.whatsapp_template", "name an approved authentication template")
	k.want(s.WhatsAppSecret.Empty() == s.WhatsAppVerify.Empty(), "sms.whatsapp_app_secret", "whatsapp_app_secret and whatsapp_verify_token go together: set both, or neither and hear of no statuses")
	for _, line := range s.WhatsAppLangs {
		k.want(templateLanguage.MatchString(line), "sms.whatsapp_languages", "%q: want a language and what the template calls it, such as en=en_US", line)
	}
	k.outbound("sms.whatsapp_url", s.WhatsAppURL)
}

// TemplateLanguages are SMS.WhatsAppLangs by language.
func (s SMS) TemplateLanguages() map[string]string { return byBeginning(s.WhatsAppLangs) }

// checkCall looks at what calls take, whoever makes them.
func (c Config) checkCall(k *checker) {
	s := c.SMS
	k.want(callFrom.MatchString(s.CallFrom), "sms.call_from", "give the number that calls come from, such as +15005550006")
	k.want(s.Reports && !Loopback(c.Public().Hostname()), "sms.reports", "during a call the provider asks the server what to say: set sms.reports = true and a site.public_url that it reaches")
	all := s.Providers()
	k.want(!slices.Contains(all, "twilio_call") || !slices.Contains(all, "vonage_call"), "sms.then", "twilio_call and vonage_call call from one number, sms.call_from: name one of them")
}

var callFrom = regexp.MustCompile(`^\+[0-9]{7,15}$`)
