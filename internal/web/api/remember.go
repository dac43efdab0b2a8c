package api

import (
	"encoding/base64"
	"errors"

	"countersign/internal/appkey"
	"countersign/internal/device"
	"countersign/internal/platform/secret"
)

type enrolment struct {
	PublicKey string `json:"public_key" minLength:"59" maxLength:"1024" pattern:"^[A-Za-z0-9_-]+$" doc:"base64url of the SubjectPublicKeyInfo (DER) of a P-256 or Ed25519 key that cannot leave the device."`
	Signature string `json:"signature" minLength:"86" maxLength:"86" pattern:"^[A-Za-z0-9_-]+$" doc:"base64url of 64 bytes: with P-256 r‖s of ECDSA with SHA-256, with Ed25519 as it is, over \"countersign-device-v1\\nremember\\n\" origin \"\\n\" nonce."`
	Name      string `json:"name,omitempty" maxLength:"64" example:"Ada's phone" doc:"What its owner will know it by."`
	Handle    string `json:"handle,omitempty" maxLength:"64" doc:"A handle the device still has for this account; it is replaced."`

	Attestation *attestation `json:"attestation,omitempty" doc:"What the phone says of the key. docs/apps.md has how to ask it."`
}

type attestation struct {
	Format appkey.Format `json:"format" enum:"android-key,apple-appattest" doc:"android-key is Android key attestation, with chain; apple-appattest is App Attest, with object."`
	Chain  []string      `json:"chain,omitempty" maxItems:"8" maxLength:"5462" doc:"Certificates (DER, base64url) of KeyStore.getCertificateChain, in its order."`
	Object string        `json:"object,omitempty" maxLength:"21846" pattern:"^[A-Za-z0-9_-]+$" doc:"base64url of what DCAppAttestService.attestKey gives."`
}

// keyCodes are those of calls that remember a device.
func keyCodes() []string {
	return []string{"device_key_malformed", "device_key_unsupported", "attestation_refused", "attestation_required", "attestation_unsupported"}
}

// read decodes what a device shows to be remembered.
// read also returns the handle that the device still has, if any. Without an enrolment there is nothing to read.
func (e *enrolment) read() (*device.Enrolment, []secret.Token, error) {
	if e == nil {
		return nil, nil, nil
	}
	key, keyErr := base64.RawURLEncoding.DecodeString(e.PublicKey)
	signature, sigErr := base64.RawURLEncoding.DecodeString(e.Signature)
	said, saidErr := e.Attestation.read()
	if err := errors.Join(keyErr, sigErr, saidErr); err != nil {
		return nil, nil, invalid("remember")
	}
	var held []secret.Token
	if e.Handle != "" {
		held = tokens([]string{e.Handle})
	}
	return &device.Enrolment{PublicKey: key, Signature: signature, Name: e.Name, Attestation: said}, held, nil
}

func (a *attestation) read() (*appkey.Attestation, error) {
	if a == nil {
		return nil, nil
	}
	object, err := base64.RawURLEncoding.DecodeString(a.Object)
	if err != nil {
		return nil, err
	}
	out := &appkey.Attestation{Format: a.Format, Object: object}
	for _, one := range a.Chain {
		der, err := base64.RawURLEncoding.DecodeString(one)
		if err != nil {
			return nil, err
		}
		out.Chain = append(out.Chain, der)
	}
	return out, nil
}
