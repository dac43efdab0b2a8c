package message

import (
	"slices"
	"strings"
)

// unknownDevice is the name of a device of which nothing is known.
const unknownDevice = "Unknown device"

// The browsers and systems of the names that we give to devices, as the parser of User-Agents calls them.
// What else calls itself a browser is left alone: its name may as well be one that somebody typed.
//
//nolint:gochecknoglobals // tables that are only read
var (
	browsers = []string{
		"Android browser", "Chrome", "Edge", "Facebook App", "Firefox", "Headless Chrome", "Huawei Browser", "Instagram App",
		"Internet Explorer", "Miui Browser", "Opera", "Opera Mini", "Opera Touch", "Safari", "Samsung Browser", "TikTok App", "Vivaldi",
	}
	systems = []string{"Android", "BlackBerry", "ChromeOS", "FreeBSD", "Harmony", "Linux", "Windows", "Windows Phone", "iOS", "macOS"}
)

// DeviceName says a device's name in a language, if it is one that we made: on is how the language says
// "{browser} on {system}", unknown how it calls a device that has neither. A name that somebody chose stays.
func DeviceName(name, on, unknown string) string {
	browser, system, _ := strings.Cut(name, " on ")
	switch {
	case name == unknownDevice:
		return unknown
	case slices.Contains(browsers, browser) && slices.Contains(systems, system):
		return strings.NewReplacer("{browser}", browser, "{system}", system).Replace(on)
	}
	return name
}

// device says the name of the device that a letter is about.
func (w words) device(name string) string {
	return DeviceName(plainName(name), w.text["device.on"], w.text["device.unknown"])
}
