package config

import (
	"net/mail"
	"regexp"
)

// topicName is a topic of Amazon SNS.
var topicName = regexp.MustCompile(`^arn:aws(?:-us-gov)?:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}$`)

func (c Config) checkSender(k *checker) {
	_, err := mail.ParseAddress(c.Email.From)
	k.want(err == nil, "email.from", `want a sender such as "Example <no-reply@example.org>"`)
}

func (c Config) checkSES(k *checker) {
	e := c.Email
	k.want(e.SESRegion != "", "email.ses_region", "name the region, such as eu-central-1")
	k.want(e.SESKey != "", "email.ses_key", "give the id of the access key")
	k.want(!e.SESSecret.Empty(), "email.ses_secret", "give the access key's secret (or COUNTERSIGN_EMAIL_SES_SECRET_FILE)")
	if e.SESTopic != "" {
		k.want(topicName.MatchString(e.SESTopic), "email.ses_topic", "want a standard topic's ARN, such as arn:aws:sns:eu-central-1:123456789012:name")
		k.want(!Loopback(c.Public().Hostname()), "email.ses_topic", "Amazon cannot reach %s: set site.public_url, or leave the topic out", c.Public().Hostname())
	}
	if e.SESURL != "" {
		k.outbound("email.ses_url", e.SESURL)
	}
}
