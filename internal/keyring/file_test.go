package keyring_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"countersign/internal/keyring"
)

func TestParseReadsTheKeyFile(t *testing.T) {
	key := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
	roots, err := keyring.Parse("# head\r\n\r\n  kaaaaaaa   " + key + "  \r\nkbbbbbbb " + key)
	if err != nil || len(roots) != 2 || roots[0].ID != "kaaaaaaa" || roots[1].ID != "kbbbbbbb" || roots[1].Key[31] != 7 {
		t.Fatalf("Parse = %d keys, %v", len(roots), err)
	}
	roots, err = keyring.Parse(keyring.Generate())
	if err != nil || len(roots) != 1 {
		t.Fatalf("a generated line: %d keys, %v", len(roots), err)
	}
}

// P4: whatever is wrong with the file, the error that the log gets has no key in it.
func TestParseErrorsNeverContainTheKey(t *testing.T) {
	raw := []byte("0123456789abcdefghijklmnopqrstuv")
	key := base64.StdEncoding.EncodeToString(raw)
	for name, text := range map[string]string{
		"empty":          "",
		"only comments":  "# kaaaaaaa " + key,
		"no id":          key,
		"swapped":        key + " kaaaaaaa",
		"long id":        "kaaaaaaaa " + key,
		"short key":      "kaaaaaaa " + key[:40],
		"long key":       "kaaaaaaa " + key + key,
		"not base64":     "kaaaaaaa " + key[:20] + "!" + key[21:],
		"unpadded":       "kaaaaaaa " + strings.TrimRight(key, "="),
		"tab":            "kaaaaaaa\t" + key,
		"three columns":  "kaaaaaaa " + key + " x",
		"twice":          "kaaaaaaa " + key + "\nkaaaaaaa " + key,
		"key as id":      key[:8] + key + " x",
		"raw, no base64": "kaaaaaaa " + string(raw),
	} {
		_, err := keyring.Parse(text)
		if err == nil {
			t.Errorf("%s was accepted", name)
			continue
		}
		for i := 0; i+6 <= len(key); i++ {
			if strings.Contains(err.Error(), key[i:i+6]) {
				t.Errorf("%s: the error shows a part of the key: %v", name, err)
				break
			}
		}
		if strings.Contains(err.Error(), string(raw[:8])) {
			t.Errorf("%s: the error shows the raw key: %v", name, err)
		}
	}
}

func TestLoadFileRefusesAFileThatOthersCanRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "countersign.key")
	if err := os.WriteFile(path, []byte(keyring.Generate()), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, ok := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o644: false, 0o640: false, 0o604: false, 0o620: false, 0o601: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := keyring.LoadFile(path)
		if (err == nil) != ok {
			t.Errorf("mode %04o: %v", mode, err)
		}
		if err != nil && !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("mode %04o: the error does not say what to do: %v", mode, err)
		}
	}
	if _, err := keyring.LoadFile(path + ".missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestCreateFileMakesAKeyForItsOwnerOnlyAndNeverOverwrites(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	path := filepath.Join(t.TempDir(), "keys", "countersign.key")
	made, err := keyring.CreateFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if st, err := os.Stat(name); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v; want %v", name, st.Mode().Perm(), err, want)
		}
	}
	again, err := keyring.CreateFile(path)
	if err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) {
		t.Fatalf("the key file was overwritten (%v)", err)
	}
	if _, err := again.Open(made.Seal([]byte("x"), here), here); err != nil {
		t.Errorf("the second call gave another ring: %v", err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

// Nodes that start at once on one disk: whoever is first makes the key, and all have that one.
func TestAllWhoCreateAtOnceHaveTheSameKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "countersign.key")
	rings := make([]*keyring.Ring, 16)
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range rings {
		wg.Go(func() {
			<-start
			r, err := keyring.CreateFile(path)
			if err != nil {
				t.Error(err)
			}
			rings[i] = r
		})
	}
	close(start)
	wg.Wait()
	if t.Failed() {
		return
	}
	sealed := rings[0].Seal([]byte("x"), here)
	for i, r := range rings {
		if _, err := r.Open(sealed, here); err != nil {
			t.Errorf("node %d has another key: %v", i, err)
		}
	}
}
