package client

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// tolerance is how old a delivery may be: what was recorded on its way is worth nothing later (Standard Webhooks).
const tolerance = 5 * time.Minute

// Webhook checks deliveries. Secrets are those of countersign webhook add, each beginning with whsec_; more than one while it changes.
type Webhook struct {
	Secrets []string
	Now     func() time.Time // nil for time.Now
}

// Event is what happened (docs/webhooks.md). The same ID may come again: take it once.
type Event struct {
	ID          string            `json:"id"`
	Type        string            `json:"-"`
	At          time.Time         `json:"-"`
	Account     string            `json:"account"`
	Application string            `json:"application"` // whose own account it is, at the second door
	Reference   string            `json:"reference"`   // and what it calls it
	Actor       string            `json:"actor"`
	Detail      map[string]string `json:"detail"`
}

// Verify reads a delivery out of its headers and the bytes of its body, if a secret signed it within the last minutes.
func (w Webhook) Verify(h http.Header, body []byte) (Event, error) {
	id, stamp := h.Get("Webhook-Id"), h.Get("Webhook-Timestamp")
	at, err := strconv.ParseInt(stamp, 10, 64)
	now := time.Now
	if w.Now != nil {
		now = w.Now
	}
	if err != nil || now().Sub(time.Unix(at, 0)).Abs() > tolerance {
		return Event{}, errors.New("countersign: the delivery is not of now")
	}
	good := false
	for _, secret := range w.Secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
		if err != nil || len(key) == 0 {
			return Event{}, errors.New("countersign: a secret of a webhook begins with whsec_ and goes on in base64")
		}
		mac := hmac.New(sha256.New, key)
		_, _ = fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
		want := []byte("v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		for _, one := range strings.Fields(h.Get("Webhook-Signature")) {
			good = good || hmac.Equal([]byte(one), want)
		}
	}
	if !good {
		return Event{}, errors.New("countersign: the delivery is not signed by the secret")
	}
	var wire struct {
		Type      string    `json:"type"`
		Timestamp time.Time `json:"timestamp"`
		Data      Event     `json:"data"`
	}
	if err := json.Unmarshal(body, &wire); err != nil {
		return Event{}, fmt.Errorf("countersign: %w", err)
	}
	wire.Data.Type, wire.Data.At = wire.Type, wire.Timestamp
	if wire.Data.ID != id {
		return Event{}, errors.New("countersign: the delivery has another event's id")
	}
	return wire.Data, nil
}
