package config

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// forward is about sites behind a proxy that asks us of each request.
type forward struct {
	Listen string   `toml:"listen" doc:"Address and port where proxies ask (forward-auth), such as 127.0.0.1:9091. For proxies alone, never the public. Empty turns it off."`
	Rules  []string `toml:"rules" doc:"Who may open what, the first that fits: \"[METHOD,…] https://wiki.example.org/admin/ WORDS\", where WORDS are anyone, signed-in or nobody, or any of group:NAME (several: one of them), aal1, aal2, aal3 and within:15m (since the last sign-in). What no rule fits, nobody opens. docs/forward-auth.md has more."`
	Emails []string `toml:"emails" doc:"Sites whose applications are told the e-mail address of who is signed in, such as https://wiki.example.org. All are told the account's id, its groups and the level of assurance."`
}

// forwardRule is a line of Rules.
type forwardRule struct {
	Methods []string
	Site    string // scheme and host
	Path    string
	Who     string // anyone, signed-in or nobody
	Groups  []string
	Level   string // aal1 to aal3, or ""
	Within  time.Duration
}

// Parsed are Rules as they are meant; Validate has refused others.
func (f forward) Parsed() []forwardRule {
	out := make([]forwardRule, 0, len(f.Rules))
	for _, line := range f.Rules {
		if r, err := parseForward(line); err == nil {
			out = append(out, r)
		}
	}
	return out
}

var (
	forwardSite = regexp.MustCompile(`^https?://(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[1-9][0-9]{0,4})?$`)
	httpMethods = regexp.MustCompile(`^[A-Z]+(,[A-Z]+)*$`)
)

// checkForwardSite says what is wrong with a site.
func checkForwardSite(site string) error {
	u, err := url.Parse(strings.Replace(site, "*.", "any.", 1))
	if err != nil || !forwardSite.MatchString(site) {
		return fmt.Errorf("%q: want scheme and host in small letters, such as https://wiki.example.org or https://*.example.org", site)
	}
	if local := Loopback(u.Hostname()) || u.Hostname() == "localhost" || strings.HasSuffix(u.Hostname(), ".localhost"); u.Scheme == "http" && !local {
		return fmt.Errorf("%q: want https (http is for localhost alone: elsewhere browsers refuse our cookies)", site)
	}
	return nil
}

func parseForward(line string) (r forwardRule, err error) {
	words := strings.Fields(line)
	if len(words) > 0 && httpMethods.MatchString(words[0]) {
		r.Methods, words = strings.Split(words[0], ","), words[1:]
	}
	if len(words) < 2 {
		return r, fmt.Errorf("%q: want an address and who may open it, such as https://wiki.example.org/ signed-in", line)
	}
	scheme, rest, _ := strings.Cut(words[0], "://")
	host, path, hasPath := strings.Cut(rest, "/")
	r.Site, r.Path = scheme+"://"+host, "/"+path
	if err := checkForwardSite(r.Site); err != nil {
		return r, err
	}
	if !hasPath || strings.ContainsAny(path, "?#%\\;*") || strings.Contains(r.Path, "//") || slices.Contains(strings.Split(path, "/"), "..") || slices.Contains(strings.Split(path, "/"), ".") {
		return r, fmt.Errorf("%q: want a path that begins with / and has no ?, #, %%, ;, *, // or dots for parts: it covers all that begins with it", words[0])
	}
	for _, word := range words[1:] {
		if err := r.read(word); err != nil {
			return r, err
		}
	}
	if r.Who == "" {
		r.Who = "signed-in"
	}
	if r.Who != "signed-in" && (len(r.Groups) > 0 || r.Level != "" || r.Within > 0) {
		return r, fmt.Errorf("%q: %s goes with no group, level or time", line, r.Who)
	}
	return r, nil
}

// hides reports whether whatever a later rule is about is covered by this one.
func (r forwardRule) hides(later forwardRule) bool {
	begins := strings.HasPrefix(strings.TrimSuffix(later.Path, "/")+"/", strings.TrimSuffix(r.Path, "/")+"/")
	return r.Site == later.Site && begins && (len(r.Methods) == 0 || len(later.Methods) > 0 && !slices.ContainsFunc(later.Methods, func(m string) bool { return !slices.Contains(r.Methods, m) }))
}

func (r *forwardRule) read(word string) (err error) {
	name, value, _ := strings.Cut(word, ":")
	switch {
	case slices.Contains([]string{"anyone", "signed-in", "nobody"}, word) && r.Who == "":
		r.Who = word
	case slices.Contains([]string{"aal1", "aal2", "aal3"}, word) && r.Level == "":
		r.Level = word
	case name == "group" && groupName.MatchString(value):
		r.Groups = append(r.Groups, value)
	case name == "within" && r.Within == 0:
		r.Within, err = time.ParseDuration(value)
		if err != nil || r.Within < time.Minute || r.Within > 24*time.Hour { // less would ask again before a form is filled in
			return fmt.Errorf("%q: want 1m to 24h, such as within:15m", word)
		}
	default:
		return fmt.Errorf("%q: want one each of anyone, signed-in or nobody, of aal1, aal2 or aal3, of within:15m, and any number of group:NAME", word)
	}
	return nil
}

func (c Config) checkForward(k *checker) {
	f := c.Forward
	if f.Listen != "" {
		k.address("forward_auth.listen", f.Listen)
		k.want(f.Listen != c.HTTP.Listen && f.Listen != c.Metrics.Listen, "forward_auth.listen", "must be an address of its own, for proxies alone")
		k.want(len(f.Rules) > 0, "forward_auth.rules", "without rules nobody opens anything: name the first site")
	}
	k.want(len(f.Rules) == 0 || f.Listen != "", "forward_auth.listen", "no proxy can ask: set it, or take the rules away")
	sites, before := map[string]bool{}, []forwardRule{}
	for _, line := range f.Rules {
		r, err := parseForward(line)
		k.want(err == nil, "forward_auth.rules", "%v", err)
		sites[r.Site] = true
		for _, other := range before {
			k.want(!other.hides(r), "forward_auth.rules", "%q never counts: a line before it covers it. Put what is about less first", line)
		}
		if err == nil {
			before = append(before, r)
		}
		if u, err := url.Parse(c.Site.PublicURL); err == nil {
			k.want(r.Site != u.Scheme+"://"+u.Host, "forward_auth.rules", "%q is where people sign in: give applications hosts of their own", line)
		}
	}
	for _, site := range f.Emails {
		k.want(sites[site], "forward_auth.emails", "%q: no rule names this site", site)
	}
}
