// Package simswap asks mobile operators whether a number moved to another SIM card lately: whoever talks an operator
// into that receives the codes that are sent to it.
//
// It speaks CAMARA's SIM Swap API, versions 0 to 2 (github.com/camaraproject/SimSwap, code/API_definitions/sim-swap.yaml), with
// tokens of client credentials. It is asked after a code was asked for and before it is sent, where nobody waits for the answer to a request: what it
// says, and how long that takes, shows to no stranger.
package simswap

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"countersign/internal/courier/post"
	"countersign/internal/courier/token"
	"countersign/internal/platform/secret"
)

// Config reaches an operator, or who speaks for several. All but Scope, Numbers and ByDate is required.
type Config struct {
	URL          string // what /check and /retrieve-date stand below
	TokenURL     string
	ClientID     string
	ClientSecret secret.Token
	Scope        string
	Numbers      []string      // beginnings of the numbers that are asked about; empty means all
	Within       time.Duration // how long a new card is not trusted; whole hours, 1 to 2400 as the API has it
	ByDate       bool          // ask for the date of the change, for operators that do not answer for so long a time
	Now          func() time.Time
	Log          *slog.Logger
}

// Verdict is what an operator says of a number.
type Verdict string

// The verdicts.
const (
	Unchanged  Verdict = "unchanged"
	Swapped    Verdict = "swapped"     // within the time
	NotCovered Verdict = "not_covered" // the operator does not speak for this number
	Unknown    Verdict = "unknown"     // no answer, or none that we understand
)

const (
	// timeout bounds a question, its token included. The person waits for the code meanwhile.
	timeout = 3 * time.Second

	// Verdicts are kept for a while: people ask for a second code, and questions cost money. A swap that happens meanwhile is seen the
	// next time, but whoever had an operator change the card would have to be that quick.
	keepUnchanged = 10 * time.Minute
	keepSwapped   = time.Hour
	keepMissing   = 24 * time.Hour
	keepRefused   = time.Minute

	// maxKept bounds the memory: 100 bytes each.
	maxKept = 10_000

	// failures in a row after which the operator is left alone for a while, so that codes do not wait for it.
	failures = 5
	leaveFor = 30 * time.Second

	// maxAnswer bounds an answer, in bytes; they have less than a hundred.
	maxAnswer = 16 << 10
)

// Checker asks. It is safe for concurrent use.
type Checker struct {
	c      Config
	client *http.Client
	count  func(Verdict)

	tokens *token.Source

	mu     sync.Mutex
	kept   map[string]kept
	failed int
	until  time.Time // left alone
}

type kept struct {
	verdict Verdict
	until   time.Time
}

// New checks the configuration; it asks nothing. count is told of each verdict that was not kept; it may be nil.
func New(c Config, count func(Verdict)) (*Checker, error) {
	if c.URL == "" || c.TokenURL == "" || c.ClientID == "" || c.ClientSecret.Empty() || c.Now == nil || c.Log == nil {
		return nil, errors.New("simswap: addresses, client, clock and log are required")
	}
	if c.Within < time.Hour || c.Within > 2400*time.Hour || c.Within%time.Hour != 0 {
		return nil, errors.New("simswap: want whole hours, 1 to 2400")
	}
	if count == nil {
		count = func(Verdict) {}
	}
	tokens := token.New(token.Config{URL: c.TokenURL, ClientID: c.ClientID, ClientSecret: c.ClientSecret, Scopes: strings.Fields(c.Scope)})
	return &Checker{c: c, tokens: tokens, client: &http.Client{Timeout: timeout, CheckRedirect: post.NoRedirect}, count: count, kept: map[string]kept{}}, nil
}

