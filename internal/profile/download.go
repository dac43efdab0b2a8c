package profile

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"time"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/throttle"
	"countersign/internal/totp"
)

// mostEvents bounds what a file has of the record. A person has some hundred events a year; an account that
// is attacked all the time has more.
const mostEvents = 10_000

// downloads is how often the owner's data may be put together, which reads much.
var downloads = throttle.Rate{Name: "data/account", Burst: 5, Every: 10 * time.Minute} //nolint:gochecknoglobals // a constant

// Data returns everything that is kept of the owner's account, as a file: JSON, for the owner alone. Every address
// is told.
// fault.Forbidden "reauthentication_required", fault.TooMany.
func (s *Service) Data(ctx context.Context, me session.Session, c signin.Client) ([]byte, error) {
	var f file
	err := s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := s.proved(ctx, tx, me); err != nil {
			return err
		}
		ok, err := s.SignIn.Throttle.Take(ctx, tx, downloads, string(me.Account))
		if err != nil || !ok {
			return cmp.Or(err, tooManyDownloads())
		}
		return s.tell(ctx, tx, by{me, c}, told{audit.DataDownloaded, "", message.DataDownloaded})
	})
	if err != nil {
		return nil, err
	}
	// Apart from the writing: it takes its time, and SQLite has one writer.
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
		f, err = s.gather(ctx, tx, me.Account)
		return err
	})
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(f, "", "  ")
	return append(text, '\n'), err
}

func tooManyDownloads() error {
	return fault.Later(fault.TooMany, "too_many_attempts", downloads.Every, errors.New("over the limit of downloads"))
}

// file is everything, in words for whoever opens it. Its names are a promise: programs read them too.
type file struct {
	Service   string            `json:"service"`
	MadeAt    time.Time         `json:"made_at"`
	Account   fileAccount       `json:"account"`
	Addresses []fileAddress     `json:"addresses"`
	Changes   []fileChange      `json:"address_changes"`
	Claims    map[string]string `json:"claims"`
	Password  filePassword      `json:"password"`
	Recovery  fileRecovery      `json:"recovery"`
	Proofs    fileProofs        `json:"proofs"`
	Consents  []fileConsent     `json:"consents"`
	Devices   []fileDevice      `json:"devices"`
	Sessions  []fileSession     `json:"sessions"`
	Activity  []fileEvent       `json:"activity"`
	fileRest
}

type fileRest struct {
	Complete     bool     `json:"activity_is_complete"`
	Applications any      `json:"applications"`
	NotInHere    []string `json:"not_in_this_file"`
}

type fileAccount struct {
	ID         account.ID    `json:"id"`
	State      account.State `json:"state"`
	Language   string        `json:"language"`
	CreatedAt  time.Time     `json:"created_at"`
	FrozenTill *time.Time    `json:"changes_frozen_until,omitempty"`
	EraseAt    *time.Time    `json:"erase_at,omitempty"`
	Groups     []string      `json:"groups,omitempty"`
}

type fileAddress struct {
	Kind     account.Kind `json:"kind"`
	Value    string       `json:"value"`
	Verified bool         `json:"verified"`
	SignsIn  bool         `json:"signs_in"`
	Notices  bool         `json:"notices"`
	Recovers bool         `json:"recovers"`
	AddedAt  time.Time    `json:"added_at"`
}

type fileChange struct {
	What   string      `json:"what"`
	At     time.Time   `json:"at"`
	Before fileAddress `json:"address"`
}

type filePassword struct {
	Set   bool       `json:"set"`
	SetAt *time.Time `json:"set_at,omitempty"`
}

type fileRecovery struct {
	SavedCode  bool          `json:"saved_code"`
	Contacts   []fileContact `json:"contacts"`
	ReviewedAt *time.Time    `json:"reviewed_at,omitempty"`
}

