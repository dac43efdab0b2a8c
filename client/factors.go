package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Factors are what a person has set up for the second door.
type Factors struct {
	Apps            []App `json:"apps"`
	BackupCodesLeft int   `json:"backup_codes_left"`
}

// App is an authenticator app, or a hardware token.
type App struct {
	ID         string    `json:"id"`
	Name       string    `json:"name"`
	Serial     string    `json:"serial"` // of a token
	AddedAt    time.Time `json:"added_at"`
	LastUsedAt time.Time `json:"last_used_at"` // zero if it never was
}

// NewApp is the key of an app. Show it to the person, URL as a QR code, and keep it nowhere.
type NewApp struct {
	ID        string    `json:"id"`
	Key       string    `json:"key"`
	URL       string    `json:"url"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Factors lists what the person has set up.
func (c *Client) Factors(ctx context.Context, reference string) (out Factors, err error) {
	err = c.call(ctx, request{method: http.MethodGet, path: accountPath(reference) + "/factors"}, &out)
	return out, err
}

// passed is a flow of the account's that was allowed within the last minutes: nothing is set up without one.
type passed struct {
	Flow  string `json:"flow"`
	Label string `json:"label,omitempty"`
	Code  string `json:"code,omitempty"`
	Name  string `json:"name,omitempty"`
}

// AddApp makes the key of a new app, which calls the account by label. It counts for nothing until ConfirmApp. flow is one of the account's that was
// allowed within the last minutes; so it is for the next calls.
func (c *Client) AddApp(ctx context.Context, reference, flow, label string) (out NewApp, err error) {
	err = c.call(ctx, request{once: true, method: http.MethodPost, path: accountPath(reference) + "/apps", body: passed{Flow: flow, Label: label}}, &out)
	return out, err
}

// ConfirmApp enrols an app by its first code. A wrong one is an *Error "code_refused".
func (c *Client) ConfirmApp(ctx context.Context, reference, flow string, app App, code string) error {
	path := accountPath(reference) + "/apps/" + url.PathEscape(app.ID) + "/confirm"
	return c.call(ctx, request{once: true, method: http.MethodPost, path: path, body: passed{Flow: flow, Code: code, Name: app.Name}}, nil)
}

// RemoveApp takes an app off the account.
func (c *Client) RemoveApp(ctx context.Context, reference, flow, id string) error {
	return c.call(ctx, request{once: true, method: http.MethodPost, path: accountPath(reference) + "/apps/" + url.PathEscape(id) + "/remove", body: passed{Flow: flow}}, nil)
}

// NewBackupCodes makes a list of codes, in place of the one there is. Show it to the person, once, and keep it nowhere.
func (c *Client) NewBackupCodes(ctx context.Context, reference, flow string) ([]string, error) {
	var out struct{ Codes []string }
	err := c.call(ctx, request{once: true, method: http.MethodPost, path: accountPath(reference) + "/backup-codes", body: passed{Flow: flow}}, &out)
	return out.Codes, err
}
