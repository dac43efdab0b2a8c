package arch_test

import (
	"io/fs"
	"path"
	"regexp"
	"strings"
)

var link = regexp.MustCompile(`\]\(([^)#\s]+)[^)]*\)`)

// links looks for files that a page of ours links to and that are not there.
func links(t tree) (broken []string) {
	pages, err := fs.Glob(t.files, "*.md")
	for _, pattern := range []string{"docs/*.md", "docs/decisions/*.md"} {
		more, e := fs.Glob(t.files, pattern)
		if pages = append(pages, more...); e != nil {
			err = e
		}
	}
	if err != nil {
		return []string{err.Error()}
	}
	for _, page := range pages {
		text, err := fs.ReadFile(t.files, page)
		if err != nil {
			return []string{err.Error()}
		}
		for _, found := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(found[1], ":") { // another site's
				continue
			}
			if _, err := fs.Stat(t.files, path.Join(path.Dir(page), found[1])); err != nil {
				broken = append(broken, page+" links to "+found[1]+", which is not there")
			}
		}
	}
	return broken
}

func linkSamples() []sample {
	with := func(want, text string) sample {
		return sample{rule: "links lead somewhere", want: want, files: map[string]string{"docs/a.md": text, "README.md": "[a](docs/a.md)"}}
	}
	return []sample{
		with("docs/a.md links to b.md", "[b](b.md)"),
		with("images/c.png", "![c](images/c.png)"),
		with("", "[up](../README.md#part) [far](https://example.org/x.md) [here](#part)"),
	}
}
