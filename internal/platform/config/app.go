package config

import (
	"encoding/hex"
	"regexp"
	"strings"
)

// app is about apps whose phones vouch for their keys. Nobody outside names it, so it is no name of this package.
type app struct {
	AndroidPackage     string   `toml:"android_package" doc:"The package name of your Android app, such as org.example.app. Empty: attestations of Android are not looked at, and refused."`
	AndroidDigests     []string `toml:"android_digests" doc:"SHA-256 of the certificates that sign it, in hexadecimal, as keytool and the Play Console show them."`
	AndroidRoots       string   `toml:"android_roots" doc:"A PEM file with the roots that are believed: Google's. Read at start."`
	AndroidStatus      string   `toml:"android_status" doc:"Google's list of revoked certificates (https://android.googleapis.com/attestation/status) as a file: fetch it anew every day; it is read again when it changes. Empty believes none to be revoked."`
	AppleAppID         string   `toml:"apple_app_id" doc:"The App ID of your app for Apple's devices: the team's id, a dot, the bundle's. Empty: attestations of Apple are not looked at, and refused."`
	AppleRoot          string   `toml:"apple_root" doc:"A PEM file with the root that is believed: Apple's App Attestation Root CA. Read at start."`
	RequireAttestation bool     `toml:"require_attestation" doc:"Whether the API remembers no device without an attestation of its key. Browsers on our own pages, whose keys nobody vouches for, are remembered all the same."`
}

// Digests are AndroidDigests as bytes; Validate has refused others.
func (a app) Digests() (all [][]byte) {
	for _, d := range a.AndroidDigests {
		raw, _ := hex.DecodeString(strings.ReplaceAll(d, ":", ""))
		all = append(all, raw)
	}
	return all
}

var (
	androidPackage = regexp.MustCompile(`^[A-Za-z]\w*(\.[A-Za-z]\w*)+$`)
	appleAppID     = regexp.MustCompile(`^[A-Z0-9]{10}\.[A-Za-z0-9.-]+$`)
)

func (c Config) checkApp(k *checker) {
	a := c.App
	android, apple := a.AndroidPackage != "", a.AppleAppID != ""
	k.want(!android || androidPackage.MatchString(a.AndroidPackage), "app.android_package", "%q: want a package name such as org.example.app", a.AndroidPackage)
	k.want(android == (len(a.AndroidDigests) > 0) && android == (a.AndroidRoots != ""), "app.android_package",
		"android_package, android_digests and android_roots go together: set all or none")
	for _, d := range a.AndroidDigests {
		raw, err := hex.DecodeString(strings.ReplaceAll(d, ":", ""))
		k.want(err == nil && len(raw) == 32, "app.android_digests", "%q: want a SHA-256 in hexadecimal, 64 digits", d)
	}
	k.want(android || a.AndroidStatus == "", "app.android_status", "revoked certificates need an android_package")
	k.want(!apple || appleAppID.MatchString(a.AppleAppID), "app.apple_app_id", "%q: want the team's ten characters, a dot and the bundle's id, such as A1B2C3D4E5.org.example.app", a.AppleAppID)
	k.want(apple == (a.AppleRoot != ""), "app.apple_app_id", "apple_app_id and apple_root go together: set both or neither")
	k.want(android || apple || !a.RequireAttestation, "app.require_attestation", "nobody could have an attestation: set android_package or apple_app_id")
}
