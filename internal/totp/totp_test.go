package totp_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/url"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rsc.io/qr"

	"countersign/internal/account"
	"countersign/internal/platform/sqldb"
	"countersign/internal/totp"
)

// RFC 4226 appendix D, and RFC 6238 appendix B with its errata: longer secrets for longer hashes. N-3.1.4.1-01, N-3.1.4.1-03.
func TestTheVectorsOfTheStandards(t *testing.T) {
	const digits = "1234567890123456789012345678901234567890123456789012345678901234"
	for i, want := range strings.Fields("755224 287082 359152 969429 338314 254676 287922 162583 399871 520489") {
		if got := totp.Code(totp.Shape{Kind: totp.HOTP, Algorithm: totp.SHA1, Digits: 6}, []byte(digits[:20]), int64(i)); got != want {
			t.Errorf("counter %d: %s, want %s", i, got, want)
		}
	}
	for at, want := range map[int64][3]string{
		59:          {"94287082", "46119246", "90693936"},
		1111111109:  {"07081804", "68084774", "25091201"},
		1111111111:  {"14050471", "67062674", "99943326"},
		1234567890:  {"89005924", "91819424", "93441116"},
		2000000000:  {"69279037", "90698825", "38618901"},
		20000000000: {"65353130", "77737706", "47863826"},
	} {
		for i, a := range []totp.Algorithm{totp.SHA1, totp.SHA256, totp.SHA512} {
			raw := digits[:[]int{20, 32, 64}[i]]
			if got := totp.Code(totp.Shape{Kind: totp.TOTP, Algorithm: a, Digits: 8, Period: 30}, []byte(raw), at/30); got != want[i] {
				t.Errorf("%s at %d: %s, want %s", a, at, got, want[i])
			}
		}
	}
}

// The program oathtool computes the same codes.
func TestOathtoolAgreesOnAThousandCases(t *testing.T) {
	oathtool := tool(t, "oathtool")
	const secrets, codes = 250, 4 // starting a program takes longer than what it does
	for n := range secrets {
		chance := sha256.Sum256([]byte(strconv.Itoa(n))) // any, and the same ones every time
		s := totp.Shape{
			Kind: totp.TOTP, Algorithm: []totp.Algorithm{totp.SHA1, totp.SHA256, totp.SHA512}[chance[0]%3],
			Digits: 6 + int(chance[1]%3), Period: 10 + int(chance[2]%111),
		}
		raw := bytes.Repeat(chance[:], 2)[:14+chance[3]%50]
		at := int64(binary.BigEndian.Uint32(chance[4:]))
		args := []string{"--totp=" + string(s.Algorithm), "--time-step-size", fmt.Sprintf("%ds", s.Period), "--now", fmt.Sprintf("@%d", at)}
		step := at / int64(s.Period)
		if n%3 == 0 { // it knows HOTP with SHA-1 only
			s.Kind, s.Algorithm, s.Period = totp.HOTP, totp.SHA1, 0
			args, step = []string{"--hotp", "--counter", strconv.FormatInt(at, 10)}, at
		}
		args = append(args, "--window", strconv.Itoa(codes-1), "--digits", strconv.Itoa(s.Digits), hex.EncodeToString(raw))
		out, err := exec.CommandContext(t.Context(), oathtool, args...).CombinedOutput()
		var ours []string
		for i := range int64(codes) {
			ours = append(ours, totp.Code(s, raw, step+i))
		}
		if err != nil || strings.Join(strings.Fields(string(out)), " ") != strings.Join(ours, " ") {
			t.Fatalf("%v: %v, and oathtool %s, %v", args, ours, out, err)
		}
	}
}

