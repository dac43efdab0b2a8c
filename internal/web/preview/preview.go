// Package preview is where whoever runs a site sees what it says to people: every letter in every language, as it will look, and what each text message costs.
package preview

import (
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"

	"countersign/internal/message"
)

//go:embed preview.html.tmpl
var source string

// dark is how a letter asks whether its reader's screen is.
const dark = "@media (prefers-color-scheme: dark)"

// letter is one kind in one language, in every form.
type letter struct {
	Kind              message.Kind
	Language, Subject string
	Text, SMS         string
	Alphabet          string
	Characters, Paid  int

	html string
}

// row is one kind in all languages.
type row struct {
	Kind    message.Kind
	Letters []letter
}

type view struct {
	Site      string
	Languages []string
	Rows      []row
	Shown     *letter // nil on the list
}

// Handler shows what from says, with made-up people, codes and places. Everything is rendered before it returns.
func Handler(words *message.Catalog, from message.Site) (http.Handler, error) {
	page, err := template.New("preview").Parse(source)
	if err != nil {
		return nil, fmt.Errorf("preview: %w", err)
	}
	all := view{Site: from.Name, Languages: message.Languages()}
	for _, k := range message.Kinds() {
		r := row{Kind: k}
		for _, lang := range all.Languages {
			l, err := render(words, k, lang, from)
			if err != nil {
				return nil, err
			}
			r.Letters = append(r.Letters, l)
		}
		all.Rows = append(all.Rows, r)
	}
	show := func(w http.ResponseWriter, v view) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'")
		_ = page.Execute(w, v) // looked at by whoever runs it
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { show(w, all) })
	mux.HandleFunc("GET /{kind}/{language}", func(w http.ResponseWriter, r *http.Request) {
		v := all
		if v.Shown = all.find(r); v.Shown == nil {
			http.NotFound(w, r)
			return
		}
		show(w, v)
	})
	mux.HandleFunc("GET /{kind}/{language}/{scheme}", func(w http.ResponseWriter, r *http.Request) {
		l, instead := all.find(r), map[string]string{"light": "@media not all", "dark": "@media all"}[r.PathValue("scheme")]
		if l == nil || instead == "" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox")
		_, _ = w.Write([]byte(strings.Replace(l.html, dark, instead, 1)))
	})
	return mux, nil
}

func render(words *message.Catalog, k message.Kind, lang string, from message.Site) (letter, error) {
	mail, err := words.Render(message.Sample(k, message.Email, lang, from))
	if err != nil {
		return letter{}, err
	}
	text, err := words.Render(message.Sample(k, message.SMS, lang, from))
	return letter{
		Kind: k, Language: lang, Subject: mail.Subject, Text: mail.Text, html: mail.HTML,
		SMS: text.Text, Alphabet: message.Alphabet(text.Text), Characters: len([]rune(text.Text)), Paid: message.Segments(text.Text),
	}, err
}

func (v view) find(r *http.Request) *letter {
	for _, row := range v.Rows {
		i := slices.IndexFunc(row.Letters, func(l letter) bool { return l.Language == r.PathValue("language") })
		if string(row.Kind) == r.PathValue("kind") && i >= 0 {
			return &row.Letters[i]
		}
	}
	return nil
}
