package place

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"

	"countersign/internal/platform/reread"
)

// Finder finds places in the newest good state of a file. A nil Finder finds none.
type Finder struct {
	log  *slog.Logger
	file reread.File[*database]
}

// New returns a finder that has read nothing yet; nil without a file.
func New(file string, log *slog.Logger) *Finder {
	if file == "" {
		return nil
	}
	return &Finder{log: log, file: reread.File[*database]{Path: file, Parse: parse}}
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
	db, a := f.file.Get(), a.Unmap().WithZone("")
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
	db := f.file.Get()
	if db == nil {
		return time.Time{}, false
	}
	return db.built, true
}

// Load reads the file if it has changed. A file that is missing or damaged leaves in use what was
// read before, and is complained of once. Only one Load may run at a time.
func (f *Finder) Load(ctx context.Context) {
	if f == nil {
		return
	}
	fresh, err := f.file.Load()
	if err != nil {
		f.log.LogAttrs(ctx, slog.LevelError, "places not loaded; what was read before stays in use", slog.String("file", f.file.Path), slog.Any("error", err))
	}
	if fresh {
		db := f.file.Get()
		f.log.LogAttrs(ctx, slog.LevelInfo, "places loaded", slog.String("type", db.reader.Metadata.DatabaseType), slog.Time("built", db.built))
	}
}

// Check opens a file and says what it is and when it was made.
func Check(file string) (kind string, built time.Time, err error) {
	text, err := os.ReadFile(file) //nolint:gosec // the operator names it
	if err != nil {
		return "", time.Time{}, err
	}
	db, err := parse(text)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("%s: %w", file, err)
	}
	return db.reader.Metadata.DatabaseType, db.built, nil
}

func parse(text []byte) (*database, error) {
	reader, err := maxminddb.OpenBytes(text)
	if err != nil {
		return nil, err
	}
	db := &database{reader: reader, built: reader.Metadata.BuildTime()}
	if !db.hasPlaces() {
		return nil, fmt.Errorf("%.40s: %w", reader.Metadata.DatabaseType, errNoPlaces)
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
