// Package clients_test looks at what clients/js ships. What it does in a browser is test/browser's.
package clients_test

import (
	"bytes"
	"compress/gzip"
	"os"
	"testing"
)

// Who waits for a sign-in waits for this too.
func TestTheBrowsersPartIsSmall(t *testing.T) {
	const most = 6000
	text, err := os.ReadFile("../../clients/js/browser.js")
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes, %d compressed", len(text), packed.Len())
	if packed.Len() >= most {
		t.Errorf("%d bytes compressed, want less than %d", packed.Len(), most)
	}
}
