package server

import (
	"fmt"
	"os"

	"countersign/internal/appkey"
	"countersign/internal/platform/config"
)

// vouching reads whose word about an app's key is believed.
func vouching(c config.Config) (p appkey.Policy, err error) {
	a := c.App
	if a.AndroidPackage != "" {
		p.AndroidApps = map[string][][]byte{a.AndroidPackage: a.Digests()}
		if p.AndroidRoots, err = fromFile("app.android_roots", a.AndroidRoots, appkey.ReadRoots); err != nil {
			return p, err
		}
	}
	if a.AndroidStatus != "" {
		if p.Revoked, err = fromFile("app.android_status", a.AndroidStatus, appkey.ReadRevoked); err != nil {
			return p, err
		}
	}
	if a.AppleAppID != "" {
		p.AppleApp = a.AppleAppID
		p.AppleRoots, err = fromFile("app.apple_root", a.AppleRoot, appkey.ReadRoots)
	}
	return p, err
}

// fromFile reads the file that a setting names.
func fromFile[T any](setting, name string, read func([]byte) (T, error)) (v T, err error) {
	text, err := os.ReadFile(name) //nolint:gosec // the operator names it
	if err != nil {
		return v, fmt.Errorf("%s: %w", setting, err)
	}
	if v, err = read(text); err != nil {
		return v, fmt.Errorf("%s: %s: %w", setting, name, err)
	}
	return v, nil
}
