package reread_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"countersign/internal/platform/reread"
)

func TestTheNewestGoodStateIsInUse(t *testing.T) {
	path, bad := filepath.Join(t.TempDir(), "f"), errors.New("bad")
	f := &reread.File[string]{Path: path, Parse: func(text []byte) (string, error) {
		if string(text) == "bad" {
			return "", bad
		}
		return string(text), nil
	}}
	put := func(text string) {
		t.Helper()
		if err := errors.Join(os.WriteFile(path+".new", []byte(text), 0o600), os.Rename(path+".new", path)); err != nil {
			t.Fatal(err)
		}
	}
	// Each is looked at twice: what is wrong is told the first time alone.
	for _, step := range []struct {
		does  func()
		fresh bool
		wrong error
		want  string
	}{
		{func() {}, false, os.ErrNotExist, ""},
		{func() { put("bad") }, false, bad, ""},
		{func() { put("one") }, true, nil, "one"},
		{func() { put("bad") }, false, bad, "one"},
		{func() { _ = os.Remove(path) }, false, os.ErrNotExist, "one"},
		{func() { put("") }, true, nil, ""},
		{func() { put("two") }, true, nil, "two"},
	} {
		step.does()
		if fresh, err := f.Load(); fresh != step.fresh || !errors.Is(err, step.wrong) || f.Get() != step.want {
			t.Errorf("%v %v %q, want %+v", fresh, err, f.Get(), step)
		}
		if fresh, err := f.Load(); fresh || err != nil || f.Get() != step.want {
			t.Errorf("again: %v %v %q, want %q", fresh, err, f.Get(), step.want)
		}
	}
}

func TestNoFileSaysNothing(t *testing.T) {
	var none *reread.File[string]
	if fresh, err := none.Load(); fresh || err != nil || none.Get() != "" {
		t.Error(fresh, err, none.Get())
	}
}
