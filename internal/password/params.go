package password

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Params is the cost of argon2id.
type Params struct {
	MemoryKiB uint32
	Time      uint32 // passes over the memory
	Lanes     uint8  // p: threads of one hash
}

// DefaultParams is 19 MiB, two passes, one lane: OWASP's floor, some 50 ms on a small machine.
func DefaultParams() Params { return Params{MemoryKiB: 19 * 1024, Time: 2, Lanes: 1} }

const (
	saltLen, tagLen = 16, 32
	minMemoryKiB    = 8       // a lane, by RFC 9106
	maxMemoryKiB    = 4 << 20 // 4 GiB: a stored hash must not be able to ask for more
	maxTime         = 1000
)

// Weak reports whether the cost is below what OWASP accepts today.
func (p Params) Weak() bool {
	const mib = 1024
	switch {
	case p.Time >= 3:
		return p.MemoryKiB < 12*mib
	case p.Time == 2:
		return p.MemoryKiB < 19*mib
	default:
		return p.MemoryKiB < 46*mib
	}
}

// String writes the cost as a PHC string does.
func (p Params) String() string { return fmt.Sprintf("m=%d,t=%d,p=%d", p.MemoryKiB, p.Time, p.Lanes) }

func (p Params) work() uint64 { return uint64(p.MemoryKiB) * uint64(p.Time) }

// missing returns the cost that makes up for what a hash of cost was did less than one of
// cost p, in no more memory than p. Time goes with memory times passes.
func (p Params) missing(was Params) (rest Params, needed bool) {
	if was.work()+minMemoryKiB > p.work() {
		return Params{}, false
	}
	less := p.work() - was.work()
	passes := (less + uint64(p.MemoryKiB) - 1) / uint64(p.MemoryKiB)
	return Params{MemoryKiB: uint32(less / passes), Time: uint32(passes), Lanes: p.Lanes}, true //nolint:gosec // at most p's
}

func (p Params) valid() error {
	if p.Lanes == 0 || p.Time == 0 || p.Time > maxTime ||
		p.MemoryKiB < minMemoryKiB*uint32(p.Lanes) || p.MemoryKiB > maxMemoryKiB {
		return fmt.Errorf("a password cost of %s is out of range", p)
	}
	return nil
}

func (p Params) encode(salt, tag []byte) string {
	b64 := base64.RawStdEncoding.EncodeToString
	return "$argon2id$v=19$" + p.String() + "$" + b64(salt) + "$" + b64(tag)
}

var errPHC = errors.New("not an argon2id PHC string of version 19")

// decode is strict: what encode would not have written is refused.
func decode(phc string) (p Params, salt, tag []byte, err error) {
	part := strings.Split(phc, "$")
	if len(part) != 6 || part[0] != "" || part[1] != "argon2id" || part[2] != "v=19" {
		return Params{}, nil, nil, errPHC
	}
	if _, err := fmt.Sscanf(part[3], "m=%d,t=%d,p=%d", &p.MemoryKiB, &p.Time, &p.Lanes); err != nil {
		return Params{}, nil, nil, errPHC
	}
	salt, saltErr := base64.RawStdEncoding.Strict().DecodeString(part[4])
	tag, tagErr := base64.RawStdEncoding.Strict().DecodeString(part[5])
	switch {
	case errors.Join(saltErr, tagErr, p.valid()) != nil, len(salt) < 8, len(salt) > 64, len(tag) < 16, len(tag) > 64,
		p.encode(salt, tag) != phc:
		return Params{}, nil, nil, errPHC
	}
	return p, salt, tag, nil
}

// Suggest measures this machine and returns the highest cost whose hash takes about target
// with one lane, and never less than DefaultParams. It first spends a second pass on more
// memory, up to 64 MiB, then more passes: memory is what an attacker pays for.
func Suggest(target time.Duration, now func() time.Time) Params {
	p := DefaultParams()
	base := measure(p, now)
	if base <= 0 {
		return p
	}
	const plenty = 64 * 1024
	budget := float64(p.work()) * float64(target) / float64(base) // KiB times passes
	p.MemoryKiB = max(p.MemoryKiB, min(plenty, uint32(min(budget/2, plenty))/1024*1024))
	p.Time = max(p.Time, uint32(min(budget/float64(p.MemoryKiB), maxTime)))
	return p
}

// measure returns the best of five: the machine's own speed, not its neighbours'.
func measure(p Params, now func() time.Time) time.Duration {
	best := time.Duration(0)
	for range 5 {
		began := now()
		p.tag(nil, make([]byte, saltLen), tagLen)
		if took := now().Sub(began); best == 0 || took < best {
			best = took
		}
	}
	return best
}
