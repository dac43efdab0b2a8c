package keyring

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const fileHead = `# Countersign's root keys, one a line: id, then 32 bytes in base64.
# Whoever has this file and the database has everything; with the database alone, nothing.
# Keep a copy apart from the database backups: without it the data cannot be opened again.
`

// Parse reads keys in the form of the key file: a line a key, "id base64"; # begins a comment.
func Parse(text string) ([]Root, error) {
	var roots []Root
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		id, key, found := strings.Cut(line, " ")
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(key))
		if !found || err != nil || len(raw) != 32 || len(id) != idLen { // the line itself is a secret: never print it
			return nil, fmt.Errorf("key file line %d: want an id of %d characters, a space and 32 bytes in base64", n+1, idLen)
		}
		for _, r := range roots {
			if r.ID == id {
				return nil, fmt.Errorf("key file line %d: id %s occurs twice", n+1, id)
			}
		}
		roots = append(roots, Root{ID: id, Key: raw})
	}
	if len(roots) == 0 {
		return nil, errors.New("the key file has no key")
	}
	return roots, nil
}

// LoadFile reads the key file. The file must be readable by its owner only. It is read again when the
// database names a key that was not in it.
func LoadFile(path string) (*Ring, error) {
	roots, err := readFile(path)
	if err != nil {
		return nil, err
	}
	r, err := New(roots)
	if err == nil {
		r.source = func() ([]Root, error) { return readFile(path) }
	}
	return r, err
}

func readFile(path string) ([]Root, error) {
	f, err := os.Open(path) //nolint:gosec // the operator names it
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat() // of what is read, not of what the name meant a moment ago
	if err != nil {
		return nil, err
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("key file %s has mode %04o: others can read it; run chmod 600 %s", path, st.Mode().Perm(), path)
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	roots, err := Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return roots, nil
}

// CreateFile makes a key file of mode 0600 with one new key. It never overwrites: of two
// nodes starting at once on one disk, one creates and the other loads.
func CreateFile(path string) (*Ring, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".countersign-key-*") // mode 0600
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.WriteString(fileHead + Generate() + "\n")
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return nil, err
	}
	// A link appears whole or not at all, and fails if the name is taken.
	if err := os.Link(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	// What is sealed from here on must not outlive the name of its key in a crash.
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return nil, err
	}
	return LoadFile(path)
}

// AddToFile appends a new key to the key file and returns its id. The file is whole at every moment,
// and of several that are added at once each stays.
func AddToFile(path string) (id string, err error) {
	line := Generate()
	return line[:idLen], rewrite(path, func(text string) (string, error) {
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		return text + line + "\n", nil
	})
}

// RemoveFromFile takes a key out of the key file, if it is in it. The last one stays.
func RemoveFromFile(path, id string) error {
	return rewrite(path, func(text string) (string, error) {
		var kept strings.Builder
		for line := range strings.Lines(text) {
			if !strings.HasPrefix(strings.TrimSpace(line), id+" ") {
				kept.WriteString(line)
			}
		}
		return kept.String(), nil
	})
}

// rewrite replaces the key file, all or nothing, by one of the same owner and mode. Whoever else does
// so at the same time waits.
func rewrite(path string, change func(text string) (string, error)) (err error) {
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return err
	}
	held, err := hold(path)
	if err != nil {
		return err
	}
	defer func() { _ = held.Close() }()
	was, err := held.Stat()
	if err != nil {
		return err
	}
	text, err := io.ReadAll(held)
	if err != nil {
		return err
	}
	after, err := change(string(text))
	if err != nil {
		return err
	}
	if _, err := Parse(after); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".countersign-key-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	if st, ok := was.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() { // root does it for the server's user
		err = tmp.Chown(int(st.Uid), int(st.Gid))
	}
	if err == nil {
		_, err = tmp.WriteString(after)
	}
	if err = errors.Join(err, tmp.Chmod(was.Mode().Perm()), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// hold opens the file and locks it against others who would replace it. The lock is on the file, not on
// its name: whoever waited for one that has been replaced meanwhile begins again.
func hold(path string) (*os.File, error) {
	for {
		f, err := os.Open(path) //nolint:gosec // the operator names it
		if err != nil {
			return nil, err
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		mine, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		there, err := os.Stat(path)
		if err == nil && os.SameFile(mine, there) {
			return f, nil
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
	}
}

func syncFolder(path string) error {
	f, err := os.Open(path) //nolint:gosec // the operator names it
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Generate returns a new line for a key file.
func Generate() string {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails
	return "k" + strings.ToLower(rand.Text()[:idLen-1]) + " " + base64.StdEncoding.EncodeToString(raw)
}
