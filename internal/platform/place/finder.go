package place

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"
)

// look is how often the file is looked at.
const look = time.Minute

// Finder finds places in the newest good state of a file. A nil Finder finds none.
type Finder struct {
	File string
	Log  *slog.Logger

	current atomic.Pointer[database]
	seen    fs.FileInfo // of the file that was last read, good or bad; Load alone touches it, and gone
	gone    bool        // it was not there, and that was said
}

type database struct {
	reader *maxminddb.Reader
	built  time.Time
}

// Of returns roughly where a is. It is the zero Place for addresses that are nowhere, such as
// 10.0.0.1, for those the file does not know, and where the file is damaged.
func (f *Finder) Of(a netip.Addr) Place {
	if f == nil {
		return Place{}
	}
	db, a := f.current.Load(), a.Unmap().WithZone("")
	if db == nil || !public(a) {
		return Place{}
	}
	return db.of(db.reader.Lookup(a))
}

func (db *database) of(r maxminddb.Result) Place {
	var p Place
	var iso string
	// Each is left as it was if the record has none. What some vendors write flat stands second.
	if r.DecodePath(&iso, "country", "iso_code") != nil || iso == "" {
		_ = r.DecodePath(&iso, "country_code")
	}
	if p = OfCountry(iso); r.DecodePath(&p.Countries, "country", "names") != nil {
		p.Countries = nil
	}
	if r.DecodePath(&p.Cities, "city", "names") != nil {
		p.Cities = nil
	}
	p.Countries, p.Cities = names(p.Countries), names(p.Cities)
	return p
}

// Built is when the data in use was made. ok is false if there is none.
func (f *Finder) Built() (at time.Time, ok bool) {
	if f == nil {
		return time.Time{}, false
	}
	db := f.current.Load()
	if db == nil {
		return time.Time{}, false
	}
	return db.built, true
}

// Run looks at the file once a minute until ctx ends.
func (f *Finder) Run(ctx context.Context) error {
	if f == nil {
		return nil
	}
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			f.Load(ctx)
		}
	}
}

// Load reads the file if it has changed. A file that is missing or damaged leaves in use what was
// read before, and is complained of once. Only one Load may run at a time.
func (f *Finder) Load(ctx context.Context) {
	if f == nil {
		return
	}
	before, err := os.Stat(f.File)
	if err != nil {
		if !f.gone {
			f.complain(ctx, err)
		}
		f.gone, f.seen = true, nil
		return
	}
	f.gone = false
	if f.seen != nil && same(f.seen, before) {
		return
	}
	db, err := open(f.File)
	if after, e := os.Stat(f.File); e != nil || !same(before, after) {
		return // somebody is writing it: next time
	}
	f.seen = before
	if err != nil {
		f.complain(ctx, err)
		return
	}
	f.current.Store(db)
	f.Log.LogAttrs(ctx, slog.LevelInfo, "places loaded", slog.String("type", db.reader.Metadata.DatabaseType), slog.Time("built", db.built))
}

func (f *Finder) complain(ctx context.Context, err error) {
	f.Log.LogAttrs(ctx, slog.LevelError, "places not loaded; what was read before stays in use", slog.Any("error", err))
}

func same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// Check opens a file and says what it is and when it was made.
func Check(file string) (kind string, built time.Time, err error) {
	db, err := open(file)
	if err != nil {
		return "", time.Time{}, err
	}
	return db.reader.Metadata.DatabaseType, db.built, nil
}

// open reads the whole file. It is not mapped into memory: with a mapping, whoever copies a new
// file over the old one in place ends the process.
func open(file string) (*database, error) {
	all, err := os.ReadFile(file) //nolint:gosec // the operator names it
	if err != nil {
		return nil, err
	}
	reader, err := maxminddb.OpenBytes(all)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	db := &database{reader: reader, built: reader.Metadata.BuildTime()}
	if !db.hasPlaces() {
		return nil, fmt.Errorf("%s (%.40s): %w", file, reader.Metadata.DatabaseType, errNoPlaces)
	}
	return db, nil
}

var errNoPlaces = errors.New("no country or city is in it")

// hasPlaces looks at the first networks, so that a file of something else (networks' owners, say) is
// not taken for one of places. Empty networks count, or a damaged tree might be walked for ever.
func (db *database) hasPlaces() bool {
	looked := 0
	for r := range db.reader.Networks(maxminddb.IncludeNetworksWithoutData()) {
		if r.Found() && db.of(r).Known() {
			return true
		}
		if looked++; looked == 100_000 {
			break
		}
	}
	return false
}
