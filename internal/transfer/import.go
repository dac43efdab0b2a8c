package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/password"
	"countersign/internal/password/foreign"
	"countersign/internal/platform/sqldb"
)

// importer is one import under way.
type importer struct {
	s      *Service
	o      Options
	parser parser
	sum    Summary
	began  time.Time
	seen   *sqldb.DB       // of a dry run
	kinds  map[string]bool // families that anybody has
	slow   atomic.Bool     // lines must be hashed here, so batches are small
	bulk   *sqldb.Bulk
	others time.Time // when somebody else was last seen to write
	gave   time.Time // when way was last made for them
}

// Import reads accounts from a file and writes those that are not there yet.
//
// Each account is written whole, in one transaction with the note that its line is done, so an import
// that was stopped, however hard, is run again and goes on. An error is the server's or the file's trouble; what is wrong with a
// line is told to Refused.
func (s *Service) Import(ctx context.Context, r io.Reader, o Options) (sum Summary, err error) {
	im := &importer{
		s: s, o: o, parser: parser{lenient: o.IgnoreUnknown}, began: s.DB.Now(),
		sum: Summary{Refused: map[Reason]int64{}, Kinds: map[foreign.Kind]int64{}},
	}
	if err := im.checkOptions(); err != nil {
		return Summary{}, err
	}
	file := newLines(r)
	if o.Format == CSV {
		first, err := file.next()
		if err == nil {
			err = im.parser.header(first)
		} else if errors.Is(err, io.EOF) {
			err = errors.New("the file is empty: the first line must name the columns")
		}
		if err != nil {
			return Summary{}, err
		}
	}
	if err := im.knownKinds(ctx); err != nil {
		return Summary{}, err
	}
	if o.DryRun {
		forget, err := im.scratch(ctx)
		if err != nil {
			return Summary{}, err
		}
		defer forget()
	}
	if im.bulk, err = s.DB.Bulk(ctx); err != nil {
		return Summary{}, err
	}
	err = im.run(ctx, file)
	im.sum.Took = s.DB.Now().Sub(im.began)
	return im.sum, err
}

func (im *importer) checkOptions() error {
	if im.o.Hash == "firebase" {
		if err := im.o.Firebase.Check(); err != nil {
			return fmt.Errorf("the parameters of Firebase's hashes are not as its console shows them: %w", err)
		}
	} else if im.o.Hash != "" {
		if !foreign.KnownDigest(im.o.Hash) {
			return fmt.Errorf("%q is no format of hashes: want firebase, or such as md5(password), sha1(password+salt), sha256(salt+password)", im.o.Hash)
		}
	}
	return nil
}

func (im *importer) knownKinds(ctx context.Context) error {
	im.kinds = map[string]bool{}
	return im.s.DB.Read(ctx, func(tx *sqldb.Tx) error {
		kinds, err := im.s.Passwords.Kinds(ctx, tx)
		for _, k := range kinds {
			im.kinds[k.Family] = true
		}
		return err
	})
}

// batch is some lines in the order of the file.
type batch struct {
	lines []rawLine
	all   []candidate
	text  int   // bytes of the lines
	bytes int64 // of the file, up to the last line
	err   error
	ready chan struct{}
}

const (
	// manyLines is how many are written at once beside others, who cannot write to SQLite meanwhile, and mostLines
	// how many alone: the more, the fewer times the pages of random indexes are written.
	manyLines = 500
	mostLines = 4 * manyLines
	fewLines  = 32 // of those that must be hashed: what a crash may cost
	// mostText bounds what is in memory of those that are written at once, in bytes: lines may be long.
	mostText = 4 * longestLine
)

// run reads, prepares several batches at a time, and writes them in the file's order: which of two lines that want one
// name gets it must not depend on chance.
func (im *importer) run(ctx context.Context, file *lines) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	workers := max(1, im.o.Workers)
	work, order := make(chan *batch), make(chan *batch, 2*workers)
	var readErr error
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(order)
		defer close(work)
		readErr = im.read(ctx, file, func(b *batch) bool {
			for _, to := range []chan *batch{order, work} {
				select {
				case to <- b:
				case <-ctx.Done():
					return false
				}
			}
			return true
		})
	})
	for range workers {
		wg.Go(func() {
			for b := range work {
				b.err = im.prepare(ctx, b)
				close(b.ready)
			}
		})
	}
	err := im.inOrder(ctx, order)
	stop()
	for range order { // nobody must wait to be heard
	}
	wg.Wait()
	if err == nil {
		err = readErr
	}
	return err
}

