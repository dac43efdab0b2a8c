package transfer_test

import (
	"fmt"
	"strings"
	"testing"

	"countersign/internal/testkit/dbtest"
	"countersign/internal/transfer"
)

// BenchmarkImport counts accounts with an address, a number, a claim and a hash that is kept.
func BenchmarkImport(b *testing.B) {
	var file strings.Builder
	for i := range b.N {
		fmt.Fprintf(&file, `{"external_id":%d,"email":"person%d@example.org","email_verified":true,"phone":"+49151%08d","phone_verified":true,"password_hash":"$2b$10$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"}`+"\n", i, i, 10000000+i)
	}
	s := newService(b, dbtest.SQLite(b))
	b.ResetTimer()
	sum, err := s.Import(b.Context(), strings.NewReader(file.String()), transfer.Options{Format: transfer.Lines, Workers: 2})
	if err != nil || sum.Imported != int64(b.N) {
		b.Fatal(sum, err)
	}
}