// What an app reads from the code, the link, or the key typed: all say the same.
func TestAnEnrolmentIsShownThreeWays(t *testing.T) {
	each(t, func(t *testing.T, d desk) {
		a, e := d.begin(d.ada, totp.Shape{})
		u, err := url.Parse(e.URL.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		if u.Scheme != "otpauth" || u.Host != "totp" || u.EscapedPath() != "/Example%3A%20Site:ada@example.org" || q.Get("issuer") != "Example: Site" ||
			q.Get("period") != "30" || q.Get("digits") != "6" || q.Get("algorithm") != "SHA1" || strings.Contains(e.URL.Reveal(), "+") {
			t.Errorf("the link is %s", u.Redacted())
		}
		if len(a.raw) != 20 { // N-3.1.4.1-01: 160 bits
			t.Errorf("%d bytes of secret", len(a.raw))
		}
		if typed := strings.ReplaceAll(e.Key.Reveal(), " ", ""); typed != q.Get("secret") || !regexp.MustCompile(`^([A-Z2-7]{4} ){7}[A-Z2-7]{4}$`).MatchString(e.Key.Reveal()) {
			t.Error("the key to type is another")
		}
		svg, err := e.QR()
		if err != nil {
			t.Fatal(err)
		}
		want, err := qr.Encode(e.URL.Reveal(), qr.M)
		if err != nil {
			t.Fatal(err)
		}
		black := map[[2]int]bool{}
		for _, m := range regexp.MustCompile(`M(\d+) (\d+)h(\d+)v1h-\d+z`).FindAllStringSubmatch(svg.Path, -1) {
			x, _ := strconv.Atoi(m[1])
			y, _ := strconv.Atoi(m[2])
			n, _ := strconv.Atoi(m[3])
			for i := range n {
				black[[2]int{x + i - 4, y - 4}] = true // the quiet zone
			}
		}
		for y := range want.Size {
			for x := range want.Size {
				if black[[2]int{x, y}] != want.Black(x, y) {
					t.Fatalf("module %d, %d of the image is wrong", x, y)
				}
			}
		}
		if b, _ := d.begin(d.ada, totp.Shape{}); bytes.Equal(a.raw, b.raw) {
			t.Error("two secrets are the same")
		}
	})
}

// N-3.1.4.2-04, A-6.5.1: the code that proves the enrolment is used up by it.
func TestTheFirstCodeProvesTheEnrolment(t *testing.T) {
	each(t, func(t *testing.T, d desk) {
		bob := d.m.Bare("bob@example.org")
		a, _ := d.begin(d.ada, totp.Shape{})
		if d.verify(d.ada, a.shows(0)) != totp.Wrong || len(d.list(d.ada)) != 0 {
			t.Error("an enrolment that nothing has proved counts")
		}
		if d.confirm(d.ada, a, "", "") || d.confirm(d.ada, a, a.beyond(), "") || d.confirm(bob, a, a.shows(0), "") {
			t.Error("confirmed by something else")
		}
		if code := a.shows(0); !d.confirm(d.ada, a, code[:3]+" "+code[3:], "Pho\u200bne\n") { // as apps show it
			t.Fatal("not confirmed by its code")
		}
		if d.confirm(d.ada, a, a.shows(1), "") {
			t.Error("confirmed again")
		}
		if v := d.verify(d.ada, a.shows(0)); v != totp.Used {
			t.Errorf("the first code again: %d, want it used up", v)
		}
		d.clock.Advance(30 * time.Second)
		if v := d.verify(d.ada, a.shows(0)); v != totp.Right {
			t.Errorf("the next code: %d", v)
		}
		all := d.list(d.ada)
		if len(all) != 1 || all[0].Name != "Phone" || all[0].ID != a.id || !all[0].LastUsedAt.Equal(d.db.Now()) {
			t.Errorf("%+v", all)
		}
	})
}

func TestAnEnrolmentEnds(t *testing.T) {
	each(t, func(t *testing.T, d desk) {
		old, _ := d.begin(d.ada, totp.Shape{})
		a, e := d.begin(d.ada, totp.Shape{})
		if d.confirm(d.ada, old, old.shows(0), "") {
			t.Error("one that another took the place of")
		}
		d.clock.Advance(e.ExpiresAt.Sub(d.db.Now()))
		if d.confirm(d.ada, a, a.shows(0), "") {
			t.Error("one whose time is over")
		}
		d.clock.Advance(time.Millisecond)
		d.write(func(ctx context.Context, tx *sqldb.Tx) error {
			n, err := d.Prune(ctx, tx)
			if n != 1 {
				t.Errorf("%d pruned", n)
			}
			return err
		})
	})
}

func TestAnAccountHasFiveAtTheMost(t *testing.T) {
	each(t, func(t *testing.T, d desk) {
		for range totp.MaxPerAccount {
			d.app()
		}
		begin := func(ctx context.Context, tx *sqldb.Tx) error {
			_, err := d.Begin(ctx, tx, d.ada, totp.Label{})
			return err
		}
		if code := d.refused(begin); code != "too_many_authenticators" {
			t.Errorf("the sixth: %q", code)
		}
		if n := len(d.list(d.ada)); n != totp.MaxPerAccount {
			t.Errorf("%d listed", n)
		}
	})
}

// The current step and the one before, and nothing else: not two back, and none ahead., N-3.1.4.2-05.
func TestTheWindowIsTheCurrentStepAndOneBack(t *testing.T) {
	each(t, func(t *testing.T, d desk) {
		for later, want := range map[int64]totp.Verdict{-3: totp.Wrong, -2: totp.Wrong, -1: totp.Right, 0: totp.Right, 1: totp.Wrong, 2: totp.Wrong} {
			a := d.app()
			if v := d.verify(d.ada, a.shows(later)); v != want {
				t.Errorf("%d steps later: got %d, want %d", later, v, want)
			}
			d.write(func(ctx context.Context, tx *sqldb.Tx) error { return d.Erase(ctx, tx, d.ada) })
		}
	})
}

// N-3.1.4.2-04, A-6.5.1: once, and none before it either; also when the server's clock is set back.
func TestACodeWorksOnce(t *testing.T) {
	each(t, func(t *testing.T, d desk) {
		a := d.app()
		now, before := a.shows(0), a.shows(-1)
		if d.verify(d.ada, now) != totp.Right || d.verify(d.ada, now) != totp.Used || d.verify(d.ada, before) != totp.Used {
			t.Error("a code is used up with those before it")
		}
		d.clock.Advance(30 * time.Second)
		if d.verify(d.ada, now) != totp.Used {
			t.Error("used once more, a step later")
		}
		d.clock.Advance(-5 * time.Minute)
		for back := range int64(3) {
			if v := d.verify(d.ada, a.shows(-back)); v != totp.Used && v != totp.Wrong {
				t.Error("a clock that was set back takes old codes")
			}
		}
		d.clock.Advance(6 * time.Minute)
		if d.verify(d.ada, a.shows(0)) != totp.Right {
			t.Error("the next code is refused")
		}
	})
}

// P6: of a thousand at once, one.
func TestOfAThousandAtOnceOneIsRight(t *testing.T) {
	each(t, func(t *testing.T, d desk) {
		a := d.app()
		code := a.shows(0)
		var right, used atomic.Int64
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				v := d.verify(d.ada, code)
				if v == totp.Right {
					right.Add(1)
				}
				if v == totp.Used {
					used.Add(1)
				}
			})
		}
		wg.Wait()
		if right.Load() != 1 || used.Load() != 999 {
			t.Errorf("%d right and %d used up, want 1 and 999", right.Load(), used.Load())
		}
	})
}

