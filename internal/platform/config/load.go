package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Source is where settings come from, in the order in which they win over one another.
type Source struct {
	File     string // TOML; empty means none
	Environ  []string
	Flags    map[string]string // "section.key" and its value
	ReadFile func(name string) ([]byte, error)
}

// Load fills a Config and validates it. The error lists everything that is wrong, a line each.
func Load(s Source) (Config, error) {
	c := Default()
	var bad Problems
	whole := true
	if s.File != "" {
		text, err := s.ReadFile(s.File)
		if err != nil {
			return c, Problems{fmt.Sprintf("cannot read the configuration file %s: %s", s.File, plain(err))}
		}
		bad, whole = c.readTOML(s.File, text)
	}
	bad = append(bad, c.readEnviron(s)...)
	for _, key := range slices.Sorted(maps.Keys(s.Flags)) {
		if err := c.set(key, s.Flags[key]); err != nil {
			bad = append(bad, fmt.Sprintf("%s: %s", key, err))
		}
	}
	if more, ok := errors.AsType[Problems](c.Validate()); ok && whole {
		bad = append(bad, more...)
	}
	if len(bad) > 0 {
		return c, bad
	}
	return c, nil
}

// Problems is everything that is wrong with a configuration.
type Problems []string

// Error lists the problems, a line each.
func (p Problems) Error() string { return strings.Join(p, "\n") }

var (
	errDuration = errors.New(`want a duration such as "10m" or "12h"`)
	errUnknown  = errors.New("there is no such setting")
)

// readTOML says everything that is wrong with the keys and the types of a file; whole says that all else of it was read.
func (c *Config) readTOML(file string, text []byte) (bad Problems, whole bool) {
	err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(c)
	if err == nil {
		return nil, true
	}
	if e, ok := errors.AsType[*toml.StrictMissingError](err); ok {
		for i := range e.Errors {
			line, _ := e.Errors[i].Position()
			key := strings.Join(e.Errors[i].Key(), ".")
			bad = append(bad, fmt.Sprintf("%s line %d: there is no setting %s%s", file, line, key, c.meant(key)))
		}
		return bad, true
	}
	if e, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, _ := e.Position()
		key := strings.Join(e.Key(), ".")
		if f, ok := c.field(key); ok { // it is of another type
			bad = Problems{fmt.Sprintf("%s line %d %s: %s", file, line, key, f.wants(lineOf(text, line)))}
			more, whole := c.readTOML(file, without(text, line))
			if !whole { // the value has more lines: what is left of it is none of the operator's mistakes
				return bad, false
			}
			return append(bad, more...), true
		}
		return Problems{strings.TrimSpace(fmt.Sprintf("%s line %d %s", file, line, key)) + ": " + strings.TrimPrefix(e.Error(), "toml: ")}, false
	}
	return Problems{fmt.Sprintf("%s: %s", file, err)}, false
}

// without is the text with one line empty.
func without(text []byte, n int) []byte {
	all := strings.Split(string(text), "\n")
	all[min(max(n, 1), len(all))-1] = ""
	return []byte(strings.Join(all, "\n"))
}

func lineOf(text []byte, n int) string {
	all := strings.Split(string(text), "\n")
	return all[min(max(n, 1), len(all))-1]
}

// bare is a value that lacks its quotes and nothing else.
var bare = regexp.MustCompile(`=\s*([\w.:+-]+)\s*(#|$)`)

// wants says what a setting takes, with the value that stands in its line where that is put right by quotes.
func (f field) wants(line string) string {
	_, name, _ := strings.Cut(f.key(), ".")
	switch f.value.Addr().Interface().(type) {
	case *Duration:
		return errDuration.Error()
	case *int:
		return fmt.Sprintf("want a whole number without quotes, such as %s = 10", name)
	case *bool:
		return fmt.Sprintf("want true or false without quotes, such as %s = true", name)
	case *[]string:
		return fmt.Sprintf(`want a list of texts, such as %s = ["one", "another"]`, name)
	case *string:
		if m := bare.FindStringSubmatch(line); m != nil {
			return fmt.Sprintf("want text in quotes: %s = %q", name, m[1])
		}
	}
	return fmt.Sprintf(`want text in quotes, such as %s = "…"`, name) // secrets are not repeated
}

const prefix = "COUNTERSIGN_"

func (c *Config) readEnviron(s Source) (bad Problems) {
	keys := map[string]string{}
	for f := range c.fields() {
		keys[f.env()] = f.key()
	}
	given := map[string]string{} // setting to variable: COUNTERSIGN_X and COUNTERSIGN_X_FILE exclude each other
	for _, pair := range s.Environ {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, prefix) || name == prefix+"CONFIG" {
			continue
		}
		key, known := keys[name]
		if !known {
			base, isFile := strings.CutSuffix(name, "_FILE")
			if key = keys[base]; !isFile || key == "" || !c.isSecret(key) {
				bad = append(bad, fmt.Sprintf("%s: there is no such setting; see countersign config print", name))
				continue
			}
			text, err := s.ReadFile(value)
			if err != nil {
				bad = append(bad, fmt.Sprintf("%s: cannot read %s: %s", name, value, plain(err)))
				continue
			}
			value = strings.TrimRight(string(text), "\r\n")
		}
		if other, twice := given[key]; twice {
			bad = append(bad, fmt.Sprintf("%s and %s both set %s: keep one", other, name, key))
			continue
		}
		given[key] = name
		if err := c.set(key, value); err != nil {
			bad = append(bad, fmt.Sprintf("%s: %s", name, err))
		}
	}
	slices.Sort(bad)
	return bad
}

// plain returns why a file cannot be read, without the name, which the caller says.
func plain(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}

func (c *Config) isSecret(key string) bool {
	f, _ := c.field(key)
	_, is := f.value.Interface().(Secret)
	return is
}

// set reads one value from text, as environment and flags give it. Lists are separated by commas.
func (c *Config) set(key, text string) error {
	f, ok := c.field(key)
	if !ok {
		return errUnknown
	}
	switch v := f.value.Addr().Interface().(type) {
	case *string:
		*v = text
	case *Secret:
		*v = NewSecret(text)
	case *Duration:
		return v.UnmarshalText([]byte(text))
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return errors.New("want a whole number")
		}
		*v = n
	case *bool:
		on, err := strconv.ParseBool(text)
		if err != nil {
			return errors.New("want true or false")
		}
		*v = on
	case *[]string:
		*v = nil
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				*v = append(*v, part)
			}
		}
	default:
		return fmt.Errorf("settings of type %s cannot be read", reflect.TypeOf(v)) // a field of a new type needs a case above
	}
	return nil
}
