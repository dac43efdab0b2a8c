package web

import "net/http"

// pagePolicy lets a page use what this server itself serves, and nothing else.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; " +
	"connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; object-src 'none'; " +
	"frame-ancestors 'none'; report-uri " + ReportPath

// apiPolicy keeps an API answer that somebody opens in a browser inert.
const apiPolicy = "default-src 'none'; base-uri 'none'; object-src 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"

const permissions = "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), hid=(), " +
	"magnetometer=(), microphone=(), midi=(), payment=(), screen-wake-lock=(), serial=(), usb=(), " +
	"publickey-credentials-get=(self), publickey-credentials-create=(self), otp-credentials=(self)"

// setHeaders writes what every answer carries (requirements .*, A-14.3.2). A handler may
// replace Cache-Control for files that are the same for everybody.
func (f *Front) setHeaders(res *response, r *http.Request) {
	h := res.Header()
	res.put(h, "X-Request-Id", res.id()) // first: its place is the id's
	res.put(h, "Cache-Control", "no-store")
	res.put(h, "X-Content-Type-Options", "nosniff")
	// Not no-referrer: with it a browser sends "Origin: null" over plain http and our own forms are refused.
	res.put(h, "Referrer-Policy", "same-origin")
	res.put(h, "Cross-Origin-Resource-Policy", "same-origin")
	if f.PublicURL.Scheme == "https" {
		res.put(h, "Strict-Transport-Security", "max-age=63072000; includeSubDomains")
	}
	if !forPerson(r) {
		res.put(h, "Content-Security-Policy", apiPolicy)
		return // seven, and eight with the content type: a header map with more than eight costs twice as much
	}
	res.put(h, "X-Robots-Tag", "noindex")
	res.put(h, "Content-Security-Policy", pagePolicy)
	res.put(h, "Cross-Origin-Opener-Policy", "same-origin")
	res.put(h, "Permissions-Policy", permissions)
}

// ReportPath is where browsers report what the content security policy stopped.
const ReportPath = "/reports/csp"

// MountReports counts policy reports. They are not read: whoever writes one could write anything.
func MountReports(mux *http.ServeMux, m *Metrics) {
	mux.HandleFunc("POST "+ReportPath, func(w http.ResponseWriter, _ *http.Request) {
		m.report()
		w.WriteHeader(http.StatusNoContent)
	})
}