// read gathers lines until the file ends or give refuses.
func (im *importer) read(ctx context.Context, file *lines, give func(*batch) bool) error {
	size := fewLines // the first batch tells what kind of lines they are
	for ctx.Err() == nil {
		b := &batch{ready: make(chan struct{})}
		var err error
		for len(b.lines) < size && b.text < longestLine && err == nil {
			var line rawLine
			if line, err = file.next(); err == nil {
				b.lines, b.text = append(b.lines, line), b.text+len(line.text)
			}
		}
		b.bytes = file.bytes
		if len(b.lines) > 0 && !give(b) {
			return nil
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the file: %w", err)
		}
		if size = manyLines; im.slow.Load() {
			size = fewLines
		}
	}
	return nil
}

// prepare does what can be done before the transaction, hashing above all.
func (im *importer) prepare(ctx context.Context, b *batch) error {
	b.all = make([]candidate, 0, len(b.lines))
	slow := 0
	for _, line := range b.lines {
		c, err := im.candidate(line)
		if err != nil {
			return err
		}
		if c.slow() {
			slow++
		}
		b.all = append(b.all, c)
	}
	b.lines = nil
	im.slow.Store(slow > 0)
	if slow == 0 || im.o.DryRun {
		return nil
	}
	if err := im.skipDone(ctx, b); err != nil { // before hashing, not after it
		return err
	}
	for i := range b.all {
		if err := im.hash(ctx, &b.all[i]); err != nil {
			return err
		}
	}
	return nil
}

func (im *importer) skipDone(ctx context.Context, b *batch) error {
	return im.s.DB.Read(ctx, func(tx *sqldb.Tx) error {
		done, err := doneLines(ctx, tx, digests(b.all))
		for i, c := range b.all {
			b.all[i].already = done[string(c.digest)]
		}
		return err
	})
}

func digests(all []candidate) (out [][]byte) {
	for _, c := range all {
		if c.digest != nil {
			out = append(out, c.digest)
		}
	}
	return out
}

func (im *importer) hash(ctx context.Context, c *candidate) (err error) {
	switch {
	case !c.slow():
	case c.plain != "":
		c.hash, err = im.s.Passwords.Hash(ctx, c.plain)
	default:
		c.hash, err = im.s.Passwords.Wrap(ctx, c.quick)
	}
	return err
}

// inOrder writes the batches one after the other.
func (im *importer) inOrder(ctx context.Context, order <-chan *batch) error {
	var next *batch
	for {
		b := next
		if b == nil {
			b = <-order
		}
		if b == nil {
			return ctx.Err()
		}
		select {
		case <-b.ready:
		case <-ctx.Done():
			return ctx.Err()
		}
		if b.err != nil {
			return b.err
		}
		next = im.more(b, order)
		if err := im.write(ctx, b); err != nil {
			return err
		}
		if err := im.account(b); err != nil {
			return err
		}
	}
}

// more adds to a batch those that are ready after it, and returns the first that was not added.
func (im *importer) more(b *batch, order <-chan *batch) *batch {
	for im.alone() && !im.slow.Load() && !im.o.DryRun && len(b.all) < mostLines && b.text < mostText {
		var next *batch
		select {
		case next = <-order:
		default:
		}
		if next == nil {
			return nil
		}
		select {
		case <-next.ready:
		default:
			return next
		}
		if next.err != nil {
			return next
		}
		b.all, b.text, b.bytes = append(b.all, next.all...), b.text+next.text, next.bytes
	}
	return nil
}

// alone reports whether nobody else has written lately.
func (im *importer) alone() bool { return im.s.DB.Now().Sub(im.others) > 5*time.Second }

func (im *importer) write(ctx context.Context, b *batch) error {
	im.limitKinds(b.all)
	if im.o.DryRun {
		return im.pretend(ctx, b)
	}
	began := im.s.DB.Now()
	for try := 1; ; try++ {
		err := im.s.DB.Write(ctx, func(tx *sqldb.Tx) error { return im.put(ctx, tx, b.all) })
		if err == nil {
			break
		}
		if try == 10 || !account.Raced(err) {
			return fmt.Errorf("write lines %d to %d: %w", b.all[0].line, b.all[len(b.all)-1].line, err)
		}
	}
	return im.makeWay(ctx, im.s.DB.Now().Sub(began))
}