// N-3.1.4.2-05: a clock that is slow is followed, however far it goes in the end.
func TestASlowClockIsFollowed(t *testing.T) {
	each(t, func(t *testing.T, d desk) {
		a := d.app()
		for a.ahead = -1; a.ahead > -8; a.ahead-- {
			d.clock.Advance(24 * time.Hour)
			if d.verify(d.ada, a.shows(0)) != totp.Right {
				t.Fatalf("refused at %d steps", a.ahead)
			}
		}
		a.ahead = 0 // set right
		d.clock.Advance(time.Hour)
		if d.verify(d.ada, a.shows(0)) != totp.Right {
			t.Error("refused when its clock was set right")
		}
		d.clock.Advance(time.Hour)
		if d.verify(d.ada, a.shows(-2)) != totp.Wrong {
			t.Error("the window stayed wide")
		}
	})
}

// Whoever types slowly has the next code accepted all the same.
func TestASlowTypistTeachesNothingWrong(t *testing.T) {
	each(t, func(t *testing.T, d desk) {
		a := d.app()
		for _, late := range []int64{-1, -1, 0, -1, 0, 0} {
			d.clock.Advance(10 * time.Minute)
			if d.verify(d.ada, a.shows(late)) != totp.Right {
				t.Fatalf("refused, %d steps late", late)
			}
		}
		fast, _ := d.begin(d.ada, totp.Shape{})
		fast.ahead = 1
		if !d.confirm(d.ada, fast, fast.shows(0), "") {
			t.Fatal("not confirmed")
		}
		for _, late := range []int64{0, -1, 0, -2, 0} {
			d.clock.Advance(10 * time.Minute)
			if d.verify(d.ada, fast.shows(late)) != totp.Right {
				t.Fatalf("refused with a fast clock, %d steps late", late)
			}
		}
		d.clock.Advance(10 * time.Minute)
		if d.verify(d.ada, fast.shows(2)) != totp.Wrong || d.verify(d.ada, fast.shows(-3)) != totp.Wrong {
			t.Error("its window is too wide")
		}
	})
}

