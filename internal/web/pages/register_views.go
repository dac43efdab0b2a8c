package pages

import (
	"slices"

	"countersign/internal/factor"
	"countersign/internal/registration"
)

// registerView has no field for what was typed.
type registerView struct {
	frame

	Label, Hint string
	Mode        string // which keyboard a phone shows
	SMSRisk     string
	Invited     bool // an invitation is needed
	Uninvited   bool // the one given is not good, or not for the address
}

func (registerView) template() string { return "register" }

// registerPage names the kinds of address that can be proved.
func registerPage(f frame, a Asks) registerView {
	v := registerView{frame: f, Invited: a.Invitation}
	mail, phone := slices.Contains(a.Ways, factor.Email), slices.Contains(a.Ways, factor.SMS)
	switch {
	case mail && phone:
		v.Label, v.Hint, v.SMSRisk = v.say("register_either"), v.say("register_phone_hint"), v.say("register_sms_risk")
	case phone:
		v.Label, v.Hint, v.SMSRisk = v.say("register_phone"), v.say("register_phone_hint"), v.say("sms_risk")
		v.Mode = "tel"
	default:
		v.Label, v.Mode = v.say("register_email"), "email"
	}
	return v
}

// welcomeView asks for a second address. Adding one is as it is for everybody who is signed in.
type welcomeView struct {
	frame

	Submit, Later string // paths; the second is where it is put off
	Field         registerView
}

func (welcomeView) template() string { return "welcome" }

func welcomePage(f frame, ways []factor.Way, later string) welcomeView {
	f.SignedIn = true
	return welcomeView{frame: f, Later: later, Submit: securityPath + "/addresses", Field: registerPage(f, Asks{Ways: ways})}
}

type registerCodeView struct {
	frame

	Submit, Resend string // paths
	Way            factor.Way
	Lead           string
	WaitSeconds    int  // until another code may be sent
	NoMore         bool // this flow gets no further code
}

func (registerCodeView) template() string { return "register_code" }

func registerCodePage(f frame, path string, next registration.Next, pause int) registerCodeView {
	return registerCodeView{
		frame: f, Submit: path + "/code", Resend: path + "/send", Way: next.Way, Lead: f.say("register_code_lead_" + string(next.Way)),
		WaitSeconds: pause, NoMore: next.ResendAt.IsZero(),
	}
}

// aboutView is the form of somebody whose address is proved. It has no field for what was typed.
type aboutView struct {
	frame
	Asks

	Submit          string // path
	Nonce, Origin   string // what the device signs
	RememberDays    int
	Fields          []fieldView
	PasswordProblem string
	TermsProblem    string
}

func (aboutView) template() string { return "about" }

// fieldView is a claim that is asked for.
type fieldView struct {
	Name         string // of the field
	Label        string
	Type         string // of the input
	Autocomplete string
	Zone         bool // the script knows it
	Required     bool
	Problem      string
}

func claimField(name string) string { return "claim_" + name }

// autocomplete are the names under which browsers keep standard claims.
//
//nolint:gochecknoglobals // a table that is only read
var autocomplete = map[string]string{
	"name": "name", "given_name": "given-name", "middle_name": "additional-name", "family_name": "family-name",
	"nickname": "nickname", "gender": "sex", "birthdate": "bday",
}

// asking fills in the fields, and what has to be put right in them.
func (v aboutView) asking(problems []registration.Problem) aboutView {
	wrong := map[string]string{}
	for _, p := range problems {
		wrong[p.Field] = v.say(wrongKey(p), "n", v.MinPassword)
	}
	for _, c := range v.Claims {
		v.Fields = append(v.Fields, v.field(c, wrong[c.Name]))
	}
	v.PasswordProblem, v.TermsProblem = wrong[registration.FieldPassword], wrong[registration.FieldTerms]
	if len(problems) > 0 {
		v.frame = v.fails(v.say("about_problems"))
	}
	return v
}

// wrongKey names the words for a problem. Some claims have a form of their own to tell.
func wrongKey(p registration.Problem) string {
	if p.Code == "claim_malformed" && (p.Field == "birthdate" || p.Field == "zoneinfo") {
		return "wrong_" + p.Field
	}
	return "wrong_" + p.Code
}

func (v aboutView) field(c registration.Claim, problem string) fieldView {
	f := fieldView{Name: claimField(c.Name), Required: c.Required, Type: "text", Autocomplete: "off", Problem: problem, Zone: c.Name == "zoneinfo"}
	if kept, ok := autocomplete[c.Name]; ok {
		f.Autocomplete = kept
	}
	if c.Name == "birthdate" {
		f.Type = "date"
	}
	switch {
	case c.Labels[v.Lang] != "":
		f.Label = c.Labels[v.Lang]
	case c.Labels[""] != "":
		f.Label = c.Labels[""]
	default:
		f.Label = v.say(claimField(c.Name))
	}
	return f
}
