package pages

import (
	"net/netip"
	"time"

	"countersign/internal/audit"
	"countersign/internal/profile"
)

func (p *Pages) activityShots() []Shot {
	at := func(day, hour int) time.Time { return time.Date(2026, time.November, day, hour, 12, 0, 0, time.UTC) }
	from := netip.MustParseAddr("192.0.2.7")
	deeds := []profile.Deed{
		{ID: "1", What: profile.SignedIn, At: at(23, 14), Source: from, Name: "Firefox on Linux", Methods: []string{"password", "device"}, Times: 1},
		{ID: "2", What: profile.LookedAtAll, At: at(23, 9), Actor: "operator", Times: 1},
		{ID: "3", What: profile.CodeAsked, Way: "sms", At: at(22, 3), Source: from, Times: 2},
		{ID: "4", What: profile.WrongPassword, At: at(22, 3), Source: from, Times: 14},
		{ID: "5", What: profile.Renamed, Subject: "Desk at home", At: at(20, 20), Source: from, Name: "Firefox on Linux", Times: 1},
		{ID: "6", What: profile.Remembered, Subject: "Desk at home", At: at(20, 19), Source: from, Times: 1},
		{ID: "7", What: profile.SignedIn, At: at(20, 19), Source: from, Name: "Safari on iOS", Methods: []string{"password", "sms"}, Times: 1},
		{ID: "8", What: profile.Opened, At: at(2, 11), Times: 1},
	}
	page := func(further bool, a profile.Activity) func(frame) view {
		return func(f frame) view { return activityPage(f, a, further) }
	}
	return []Shot{
		p.shot("activity", "activity_title", page(false, profile.Activity{Deeds: deeds, Further: true, Older: audit.Mark{At: at(2, 11), ID: "8"}})),
		p.shot("activity-last", "activity_title", page(true, profile.Activity{Deeds: deeds[6:]})),
		p.shot("activity-none", "activity_title", page(false, profile.Activity{})),
	}
}
