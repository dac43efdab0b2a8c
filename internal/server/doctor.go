package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"countersign/internal/account"
	"countersign/internal/keyring"
	"countersign/internal/password"
	"countersign/internal/platform/config"
	"countersign/internal/platform/place"
	"countersign/internal/platform/sqldb"
	"countersign/internal/server/schema"
)

// Finding is what the doctor has to say of one part.
type Finding struct {
	Part   string `json:"part"`
	State  State  `json:"state"`
	Words  string `json:"words"`            // what was found
	Remedy string `json:"remedy,omitempty"` // what to do
}

// State is how bad a finding is.
type State string

// The states.
const (
	Fine    State = "fine"
	Warning State = "warning" // works, and something should be done
	Broken  State = "broken"  // the server would not start or not do its work
)

// Examine looks at everything a server needs, and changes nothing.
func Examine(ctx context.Context, c config.Config, d Deps) []Finding {
	out := append([]Finding{public(c, d)}, shown(c, d)...)
	out = append(out, database(ctx, c, d)...)
	return append(out, hashing(c, d), letters(ctx, c, d), newcomers(c), vetted(ctx, c, d), placed(c, d), watched(c))
}

func finding(part string, state State, words, remedy string) Finding {
	return Finding{part, state, words, remedy}
}

func public(c config.Config, d Deps) Finding {
	state, words, remedy := Fine, "", ""
	if files := publicFiles(c); files != nil {
		state, words, remedy = files.examine(c.Public().Hostname(), d.Now())
		words = "; " + words
	}
	switch {
	case state == Broken:
		return finding("address", Broken, c.Public().String()+words, remedy)
	case config.Loopback(c.Public().Hostname()):
		return finding("address", Warning, c.Public().String()+" is for this machine only", "set site.public_url to the address people will use")
	case c.HTTP.TLSCertFile == "" && len(c.HTTP.TrustedProxies) == 0:
		return finding("address", Warning, "no certificate and no trusted proxy: who ends TLS?",
			"set http.tls_cert_file and tls_key_file, or http.trusted_proxies, without which all clients count as one")
	}
	return finding("address", state, c.Public().String()+words, remedy)
}

func database(ctx context.Context, c config.Config, d Deps) []Finding {
	if path, missing := newFile(c); missing {
		return []Finding{finding("database", Fine, "there is no "+path+" yet; the first start makes it", ""), keyFile(c, true)}
	}
	db, err := sqldb.Open(ctx, sqldb.Options{URL: c.Database.URL.Reveal(), MaxConns: 2, Now: d.Now})
	if err != nil {
		return []Finding{finding("database", Broken, err.Error(), "see that it runs and that database.url is right"), keyFile(c, false)}
	}
	defer func() { _ = db.Close() }()
	missing, empty, err := schema.Migrations().Pending(ctx, db)
	out := []Finding{schemaState(c, missing, err), clock(ctx, db)}
	if err != nil || empty {
		return append(out, keyFile(c, empty))
	}
	return append(out, fits(ctx, c, db), ruled(ctx, c, db))
}

// ruled looks at the groups that factor.groups has rules of. A name that is misspelt there is a rule for nobody.
func ruled(ctx context.Context, c config.Config, db *sqldb.DB) Finding {
	rules := c.Factor.OfGroups()
	named := len(rules)
	err := db.Read(ctx, func(tx *sqldb.Tx) error {
		groups, err := (&account.Service{}).AllGroups(ctx, tx)
		for _, g := range groups {
			delete(rules, g.Name)
		}
		return err
	})
	switch {
	case err != nil:
		return finding("groups", Broken, err.Error(), "")
	case len(rules) > 0:
		return finding("groups", Warning, "nobody is in "+strings.Join(slices.Sorted(maps.Keys(rules)), ", ")+", of which factor.groups has a rule",
			"compare the names with those of countersign group list, or put people in with countersign group add")
	}
	return finding("groups", Fine, fmt.Sprintf("with a rule of their own: %d", named), "")
}