// A clock that is ten minutes wrong from the start is known by its first code, and one that went wrong by two codes.
func TestADriftIsLearnedAtEnrolmentAndByTwoCodes(t *testing.T) {
	each(t, func(t *testing.T, d desk) {
		a, _ := d.begin(d.ada, totp.Shape{})
		a.ahead = 20
		if !d.confirm(d.ada, a, a.shows(0), "") {
			t.Fatal("not confirmed")
		}
		d.clock.Advance(time.Hour)
		if d.verify(d.ada, a.shows(0)) != totp.Right {
			t.Error("what was learned at enrolment is forgotten")
		}
		a.ahead = -10
		d.clock.Advance(time.Hour)
		first := a.shows(0)
		if d.verify(d.ada, first) != totp.Wrong {
			t.Error("accepted ten steps away")
		}
		d.clock.Advance(30 * time.Second)
		second := a.shows(0)
		if d.resync(d.ada, second, first) != totp.Wrong || d.resync(d.ada, second, second) != totp.Wrong || d.resync(d.ada, first, "") != totp.Wrong {
			t.Error("resynchronised by something else than two codes in a row")
		}
		if d.resync(d.ada, first, second) != totp.Right || d.resync(d.ada, first, second) == totp.Right || d.verify(d.ada, second) == totp.Right {
			t.Error("want it resynchronised once, and both codes used up")
		}
		d.clock.Advance(30 * time.Second)
		if d.verify(d.ada, a.shows(0)) != totp.Right {
			t.Error("what two codes taught is forgotten")
		}
		a.ahead = -25
		d.clock.Advance(time.Hour)
		if d.resync(d.ada, a.shows(-1), a.shows(0)) != totp.Wrong {
			t.Error("resynchronised further than ten minutes away")
		}
	})
}

var counterShape = totp.Shape{Kind: totp.HOTP, Algorithm: totp.SHA1, Digits: 6}

// RFC 4226 section 7.2: each counter once, ten ahead; section 7.4: further by two codes.
func TestACounterGoesForwardOnly(t *testing.T) {
	each(t, func(t *testing.T, d desk) {
		a := d.token(counterShape, "H1", "12345678901234567890")
		for counter, want := range []totp.Verdict{totp.Right, totp.Right} {
			if v := d.verify(d.ada, a.press(int64(counter))); v != want {
				t.Errorf("counter %d: %d", counter, v)
			}
		}
		if d.verify(d.ada, a.press(1)) != totp.Used || d.verify(d.ada, a.press(0)) != totp.Wrong {
			t.Error("the last code is used up, and those before are nothing any more")
		}
		if d.verify(d.ada, a.press(12)) != totp.Wrong || d.verify(d.ada, a.press(11)) != totp.Right || d.verify(d.ada, a.press(5)) != totp.Wrong {
			t.Error("want it to look ten ahead, and never back")
		}
		if d.resync(d.ada, a.press(50), a.press(52)) != totp.Wrong || d.resync(d.ada, a.press(111), a.press(112)) != totp.Wrong || d.resync(d.ada, a.press(10), a.press(11)) != totp.Wrong {
			t.Error("resynchronised by codes apart, too far, or from before")
		}
		if d.resync(d.ada, a.press(110), a.press(111)) != totp.Right || d.resync(d.ada, a.press(110), a.press(111)) != totp.Wrong {
			t.Error("want a hundred ahead, once")
		}
		if d.verify(d.ada, a.press(112)) != totp.Right {
			t.Error("the next code is refused")
		}
	})
}

func TestOfTwoResynchronisationsAtOnceOneIsRight(t *testing.T) {
	each(t, func(t *testing.T, d desk) {
		a := d.token(counterShape, "H1", "12345678901234567890")
		var right atomic.Int64
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if d.resync(d.ada, a.press(40), a.press(41)) == totp.Right {
					right.Add(1)
				}
			})
		}
		wg.Wait()
		if right.Load() != 1 {
			t.Errorf("%d right, want one", right.Load())
		}
	})
}