// patience is how often SQLite looks whether its one writer is free, at least.
const patience = 100 * time.Millisecond

// makeWay leaves SQLite's one writer to others for a while, who look for it now and then and would find it taken each
// time. While there are none, it is long enough for the first to find it free, and seldom.
func (im *importer) makeWay(ctx context.Context, took time.Duration) error {
	if im.s.DB.Engine() != sqldb.SQLite {
		return nil
	}
	disturbed, err := im.bulk.Disturbed(ctx)
	if err != nil {
		return err
	}
	now := im.s.DB.Now()
	if disturbed {
		im.others = now
	}
	pause := min(took/3, patience)
	if im.alone() {
		if now.Sub(im.gave) < 10*patience {
			return nil
		}
		pause = patience + patience/10
	}
	im.gave = now.Add(pause)
	select {
	case <-time.After(pause):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// limitKinds refuses hashes of one kind too many. It goes by the order of the file.
func (im *importer) limitKinds(all []candidate) {
	for i, c := range all {
		family := c.kind.Family
		if c.why != "" || family == "" || im.kinds[family] {
			continue
		}
		if len(im.kinds) >= mostFamilies {
			all[i].why = TooManyHashKinds
			continue
		}
		im.kinds[family] = true
	}
}

// put writes what is not there yet. It may run again, and then decides again.
func (im *importer) put(ctx context.Context, tx *sqldb.Tx, all []candidate) error {
	open, ready, err := im.undecided(ctx, tx, all)
	if err != nil || len(open) == 0 {
		return err
	}
	taken, err := im.s.Accounts.CreateAll(ctx, tx, ready)
	if err != nil {
		return err
	}
	var passwords []password.Setting
	var done [][]byte
	for i, c := range open {
		if c.taken = taken[i]; c.taken {
			continue
		}
		done = append(done, c.digest)
		if c.has {
			at := c.setAt.Time
			if at.IsZero() {
				at = tx.Now()
			}
			passwords = append(passwords, password.Setting{Account: c.ready.ID, Hash: c.hash, At: at})
		}
	}
	if err := im.s.Passwords.SetAll(ctx, tx, passwords); err != nil {
		return err
	}
	if len(done) == 0 {
		return nil
	}
	if written, err := putLines(ctx, tx, done); err != nil || written != int64(len(done)) {
		return cmp.Or(err, errors.New("the same file is being imported twice at once: let one of the two end, then run it again"))
	}
	return im.s.Audit.Append(ctx, tx, audit.Event{
		Kind: audit.AccountCreated, Actor: "operator", Detail: map[string]string{"import": "accounts", "number": fmt.Sprint(len(done))},
	})
}

// undecided returns the candidates that may be written, and no two of one line.
func (im *importer) undecided(ctx context.Context, tx *sqldb.Tx, all []candidate) (open []*candidate, ready []account.Prepared, err error) {
	done, err := doneLines(ctx, tx, digests(all))
	if err != nil {
		return nil, nil, err
	}
	for i := range all {
		c := &all[i]
		if c.why != "" {
			continue
		}
		c.taken, c.already = false, done[string(c.digest)]
		if c.already {
			continue
		}
		done[string(c.digest)] = true
		open, ready = append(open, c), append(ready, c.ready)
	}
	return open, ready, nil
}

// account counts a batch and tells of what was refused.
func (im *importer) account(b *batch) error {
	for _, c := range b.all {
		im.sum.Lines++
		if c.why == "" && c.taken {
			c.why = IdentifierTaken
		}
		switch {
		case c.why != "":
			im.sum.Refused[c.why]++
			if im.o.Refused != nil {
				if err := im.o.Refused(Refused{Line: c.line, Why: c.why, ID: c.id}); err != nil {
					return err
				}
			}
		case c.already:
			im.sum.Already++
		default:
			im.imported(c)
		}
	}
	im.sum.Bytes, im.sum.Took = b.bytes, im.s.DB.Now().Sub(im.began)
	if im.o.Progress != nil {
		im.o.Progress(im.sum)
	}
	return nil
}

func (im *importer) imported(c candidate) {
	im.sum.Imported++
	if !c.has {
		im.sum.NoPassword++
	}
	if !c.reach {
		im.sum.Unreachable++
	}
	if c.slow() {
		im.sum.Hashed++
	}
	if c.kind.Family != "" {
		im.sum.Kinds[c.kind]++
	}
}
