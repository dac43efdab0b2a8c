package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"countersign/internal/account"
	"countersign/internal/message"
	"countersign/internal/server"
	"countersign/internal/web/preview"
)

type messageCmd struct {
	Preview messagePreviewCmd `cmd:"" help:"Show what letters and text messages say."`
	Test    messageTestCmd    `cmd:"" help:"Send a test message, to see that it arrives."`
}

type messagePreviewCmd struct {
	Kind     string `arg:"" optional:"" help:"Such as signin_code; without it all kinds are shown."`
	Language string `default:"en" help:"Such as de."`
	Channel  string `enum:",email,sms" default:"" placeholder:"email|sms" help:"email or sms; without it both."`
	Serve    bool   `help:"As a page, with all kinds, languages and channels, on light and dark screens."`
	Listen   string `default:"127.0.0.1:8091" help:"Where, with --serve."`
}

// Help is shown after the flags.
func (messagePreviewCmd) Help() string {
	return `With made-up people and codes, and your site's name and host. Of a text message it says in which alphabet it is sent, how long it is,
and how many messages are paid for.

  countersign message preview
  countersign message preview signin_code --language ar --channel sms
  countersign message preview --serve`
}

// Run shows messages.
func (p messagePreviewCmd) Run(ctx context.Context, w world, c *cli) error {
	cfg, err := c.settings(w, nil)
	if err != nil {
		return err
	}
	if !slices.Contains(message.Languages(), p.Language) {
		return fmt.Errorf("--language: want one of %s; %w", strings.Join(message.Languages(), ", "), errUsage)
	}
	catalog, err := message.New(cfg.Public().Host)
	if err != nil {
		return err
	}
	from := message.Site{Name: cfg.Site.Name, Base: cfg.Public().String()}
	if p.Serve {
		h, err := preview.Handler(catalog, from)
		if err != nil {
			return err
		}
		return show(ctx, w, p.Listen, "every message", h)
	}
	kinds := message.Kinds()
	if p.Kind != "" {
		if !slices.Contains(kinds, message.Kind(p.Kind)) {
			return fmt.Errorf("there is no kind %q: countersign message preview shows them all; %w", p.Kind, errUsage)
		}
		kinds = []message.Kind{message.Kind(p.Kind)}
	}
	for _, k := range kinds {
		for _, ch := range []message.Channel{message.SMS, message.Email} {
			if p.Channel != "" && p.Channel != string(ch) {
				continue
			}
			words, err := catalog.Render(message.Sample(k, ch, p.Language, from))
			if err != nil {
				return err
			}
			if ch == message.SMS {
				w.say("== %s by sms: %s, %d characters, paid as %d\n%s\n", k, message.Alphabet(words.Text), len([]rune(words.Text)), message.Segments(words.Text), words.Text)
				continue
			}
			w.say("== %s by email: %s\n%s\n", k, words.Subject, words.Text)
		}
	}
	return nil
}

type messageTestCmd struct {
	To       string `required:"" help:"E-mail address or phone number."`
	Language string `default:"en" help:"Such as de."`
}

// Help is shown after the flags.
func (messageTestCmd) Help() string {
	return `Goes to the provider of the settings at once, past the outbox and the guard, and says what the provider answered. That it was
taken does not yet say that it arrived: look there.

  countersign message test --to ada@example.org
  countersign message test --to +4915112345678 --language de`
}

// Run sends.
func (t messageTestCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		to, err := parser(core).Parse(t.To)
		if err != nil {
			return explained(err)
		}
		ch, ok := map[account.Kind]message.Channel{account.Email: message.Email, account.Phone: message.SMS}[to.Kind()]
		if !ok {
			return fmt.Errorf("--to: want an e-mail address or a phone number; %w", errUsage)
		}
		l := message.Sample(message.Test, ch, t.Language, message.Site{Name: core.Config.Site.Name})
		l.To = to.Normal()
		rec, err := core.SendTest(ctx, l)
		if err != nil {
			return fmt.Errorf("not sent: %w", err)
		}
		for _, said := range rec.Before {
			w.say("not taken by %s", said)
		}
		w.say("taken by %s%s", rec.Provider, map[bool]string{true: ", as " + rec.ID}[rec.ID != ""])
		return nil
	})
}
