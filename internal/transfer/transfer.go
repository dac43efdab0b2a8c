// Package transfer brings accounts in from other systems, and writes them out again. It owns the
// table transfer_line.
//
// Both work on files of any size in little memory. What an import says about who is there
// already is for the operator at the command line, and no web page leads here.
package transfer

import (
	"context"
	"time"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/keyring"
	"countersign/internal/password"
	"countersign/internal/password/foreign"
	"countersign/internal/platform/sqldb"
)

// Service imports and exports. All fields are required.
type Service struct {
	DB        *sqldb.DB
	Ring      *keyring.Ring
	Accounts  *account.Service
	Passwords *password.Service
	Audit     *audit.Log
}

// Format is how a file is written.
type Format string

// The formats. In each, a line is an account.
const (
	CSV   Format = "csv"
	Lines Format = "jsonl"
)

// Options says how to import.
type Options struct {
	Format Format
	Parser account.Parser

	// Vouch has addresses count as verified where a line does not say whether they are.
	Vouch bool
	// IgnoreUnknown passes over fields that mean nothing here.
	IgnoreUnknown bool
	// Hash is what hashes are that do not say it themselves: "" (they do), "firebase", or as
	// foreign.Digest has it, such as "sha256(salt+password)".
	Hash string
	// Salt is how salts are written: "" or "text", "hex", "base64".
	Salt     string
	Firebase foreign.Firebase

	// DryRun writes nothing; Scratch is a folder for what it must remember of a large file.
	DryRun  bool
	Scratch string
	// Workers is how many lines are read, and hashed, at a time. 0 means one.
	Workers int

	// Refused is told of each line that is not taken, in the order of the file. Progress is told now and then.
	Refused  func(Refused) error
	Progress func(Summary)
}

// Reason is the stable code of why a line is not taken. docs/import.md lists them.
type Reason string

// The reasons, but for those of package foreign.
const (
	LineMalformed       Reason = "line_malformed"
	LineTooLong         Reason = "line_too_long"
	FieldUnknown        Reason = "field_unknown"
	IDInvalid           Reason = "id_invalid"
	IdentifierMissing   Reason = "identifier_missing"
	IdentifierMalformed Reason = "identifier_malformed"
	IdentifierUses      Reason = "identifier_uses_invalid"
	IdentifierTaken     Reason = "identifier_taken"
	TooManyAddresses    Reason = "too_many_addresses"
	LanguageInvalid     Reason = "language_invalid"
	TimeInvalid         Reason = "time_invalid"
	StateInvalid        Reason = "state_invalid"
	ClaimInvalid        Reason = "claim_invalid"
	PasswordInvalid     Reason = "password_invalid"
	PepperUnknown       Reason = "pepper_unknown"
	TooManyHashKinds    Reason = "too_many_hash_kinds"
)

// Error implements error.
func (r Reason) Error() string { return string(r) }

// Refused is a line that is not taken.
type Refused struct {
	Line int64
	Why  Reason
	ID   string // the line's external_id or id
}

// Summary is what an import has done, or would do.
type Summary struct {
	Lines, Bytes int64
	Imported     int64 // in a dry run: would be
	Already      int64 // by an earlier run
	Refused      map[Reason]int64

	NoPassword  int64
	Unreachable int64 // accounts without a verified address: nobody can send them a code
	Hashed      int64 // had to be hashed here, which takes as long as a sign-in
	Kinds       map[foreign.Kind]int64
	Took        time.Duration
}

// mostFamilies bounds how many kinds of hashes there may be: every sign-in does the work of all.
const mostFamilies = 8

// keepLines is how long an import can be run again without taking an account twice.
const keepLines = 90 * 24 * time.Hour

// Prune forgets a bounded number of lines that were imported long ago, and returns how many.
func (s *Service) Prune(ctx context.Context, tx *sqldb.Tx) (int64, error) {
	return pruneLines(ctx, tx, tx.Now().Add(-keepLines))
}
