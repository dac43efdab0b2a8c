package password

import (
	_ "embed"
	"slices"
	"sort"
	"strings"
	"unicode"
)

//go:embed blocklist/common.txt
var commonList string // sorted lines; searched where it lies, so it costs no heap and no start-up time

// listed reports whether word is a line of the list of common passwords.
func listed(word string) bool {
	if len(word) < 3 || strings.ContainsRune(word, '\n') {
		return false
	}
	// The smallest offset whose line is not less than word.
	at := sort.Search(len(commonList), func(i int) bool { return lineAt(i) >= word })
	return at < len(commonList) && lineAt(at) == word
}

// lineAt returns the line that offset i is in.
func lineAt(i int) string {
	start := strings.LastIndexByte(commonList[:i], '\n') + 1
	length := strings.IndexByte(commonList[start:], '\n')
	return commonList[start : start+length]
}

// guess is one password as a guessing program sees it.
type guess struct {
	text    []rune // folded; of a repetition the unit
	repeats bool
	context []string
}

const (
	maxPattern = 64 // code points; a longer password is looked at for repetition only
	maxWord    = 32 // the longest word patterns are made from
	maxFree    = 8  // digits and punctuation a pattern may have besides: a date, with its separators
	minRun     = 3
	shortUnit  = 8 // what is too short to be a password is so however often it is written
)

func newGuess(plain string, context []string) guess {
	text := []rune(fold(plain))
	p := period(text)
	repeats := 3*p <= 2*len(text) // half of it again at the least: a cut-off last unit counts
	return guess{text: text[:p], repeats: repeats, context: context}
}

// period returns the shortest p with text[i] == text[i+p] all along, up to two thirds of
// the text; else the whole length.
func period(text []rune) int {
	for p := 1; 3*p <= 2*len(text); p++ {
		if slices.Equal(text[p:], text[:len(text)-p]) {
			return p
		}
	}
	return len(text)
}

func (g guess) listed() bool { return listed(string(g.text)) }

// fromContext reports whether it is made of context words, digits and punctuation alone.
func (g guess) fromContext() bool {
	if len(g.text) > maxPattern {
		return false
	}
	spans := g.contextSpans()
	return spans.any() && g.made(spans, len(g.text))
}

// patterned reports whether it is made of runs, the context and at most one listed word,
// with a little padding. Of one word only: two unrelated words are the beginning of a
// passphrase.
func (g guess) patterned() bool {
	if len(g.text) > maxPattern {
		return false
	}
	if g.repeats && len(g.text) < shortUnit {
		return true
	}
	base := g.runSpans()
	base.add(g.contextSpans())
	if base.any() && g.made(base, maxFree) {
		return true
	}
	for _, word := range g.wordSpans() {
		word.add(base)
		if g.made(word, maxFree) {
			return true
		}
	}
	return false
}

// spans says which stretches of the text a rule makes: spans[i] has the ends of those that begin at i.
type spans [][]int

func (s spans) any() bool {
	return slices.ContainsFunc(s, func(ends []int) bool { return len(ends) > 0 })
}

func (s spans) add(more spans) {
	for i := range s {
		s[i] = append(s[i], more[i]...)
	}
}

// made reports whether the stretches, and at most free other characters that are no
// letters, make up the whole text with at least one stretch.
func (g guess) made(s spans, free int) bool {
	n := len(g.text)
	const never = 1 << 20
	cost := make([][2]int, n+1) // fewest free characters up to here, without and with a stretch
	for i := range cost {
		cost[i] = [2]int{never, never}
	}
	cost[0][0] = 0
	for i := range n {
		if !unicode.In(g.text[i], unicode.L, unicode.M) {
			cost[i+1][0] = min(cost[i+1][0], cost[i][0]+1)
			cost[i+1][1] = min(cost[i+1][1], cost[i][1]+1)
		}
		for _, end := range s[i] {
			cost[end][1] = min(cost[end][1], cost[i][0], cost[i][1])
		}
	}
	return cost[n][1] <= free
}

func (g guess) contextSpans() spans {
	s := make(spans, len(g.text))
	for _, w := range g.context {
		word := []rune(w)
		for i := range g.text {
			if end := i + len(word); end <= len(g.text) && slices.Equal(g.text[i:end], word) {
				s[i] = append(s[i], end)
			}
		}
	}
	return s
}

