package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/signin"
)

type linkInput struct {
	Caller

	Body struct {
		Token string `json:"token" minLength:"1" maxLength:"128" example:"csn_…" doc:"What stands behind the # of the link in the letter."`
	}
}

// protect registers what the links in letters are for. They need no session: whoever has the letter may protect.
func (h *API) protect(a huma.API) {
	for _, c := range []struct {
		operation

		does func(context.Context, secret.Token, signin.Client) (bool, error)
	}{
		{operation{
			id: "disavow", path: "/notme", summary: "Say that something was not the holder",
			about: "For links that lead to /notme, after the person has confirmed. Every session ends, every device is forgotten, the password stops " +
				"working, and what had not settled is taken back if the letter's address may do so. Send the person to a recovery next.",
		}, h.Protect.Disavow},
		{operation{
			id: "stop-recovery", path: "/stop", summary: "Stop a recovery that waits",
			about: "For links that lead to /stop, after the person has confirmed. Nothing else changes.",
		}, h.Protect.Stop},
	} {
		c.method, c.tag, c.status, c.codes = http.MethodPost, "Protection", http.StatusNoContent, []string{"link_ended", "too_many_attempts"}
		register(a, c.operation, func(ctx context.Context, in *linkInput) (*none, error) {
			done, err := c.does(ctx, secret.Of(in.Body.Token), in.client)
			if err == nil && !done {
				err = fault.New(fault.Gone, "link_ended", errors.New("no such link, or it has done what it could"))
			}
			return nil, err
		})
	}
}
