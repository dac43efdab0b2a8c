package vonage_test

import (
	"bytes"
	"net/http"
	"strconv"
	"testing"

	"countersign/internal/courier"
	"countersign/internal/courier/vonage"
	"countersign/internal/platform/secret"
)

// A forged report costs one digest, as package hooks says, for there is no limit: whoever writes 256 KiB of tiny fields must not buy
// a quarter of a second with them.
func TestAForgedReportOfManyFieldsCostsLittle(t *testing.T) {
	c := config("https://rest.nexmo.com")
	c.Signature = secret.Of("signing key")
	p, err := vonage.New(c)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	b.WriteString(`{"sig":"00"`)
	for i := 0; b.Len() < 256<<10-20; i++ {
		b.WriteString(`,"` + strconv.FormatInt(int64(i), 36) + `":""`)
	}
	b.WriteString("}")
	a := courier.Arrived{Header: http.Header{}, Body: b.Bytes()}
	if n := testing.AllocsPerRun(3, func() { _, _ = p.Receive(a) }); n > 1000 {
		t.Errorf("%.0f allocations for a forged report", n)
	}
}