// newFile reports whether the settings name an SQLite file that is not there yet.
func newFile(c config.Config) (path string, missing bool) {
	path, isFile := strings.CutPrefix(c.Database.URL.Reveal(), "sqlite:")
	if !isFile {
		return "", false
	}
	_, err := os.Stat(path)
	return path, errors.Is(err, fs.ErrNotExist)
}

func schemaState(c config.Config, missing int, err error) Finding {
	switch {
	case err != nil:
		return finding("database", Broken, err.Error(), "run the program that belongs to this database")
	case missing > 0 && !c.Database.MigrateAtStart:
		return finding("database", Broken, fmt.Sprintf("%d migrations are missing", missing), "run countersign migrate")
	case missing > 0:
		return finding("database", Fine, fmt.Sprintf("reached; the next start applies %d migrations", missing), "")
	}
	return finding("database", Fine, "reached, schema up to date", "")
}

// clock compares clocks: nodes re-read ended sessions over a window that must cover the difference.
func clock(ctx context.Context, db *sqldb.DB) Finding {
	ahead, err := db.ClockDifference(ctx)
	if err != nil {
		return finding("clock", Warning, "the database's clock cannot be read: "+err.Error(), "")
	}
	if ahead.Abs() > 2*time.Second {
		return finding("clock", Broken, fmt.Sprintf("the database's clock differs by %s", ahead.Round(time.Millisecond)), "synchronise both with NTP: codes and sessions live by the clock")
	}
	return finding("clock", Fine, fmt.Sprintf("differs from the database's by %s", ahead.Round(time.Millisecond)), "")
}

// keyFile looks at the keys where there is no database to compare them with.
func keyFile(c config.Config, empty bool) Finding {
	_, err := ringOf(c)
	switch {
	case err == nil:
		return finding("keys", Fine, "can be read", "")
	case errors.Is(err, fs.ErrNotExist) && empty:
		return finding("keys", Fine, "there is no "+c.Keys.File+" yet; the first start makes it", "")
	}
	return finding("keys", Broken, err.Error(), "name the key file in keys.file, or restore its copy")
}

func ringOf(c config.Config) (*keyring.Ring, error) {
	if c.Keys.Value.Empty() {
		return keyring.LoadFile(c.Keys.File)
	}
	roots, err := keyring.Parse(c.Keys.Value.Reveal())
	if err != nil {
		return nil, err
	}
	return keyring.New(roots)
}

func fits(ctx context.Context, c config.Config, db *sqldb.DB) Finding {
	ring, err := ringOf(c)
	if err != nil {
		return finding("keys", Broken, err.Error(), "without it nothing in this database opens: name it in keys.file, or restore its copy")
	}
	if _, err := ring.Check(ctx, db); err != nil {
		return finding("keys", Broken, err.Error(), "")
	}
	return finding("keys", Fine, "fit the database", "")
}

// hashing measures this machine, which takes some seconds.
func hashing(c config.Config, d Deps) Finding {
	const target = 250 * time.Millisecond
	now := password.Params{MemoryKiB: uint32(c.Password.MemoryKiB), Time: uint32(c.Password.Time), Lanes: uint8(c.Password.Threads)} //nolint:gosec // validated
	best := password.Suggest(target, d.Now)
	words := fmt.Sprintf("%s in use; this machine affords %s in about %s", now, best, target)
	if c.Password.MinLength < 15 {
		return finding("password", Warning, fmt.Sprintf("%d characters are allowed, and a recognised device signs in with the password alone", c.Password.MinLength), "set password.min_length to 15")
	}
	if now.MemoryKiB < best.MemoryKiB || now.MemoryKiB == best.MemoryKiB && now.Time < best.Time {
		return finding("password", Fine, words, fmt.Sprintf("you may set password.memory_kib to %d and password.time to %d; memory in use is then at most %d MiB",
			best.MemoryKiB, best.Time, int(best.MemoryKiB)*c.Password.Hashers()/1024))
	}
	return finding("password", Fine, words, "")
}