// Of returns the verdict on a number in E.164 form, within timeout.
func (s *Checker) Of(ctx context.Context, number string) Verdict {
	if !s.covers(number) {
		return NotCovered
	}
	if v, ok := s.remembered(number); ok {
		return v
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	v, err := s.ask(ctx, number)
	if err != nil {
		v = Unknown
		s.c.Log.LogAttrs(ctx, slog.LevelWarn, "sim swap not known", slog.Any("error", err))
	}
	if _, one := errors.AsType[ofNumber](err); one {
		s.keep(number, v)
	} else {
		s.remember(number, v)
	}
	s.count(v)
	return v
}

func (s *Checker) covers(number string) bool {
	for _, beginning := range s.c.Numbers {
		if strings.HasPrefix(number, beginning) {
			return true
		}
	}
	return len(s.c.Numbers) == 0
}

// remembered returns a verdict that needs no question.
func (s *Checker) remembered(number string) (Verdict, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.c.Now()
	if k, ok := s.kept[number]; ok && now.Before(k.until) {
		return k.verdict, true
	}
	return Unknown, now.Before(s.until)
}

func (s *Checker) remember(number string, v Verdict) {
	if v != Unknown {
		s.keep(number, v)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if v != Unknown {
		s.failed = 0
		return
	}
	if s.failed++; s.failed >= failures {
		s.failed, s.until = 0, s.c.Now().Add(leaveFor)
	}
}

func (s *Checker) keep(number string, v Verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.c.Now()
	if len(s.kept) >= maxKept {
		for number, k := range s.kept {
			if !now.Before(k.until) {
				delete(s.kept, number)
			}
		}
		if len(s.kept) >= maxKept {
			clear(s.kept)
		}
	}
	s.kept[number] = kept{v, now.Add(map[Verdict]time.Duration{Unchanged: keepUnchanged, Swapped: keepSwapped, NotCovered: keepMissing, Unknown: keepRefused}[v])}
}

// ofNumber is a refusal to speak of one number, such as for want of consent, or at this moment: it says nothing about others, whose
// swaps must not go unnoticed for it.
type ofNumber struct{ error }

// ask asks the operator.
func (s *Checker) ask(ctx context.Context, number string) (Verdict, error) {
	question, path := map[string]any{"phoneNumber": number}, "/check"
	if s.c.ByDate {
		path = "/retrieve-date"
	} else {
		question["maxAge"] = int(s.c.Within / time.Hour)
	}
	var answer struct {
		Swapped *bool      `json:"swapped"`
		Changed *time.Time `json:"latestSimChange"`
		Code    string     `json:"code"`
	}
	status, err := s.post(ctx, path, question, &answer)
	switch {
	case err != nil:
		return Unknown, err
	case status == http.StatusNotFound, status == http.StatusUnprocessableEntity: // IDENTIFIER_NOT_FOUND, SERVICE_NOT_APPLICABLE
		return NotCovered, nil
	case status >= 400 && status < 500 && status != http.StatusUnauthorized:
		return Unknown, ofNumber{fmt.Errorf("the operator answered %d %s", status, known(answer.Code))}
	case status != http.StatusOK:
		return Unknown, fmt.Errorf("the operator answered %d %s", status, known(answer.Code))
	case s.c.ByDate:
		if answer.Changed != nil && answer.Changed.After(s.c.Now().Add(-s.c.Within)) {
			return Swapped, nil
		}
		return Unchanged, nil // null: not within the time that the operator looks back on
	case answer.Swapped == nil:
		return Unknown, errors.New("the operator's answer does not say whether the card was swapped")
	case *answer.Swapped:
		return Swapped, nil
	}
	return Unchanged, nil
}

// known returns an error's code if it is of CAMARA's: a message might quote the number.
func known(code string) string {
	switch code {
	case "INVALID_ARGUMENT", "OUT_OF_RANGE", "UNAUTHENTICATED", "PERMISSION_DENIED", "INVALID_TOKEN_CONTEXT", "MISSING_IDENTIFIER",
		"UNNECESSARY_IDENTIFIER", "UNSUPPORTED_IDENTIFIER", "TOO_MANY_REQUESTS", "QUOTA_EXCEEDED", "INTERNAL", "UNAVAILABLE", "TIMEOUT":
		return code
	}
	return "without a code"
}

func (s *Checker) post(ctx context.Context, path string, question, answer any) (status int, err error) {
	got, err := s.tokens.Get(ctx)
	if err != nil {
		return 0, errors.New("no token: " + token.Code(err))
	}
	body, err := json.Marshal(question)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(s.c.URL, "/")+path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	got.SetAuthHeader(req)
	res, err := s.client.Do(req)
	if err != nil {
		return 0, transport(err)
	}
	defer func() { _ = res.Body.Close() }()
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(answer); err != nil && res.StatusCode == http.StatusOK {
		return 0, errors.New("the operator's answer cannot be read")
	}
	return res.StatusCode, nil
}

// transport leaves out the address, which may have a secret in it.
func transport(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
