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

// checkMailboxTokens looks at what the mailbox of bounces is shown: a password or tokens.
func (c Config) checkMailboxTokens(k *checker) {
	b := c.Bounces
	if b.OAuthTokenURL == "" {
		k.want(b.User != "" && !b.Password.Empty(), "bounces.imap_user", "give the mailbox's user and password (or COUNTERSIGN_BOUNCES_IMAP_PASSWORD_FILE), or say where tokens are to be had")
		k.want(b.OAuthClientID == "" && b.OAuthSecret.Empty() && b.OAuthRefresh.Empty(), "bounces.imap_oauth_token_url", "say where tokens are to be had")
		return
	}
	k.outbound("bounces.imap_oauth_token_url", b.OAuthTokenURL)
	k.want(b.OAuthClientID != "", "bounces.imap_oauth_client_id", "name the client that asks for tokens")
	k.want(!b.OAuthSecret.Empty() || !b.OAuthRefresh.Empty(), "bounces.imap_oauth_client_secret", "give the client's secret (or COUNTERSIGN_BOUNCES_IMAP_OAUTH_CLIENT_SECRET_FILE), or a refresh token")
	k.want(b.User != "", "bounces.imap_user", "name the mailbox that the token is for")
	k.want(b.Password.Empty(), "bounces.imap_password", "a token takes the place of the password: set one of them")
}