type fileContact struct {
	Name    string       `json:"name"`
	Holder  string       `json:"calls_you"`
	Kind    account.Kind `json:"kind"`
	Value   string       `json:"value"`
	AddedAt time.Time    `json:"added_at"`
}

// fileProofs are what else than a password proves who it is.
type fileProofs struct {
	Authenticators []fileAuthenticator `json:"authenticators"`
	BackupCodes    fileBackup          `json:"backup_codes"`
	Passkeys       []filePasskey       `json:"passkeys"`
	Second         fileSecond          `json:"second_proof"`
}

// fileSecond is what was chosen about the second proof.
type fileSecond struct {
	Operator factor.Policy `json:"operator_policy,omitempty"`
	Holder   factor.Policy `json:"own_policy,omitempty"`
	Order    []factor.Way  `json:"order,omitempty"`
	Off      []factor.Way  `json:"turned_off,omitempty"`
	Stopped  []factor.Way  `json:"stopped,omitempty"`
}

type fileAuthenticator struct {
	Name       string     `json:"name"`
	Kind       totp.Kind  `json:"kind"`
	Serial     string     `json:"serial,omitempty"`
	AddedAt    time.Time  `json:"added_at"`
	LastUsedAt *time.Time `json:"last_used_at,omitempty"`
}

type fileBackup struct {
	Left   int        `json:"left"`
	MadeAt *time.Time `json:"made_at,omitempty"`
}

type fileConsent struct {
	Version string    `json:"version"`
	At      time.Time `json:"accepted_at"`
}

type filePasskey struct {
	ID           string     `json:"id"`
	Name         string     `json:"name"`
	DeviceBound  bool       `json:"device_bound"`
	BackedUp     bool       `json:"backed_up"`
	UserVerified bool       `json:"user_verified"`
	Make         string     `json:"aaguid,omitempty"`
	Model        string     `json:"model,omitempty"`
	Attested     bool       `json:"attested"`
	CreatedAt    time.Time  `json:"created_at"`
	LastUsedAt   *time.Time `json:"last_used_at,omitempty"`
	EndedAt      *time.Time `json:"ended_at,omitempty"`
}

type fileDevice struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Strength   string     `json:"strength"`
	Source     string     `json:"network_address,omitempty"`
	CreatedAt  time.Time  `json:"created_at"`
	LastSeenAt time.Time  `json:"last_seen_at"`
	ExpiresAt  time.Time  `json:"expires_at"`
	EndedAt    *time.Time `json:"ended_at,omitempty"`
}

type fileSession struct {
	ID              string     `json:"id"`
	Name            string     `json:"name"`
	Device          string     `json:"device,omitempty"`
	TokenType       string     `json:"token_type"`
	Methods         []string   `json:"methods"`
	AAL             string     `json:"aal"`
	AMR             []string   `json:"amr"`
	Source          string     `json:"network_address,omitempty"`
	CreatedAt       time.Time  `json:"created_at"`
	AuthenticatedAt time.Time  `json:"authenticated_at"`
	LastSeenAt      time.Time  `json:"last_seen_at"`
	ExpiresAt       time.Time  `json:"expires_at"`
	EndedAt         *time.Time `json:"ended_at,omitempty"`
}

type fileEvent struct {
	At     time.Time         `json:"at"`
	Kind   audit.Kind        `json:"kind"`
	Actor  string            `json:"actor"`
	Source string            `json:"network_address,omitempty"`
	Detail map[string]string `json:"detail,omitempty"`
}

// notInHere is what else there is, and why it is not told. docs/decisions/0010 has the times.
func notInHere() []string {
	return []string{
		"The password, the saved recovery code and backup codes: nobody has them, only digests that they can be compared with.",
		"The secrets of authenticators: who has one can make its codes.",
		"Keys of devices and passkeys, and digests of the tokens of devices and sessions: they say nothing of you.",
		"Sign-ins, recoveries and changes under way, with their codes: they are gone within hours, the longest recovery within weeks.",
		"Letters that were sent: which kind and when, for a week, without address and words.",
		"Which of the events in this file wait to be told to programs of the operator's: they are told within days.",
		"Counts that limit how often anything may be tried, under names that only this service can make: they are gone within a month.",
	}
}

