package sqldb

import "database/sql"

// Writer returns the writing pool, so that a test can make it fail.
func (db *DB) Writer() *sql.DB { return db.writer }
