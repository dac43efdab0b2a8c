package main

import (
	"context"

	"countersign/internal/server"
)

type backupCmd struct {
	File  string `arg:"" help:"Where to write the copy."`
	Force bool   `help:"Replace the file if it is there."`
}

// Help is shown after the flags.
func (backupCmd) Help() string {
	return `For SQLite; the server may go on serving. The key file is not in the copy: keep a copy of it apart.
On PostgreSQL use pg_dump.

  countersign backup /backups/countersign-monday.db
  countersign backup --force /backups/latest.db`
}

// Run writes a backup.
func (b backupCmd) Run(ctx context.Context, w world, c *cli) error {
	cfg, err := c.settings(w, nil)
	if err != nil {
		return err
	}
	if err := server.Backup(ctx, cfg, w.now, b.File, b.Force); err != nil {
		return err
	}
	w.say("wrote %s\nIt opens with the key file only, which is not in it: keep a copy of that in another place.", b.File)
	return nil
}

type restoreCmd struct {
	File string `arg:"" help:"The copy that backup wrote."`
}

// Help is shown after the flags.
func (restoreCmd) Help() string {
	return `For SQLite; stop the server first. Refuses a damaged copy, and one that the key file does not fit.
The database that was there is kept beside the restored one.

  countersign restore /backups/countersign-monday.db`
}

// Run restores a backup.
func (r restoreCmd) Run(ctx context.Context, w world, c *cli) error {
	cfg, err := c.settings(w, nil)
	if err != nil {
		return err
	}
	kept, err := server.Restore(ctx, cfg, w.now, r.File)
	if err != nil {
		return err
	}
	w.say("restored %s", r.File)
	if kept != "" {
		w.say("what was there before is in %s", kept)
	}
	return nil
}
