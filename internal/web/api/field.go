package api

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"

	"countersign/internal/platform/fault"
	"countersign/internal/web"
)

// wants are the ends of what we say of our own fields, by what huma says of them. What its words have for the verb comes from the description.
func wants() [][2]string {
	return [][2]string{
		{validation.MsgExpectedString, "is no text"},
		{validation.MsgExpectedBoolean, "is neither true nor false"},
		{validation.MsgExpectedInteger, "is no whole number"},
		{validation.MsgExpectedNumber, "is no number"},
		{validation.MsgExpectedArray, "is no list"},
		{validation.MsgExpectedObject, "is no object"},
		{validation.MsgExpectedOneOf, "is none of these: %"},
		{validation.MsgExpectedMinLength, "is too short: % at least"},
		{validation.MsgExpectedMaxLength, "is too long: % at most"},
		{validation.MsgExpectedMinItems, "has too few entries: % at least"},
		{validation.MsgExpectedMaxItems, "has too many entries: % at most"},
		{validation.MsgExpectedMaxProperties, "has too many entries: % at most"},
		{validation.MsgExpectedMinimumNumber, "is too small: % at least"},
		{validation.MsgExpectedMaximumNumber, "is too large: % at most"},
	}
}

// between is what stands in a text for the one verb of a form.
func between(text, form string) (param string, ok bool) {
	i := strings.IndexByte(form, '%')
	if i < 0 {
		return "", text == form
	}
	before, after := form[:i], form[i+len("%d"):]
	if len(text) < len(before)+len(after) || !strings.HasPrefix(text, before) || !strings.HasSuffix(text, after) {
		return "", false
	}
	return text[len(before) : len(text)-len(after)], true
}

// misfit is a field, and what is wrong with it.
type misfit struct{ name, text string }

// wrong says which field is wrong and what is wanted of it, in our words: huma's own may quote what was sent. ours is false of a field that is none of ours.
func wrong(d *huma.ErrorDetail) (m misfit, ours bool) {
	_, name, _ := strings.Cut(d.Location, ".") // without where it stands: body, path or query
	if d.Message == validation.MsgUnexpectedProperty {
		return misfit{name, "There is no field %s here."}, false
	}
	if i := strings.Index(name, openField+"."); i >= 0 { // what follows is the caller's
		name = name[:i+len(openField)]
	}
	if missing, ok := between(d.Message, validation.MsgExpectedRequiredProperty); ok {
		return misfit{strings.TrimPrefix(name+"."+missing, "."), "%s is missing."}, true
	}
	for _, one := range wants() {
		if param, ok := between(d.Message, one[0]); ok {
			return misfit{name, "%s " + strings.Replace(one[1], "%", param, 1) + "."}, true
		}
	}
	return misfit{name, unfitting}, true
}

const unfitting = "%s does not fit."

// openField is the one field of a body whose entries are named by whoever calls; a test finds others.
const openField = "claims"

// unfit refuses what huma found wrong, and names one of the fields: one that is none of ours before all others, and of several always the same one, for huma finds them in no
// order.
func unfit(errs []error) error {
	var foreign, own []misfit
	for _, err := range errs {
		d, ok := errors.AsType[*huma.ErrorDetail](err)
		if !ok || d.Message == "unknown query parameter" {
			continue
		}
		if m, ours := wrong(d); ours {
			own = append(own, m)
		} else {
			foreign = append(foreign, m)
		}
	}
	for _, all := range [][]misfit{foreign, own} {
		if len(all) > 0 {
			first := slices.MinFunc(all, func(a, b misfit) int {
				return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.text, b.text))
			})
			return web.RefuseField(first.name, first.text)
		}
	}
	return fault.New(fault.Invalid, "input_invalid", nil)
}

// invalid refuses a field for what the description cannot say.
func invalid(name string) error { return web.RefuseField(name, unfitting) }
