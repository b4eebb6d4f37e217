package tokenizer

import "bytes"

// A scanner finds where the word that starts at text[i] ends, as a regular
// expression known to cover every text would. i is less than len(text).
type scanner func(classes *classTable, text []byte, i int) int

// scanners are the patterns with a scanner here, as tokenizer.json spells them.
// Lookahead is what Go's regexp lacks, and a backtracking engine is fifty times
// slower.
var scanners = map[string]scanner{
	gpt2Pattern:   scanGPT2,
	llama3Pattern: scanDigits3,
	qwenPattern:   scanDigits1,
}

const (
	// GPT-2's is also what ByteLevel splits with.
	gpt2Pattern = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	// Llama 3, and tiktoken's cl100k_base in the spelling of transformers.
	llama3Pattern = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	// Qwen 2, 2.5 and 3.
	qwenPattern = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

// GPT2Word returns the length of the first word of a text, which is not empty, as GPT-2's
// pre-tokenizer cuts it.
func GPT2Word(text []byte) int { return scanGPT2(unicodeClasses(), text, 0) }

func scanGPT2(classes *classTable, text []byte, i int) int {
	if text[i] == '\'' {
		if n := contraction(text[i+1:]); n > 0 {
			return i + 1 + n
		}
	}
	j := i
	if text[i] == ' ' && i+1 < len(text) {
		j++
	}
	switch c, n := classes.at(text, j); {
	case c&classLetter != 0:
		return classes.run(text, j+n, classLetter)
	case c&classNumber != 0:
		return classes.run(text, j+n, classNumber)
	case c&classSpace == 0:
		return classes.runNot(text, j+n, classSpace|classLetter|classNumber)
	}
	return scanSpace(classes, text, i)
}

func scanDigits3(classes *classTable, text []byte, i int) int {
	return scanTiktoken(classes, text, i, 3)
}
func scanDigits1(classes *classTable, text []byte, i int) int {
	return scanTiktoken(classes, text, i, 1)
}

// scanTiktoken scans the Llama 3 pattern with at most digits digits in a word.
func scanTiktoken(classes *classTable, text []byte, i, digits int) int {
	c, n := classes.at(text, i)
	if c&classLetter != 0 {
		return classes.run(text, i+n, classLetter)
	}
	if c&classNumber != 0 {
		for i += n; digits > 1 && i < len(text); digits-- {
			c, n := classes.at(text, i)
			if c&classNumber == 0 {
				break
			}
			i += n
		}
		return i
	}
	if text[i] == '\'' {
		if n := foldedContraction(text[i+1:]); n > 0 {
			return i + 1 + n
		}
	}
	var after class // of the rune after the first
	var m int
	if i+n < len(text) {
		after, m = classes.at(text, i+n)
	}
	if after&classLetter != 0 && text[i] != '\r' && text[i] != '\n' {
		return classes.run(text, i+n+m, classLetter)
	}
	const word = classSpace | classLetter | classNumber
	if c&classSpace == 0 {
		return lineEnds(text, classes.runNot(text, i+n, word))
	}
	if text[i] == ' ' && m > 0 && after&word == 0 {
		return lineEnds(text, classes.runNot(text, i+n+m, word))
	}
	return scanLines(classes, text, i)
}

// scanLines scans `\s*[\r\n]+|\s+(?!\S)|\s+` at white space: a run up to its
// last line end, else as scanSpace.
func scanLines(classes *classTable, text []byte, i int) int {
	end := classes.run(text, i, classSpace)
	if k := bytes.LastIndexAny(text[i:end], "\r\n"); k >= 0 {
		return i + k + 1
	}
	return leaveOne(text, i, end)
}

// scanSpace scans `\s+(?!\S)|\s+` at white space.
func scanSpace(classes *classTable, text []byte, i int) int {
	return leaveOne(text, i, classes.run(text, i, classSpace))
}

// leaveOne ends the run of white space text[i:end] one rune early where text
// follows and that leaves something, since the last space belongs to the word
// after it.
func leaveOne(text []byte, i, end int) int {
	if end == len(text) {
		return end
	}
	last := end - 1
	for last > i && text[last]&0xC0 == 0x80 {
		last--
	}
	if last > i {
		return last
	}
	return end
}

func lineEnds(text []byte, i int) int {
	for i < len(text) && (text[i] == '\r' || text[i] == '\n') {
		i++
	}
	return i
}

// contraction returns the length of the English ending that text, which comes
// after an apostrophe, starts with: s, t, re, ve, m, ll or d.
func contraction(text []byte) int {
	if len(text) == 0 {
		return 0
	}
	switch text[0] {
	case 's', 't', 'm', 'd':
		return 1
	case 'r', 'v':
		if len(text) > 1 && text[1] == 'e' {
			return 2
		}
	case 'l':
		if len(text) > 1 && text[1] == 'l' {
			return 2
		}
	}
	return 0
}

// foldedContraction is contraction without regard to case. The long s folds to
// s, and is the only rune beyond ASCII that folds to one of these letters.
func foldedContraction(text []byte) int {
	if bytes.HasPrefix(text, []byte("ſ")) {
		return len("ſ")
	}
	var two [2]byte
	n := copy(two[:], text)
	for i, c := range two {
		if 'A' <= c && c <= 'Z' {
			two[i] = c + 'a' - 'A'
		}
	}
	return contraction(two[:n])
}
