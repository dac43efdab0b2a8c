package web

import (
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"countersign/internal/platform/fault"
)

// Form reads a posted form. Every field stands in it once, is UTF-8 and has no NUL:
// of two values for one name, two readers may believe different ones.
func Form(r *http.Request) (url.Values, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, Refuse(http.StatusUnsupportedMediaType, "content_type_unsupported")
	}
	if err := r.ParseForm(); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, err
		}
		return nil, fault.New(fault.Invalid, "form_malformed", err)
	}
	for name, values := range r.PostForm {
		if len(values) != 1 || !utf8.ValidString(name) || !utf8.ValidString(values[0]) || strings.ContainsRune(values[0], 0) {
			return nil, fault.New(fault.Invalid, "form_malformed", errors.New("repeated field, NUL or not UTF-8"))
		}
	}
	return r.PostForm, nil
}