func (s *Service) gather(ctx context.Context, tx *sqldb.Tx, id account.ID) (f file, err error) {
	f = file{Service: s.SignIn.Site, MadeAt: tx.Now().UTC(), fileRest: fileRest{NotInHere: notInHere()}}
	for _, part := range []func(context.Context, *sqldb.Tx, account.ID, *file) error{
		s.gatherAccount, s.gatherAddresses, s.gatherRecovery, s.gatherProofs, s.gatherSecond, s.gatherPasskeys, s.gatherDevices, s.gatherActivity,
	} {
		if err := part(ctx, tx, id, &f); err != nil {
			return file{}, err
		}
	}
	return f, nil
}

func (s *Service) gatherAccount(ctx context.Context, tx *sqldb.Tx, id account.ID, f *file) error {
	who, err := s.Accounts.Get(ctx, tx, id)
	if err != nil {
		return err
	}
	st, err := s.Accounts.Standing(ctx, tx, id)
	if err != nil {
		return err
	}
	f.Account = fileAccount{
		ID: who.ID, State: who.State, Language: who.Language, CreatedAt: who.CreatedAt.UTC(), FrozenTill: known(st.FrozenUntil), EraseAt: known(st.EraseAt),
	}
	if f.Account.Groups, err = s.Accounts.Groups(ctx, tx, id); err != nil {
		return err
	}
	set, err := s.SignIn.Passwords.SetAt(ctx, tx, id)
	if err != nil {
		return err
	}
	f.Password = filePassword{Set: !set.IsZero(), SetAt: known(set)}
	if f.Claims, err = s.Accounts.Claims(ctx, tx, id); err != nil {
		return err
	}
	consents, err := s.Entry.Consents(ctx, tx, id)
	f.Consents = []fileConsent{}
	for _, c := range consents {
		f.Consents = append(f.Consents, fileConsent{c.Version, c.At.UTC()})
	}
	return err
}

func (s *Service) gatherAddresses(ctx context.Context, tx *sqldb.Tx, id account.ID, f *file) error {
	all, err := s.Accounts.Addresses(ctx, tx, id)
	if err != nil {
		return err
	}
	f.Addresses, f.Changes = []fileAddress{}, []fileChange{}
	for _, a := range all {
		f.Addresses = append(f.Addresses, inFile(a))
	}
	changes, err := s.Accounts.Changes(ctx, tx, id)
	for _, c := range changes {
		f.Changes = append(f.Changes, fileChange{c.What, c.At.UTC(), inFile(c.Address)})
	}
	return err
}

func inFile(a account.Address) fileAddress {
	return fileAddress{
		Kind: a.Kind, Value: a.Normal, Verified: a.Verified, SignsIn: a.SignsIn, Notices: a.Notices, Recovers: a.Recovers, AddedAt: a.AddedAt.UTC(),
	}
}

func (s *Service) gatherRecovery(ctx context.Context, tx *sqldb.Tx, id account.ID, f *file) (err error) {
	f.Recovery.Contacts = []fileContact{}
	if f.Recovery.SavedCode, err = s.Recovery.HasSavedCode(ctx, tx, id); err != nil {
		return err
	}
	at, err := reviewed(ctx, tx, id)
	if err != nil {
		return err
	}
	f.Recovery.ReviewedAt = known(at)
	contacts, err := s.Recovery.Contacts(ctx, tx, id)
	for _, c := range contacts {
		f.Recovery.Contacts = append(f.Recovery.Contacts, fileContact{c.Label, c.Holder, c.Identifier.Kind(), c.Identifier.Normal(), c.AddedAt.UTC()})
	}
	return err
}

