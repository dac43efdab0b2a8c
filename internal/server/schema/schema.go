// Package schema embeds the migrations: one SQL text for SQLite and PostgreSQL, forward only.
package schema

import (
	"embed"

	"countersign/internal/platform/sqldb"
)

//go:embed *.sql
var files embed.FS

// Migrations returns every migration of this release.
func Migrations() sqldb.Migrations { return sqldb.Migrations{Files: files} }
