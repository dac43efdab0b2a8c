package foreign_test

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/password/foreign"
)

const (
	horse = "correct horse battery staple"
	mixed = "Pässwörd — 密码"
)

// vector is a hash that something else made.
type vector struct{ source, hash, password, family string }

// published are those that can be read elsewhere, made those that Debian's tools made here:
// passlib 1.7.4, Django 3.2, PHP 8.2, htpasswd 2.4, openssl 3.0, mkpasswd 5.5.
func published() []vector {
	scrypt, _ := hex.DecodeString("7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2" +
		"d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887")
	pbkdf2, _ := hex.DecodeString("4b007901b765489abead49d926f721d065a429c1")
	b64 := base64.RawStdEncoding.EncodeToString
	return []vector{
		{"Openwall crypt_blowfish", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U", "bcrypt"},
		{"Openwall crypt_blowfish", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK", "U*U*", "bcrypt"},
		{
			"Openwall crypt_blowfish", "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui",
			"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789chars after 72 are ignored", "bcrypt",
		},
		{"RFC 7914 section 12", "$scrypt$ln=14,r=8,p=1$" + b64([]byte("SodiumChloride")) + "$" + b64(scrypt), "pleaseletmein", "scrypt/16384/8/1"},
		{"RFC 6070", "$pbkdf2-sha1$i=4096$" + b64([]byte("salt")) + "$" + b64(pbkdf2), "password", "pbkdf2-sha1"},
		{"argon2 reference command", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "password", "argon2id/65536/2/1"},
		{"Drepper, SHA-crypt.txt", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", "Hello world!", "sha256crypt/10"},
		{"Drepper, SHA-crypt.txt", "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1", "Hello world!", "sha512crypt/10"},
		{
			"Drepper, SHA-crypt.txt",
			"$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
			"Hello world!", "sha512crypt/16",
		},
		{"Openwall phpass test.php", "$P$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0", "test12345", "phpass"},
		{"hashcat example 400", "$P$984478476IagS59wHZvyQMArzfx58u.", "hashcat", "phpass"},
		{"hashcat example 7900", "$S$C33783772bRXEx1aCsvY.dqgaaSu76XmVlKrW9Qu8IQlvxHlmzLf", "hashcat", "drupal"},
		{"hashcat example 500", "$1$28772684$iEwNOgGugqO9.bIz5sk8k/", "hashcat", "md5crypt/8"},
		{"hashcat example 7400", "$5$rounds=5000$GX7BopJZJxPc/KEK$le16UF8I2Anb.rOrn22AUPWvzUETDGefUmAV8AZkGcD", "hashcat", "sha256crypt/16"},
		{"hashcat example 10000", "pbkdf2_sha256$20000$H0dPx8NeajVu$GiC4k5kqbbR9qWBlsRgDywNqC2vd9kqfk7zdorEnNas=", "hashcat", "pbkdf2-sha256"},
		{"hashcat example 124", "sha1$fe76b$02d5916550edf7fc8c886f044887f4b1abf9b013", "hashcat", "digest"},
		{"hashcat example 111", "{SSHA}AZKja92fbuuB9SpRlHqaoXxbTc43Mzc2MDM1Ng==", "hashcat", "digest"},
	}
}

func made() []vector {
	return []vector{
		{"htpasswd -nbB -C 5", "$2y$05$pVbiloiZSqUu8DozRtCOxOHCg7Twjj0.E/Meo.xoTA6cr1oVpGwty", horse, "bcrypt"},
		{"PHP password_hash", "$2y$05$qBMfQHmMGIG.7psr7mWOsO7WXttHz2ds9fMJJRmQt8yvBEHmA9JLy", horse, "bcrypt"},
		{"passlib bcrypt", "$2b$05$BNqneoqcSm0rxk2TNsHhT.vASWAbwN0Uomt4/agFPFU2k6p5Xvl2C", mixed, "bcrypt"},
		{"WordPress 6.8's wp_hash_password", "$wp$2y$05$QD1VbMUoPktQXyp0upAnt.0b8/sMNrlDIN2Z2NK1LuhUQnai4FYm.", horse, "bcrypt"},
		{"the same, which trims", "$wp$2y$05$aRwdlX43l3sMXQ1fk/LTmuiwTkN8dQgsQ6jzLg0AWzfxL9djvspUS", " " + mixed + " ", "bcrypt"},
		{"Django", "bcrypt_sha256$$2b$05$ALj2Jivq.5wRajsUBrrxlub6CAE3jofsZDWTW.zBmiAHjrh92xzQu", mixed, "bcrypt"},
		{"Django", "bcrypt$$2b$05$A8srQ51aeew.U9VVPTHmSupP6KtvpQ5BTvkIUTmsWmROiLgULvRQa", horse, "bcrypt"},
		{"passlib argon2", "$argon2id$v=19$m=1024,t=2,p=2$GmPsvRciZGxNCcGY09pbSw$0uzKIciEEgNNoQnywMeGpw", mixed, "argon2id/1024/2/2"},
		{"passlib argon2", "$argon2i$v=19$m=512,t=3,p=1$T0npfW8tpdS6t/Y+RyjFOA$Oa+6zKU5T4U7WC5wQSBvKg", horse, "argon2i/512/3/1"},
		{"Django", "argon2$argon2id$v=19$m=1024,t=2,p=1$c2Vhc2FsdHNlYXNhbHQ$60QeMYMbkugCKQrSgmzZbg", mixed, "argon2id/1024/2/1"},
		{"passlib scrypt", "$scrypt$ln=11,r=8,p=1$9z6ndG6N0dr7f29tLSVkjA$8nUb/5VKKdXTAGu8RhMHOXq71iU2bQwNF8USZJ0+5NI", mixed, "scrypt/2048/8/1"},
		{
			"Django 4's form, hashlib.scrypt",
			"scrypt$2048$seasalt$8$1$lBlXaP2tQDjk5IU7h1YzyDsuPtrI5ivZmU5W4Wv5UNXNOJ8JnLH5sfFjny9TjLOSQiwghlYv4ufxGGdShYEf1g==",
			horse, "scrypt/2048/8/1",
		},
		{"passlib pbkdf2_sha1", "$pbkdf2$12000$8b6XUuqdM8a49z6ndA6hNA$Q9neFqUF73zM7/FsvUhncRmYhxE", mixed, "pbkdf2-sha1"},
		{"passlib pbkdf2_sha256", "$pbkdf2-sha256$10000$x/j/nzPmnDPG.B9DyLlXig$FTHQBCEeC/sFngeWsRpf7prORO7MPm93H/axZ.5FaQ8", mixed, "pbkdf2-sha256"},
		{
			"passlib pbkdf2_sha512",
			"$pbkdf2-sha512$10000$EoJQqtW619q71zqntFbK.Q$gv53.kQOKhOw12J.y9nXViNJrQd2gmc2yWZTuQdHvMO5jZqCteEsBoS5fX0Nt4jGrHY90r68n4TyFuF/QIEiMg",
			horse, "pbkdf2-sha512",
		},
		{
			"Keycloak's parameters, hashlib.pbkdf2_hmac",
			"$pbkdf2-sha512$i=10000,l=64$MDEyMzQ1Njc4OWFiY2RlZg==$G3aEhWdCXEGIaC8++f2RjtpTCiM3RyZFazjlZeKO0rMbf3ZsGHGHbeCnv0STpWailrSa4xIMz6/zk0OvYSTM/Q==",
			mixed, "pbkdf2-sha512",
		},
		{"Django", "pbkdf2_sha256$10000$seasalt$28NllGm4JfG6EkQPkUMJRUvhVL2Ijr7FoW+yyWTmCD4=", mixed, "pbkdf2-sha256"},
		{"Django", "pbkdf2_sha1$10000$seasalt$WKUpxcISWtSeSp0DR6DRvikaGpQ=", horse, "pbkdf2-sha1"},
		{"openssl passwd -5", "$5$saltstring$hixOXgchwauyzVtlSM/e7UnQx0qiTk74JE/YU53IbE0", horse, "sha256crypt/10"},
		{"mkpasswd -m sha-512 -R 1000", "$6$rounds=1000$saltsalt$j9Vf8YShD0koGhimfqidabEQeWmhpJ9YxprOCX.iV89zcJPtewN9pJnLRum4UDiZcBurQvcQNMKwhpHywoJfV/", horse, "sha512crypt/8"},
		{"PHP crypt", "$6$rounds=1400$anotherlongsalts$DY8ofsHFwr6qUPLa1CEoQGwXJoRil1PKmXBbSOenTcLcsBy4jAfIOZdnnEP.DV9c9SkLwknNyyn0xLnV6Ykmu1", horse, "sha512crypt/16"},
		{"passlib, as LDAP keeps it", "{CRYPT}$5$vH9u8x.7L6pOCXr1$AzNthoF83r9Hy43dZbSgcwEPIiiksISfPrxwne/rnlD", mixed, "sha256crypt/16"},
		{"openssl passwd -1", "$1$saltsalt$BsXyQbZiQujHkdhwPwdol.", horse, "md5crypt/8"},
		{"passlib md5_crypt", "$1$NfbK4xrG$5QKJO3ydg83TBCDX0HFf8/", mixed, "md5crypt/8"},
		{"passlib phpass", "$P$6g3Tw6kaQxRnmWpI2OkFh7AzTS/.iB0", mixed, "phpass"},
		{"passlib phpass, as phpBB writes it", "$H$6GhvxgL1ONsnfoPn3uwwi741q.G1Jr1", horse, "phpass"},
		{"passlib", "{SSHA}nLr2kNOzQtmRuG5NQMQ7JR06jyWrtbYW", mixed, "digest"},
		{"passlib", "{SMD5}FNfUfUUvnFTljQX9wE0t0MiZk3I=", horse, "digest"},
		{"passlib", "{SHA}q/eq1kOINtvlJqojGr3i0O73TUI=", horse, "digest"},
		{"passlib", "{MD5}BG5ey4OL1PWDImGLVzqCAw==", mixed, "digest"},
		{"passlib", "{SSHA256}sd/b/jvU9eqCweMCAaI/GcH3OJ/v2NFRDMltI3XgujNyjhEC4NxbKw==", horse, "digest"},
		{"passlib", "{SSHA512}jVbJHxRva6ZyDAP6Tl6bOfIvVg9OvKSiFhcm/2Oz4PFCU9IaB3tP94vvs15ceqpveG12/CJeEpBYlCZdfQLLQdl77x2j1Ppf", mixed, "digest"},
		{"Django", "sha1$seasalt$5e397d32ba0a112be2dc9ae07780ce9c2dc5d063", mixed, "digest"},
		{"Django", "md5$seasalt$9aa4b8addefd43dbf9340b7540e4e49a", horse, "digest"},
		{"Django", "sha1$$abf7aad6438836dbe526aa231abde2d0eef74d42", horse, "digest"},
		{"passlib, too few rounds to be kept", "$pbkdf2-sha256$1000$IgSAUEqJUWotpZRyznnvPQ$Mau1/GopBjVynRmGT2rzfZkOCWBWtZhnPBeZPQph7.c", mixed, "pbkdf2-sha256"},
	}
}

func parse(t *testing.T, text string) foreign.Hash {
	t.Helper()
	h, err := foreign.Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return h
}

func TestHashesOfOtherSystemsOpen(t *testing.T) {
	for _, v := range append(published(), made()...) {
		h := parse(t, v.hash)
		again := parse(t, h.Text())
		if !h.Matches(v.password) || !again.Matches(v.password) {
			t.Errorf("%s: %s does not open, or not when it is read again from %s", v.source, v.hash, h.Text())
		}
		for _, wrong := range []string{"", v.password + "x", strings.ToUpper(v.password) + ".", v.password[1:]} {
			if h.Matches(wrong) && len(v.password) < 72 && strings.TrimSpace(wrong) != strings.TrimSpace(v.password) {
				t.Errorf("%s: %s opens with %q", v.source, v.hash, wrong)
			}
		}
		if h.Kind().Family != v.family || h.Kind() != again.Kind() || h.Kind() != foreign.Stand(h.Kind()).Kind() {
			t.Errorf("%s: %s is %v, read again %v, stood in for by %v", v.source, v.hash, h.Kind(), again.Kind(), foreign.Stand(h.Kind()).Kind())
		}
		if foreign.Stand(h.Kind()).Matches(v.password) {
			t.Errorf("%s: what stands in for %s opens", v.source, v.hash)
		}
	}
}

// The worked example of github.com/firebase/scrypt.
func TestFirebaseOpens(t *testing.T) {
	f := foreign.Firebase{
		SignerKey:     "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==",
		SaltSeparator: "Bw==", Rounds: 8, MemCost: 14,
	}
	const sum, salt = "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==", "42xEC+ixf3L2lw=="
	h, err := f.Hash(sum, salt)
	if err != nil || !h.Matches("user1password") || h.Matches("user2password") || !h.Slow() {
		t.Fatalf("%v", err)
	}
	if again := parse(t, h.Text()); !again.Matches("user1password") || again.Kind() != (foreign.Kind{Family: "scrypt/16384/8/1", Work: 1}) {
		t.Errorf("read again it is of %v", again.Kind())
	}
	for _, bad := range []foreign.Firebase{
		{SignerKey: f.SignerKey, SaltSeparator: "Bw==", Rounds: 8, MemCost: 31},
		{SignerKey: f.SignerKey, SaltSeparator: "Bw==", Rounds: 8, MemCost: 20},
		{SignerKey: f.SignerKey, SaltSeparator: "Bw==", Rounds: 0, MemCost: 14},
		{SignerKey: "", SaltSeparator: "Bw==", Rounds: 8, MemCost: 14},
		{SignerKey: "$$", SaltSeparator: "Bw==", Rounds: 8, MemCost: 14},
	} {
		if _, err := bad.Hash(sum, salt); err == nil {
			t.Errorf("taken with %d rounds, memory %d", bad.Rounds, bad.MemCost)
		}
	}
}

func TestDigestsWithTheirFormatAndSaltOpen(t *testing.T) {
	for _, v := range []struct{ format, sum, salt, password string }{ // made with Python's hashlib
		{"sha256(salt+password)", "dee66120a5aefe5788b3e9658e52c1a549254edd1ab7674d8d09efc02d4423de", "pepper&salt", horse},
		{"sha512(password+salt)", "2122371279ec34a236197289ae3f7a28453f0bcb72487469422ec3d7f2519cd5959626a0552120d57f7690aef0e791d751f927393736b7bb9b3c2e265d0f0607", "pepper&salt", mixed},
		{"md5(password)", "046e5ecb838bd4f58322618b573a8203", "", mixed},
		{"md5(password)", "BG5ey4OL1PWDImGLVzqCAw==", "", mixed},
	} {
		h, err := foreign.Digest(v.format, v.sum, []byte(v.salt))
		if err != nil || !h.Matches(v.password) || h.Matches(v.password+" ") || h.Slow() {
			t.Errorf("%s: %v", v.format, err)
		}
		if !parse(t, h.Text()).Matches(v.password) {
			t.Errorf("%s: not when it is read again", v.format)
		}
	}
	for _, bad := range [][3]string{
		{"crc32(password)", "046e5ecb", ""},
		{"md5(password)", "046e5ecb838bd4f58322618b573a8203", "salt"},
		{"md5(salt+password)", "046e5ecb838bd4f58322618b573a8203", ""},
		{"md5(password)", "046e5ecb838bd4f58322618b573a82", ""},
		{"sha1(password)", "046e5ecb838bd4f58322618b573a8203", ""},
		{"md5(user+password)", "046e5ecb838bd4f58322618b573a8203", "salt"},
		{"md5(password)", "not a sum", ""},
	} {
		if _, err := foreign.Digest(bad[0], bad[1], []byte(bad[2])); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
}

// what is quick to guess is never kept as it is. What is wrapped needs the recipe alone, which has no sum.
func TestQuickHashesGiveARecipeWithoutTheSum(t *testing.T) {
	quick := 0
	for _, v := range append(published(), made()...) {
		h := parse(t, v.hash)
		if h.Slow() {
			continue
		}
		quick++
		recipe := parse(t, h.Recipe())
		got, ok := recipe.Digest(v.password)
		if !ok || string(got) != string(h.Sum()) || recipe.Kind() != h.Kind() {
			t.Errorf("%s: the recipe %s gives another sum", v.hash, h.Recipe())
		}
		if strings.Contains(h.Recipe(), base64.RawStdEncoding.EncodeToString(h.Sum())) || recipe.Matches(v.password) {
			t.Errorf("%s: the recipe has the sum", v.hash)
		}
	}
	if quick < 12 {
		t.Errorf("only %d quick ones", quick)
	}
}

// A hash decides how much work a sign-in is, so a file of them could stop the server.
func TestHashesThatCostTooMuchAreRefused(t *testing.T) {
	bcrypt := "$2b$%%$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
	sum := strings.Repeat("A", 43)
	for text, want := range map[string]foreign.Refusal{
		strings.Replace(bcrypt, "%%", "14", 1):                           "",
		strings.Replace(bcrypt, "%%", "15", 1):                           foreign.TooCostly,
		strings.Replace(bcrypt, "%%", "31", 1):                           foreign.TooCostly,
		strings.Replace(bcrypt, "%%", "32", 1):                           foreign.Malformed,
		strings.Replace(bcrypt, "%%", "03", 1):                           foreign.Malformed,
		"$wp" + strings.Replace(bcrypt, "%%", "31", 1):                   foreign.TooCostly,
		"bcrypt_sha256$" + strings.Replace(bcrypt, "%%", "31", 1):        foreign.TooCostly,
		"$scrypt$ln=17,r=8,p=1$c2FsdHNhbHQ$" + sum:                       "",
		"$scrypt$ln=30,r=8,p=1$c2FsdHNhbHQ$" + sum:                       foreign.TooCostly,
		"$scrypt$ln=99,r=8,p=1$c2FsdHNhbHQ$" + sum:                       foreign.TooCostly,
		"$scrypt$ln=14,r=8,p=64$c2FsdHNhbHQ$" + sum:                      foreign.TooCostly,
		"$scrypt$ln=1,r=8,p=1$c2FsdHNhbHQ$" + sum:                        foreign.TooWeak,
		"scrypt$1073741824$salt$8$1$" + sum:                              foreign.TooCostly,
		"scrypt$1000$salt$8$1$" + sum:                                    foreign.Malformed,
		"$pbkdf2-sha256$2000000$c2FsdA$" + sum:                           "",
		"$pbkdf2-sha256$2000001$c2FsdA$" + sum:                           foreign.TooCostly,
		"$pbkdf2-sha256$1500000$c2FsdA$" + sum + sum:                     foreign.TooCostly,
		"pbkdf2_sha256$2147483647$salt$" + sum:                           foreign.TooCostly,
		"$argon2id$v=19$m=131072,t=4,p=1$c29tZXNhbHQ$" + sum:             "",
		"$argon2id$v=19$m=131072,t=5,p=1$c29tZXNhbHQ$" + sum:             foreign.TooCostly,
		"$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$" + sum:            foreign.TooCostly,
		"$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$" + sum:                  foreign.TooWeak,
		"$argon2d$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$" + sum:               foreign.Unsupported,
		"$argon2id$v=16$m=65536,t=2,p=1$c29tZXNhbHQ$" + sum:              foreign.Unsupported,
		"$6$rounds=999999999$saltsalt$" + strings.Repeat("a", 86):        foreign.TooCostly,
		"$6$rounds=999$saltsalt$" + strings.Repeat("a", 86):              foreign.Malformed,
		"$P$R12345678" + strings.Repeat("a", 22):                         foreign.TooCostly,
		"$S$R12345678" + strings.Repeat("a", 43):                         foreign.TooCostly,
		"{CRYPT}{CRYPT}$1$saltsalt$" + strings.Repeat("a", 22):           foreign.Unsupported,
		"$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5": foreign.Unsupported,
		"": foreign.Unsupported, "hunter2": foreign.Unsupported, "$2b$": foreign.Malformed,
		"{SSHA}": foreign.Malformed, "{ROT13}uhagre2": foreign.Unsupported, "$P$": foreign.Malformed, "$1$": foreign.Malformed, "$6$": foreign.Malformed,
		"md5$": foreign.Malformed, "$scrypt$": foreign.Malformed, "$fbscrypt$": foreign.Malformed,
		"$digest$sha256,salt+password$$": foreign.Malformed, "$2b$10$ " + sum: foreign.Malformed, strings.Repeat("$1$", 400): foreign.Malformed,
	} {
		_, err := foreign.Parse(text)
		if got, _ := errors.AsType[foreign.Refusal](err); got != want {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
		if err != nil && len(text) > 8 && strings.Contains(err.Error(), text[:8]) {
			t.Errorf("%s is in the error", text)
		}
	}
}

// A password of a megabyte is not hashed in every one of a million rounds.
func TestVeryLongPasswordsCostNoMore(t *testing.T) {
	long := strings.Repeat("x", 512)
	h, err := foreign.Digest("sha1(password)", "e1d4c3d0a6be7a1d6ee0d2c3ee8ea9d6ae7e4e7b", nil)
	if err != nil {
		t.Fatal(err)
	}
	whole, ok := h.Digest(long)
	cut, more := h.Digest(long + strings.Repeat("y", 1<<20))
	if !ok || more || string(whole) != string(cut) {
		t.Error("more than 512 bytes are hashed, or would open")
	}
	bcrypt := parse(t, "$2b$05$iHWPv.xy5fRLjZ2jrSQTZO.OBvcDrGgFVJYpBxDP91xJaQlIj9yUe")
	if bcrypt.Matches(horse + strings.Repeat("\x00", 600)) {
		t.Error("a password cut off opens")
	}
}

// P2: who has few rounds does the rest, and who has none does all: the times are the same.
func TestRestAndStandInTakeAsLong(t *testing.T) {
	clock := func(f func()) float64 {
		began := time.Now()
		f()
		return float64(time.Since(began))
	}
	for _, c := range []struct{ few, most string }{
		{"$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "$2b$07$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"},
		{"pbkdf2_sha256$10000$seasalt$28NllGm4JfG6EkQPkUMJRUvhVL2Ijr7FoW+yyWTmCD4=", "pbkdf2_sha256$25000$seasalt$28NllGm4JfG6EkQPkUMJRUvhVL2Ijr7FoW+yyWTmCD4="},
		{"$5$rounds=1500$saltsalt$" + strings.Repeat("a", 43), "$5$saltsalt$" + strings.Repeat("a", 43)},
		{"$6$rounds=1500$saltsalt$" + strings.Repeat("a", 86), "$6$saltsalt$" + strings.Repeat("a", 86)},
		{"$P$91234567" + strings.Repeat("a", 23), "$P$B1234567" + strings.Repeat("a", 23)},
		{"$S$91234567" + strings.Repeat("a", 44), "$S$B1234567" + strings.Repeat("a", 44)},
	} {
		few, most := parse(t, c.few), parse(t, c.most)
		same := false
		for try := 0; try < 5 && !same; try++ { // another's work may come between
			var parts, stand []float64
			for range 21 {
				whole := clock(func() { most.Matches(horse) })
				parts = append(parts, clock(func() {
					few.Matches(horse)
					foreign.Rest(few.Kind().Family, horse, most.Kind().Work-few.Kind().Work)
				})/whole)
				stand = append(stand, clock(func() { foreign.Stand(most.Kind()).Matches(horse) })/whole)
			}
			slices.Sort(parts)
			slices.Sort(stand)
			t.Logf("%s: in parts %.2f, stood in for %.2f", most.Kind().Family, parts[10], stand[10])
			within := func(ratio float64) bool { return ratio > 0.8 && ratio < 1.25 }
			same = within(parts[10]) && within(stand[10])
		}
		if !same {
			t.Errorf("%s: the parts are not the whole", c.most)
		}
	}
}
