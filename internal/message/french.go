package message

import "strings"

// Typeset puts French spaces where its printers do: before ; : ! ? » and after «, narrow and such that no line ends there.
// The words are written with plain ones, which keyboards have. Other languages stay as they are.
func Typeset(lang, text string) string {
	if lang != "fr" {
		return text
	}
	return frenchSpaces.Replace(text)
}

var frenchSpaces = strings.NewReplacer( //nolint:gochecknoglobals // a constant
	" ;", "\u202f;", " :", "\u202f:", " !", "\u202f!", " ?", "\u202f?", " »", "\u202f»", "« ", "«\u202f")
