package server_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"countersign/internal/courier/couriertest"
	"countersign/internal/message"
	"countersign/internal/outbox"
	"countersign/internal/platform/config"
	"countersign/internal/platform/sqldb"
	"countersign/internal/server"
	"countersign/internal/testkit/servertest"
)

func overSMPP(far *couriertest.Centre) func(c *config.Config) {
	return func(c *config.Config) {
		c.SMS.Provider, c.SMS.From, c.SMS.SMPPTLS = "smpp", "Fotoalbum", false
		c.SMS.SMPPAddress, c.SMS.SMPPSystemID, c.SMS.SMPPPassword = far.Address, couriertest.SystemID, config.NewSecret(couriertest.CentrePassword)
	}
}

func TestAMessageLeavesBySMPPAndItsReceiptIsCounted(t *testing.T) {
	far := &couriertest.Centre{}
	far.Serve(t, false)
	var n *servertest.Node
	t.Run("a node", func(t *testing.T) {
		n = servertest.Start(t, servertest.Options{Config: overSMPP(far)})
		core := n.Core()
		err := core.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, err := core.Outbox.Put(t.Context(), tx, outbox.Letter{
				Letter:    message.Letter{Channel: message.SMS, Kind: "signin_code", To: "+4915112345678", Language: "ar", Params: map[string]string{"code": "482913", "minutes": "10", "site": "Fotoalbum"}},
				ExpiresAt: tx.Now().Add(10 * time.Minute),
			})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, func() bool { return len(far.Parts()) > 0 })
		part := far.Parts()[0]
		if part.To != "4915112345678" || part.From != "Fotoalbum" || part.Coding != 8 || part.Receipt != 1 || part.Validity == "" {
			t.Errorf("%+v", part)
		}
		far.Receipt("id:m_0001 stat:DELIVRD err:000 text:482913", "", 0)
		page := func() string {
			rec := httptest.NewRecorder()
			n.Watch().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
			return rec.Body.String()
		}
		eventually(t, func() bool {
			return strings.Contains(page(), `countersign_letters_receipts_total{country="DE",prefix="other",provider="smpp",state="delivered"} 1`)
		})
	})
	eventually(t, func() bool { _, unbound, _ := far.Most(); return unbound == 1 })
	log := n.Log.String()
	if !strings.Contains(log, "m_0001") || strings.Contains(log, "482913") || strings.Contains(log, "15112345678") || strings.Contains(log, couriertest.CentrePassword) {
		t.Errorf("the log says:\n%s", log)
	}
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come to pass")
		}
	}
}

func TestTheDoctorBindsToTheCentre(t *testing.T) {
	far := &couriertest.Centre{}
	far.Serve(t, false)
	look := func(spoil func(*config.Config)) server.Finding {
		t.Helper()
		c := config.Default()
		c.Email.Provider = "none"
		overSMPP(far)(&c)
		spoil(&c)
		for _, f := range server.Examine(t.Context(), c, server.Deps{Now: time.Now}) {
			if f.Part == "letters" {
				return f
			}
		}
		t.Fatal("not looked at")
		return server.Finding{}
	}
	if f := look(func(*config.Config) {}); f.State != server.Fine {
		t.Errorf("%+v", f)
	}
	f := look(func(c *config.Config) { c.SMS.SMPPPassword = config.NewSecret("hunter2") })
	if f.State != server.Broken || !strings.Contains(f.Words, "smpp_bind_password_refused") || strings.Contains(f.Words, "hunter2") {
		t.Errorf("%+v", f)
	}
	if f := look(func(c *config.Config) { c.SMS.SMPPSource = "5-0" }); f.State != server.Broken || !strings.Contains(f.Words, `"5/0"`) {
		t.Errorf("%+v", f)
	}
}
