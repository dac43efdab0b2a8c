package sqldb

import "database/sql"

// Unnamed is unnamed.
func Unnamed(text string) string { return unnamed(text) }

// Writer returns the writing pool, so that a test can make it fail.
func (db *DB) Writer() *sql.DB { return db.writer }
