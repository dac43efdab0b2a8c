package appkey

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"
)

// descriptionID is the extension in which a keystore describes a key.
const descriptionID = "1.3.6.1.4.1.11129.2.1.17"

// The tags of what is looked at in a list of authorisations, and the values that are wanted.
const (
	tagPurpose, purposeSign    = 1, 2
	tagOrigin, originGenerated = 702, 0
	tagRootOfTrust             = 704
	tagApplication             = 709
	levelTEE, levelStrongBox   = asn1.Enumerated(1), asn1.Enumerated(2)
	bootVerified               = asn1.Enumerated(0)
)

// description is the extension's KeyDescription.
type description struct {
	Version         int
	Level           asn1.Enumerated
	KeystoreVersion int
	KeystoreLevel   asn1.Enumerated
	Challenge       []byte
	UniqueID        []byte
	Software        asn1.RawValue
	Hardware        asn1.RawValue
}

// android judges the chain that Android's keystore gives for a key: KeyStore.getCertificateChain, the key's own first. spki
// is the key, and challenge what it was made with.
func (p Policy) android(chain [][]byte, spki, challenge []byte, now time.Time) (Kind, error) {
	leaf, path, err := p.chain(chain, p.AndroidRoots, now)
	if err != nil {
		return "", err
	}
	if !bytes.Equal(leaf.RawSubjectPublicKeyInfo, spki) {
		return "", errors.New("the chain is of another key")
	}
	d, err := describe(path)
	if err != nil {
		return "", err
	}
	level := min(d.Level, d.KeystoreLevel)
	switch {
	case !bytes.Equal(d.Challenge, challenge):
		return "", errors.New("the key was not made for this")
	case level != levelTEE && level != levelStrongBox:
		return "", errors.New("the key is in software, or described by it")
	}
	if err := inHardware(d.Hardware); err != nil {
		return "", err
	}
	if err := p.androidApp(d.Software); err != nil {
		return "", err
	}
	if level == levelStrongBox {
		return StrongBox, nil
	}
	return TEE, nil
}

// describe finds the description in the key's own certificate. In another's it would be of a key with which anybody can
// sign certificates of their own make.
func describe(path []*x509.Certificate) (d description, err error) {
	found := false
	for i, c := range path {
		for _, e := range c.Extensions {
			if e.Id.String() != descriptionID {
				continue
			}
			if i > 0 || found {
				return d, errors.New("a description of a key where none belongs")
			}
			found = true
			if rest, err := asn1.Unmarshal(e.Value, &d); err != nil || len(rest) > 0 {
				return d, fmt.Errorf("read the description of the key: %w", errors.Join(err, errRest(rest)))
			}
		}
	}
	if !found {
		return d, errors.New("the key is not described")
	}
	return d, nil
}

func errRest(rest []byte) error {
	if len(rest) == 0 {
		return nil
	}
	return errors.New("something stands behind it")
}

// inHardware looks at what the keystore itself enforces: made in it, to sign, on a phone whose system is its maker's.
func inHardware(list asn1.RawValue) error {
	var purposes []int
	origin, trust := -1, struct {
		Key    []byte
		Locked bool
		State  asn1.Enumerated
		Hash   []byte `asn1:"optional"`
	}{}
	for tag, into := range map[int]any{tagOrigin: &origin, tagRootOfTrust: &trust} {
		if err := authorised(list, tag, "", into); err != nil {
			return err
		}
	}
	if err := authorised(list, tagPurpose, "set", &purposes); err != nil {
		return err
	}
	switch {
	case !slices.Equal(purposes, []int{purposeSign}):
		return errors.New("the key is for something else than to sign")
	case origin != originGenerated:
		return errors.New("the key was not made in the keystore")
	case trust.State != bootVerified || !trust.Locked:
		return errors.New("the phone's system is not its maker's, or may be changed")
	}
	return nil
}

// androidApp looks whether the key is one of our apps'.
func (p Policy) androidApp(list asn1.RawValue) error {
	var text []byte
	if err := authorised(list, tagApplication, "", &text); err != nil {
		return err
	}
	var app struct {
		Packages []struct {
			Name    []byte
			Version int
		} `asn1:"set"`
		Digests [][]byte `asn1:"set"`
	}
	if rest, err := asn1.Unmarshal(text, &app); err != nil || len(rest) > 0 {
		return fmt.Errorf("read the app's id: %w", errors.Join(err, errRest(rest)))
	}
	// Several packages share one user of the system and so its keys, and each may be another's: one is wanted, and ours.
	if len(app.Packages) != 1 || len(app.Digests) == 0 {
		return errors.New("the key is of several apps, or of one that is not signed")
	}
	ours := p.AndroidApps[string(app.Packages[0].Name)]
	for _, d := range app.Digests {
		if !slices.ContainsFunc(ours, func(one []byte) bool { return bytes.Equal(one, d) }) {
			return errors.New("the key is of another app, or of one that somebody else signed")
		}
	}
	return nil
}

// authorised reads one authorisation of a list: the content of the element with a tag.
func authorised(list asn1.RawValue, tag int, params string, into any) error {
	rest := list.Bytes
	for len(rest) > 0 {
		var e asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &e); err != nil {
			return fmt.Errorf("read a list of authorisations: %w", err)
		}
		if e.Class != asn1.ClassContextSpecific || e.Tag != tag {
			continue
		}
		behind, err := asn1.UnmarshalWithParams(e.Bytes, into, params)
		if err != nil || len(behind) > 0 {
			return fmt.Errorf("read authorisation %d: %w", tag, errors.Join(err, errRest(behind)))
		}
		return nil
	}
	return fmt.Errorf("authorisation %d is missing", tag)
}
