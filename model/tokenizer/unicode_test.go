package tokenizer

import (
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"golang.org/x/text/unicode/norm"
)

func TestUnicodeEditions(t *testing.T) {
	// classDeltas are differences from these editions.
	assert.Equal(t, "15.0.0", unicode.Version, "take classDeltas anew")
	assert.Equal(t, "15.0.0", norm.Version, "take classDeltas anew")
}

func TestClassesFollowTheReferencesEditions(t *testing.T) {
	classes := unicodeClasses()
	for _, c := range []struct {
		name string
		r    rune
		want class
		not  class
	}{
		{"a letter", 'é', classLetter | classWord, classNumber | classSpace | classPunct},
		{"a digit", '7', classNumber | classNumeric | classWord, classLetter},
		{"a letter of Unicode 15.1", 0x2EBF0, classLetter | classWord, classNumber},
		{"a digit of Unicode 16", 0x1CCF0, classNumber | classNumeric, classLetter},
		{"ASCII symbols count as punctuation for BERT", '$', classPunct, classLetter},
		{"other symbols do not", '€', 0, classPunct},
		{"punctuation that came after Unicode 8 does not", 0x2E52, 0, classPunct},
		{"a space that does not break", 0xA0, classSpace, classControl},
		{"a control character", 0x07, classControl, classSpace},
		{"a format character", 0x200B, classControl, classSpace},
		{"an accent", 0x301, classNonspacing | classCombining | classWord, classLetter | classInert},
		{"an accent of Unicode 14", 0x0898, classInert, classNonspacing | classCombining},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := classes.of(c.r)
			assert.Equal(t, c.want, got&c.want)
			assert.Zero(t, got&c.not)
		})
	}
}

func TestNormalizationFormsHaveNoLimitOnMarks(t *testing.T) {
	// Package norm puts a U+034F after 30 marks.
	marks := strings.Repeat("\u0301", 100)
	for _, c := range []struct {
		name       string
		form       norm.Form
		text, want string
	}{
		{name: "NFC composes the first", form: nfc, text: "e" + marks + "x", want: "é" + marks[2:] + "x"},
		{name: "NFD decomposes", form: nfd, text: "é" + marks, want: "e\u0301" + marks},
		{name: "marks are sorted by class", form: nfd, text: "a" + marks + "\u0323", want: "a\u0323" + marks},
		{name: "a blocked mark does not compose", form: nfc, text: "a\u0315" + marks + "\u0300", want: "á" + marks[2:] + "\u0300\u0315"},
		{name: "Hangul composes", form: nfc, text: "\u1112\u1161\u11ab" + marks, want: "한" + marks},
		{name: "Hangul decomposes", form: nfkd, text: "한" + marks, want: "\u1112\u1161\u11ab" + marks},
		{name: "compatibility forms decompose further", form: nfkc, text: "ﬁ①" + marks, want: "fi1" + marks},
		{name: "runes the reference does not know stay", form: nfkc, text: "ﬁ㋿ﬁ", want: "fi㋿fi"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _ := form{c.form}.normalize(nil, []byte(c.text), ends{true, true}, nil)
			assert.Equal(t, c.want, string(got))
		})
	}
}

func TestTheSlowFormsAgreeWithPackageNormOnShortRuns(t *testing.T) {
	for _, f := range []norm.Form{nfc, nfd, nfkc, nfkd} {
		// Every rune that has a decomposition or a class lies below U+3400 or
		// in blocks that a step of 31 meets often.
		for r, step := rune(0x80), rune(1); r < 0x30000; r += step {
			if r > 0x3400 {
				step = 31
			}
			if unicodeClasses().of(r)&classInert != 0 || r >= 0xD800 && r < 0xE000 {
				continue
			}
			text := "a" + string(r) + "\u0323\u0301" + string(r) + "e\u0301"
			got := ""
			for _, c := range (form{f}).marks([]byte(text)) {
				got += string(c.r)
			}
			if want := f.String(text); want != got {
				t.Fatalf("form %d of %+q: %+q, want %+q", f, text, got, want)
			}
		}
	}
}

func TestIllFormedTextIsRepairedAsRustRepairsIt(t *testing.T) {
	for text, want := range map[string]string{
		"a\xffb":               "a\uFFFDb",
		"\xe2\x82":             "\uFFFD",
		"\xe2\x82\xe2\x82a":    "\uFFFD\uFFFDa",
		"\xf0\x9f\x98":         "\uFFFD",
		"\xc0\xaf":             "\uFFFD\uFFFD",
		"\xed\xa0\x80":         "\uFFFD\uFFFD\uFFFD", // a surrogate
		"\xf4\x90\x80\x80":     "\uFFFD\uFFFD\uFFFD\uFFFD",
		"\xe0\x80":             "\uFFFD\uFFFD",
		"ok \uFFFD stays \xc3": "ok \uFFFD stays \uFFFD",
	} {
		assert.Equal(t, want, string(appendValid(nil, text, nil)), "%x", text)
	}
}

func TestTheByteAlphabetIsABijection(t *testing.T) {
	seen := map[rune]bool{}
	for b, r := range byteRunes {
		got, ok := runeByte(r)
		assert.True(t, ok)
		assert.Equal(t, byte(b), got)
		seen[r] = true
	}
	assert.Len(t, seen, 256)
	for r := rune(0); r < 0x400; r++ {
		if _, ok := runeByte(r); ok {
			assert.True(t, seen[r], "%U", r)
		}
	}
}
