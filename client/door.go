package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Contact is where an account's codes go, proved by you. What is empty stays as it is. Flow is wanted where they change: one of the account's that
// was allowed within the last minutes.
type Contact struct {
	Email    string `json:"email,omitempty"`
	Phone    string `json:"phone,omitempty"`
	Language string `json:"language,omitempty"`
	Flow     string `json:"flow,omitempty"`
}

// Person is whose browser stands behind a call, as you see it. Limits count by the address.
type Person struct {
	Address   string `json:"address"`
	UserAgent string `json:"user_agent,omitempty"`
}

// Arrival is an account whose first proof you have just looked at. Site is the origin of the page, one of those that the application was
// registered with; without, it is the first. Devices are the handles that the browser keeps.
type Arrival struct {
	Reference string   `json:"reference"`
	Site      string   `json:"site,omitempty"`
	Devices   []string `json:"devices,omitempty"`
	Person    Person   `json:"person"`
}

// Signed is what a device's key signed, as clients/js/browser.js gives it: with Handle to be recognised, with PublicKey to be remembered.
type Signed struct {
	Handle    string `json:"handle,omitempty"`
	PublicKey string `json:"public_key,omitempty"`
	Signature string `json:"signature"`
	Name      string `json:"name,omitempty"`
}

// Code is a code that the person typed. Way is "otp" or "backup" for one that was not sent. Remember has the device be recognised from now on.
type Code struct {
	Code     string  `json:"code"`
	Way      string  `json:"way,omitempty"`
	Remember *Signed `json:"remember,omitempty"`
}

// Answer is where a flow stands. Let the person in when it is Allowed, and not before. With step "device" the browser signs Nonce; with "second" a code
// is sent by one of Ways, or read off something.
type Answer struct {
	Allowed   bool      `json:"allowed"`
	Flow      string    `json:"flow"` // in the first answer; keep it on the server
	Step      string    `json:"step"`
	Ways      []string  `json:"ways"`
	Nonce     string    `json:"nonce"`
	ExpiresAt time.Time `json:"expires_at"`
	ACR       string    `json:"acr"`
	AMR       []string  `json:"amr"`
	Device    struct {
		Handle string `json:"handle"`
	} `json:"device"` // what the browser keeps from now on, in place of an older handle
}

// Device is one that is remembered.
type Device struct {
	ID         string    `json:"id"`
	Name       string    `json:"name"`
	CreatedAt  time.Time `json:"created_at"`
	LastSeenAt time.Time `json:"last_seen_at"`
}

// PutAccount opens an account, or changes where its codes go; opened says which. reference is what you call it: an id, never an address.
func (c *Client) PutAccount(ctx context.Context, reference string, to Contact) (opened bool, err error) {
	var out struct{ Opened bool }
	err = c.call(ctx, request{method: http.MethodPut, path: accountPath(reference), body: to}, &out)
	return out.Opened, err
}

// RemoveAccount erases an account at Countersign.
func (c *Client) RemoveAccount(ctx context.Context, reference string) error {
	return c.call(ctx, request{method: http.MethodDelete, path: accountPath(reference)}, nil)
}

// Begin comes to the second door, when the first proof was right.
func (c *Client) Begin(ctx context.Context, a Arrival) (out Answer, err error) {
	err = c.call(ctx, request{method: http.MethodPost, path: "/door/begin", body: a}, &out)
	return out, err
}

// inFlow is a call about a flow.
type inFlow struct {
	Flow   string  `json:"flow"`
	Person Person  `json:"person"`
	Device *Signed `json:"device,omitempty"`
	Send   string  `json:"way,omitempty"`
}

// ProveDevice shows what the device signed; nil says that it cannot. One that is not recognised is no failure: then the step is "second".
func (c *Client) ProveDevice(ctx context.Context, flow string, p Person, device *Signed) (out Answer, err error) {
	err = c.call(ctx, request{once: true, method: http.MethodPost, path: "/door/device", body: inFlow{Flow: flow, Person: p, Device: device}}, &out)
	return out, err
}

// SendCode has a code sent by "sms" or "email". Too soon after another it is an *Error "resend_too_soon".
func (c *Client) SendCode(ctx context.Context, flow string, p Person, way string) error {
	return c.call(ctx, request{once: true, method: http.MethodPost, path: "/door/code/send", body: inFlow{Flow: flow, Person: p, Send: way}}, nil)
}

// ProveCode proves the code that the person typed. A wrong one is an *Error "code_refused".
func (c *Client) ProveCode(ctx context.Context, flow string, p Person, code Code) (out Answer, err error) {
	body := struct {
		Code

		Flow   string `json:"flow"`
		Person Person `json:"person"`
	}{code, flow, p}
	err = c.call(ctx, request{once: true, method: http.MethodPost, path: "/door/code", body: body}, &out)
	return out, err
}

// Devices lists where the person is remembered, to show them.
func (c *Client) Devices(ctx context.Context, reference string) ([]Device, error) {
	var out struct{ Devices []Device }
	err := c.call(ctx, request{method: http.MethodGet, path: accountPath(reference) + "/devices"}, &out)
	return out.Devices, err
}

// ForgetDevice forgets a device; without an id, all of the account's: after a theft, or a new password.
func (c *Client) ForgetDevice(ctx context.Context, reference, id string) error {
	path := accountPath(reference) + "/devices"
	if id != "" {
		path += "/" + url.PathEscape(id)
	}
	return c.call(ctx, request{method: http.MethodDelete, path: path}, nil)
}

func accountPath(reference string) string { return "/door/accounts/" + url.PathEscape(reference) }