// checker is a provider that can be tried without sending anything.
type checker interface {
	Check(ctx context.Context) error
}

func letters(ctx context.Context, c config.Config, d Deps) Finding {
	if err := checkLetters(c, d.Now); err != nil {
		return finding("letters", Broken, err.Error(), "")
	}
	email, _ := emailProvider(c, d.Now, nil, back{}) // checkLetters has seen the error
	if p, ok := email.(checker); ok {
		if err := p.Check(ctx); err != nil {
			return finding("letters", Broken, "e-mail by "+c.Email.Provider+": "+err.Error(), "")
		}
	}
	if box := mailbox(c, nil, nil); box != nil {
		if err := box.Check(ctx); err != nil {
			return finding("letters", Broken, "mailbox of bounces: "+err.Error(), "")
		}
	}
	for _, name := range c.SMS.Providers() {
		sms, _ := smsProvider(c.SMS, name, d.Now, nil, back{}) // checkLetters has seen the error
		p, ok := sms.(checker)
		if !ok {
			continue
		}
		if err := p.Check(ctx); err != nil {
			remedy := "see that it can be reached from here, and that its key and secret are right"
			if name == "smpp" {
				remedy = "if this server runs already, the operator may allow no second connection: ask for one, or stop the server and look again"
			}
			return finding("letters", Broken, "SMS by "+name+": "+err.Error(), remedy)
		}
	}
	words := "e-mail by " + c.Email.Provider + ", SMS by " + strings.Join(append([]string{c.SMS.Provider}, c.SMS.Then...), ", ")
	if c.Email.Provider == "inbox" || c.SMS.Provider == "inbox" {
		return finding("letters", Warning, words, "inbox delivers to nobody: set email.provider and sms.provider")
	}
	return finding("letters", Fine, words, "")
}

// newcomers looks at what people who open accounts are asked for.
func newcomers(c config.Config) Finding {
	if err := checkRegistration(c); err != nil {
		return finding("register", Broken, strings.ReplaceAll(err.Error(), "\n", "; "), "")
	}
	return finding("register", Fine, "new accounts: "+c.Registration.Mode, "")
}

// vetted looks at which passkeys are taken, and at the file that says so.
func vetted(ctx context.Context, c config.Config, d Deps) Finding {
	late, err := checkPasskeys(ctx, c, d.Now)
	words := "attestation of new passkeys: " + c.Passkey.Attestation
	switch {
	case err != nil:
		return finding("passkeys", Broken, strings.ReplaceAll(err.Error(), "\n", "; "), "")
	case !late.IsZero():
		return finding("passkeys", Warning, words+"; there is newer metadata since "+late.UTC().Format(time.DateOnly), "fetch it once a month at least; the server takes it up by itself")
	}
	return finding("passkeys", Fine, words, "")
}

// placed looks at the file of places. One that is old places people wrongly, and some licences end
// the use of old ones after 30 days.
func placed(c config.Config, d Deps) Finding {
	const tooOld = 30 * 24 * time.Hour
	if c.Place.Database == "" {
		return finding("places", Fine, "no file: nobody is shown where a sign-in came from", "")
	}
	kind, built, err := place.Check(c.Place.Database)
	if err != nil {
		return finding("places", Broken, err.Error(), "name a file of countries or cities in the MaxMind format in place.database, or leave it empty")
	}
	age := d.Now().Sub(built)
	words := fmt.Sprintf("%s of %s, %d days old", kind, built.UTC().Format(time.DateOnly), int(age.Hours()/24))
	if age > tooOld {
		return finding("places", Warning, words, "fetch a new file once a month at least; the server takes it up by itself")
	}
	return finding("places", Fine, words, "")
}

func watched(c config.Config) Finding {
	if c.Metrics.Listen == "" {
		return finding("metrics", Warning, "turned off", "set metrics.listen, and let somebody watch")
	}
	return finding("metrics", Fine, "at "+c.Metrics.Listen, "")
}
