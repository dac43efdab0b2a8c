package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"countersign/internal/account"
	"countersign/internal/approval"
	"countersign/internal/attestation"
	"countersign/internal/audit"
	"countersign/internal/backup"
	"countersign/internal/client"
	"countersign/internal/courier/amazon"
	"countersign/internal/device"
	"countersign/internal/dpop"
	"countersign/internal/factor"
	"countersign/internal/guard"
	"countersign/internal/keyring"
	"countersign/internal/message"
	"countersign/internal/notice"
	"countersign/internal/oidc"
	"countersign/internal/onetime"
	"countersign/internal/outbox"
	"countersign/internal/passkey"
	"countersign/internal/password"
	"countersign/internal/platform/config"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/place"
	"countersign/internal/platform/reread"
	"countersign/internal/platform/sqldb"
	"countersign/internal/profile"
	"countersign/internal/protect"
	"countersign/internal/recovery"
	"countersign/internal/registration"
	"countersign/internal/server/schema"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/subscriber"
	"countersign/internal/throttle"
	"countersign/internal/totp"
	"countersign/internal/transfer"
)

// Core is the domain on an open database: what the server and the operator's commands work on.
type Core struct {
	Config       config.Config
	SignIn       *signin.Service
	Recovery     *recovery.Service
	Protect      *protect.Service
	Registration *registration.Service
	Owner        *profile.Service
	Places       *place.Finder                 // nil without a database of places
	Models       *attestation.Service          // those that passkeys are taken from; nil without metadata
	Revoked      *reread.File[map[string]bool] // serial numbers of certificates; nil without a list
	Clients      *client.Service               // the applications that call the API
	Proofs       *dpop.Service                 // of the keys that their sessions are bound to
	Moves        *transfer.Service
	Applications *oidc.Service       // that sign people in through us
	Subscribers  *subscriber.Service // who is told of events

	signin.Parts
}

// Deps is what the world gives a server. Log and Now are required.
type Deps struct {
	Log *slog.Logger
	Now func() time.Time
	// Notify tells the service manager how we are ("READY=1"); nil tells nobody.
	Notify func(state string)
	// Watchdog is how often the service manager wants to hear from us; 0 means never.
	Watchdog time.Duration
	// TokenCost hashes passwords at next to no cost. It is for tests, and no setting leads to it.
	TokenCost bool
	// Decoys is how many accounts stand in for those who do not exist; 0 means account.DefaultDecoys,
	// and fewer are for tests, which make many databases.
	Decoys int
	// Topic makes a topic of Amazon SNS; nil makes those of the real one. It is for tests.
	Topic func(arn string) (*amazon.Topic, error)
	// Demo mounts the demonstration's pages; nil everywhere else.
	Demo *Demo
}

// ErrPending means that the schema is older than this program and may not be changed at start.
var ErrPending = errors.New("the database needs migrations")

// patience is how long a transaction may take: as long as SQLite waits for its lock, and well
// under the time an answer has. With it a database that hangs is one that is away.
const patience = 10 * time.Second

// Open opens the database with its keys and wires the domain. It refuses a database that the
// keys do not fit before it writes anything, and brings the schema up to date if it may.
func Open(ctx context.Context, c config.Config, d Deps) (core *Core, err error) {
	db, err := openDB(ctx, c, d)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = db.Close()
		}
	}()
	ring, err := unlock(ctx, c, d, db)
	if err != nil {
		return nil, err
	}
	core, err = wire(c, d, db, ring)
	if err != nil {
		return nil, err
	}
	core.Subscribers = subscribers(d, core)
	if err := errors.Join(core.ensureDecoys(ctx), core.Subscribers.Poll(ctx)); err != nil {
		return nil, err
	}
	return core, nil
}

// Present says that there is no SQLite file where the settings name one: opening it would make it.
func Present(c config.Config) error {
	path, missing := newFile(c)
	if !missing {
		return nil
	}
	if whole, err := filepath.Abs(path); err == nil {
		path = whole
	}
	return fmt.Errorf("there is no database %s: go to its folder or set database.url; to begin a new one, run countersign account create, or countersign serve", path)
}

