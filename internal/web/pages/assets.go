package pages

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"net/http"
	"path"

	"countersign/internal/platform/fault"
)

//go:embed assets
var assetFiles embed.FS

const assetRoot = "/assets/"

// assets serves the files that are the same for everybody. One hash covers them all, so that the
// style sheet can name its pictures without knowing it.
type assets struct {
	base  string // "/assets/<hash>"
	files map[string][]byte
}

func readAssets() (assets, error) {
	entries, err := assetFiles.ReadDir("assets")
	if err != nil {
		return assets{}, err
	}
	a := assets{files: map[string][]byte{}}
	sum := sha256.New()
	for _, e := range entries { // in the order of their names
		if kind(e.Name()) == "" {
			return assets{}, errors.New("asset of unknown kind: " + e.Name())
		}
		raw, err := assetFiles.ReadFile("assets/" + e.Name())
		if err != nil {
			return assets{}, err
		}
		a.files[e.Name()] = raw
		_, _ = sum.Write([]byte(e.Name()))
		_, _ = sum.Write(raw)
	}
	a.base = assetRoot + hex.EncodeToString(sum.Sum(nil)[:8])
	return a, nil
}

func kind(name string) string {
	switch path.Ext(name) {
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return ""
}

// serve answers with one file.
func (a assets) serve(w http.ResponseWriter, r *http.Request) error {
	raw, ok := a.files[r.PathValue("name")]
	if !ok {
		return fault.New(fault.NotFound, "not_found", errors.New("no such asset"))
	}
	h := w.Header()
	h.Set("Content-Type", kind(r.PathValue("name")))
	h.Set("X-Content-Type-Options", "nosniff")
	// While nodes of two releases run side by side, a page of one may ask the other for its files.
	// Ours will do, but must not be kept under the other's name.
	h.Set("Cache-Control", "no-store")
	if path.Join(assetRoot, r.PathValue("hash")) == a.base {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	_, _ = w.Write(raw) // the browser has gone; there is nobody to tell
	return nil
}