// P2: whoever has none, or does not exist, has as many rows read, opened and computed.
func TestEverybodyIsAsMuchWork(t *testing.T) {
	each(t, func(t *testing.T, d desk) {
		d.app()
		d.token(counterShape, "H1", "12345678901234567890")
		bob := d.m.Bare("bob@example.org")
		a := d.app()
		for _, who := range []account.ID{d.ada, bob, "00000000-0000-7000-8000-000000000000", "fffffff0-0000-7000-8000-000000000000", account.Last} {
			d.write(func(ctx context.Context, tx *sqldb.Tx) error {
				n, err := totp.Looked(ctx, tx, who)
				if n != totp.MaxPerAccount {
					t.Errorf("%s: %d rows looked at, want %d", who, n, totp.MaxPerAccount)
				}
				return err
			})
			if id, v := d.verifyID(who, a.shows(0)); (v == totp.Right) != (who == d.ada) || who != d.ada && (v != totp.Wrong || id != "") {
				t.Errorf("%s: Ada's code is worth %d", who, v)
			}
		}
	})
}

// what was lost is worth nothing from then on.
func TestAuthenticatorsAreRenamedAndRemovedByTheirOwner(t *testing.T) {
	each(t, func(t *testing.T, d desk) {
		bob := d.m.Bare("bob@example.org")
		a, h := d.app(), d.token(counterShape, "H1", "12345678901234567890")
		for _, c := range []struct {
			who  account.ID
			want bool
		}{{bob, false}, {d.ada, true}} {
			d.write(func(ctx context.Context, tx *sqldb.Tx) error {
				ok, err := d.Rename(ctx, tx, c.who, a.id, "Tablet")
				if ok != c.want {
					t.Errorf("renamed: %t", ok)
				}
				return err
			})
		}
		if all := d.list(d.ada); len(all) != 2 || all[0].Name+all[1].Name != "Tablet" {
			t.Errorf("%+v", all)
		}
		code := d.refused(func(ctx context.Context, tx *sqldb.Tx) error {
			_, err := d.Rename(ctx, tx, d.ada, a.id, "\u202e ")
			return err
		})
		if code != "authenticator_name_empty" {
			t.Errorf("a name without letters: %q", code)
		}
		for _, c := range []struct {
			who  account.ID
			id   totp.ID
			want bool
		}{{bob, a.id, false}, {bob, h.id, false}, {d.ada, a.id, true}, {d.ada, a.id, false}, {d.ada, h.id, true}, {d.ada, h.id, false}} {
			d.write(func(ctx context.Context, tx *sqldb.Tx) error {
				ok, err := d.Remove(ctx, tx, c.who, c.id)
				if ok != c.want {
					t.Errorf("%+v: removed %t", c, ok)
				}
				return err
			})
		}
		if d.verify(d.ada, a.shows(0)) != totp.Wrong || d.verify(d.ada, h.press(0)) != totp.Wrong || len(d.list(d.ada)) != 0 {
			t.Error("what was removed is worth something")
		}
		if all, err := d.Tokens(t.Context(), "", 10); err != nil || len(all) != 1 || all[0].Account != "" {
			t.Errorf("the token is to be nobody's: %+v, %v", all, err)
		}
	})
}

// "This wasn't me": what somebody else added goes, what was there before and what an operator gave stays.
func TestWhatWasAddedSinceEnds(t *testing.T) {
	each(t, func(t *testing.T, d desk) {
		mine := d.app()
		since := d.db.Now()
		theirs, h := d.app(), d.token(counterShape, "H1", "12345678901234567890")
		under, _ := d.begin(d.ada, totp.Shape{})
		d.write(func(ctx context.Context, tx *sqldb.Tx) error {
			n, err := d.EndSince(ctx, tx, d.ada, since)
			if n != 1 {
				t.Errorf("%d ended", n)
			}
			return err
		})
		if d.verify(d.ada, theirs.shows(0)) != totp.Wrong || d.confirm(d.ada, under, under.shows(0), "") {
			t.Error("somebody else's still counts")
		}
		if d.verify(d.ada, mine.shows(0)) != totp.Right || d.verify(d.ada, h.press(0)) != totp.Right {
			t.Error("the owner's counts no more")
		}
		d.write(func(ctx context.Context, tx *sqldb.Tx) error { return d.Erase(ctx, tx, d.ada) })
		if len(d.list(d.ada)) != 0 || d.verify(d.ada, h.press(1)) != totp.Wrong {
			t.Error("something is left after an erasure")
		}
	})
}