// wordSpans returns, for every listed word in the text, where it stands: as it is, with
// digits for letters, or backwards.
func (g guess) wordSpans() map[string]spans {
	out := map[string]spans{}
	found := func(word string, from, to int) {
		if !listed(word) {
			return
		}
		if out[word] == nil {
			out[word] = make(spans, len(g.text))
		}
		if !slices.Contains(out[word][from], to) {
			out[word][from] = append(out[word][from], to)
		}
	}
	plain, ones, ells := g.text, unleet(g.text, 'i'), unleet(g.text, 'l')
	for from := range g.text {
		for to := from + minRun; to <= min(from+maxWord, len(g.text)); to++ {
			found(string(plain[from:to]), from, to)
			found(string(ones[from:to]), from, to)
			found(string(ells[from:to]), from, to)
			found(backwards(plain[from:to]), from, to)
		}
	}
	return out
}

func unleet(text []rune, one rune) []rune {
	out := slices.Clone(text)
	for i, r := range out {
		switch r {
		case '0':
			out[i] = 'o'
		case '1', '!', '|':
			out[i] = one
		case '3':
			out[i] = 'e'
		case '4', '@':
			out[i] = 'a'
		case '5', '$':
			out[i] = 's'
		case '7':
			out[i] = 't'
		}
	}
	return out
}

func backwards(text []rune) string {
	out := slices.Clone(text)
	slices.Reverse(out)
	return string(out)
}

// runSpans returns the stretches that need no word: neighbours in the alphabet or on a
// keyboard, one short unit again and again, a year.
func (g guess) runSpans() spans {
	s := make(spans, len(g.text))
	for i := range g.text {
		longest := max(g.sequence(i), g.walk(i))
		for n := minRun; n <= longest; n++ {
			s[i] = append(s[i], i+n)
		}
		if g.year(i) {
			s[i] = append(s[i], i+4)
		}
		for unit := 1; unit <= 5; unit++ {
			for n := max(minRun, 2*unit); n <= g.repetition(i, unit); n++ {
				s[i] = append(s[i], i+n)
			}
		}
	}
	return s
}

func (g guess) year(i int) bool {
	if i+4 > len(g.text) {
		return false
	}
	century := string(g.text[i : i+2])
	digit := func(r rune) bool { return '0' <= r && r <= '9' }
	return (century == "19" || century == "20") && digit(g.text[i+2]) && digit(g.text[i+3])
}

// sequence returns how far text goes on from i in constant steps of one, up or down.
func (g guess) sequence(i int) int {
	if i+1 >= len(g.text) {
		return 1
	}
	step := g.text[i+1] - g.text[i]
	if step != 1 && step != -1 {
		return 1
	}
	n := 2
	for i+n < len(g.text) && g.text[i+n]-g.text[i+n-1] == step {
		n++
	}
	return n
}

// repetition returns how far text from i repeats its first unit characters.
func (g guess) repetition(i, unit int) int {
	n := unit
	for i+n < len(g.text) && g.text[i+n] == g.text[i+n-unit] {
		n++
	}
	return n
}

// walk returns how far text goes on from i along a row or column of a keyboard, either way.
func (g guess) walk(i int) int {
	longest := 1
	for row := range strings.FieldsSeq(keyboards) {
		keys := []rune(row)
		for _, step := range []int{1, -1} {
			n, at := 0, slices.Index(keys, g.text[i])
			for at >= 0 && at < len(keys) && i+n < len(g.text) && g.text[i+n] == keys[at] {
				n, at = n+1, at+step
			}
			longest = max(longest, n)
		}
	}
	return longest
}

// keyboards are the rows and columns of QWERTY, QWERTZ, AZERTY and ЙЦУКЕН. 1234567890 has its 0 at the end.
const keyboards = `1234567890-= !@#$%^&*()_+ qwertyuiop[] asdfghjkl;' zxcvbnm,./
	1qaz 2wsx 3edc 4rfv 5tgb 6yhn 7ujm 8ik, 9ol. 0p;/ !qaz @wsx #edc $rfv %tgb ^yhn &ujm
	qwertzuiopü asdfghjklöä yxcvbnm 1qay 2wsx azertyuiop qsdfghjklm wxcvbn
	йцукенгшщзхъ фывапролджэ ячсмитьбю 1йфя 2цыч 3увс 4кам 5епи 6нрт 7гоь`
