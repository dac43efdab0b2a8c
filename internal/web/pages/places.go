package pages

// place is a page of the signed-in that the navigation leads to.
type place struct {
	Path string
	name string // key of its words
}

// places are what the navigation has, in its order. A page belongs here when it exists.
var places = []place{ //nolint:gochecknoglobals // a constant table
	{"/", "nav_home"},
	{securityPath, "nav_security"},
	{activityPath, "nav_activity"},
	{accountPath, "nav_account"},
}

// placeView is an entry of the navigation as a page shows it.
type placeView struct {
	Path, Name string
	Here       bool
}

// Places are the entries of the navigation. Only pages at a place of it have it: not the strangers', nor
// those with one question that wants an answer.
func (f frame) Places() (all []placeView) {
	if !f.SignedIn || f.Here == "" {
		return nil
	}
	for _, p := range places {
		all = append(all, placeView{Path: p.Path, Name: f.say(p.name), Here: p.Path == f.Here})
	}
	return all
}

// at makes the frame that of a page of the signed-in which stands at a path of the navigation.
func (f frame) at(path string) frame {
	f.SignedIn, f.Shape, f.Here = true, "wide", path
	return f
}
