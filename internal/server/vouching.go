package server

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"countersign/internal/appkey"
	"countersign/internal/platform/config"
	"countersign/internal/platform/reread"
)

// vouching reads whose word about an app's key is believed.
func vouching(c config.Config, revoked *reread.File[map[string]bool]) (p appkey.Policy, err error) {
	a := c.App
	if a.AndroidPackage != "" {
		p.AndroidApps = map[string][][]byte{a.AndroidPackage: a.Digests()}
		if p.AndroidRoots, err = fromFile("app.android_roots", a.AndroidRoots, appkey.ReadRoots); err != nil {
			return p, err
		}
	}
	if a.AndroidStatus != "" {
		if _, err := revoked.Load(); err != nil {
			return p, fmt.Errorf("app.android_status: %s: %w", a.AndroidStatus, err)
		}
		p.Revoked = revoked.Get
	}
	if a.AppleAppID != "" {
		p.AppleApp = a.AppleAppID
		p.AppleRoots, err = fromFile("app.apple_root", a.AppleRoot, appkey.ReadRoots)
	}
	return p, err
}

// revokedOf is Google's list of certificates that are not believed any more; nil without one.
func revokedOf(c config.Config) *reread.File[map[string]bool] {
	if c.App.AndroidStatus == "" {
		return nil
	}
	return &reread.File[map[string]bool]{Path: c.App.AndroidStatus, Parse: appkey.ReadRevoked}
}

// ReadFiles reads again what operators replace while the server runs. What is wrong with a file is told once, and what it said before stays in use.
func (c *Core) ReadFiles(ctx context.Context, log *slog.Logger) {
	c.Places.Load(ctx)
	if err := c.Models.Load(ctx); err != nil {
		log.LogAttrs(ctx, slog.LevelError, "metadata of authenticators not loaded; what was read before stays in use", slog.Any("error", err))
	}
	if _, err := c.Applications.MTLS.Roots.Load(); err != nil {
		log.LogAttrs(ctx, slog.LevelError, "oidc.mtls_roots not loaded; what was read before stays in use", slog.Any("error", err))
	}
	fresh, err := c.Revoked.Load()
	if err != nil {
		log.LogAttrs(ctx, slog.LevelError, "app.android_status not loaded; what was read before stays in use", slog.Any("error", err))
	}
	if fresh {
		log.LogAttrs(ctx, slog.LevelInfo, "revoked certificates of apps loaded", slog.Int("certificates", len(c.Revoked.Get())))
	}
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