// ensureDecoys writes what stands in for those who do not exist, where it is missing or of another cost or key.
func (c *Core) ensureDecoys(ctx context.Context) error {
	decoys, err := c.Accounts.EnsureDecoys(ctx)
	if err != nil {
		return fmt.Errorf("write decoy accounts: %w", err)
	}
	return errors.Join(c.Passwords.EnsureDummies(ctx, decoys), c.Recovery.EnsureDummies(ctx, decoys), c.Authenticators.EnsureDummies(ctx), c.Choices.EnsureDummies(ctx, decoys))
}

func openDB(ctx context.Context, c config.Config, d Deps) (*sqldb.DB, error) {
	url := c.Database.URL.Reveal()
	for try := 1; ; try++ {
		db, err := sqldb.Open(ctx, sqldb.Options{URL: url, MaxConns: c.Database.MaxConns, Now: d.Now, Patience: patience})
		// Of several that open a new SQLite file at once, one sets its journal mode, and SQLite does
		// not let the others wait for that.
		if err == nil || try == 20 || !strings.HasPrefix(url, "sqlite:") || fault.Of(err).Kind != fault.Unavailable {
			return db, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// unlock brings keys and schema together, in the one order in which nothing is written to a
// database that is not ours: look, keys, compare, migrate, claim.
func unlock(ctx context.Context, c config.Config, d Deps, db *sqldb.DB) (*keyring.Ring, error) {
	migrations := schema.Migrations()
	missing, empty, err := migrations.Pending(ctx, db)
	if err != nil {
		return nil, err
	}
	if missing > 0 && !c.Database.MigrateAtStart {
		return nil, fmt.Errorf("%w (%d): run countersign migrate, or set database.migrate_at_start", ErrPending, missing)
	}
	ring, err := keys(ctx, c, db, empty)
	if err != nil {
		return nil, err
	}
	if !empty {
		if _, err := ring.Check(ctx, db); err != nil {
			return nil, err
		}
	}
	if missing > 0 {
		began := d.Now()
		applied, err := migrations.Up(ctx, db)
		if err != nil {
			return nil, err
		}
		d.Log.LogAttrs(ctx, slog.LevelInfo, "schema migrated", slog.Int("applied", applied), slog.Int64("us", d.Now().Sub(began).Microseconds()))
	}
	if err := ring.Claim(ctx, db); err != nil {
		return nil, err
	}
	db.Before(ring.Follow)
	return ring, nil
}

func keys(ctx context.Context, c config.Config, db *sqldb.DB, empty bool) (*keyring.Ring, error) {
	if !c.Keys.Value.Empty() {
		roots, err := keyring.Parse(c.Keys.Value.Reveal())
		if err != nil {
			return nil, fmt.Errorf("COUNTERSIGN_KEYS: %w", err)
		}
		return keyring.New(roots)
	}
	ring, err := keyring.LoadOrCreate(ctx, db, c.Keys.File, empty)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("key file: %w", err)
	}
	return ring, err
}

func wire(c config.Config, d Deps, db *sqldb.DB, ring *keyring.Ring) (*Core, error) {
	cost := password.Params{
		MemoryKiB: uint32(c.Password.MemoryKiB), Time: uint32(c.Password.Time), Lanes: uint8(c.Password.Threads), //nolint:gosec // validated
	}
	if d.TokenCost {
		cost = password.Params{MemoryKiB: 8, Time: 1, Lanes: 1}
	}
	passwords, err := password.New(password.Options{
		DB: db, Ring: ring, Now: d.Now, Params: cost, WeakForTests: d.TokenCost,
		Policy:   password.Policy{Min: c.Password.MinLength, Words: append([]string{c.Site.Name, c.Public().Hostname()}, c.Site.ContextWords...)},
		Parallel: c.Password.Hashers(), MaxWait: c.Password.MaxWait.D(),
	})
	if err != nil {
		return nil, err
	}
	pump, err := guardRules(c)
	if err != nil {
		return nil, err
	}
	models, err := attested(c, d)
	if err != nil {
		return nil, err
	}
	revoked := revokedOf(c)
	vouched, err := vouching(c, revoked)
	if err != nil {
		return nil, err
	}
	accounts := &account.Service{DB: db, Ring: ring, Decoys: d.Decoys}
	devices := &device.Service{
		DB: db, Ring: ring, Origin: c.Public().String(), RememberFor: c.Device.RememberFor.D(),
		Attestations: vouched, RequireAttestation: c.App.RequireAttestation,
	}
	parts := signin.Parts{
		DB: db, Ring: ring, Accounts: accounts, Passwords: passwords,
		Audit:    &audit.Log{Ring: ring},
		Outbox:   &outbox.Box{DB: db, Ring: ring},
		Throttle: &throttle.Service{Ring: ring, Exempt: c.Throttle.Exempt()},
		Codes:    &onetime.Service{Ring: ring, Digits: c.SignIn.CodeDigits, TTL: c.SignIn.CodeTTL.D()},
		Devices:  devices,
		Sessions: &session.Service{
			DB: db, Ring: ring, Accounts: accounts, Devices: devices,
			Idle: c.Session.Idle.D(), Absolute: c.Session.Absolute.D(), MaxStale: c.Database.MaxStaleness.D(),
		},
	}
	parts.Own = factor.Own{
		Choices: choices(c, accounts), Authenticators: &totp.Service{DB: db, Ring: ring, Audit: parts.Audit}, BackupCodes: &backup.Service{Ring: ring},
		Passkeys: passkeys(c, ring, models),
	}
	parts.Guard = &guard.Guard{DB: db, Throttle: parts.Throttle, Log: d.Log, Rules: pump}
	parts.Notices = &notice.Service{
		Ring: ring, Accounts: accounts, Outbox: parts.Outbox, Base: c.Public().String(), Site: c.Site.Name, Channels: channels(c),
	}
	where := place.New(c.Place.Database, d.Log)
	parts.Notices.Where = func(from netip.Addr, lang string) string { return where.Of(from).In(lang) }
	machine := &signin.Service{
		Parts: parts, Approvals: &approval.Service{Ring: ring}, Limits: signin.DefaultLimits(), FlowTTL: c.SignIn.FlowTTL.D(),
		Site: c.Site.Name, Ways: ways(c), Parser: account.Parser{Region: c.Phone.DefaultRegion}, HidePasswordResult: c.SignIn.HidePasswordResult,
	}
	back := &recovery.Service{
		Parts: parts, SignIn: machine, Limits: recovery.DefaultLimits(), Site: machine.Site,
		Parser: machine.Parser, Ways: machine.Ways, Wait: c.Recovery.Wait.D(),
	}
	welcome, err := rules(c)
	if err != nil {
		return nil, err
	}
	entry := &registration.Service{
		Parts: parts, Rules: welcome, Limits: registration.DefaultLimits(), FlowTTL: c.SignIn.FlowTTL.D(),
		Site: c.Site.Name, Parser: machine.Parser, Ways: machine.Ways,
	}
	guard := &protect.Service{Parts: parts, Recovery: back, Limits: protect.DefaultLimits()}
	provider, err := applications(c, parts, d.Log)
	if err != nil {
		return nil, err
	}
	provider.SignIn = machine
	parts.Notices.Apps = appOf(provider)
	return &Core{
		Config: c, Parts: parts, SignIn: machine, Recovery: back, Places: where, Models: models, Revoked: revoked,
		Registration: entry,
		Clients:      &client.Service{DB: db, Audit: parts.Audit},
		Proofs:       &dpop.Service{DB: db, Ring: ring, Node: rand.Text()},
		Owner: &profile.Service{
			DB: db, Audit: parts.Audit, Accounts: accounts, Devices: parts.Devices, Sessions: parts.Sessions, SignIn: machine, Recovery: back,
			Protect: guard, Entry: entry, EraseAfter: c.Account.EraseAfter.D(), Applications: provider.Told, ApplicationName: nameOf(provider), Erasers: append(erasers(parts), machine.Approvals.Erase, back.Erase, entry.Erase, provider.Erase),
		},
		Protect: guard, Applications: provider,
		Moves: &transfer.Service{DB: db, Ring: ring, Accounts: accounts, Passwords: passwords, Audit: parts.Audit},
	}, nil
}

// erasers are of the parts that keep something of accounts. What sign-ins wait for comes before their sessions, so that none is
// begun meanwhile. A table that nobody's eraser empties, without a
// reason, fails a test.
func erasers(p signin.Parts) []profile.Eraser {
	return []profile.Eraser{
		p.Passwords.Erase, p.Passkeys.Erase, p.Sessions.Erase, p.Devices.Erase, p.Notices.Erase, p.Authenticators.Erase, p.BackupCodes.Erase, p.Choices.Erase,
		func(ctx context.Context, tx *sqldb.Tx, id account.ID) error {
			return p.Outbox.Erase(ctx, tx, string(id))
		},
	}
}

// choices are the operator's about the second door.
func choices(c config.Config, accounts *account.Service) *factor.Choices {
	out := &factor.Choices{
		Accounts: accounts, Policy: factor.Policy(c.Factor.Policy), Groups: map[string]factor.Policy{},
		Enrol: factor.Enrolment{Ask: factor.Ask(c.Factor.Enrol), Skips: c.Factor.EnrolSkips, Deadline: c.Factor.Deadline()},
	}
	for group, policy := range c.Factor.OfGroups() {
		out.Groups[group] = factor.Policy(policy)
	}
	return out
}

// attested is what the operator wants of the models of passkeys.
func attested(c config.Config, d Deps) (*attestation.Service, error) {
	p := c.Passkey
	return attestation.New(attestation.Settings{
		Require: p.Attestation, File: p.MetadataFile, Root: p.MetadataRoot, Signer: p.MetadataSigner,
		Allow: p.AllowModels, Deny: p.DenyModels, DenyStatuses: p.DenyStatuses,
	}, d.Now, d.Log)
}

func passkeys(c config.Config, ring *keyring.Ring, models *attestation.Service) *passkey.Service {
	return &passkey.Service{
		Ring: ring, Site: c.Site.Name, RPID: c.Public().Hostname(), Origins: append([]string{c.Public().String()}, c.Passkey.Origins...),
		Found: c.SignIn.HidePasswordResult, Models: models,
	}
}

// Check says what in the settings makes no sense where a part of its own knows: all that keeps a server from starting, or from doing its
// work. It connects to nothing. late is when there should have been newer metadata of authenticators; zero if the file is in time, or there is none.
func Check(ctx context.Context, c config.Config, now func() time.Time) (late time.Time, err error) {
	late, err = checkPasskeys(ctx, c, now)
	return late, errors.Join(checkLetters(c, now), checkRegistration(c), checkFiles(c), err)
}

// checkPasskeys looks at the file of metadata too.
func checkPasskeys(ctx context.Context, c config.Config, now func() time.Time) (late time.Time, err error) {
	models, err := attested(c, Deps{Now: now, Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		err = models.Load(ctx)
	}
	if next, ok := models.Next(); ok && now().After(next) {
		late = next
	}
	return late, err
}

// checkRegistration says what in the settings of registration makes no sense.
func checkRegistration(c config.Config) error {
	_, err := rules(c)
	return err
}

// checkFiles says why files that the settings name cannot be used: those about apps and applications, certificates, that of prices, and that of places.
func checkFiles(c config.Config) error {
	_, apps := vouching(c, revokedOf(c))
	_, roots := rootsOf(c).Load()
	if roots != nil {
		roots = fmt.Errorf("oidc.mtls_roots: %w", roots)
	}
	_, clients := clientsOf(c)
	_, prices := guardRules(c)
	return errors.Join(publicFiles(c).check(), mtlsFiles(c).check(), apps, roots, clients, prices, checkPlaces(c))
}

func checkPlaces(c config.Config) error {
	if c.Place.Database == "" {
		return nil
	}
	if _, _, err := place.Check(c.Place.Database); err != nil {
		return fmt.Errorf("place.database: %w: name a file of countries or cities in the MaxMind format, or leave it empty", err)
	}
	return nil
}

// rules are what the operator wants of new accounts.
func rules(c config.Config) (registration.Rules, error) {
	r := c.Registration
	claims, err := registration.ReadClaims(r.Claims, r.ClaimLabels)
	return registration.Rules{
		Mode: registration.Mode(r.Mode), Terms: registration.Terms{URL: r.TermsURL, Version: r.TermsVersion}, Claims: claims,
	}, err
}

// ways are those that have a provider.
func ways(c config.Config) (out []factor.Way) {
	if c.SMS.Provider != "none" {
		out = append(out, factor.SMS)
	}
	if c.Email.Provider != "none" {
		out = append(out, factor.Email)
	}
	return out
}

// channels are those that have a provider.
func channels(c config.Config) (out []message.Channel) {
	for _, w := range ways(c) {
		out = append(out, message.Channel(w))
	}
	return out
}

// Close closes the database.
func (c *Core) Close() error { return c.DB.Close() }