func (s *Service) gatherProofs(ctx context.Context, tx *sqldb.Tx, id account.ID, f *file) error {
	all, err := s.SignIn.Authenticators.List(ctx, tx, id)
	if err != nil {
		return err
	}
	f.Proofs.Authenticators = []fileAuthenticator{}
	for _, a := range all {
		f.Proofs.Authenticators = append(f.Proofs.Authenticators, fileAuthenticator{a.Name, a.Shape.Kind, a.Serial, a.AddedAt.UTC(), known(a.LastUsedAt)})
	}
	left, made, err := s.SignIn.BackupCodes.Left(ctx, tx, id)
	f.Proofs.BackupCodes = fileBackup{left, known(made)}
	return err
}

func (s *Service) gatherSecond(ctx context.Context, tx *sqldb.Tx, id account.ID, f *file) error {
	chosen, err := s.SignIn.Choices.Of(ctx, tx, id)
	if err != nil {
		return err
	}
	f.Proofs.Second = fileSecond{Operator: chosen.Operator, Holder: chosen.Holder, Order: chosen.Order, Off: chosen.Off}
	f.Proofs.Second.Stopped, err = s.SignIn.Choices.Stopped(ctx, tx, id)
	return err
}

func (s *Service) gatherPasskeys(ctx context.Context, tx *sqldb.Tx, id account.ID, f *file) error {
	all, err := s.SignIn.Passkeys.All(ctx, tx, id)
	f.Proofs.Passkeys = []filePasskey{}
	for _, p := range all {
		f.Proofs.Passkeys = append(f.Proofs.Passkeys, filePasskey{
			string(p.ID), p.Name, p.DeviceBound, p.BackedUp, p.UserVerified, p.Make, p.Model, p.Attested, p.CreatedAt.UTC(), known(p.LastUsedAt), known(p.EndedAt),
		})
	}
	return err
}

func (s *Service) gatherDevices(ctx context.Context, tx *sqldb.Tx, id account.ID, f *file) error {
	devices, err := s.Devices.All(ctx, tx, id)
	if err != nil {
		return err
	}
	f.Devices, f.Sessions = []fileDevice{}, []fileSession{}
	for _, d := range devices {
		f.Devices = append(f.Devices, fileDevice{
			string(d.ID), d.Name, string(d.Strength), source(d.Source), d.CreatedAt.UTC(), d.LastSeenAt.UTC(), d.ExpiresAt.UTC(), known(d.EndedAt),
		})
	}
	sessions, err := s.Sessions.All(ctx, tx, id)
	for _, one := range sessions {
		proved := one.Assurance()
		f.Sessions = append(f.Sessions, fileSession{
			string(one.ID), one.Name, string(one.Device), one.TokenType(),
			one.Methods, string(proved.Level), slices.AppendSeq([]string{}, proved.AMR()), source(one.Source),
			one.CreatedAt.UTC(), one.AuthenticatedAt.UTC(), one.LastSeenAt.UTC(), one.ExpiresAt.UTC(), known(one.EndedAt),
		})
	}
	return err
}

func (s *Service) gatherActivity(ctx context.Context, tx *sqldb.Tx, id account.ID, f *file) error {
	events, err := s.Audit.Of(ctx, tx, string(id), audit.Span{Since: time.UnixMilli(0), Most: mostEvents + 1})
	f.Complete = len(events) <= mostEvents
	if err == nil && s.Applications != nil {
		f.Applications, err = s.Applications(ctx, tx, id)
	}
	f.Activity = make([]fileEvent, 0, len(events))
	for _, e := range slices.Delete(events, min(len(events), mostEvents), len(events)) {
		f.Activity = append(f.Activity, fileEvent{e.At.UTC(), e.Kind, e.Actor, source(e.Source), e.Detail})
	}
	return err
}

func source(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// known is nil for a time that is not.
func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
