package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"countersign/internal/audit"
	"countersign/internal/profile"
)

type activityInput struct {
	Caller

	Before string `query:"before" maxLength:"64" doc:"Where the page begins: older, from the page before. Without it, the newest page."`
	Lang   string `query:"lang" default:"en" minLength:"2" maxLength:"2" pattern:"^[a-z]{2}$" doc:"The language that places are named in."`
}

type deedInput struct {
	Caller

	ID string `path:"id" minLength:"1" maxLength:"64" doc:"From the list of activity."`
}

type activityOutput struct {
	Body struct {
		Activity []deedRow `json:"activity" doc:"The newest first."`
		Older    string    `json:"older,omitempty" doc:"Where the next page begins. Missing on the last."`
	}
}

type deedRow struct {
	ID      string       `json:"id" doc:"Names it to its owner. Not a secret."`
	What    profile.What `json:"what" example:"signed_in" doc:"What was done. Expect more kinds, and leave out what you do not know."`
	At      time.Time    `json:"at" doc:"When; the last time of several."`
	Times   int          `json:"times" minimum:"1" doc:"How often in a row."`
	Actor   string       `json:"actor" enum:"person,operator,system" doc:"Who did it: somebody who had the account, or tried to; an operator; the server."`
	Place   string       `json:"place,omitempty" example:"Graz, Austria" doc:"Roughly where. Missing where that is not known."`
	Name    string       `json:"name,omitempty" example:"Firefox on Linux" doc:"The browser or app that it was done in, where that is known."`
	Subject string       `json:"subject,omitempty" example:"Ada's phone" doc:"The device or sign-in that it was done to, where that is known."`
	Way     string       `json:"way,omitempty" doc:"Of a code: sms, email."`
	Methods []string     `json:"methods,omitempty" doc:"Of a sign-in: what was proved."`
	Foreign bool         `json:"foreign" doc:"Whether somebody else may have done it."`
}

// activity registers what shows the owner what was done in the account.
func (h *API) activity(a huma.API) {
	register(a, operation{
		id: "list-activity", method: http.MethodGet, path: "/account/activity", tag: "Account", signedIn: true,
		summary: "List what was done in the account of late", about: "In the last 90 days, by whomever, operators included. By the page.",
	}, h.listActivity)
	register(a, operation{
		id: "disavow-activity", method: http.MethodPost, path: "/account/activity/{id}/notme", tag: "Account", signedIn: true, status: http.StatusNoContent,
		summary: "Say that something in the activity was not the holder",
		about: "After the person has confirmed. Every session ends, the one that asks too, every device is forgotten, and the password stops working. " +
			"Addresses and recovery settings go back to how they were shortly before it, or a month ago if that is later, and only if the session proved who it is at most ten minutes ago. " +
			"Send the person to a recovery next. What nobody else can have done is not_found: see foreign.",
		codes: []string{"not_found"},
	}, h.disavowDeed)
}

func (h *API) disavowDeed(ctx context.Context, in *deedInput) (*none, error) {
	ok, err := h.Owner.DisavowDeed(ctx, in.session, in.client, in.ID)
	return found(ok, err)
}

func (h *API) listActivity(ctx context.Context, in *activityInput) (*activityOutput, error) {
	from, ok := audit.ParseMark(in.Before)
	if in.Before != "" && !ok {
		return nil, invalid("before")
	}
	all, err := h.Owner.Activity(ctx, in.session, from)
	if err != nil {
		return nil, err
	}
	out := &activityOutput{}
	out.Body.Activity = make([]deedRow, 0, len(all.Deeds))
	for _, d := range all.Deeds {
		out.Body.Activity = append(out.Body.Activity, deedRow{
			ID: d.ID, What: d.What, At: instant(d.At), Times: d.Times, Actor: d.Actor, Place: h.Where(d.Source, in.Lang),
			Name: d.Name, Subject: d.Subject, Way: d.Way, Methods: d.Methods, Foreign: d.Foreign(),
		})
	}
	if all.Further {
		out.Body.Older = all.Older.String()
	}
	return out, nil
}
