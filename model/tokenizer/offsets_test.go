package tokenizer

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// offsetTexts hold nothing that a normalizer makes one character of several of:
// there the reference counts the character to one of its sources alone.
var offsetTexts = []string{
	"", "a", "ab ab", " ab  ab ", "a\n\nb\tab", "<s>a b</s> <w> [m] x", "x<s>ab", "AB é É 你好ab 한", "🙂 ab🙂🙂", "ｓ＞ ＡＢ",
	"a\u200bb a\u00adb", "it's 1234 don't", "ab▁ab ▁", "The quick  brown fox.\n", "éé\u0301x",
}

const offsetsGolden = "testdata/offsets.json"

// Every character's tokens are those that the reference aligns with it. With
// WARM_TOKENIZERS_PYTHON, a Python that has the tokenizers library, the golden is
// made again and compared, and the real tokenizers are compared, too.
func TestEveryCharacterHasTheTokensOfTheReference(t *testing.T) {
	toks := partTokenizers(t)
	names := sortedNames(toks)
	python := os.Getenv("WARM_TOKENIZERS_PYTHON")
	var golden [][][][3]int
	data, err := os.ReadFile(offsetsGolden)
	if python != "" {
		var files []string
		for _, name := range names {
			file := filepath.Join(t.TempDir(), "tokenizer.json")
			require.NoError(t, os.WriteFile(file, partDocuments(t)[name], 0o600))
			files = append(files, file)
		}
		made := runOffsets(t, python, offsetTexts, files)
		if os.Getenv("WARM_UPDATE_GOLDENS") != "" {
			require.NoError(t, os.WriteFile(offsetsGolden, append(made, '\n'), 0o600))
			data, err = made, nil
		}
		assert.JSONEq(t, string(data), string(made), "the golden is old")
	}
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &golden))
	require.Len(t, golden, len(names))
	for i, name := range names {
		t.Run(name, func(t *testing.T) {
			for k, text := range offsetTexts {
				checkOffsets(t, toks[name], text, golden[i][k])
			}
		})
	}
	t.Run("real tokenizers", func(t *testing.T) {
		if python == "" {
			t.Skip("WARM_TOKENIZERS_PYTHON names no Python that has the tokenizers library")
		}
		texts := slices.Concat(offsetTexts, lines(readShared(t, "tokenizers", "mixed_input.txt")))
		texts = slices.DeleteFunc(texts, func(s string) bool { return !nfc.IsNormalString(s) })
		for _, name := range goldenTokenizers {
			file := shared(t, "tokenizers", name, "tokenizer.json")
			tok := load(t, "tokenizers", name, "tokenizer.json")
			var want [][][][3]int
			require.NoError(t, json.Unmarshal(runOffsets(t, python, texts, []string{file}), &want))
			for k, text := range texts {
				if !checkOffsets(t, tok, text, want[0][k]) {
					t.Logf("%s", name)
				}
			}
		}
	})
}

func runOffsets(t *testing.T, python string, texts, files []string) []byte {
	in, err := json.Marshal(texts)
	require.NoError(t, err)
	cmd := exec.Command(python, append([]string{"../../deploy/goldens/offsets.py"}, files...)...)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	return out
}

// checkOffsets makes each character of a text a part.
func checkOffsets(t *testing.T, tok *Tokenizer, text string, want [][3]int) bool {
	t.Helper()
	var parts []Part
	for i := 0; i < len(text); {
		_, n := utf8.DecodeRuneInString(text[i:])
		i += n
		parts = append(parts, Part{i, false})
	}
	ids, ranges, err := tok.AppendParts(nil, text, parts, 0)
	require.NoError(t, err)
	good := assert.Len(t, ids, len(want), "%q", text)
	at := 0
	for i, p := range parts {
		if !good {
			break
		}
		from, to := -1, -1
		for k, w := range want {
			if w[1] < p.End && w[2] > at {
				if from < 0 {
					from = k
				}
				to = k + 1
			}
		}
		switch {
		case tok.normalized("a"+text[at:p.End]+"a") == tok.normalized("aa"): // the reference counts what lies between bytes of a token to it
			good = assert.Equal(t, ranges[i].From, ranges[i].To, "%q: character %d is dropped", text, i)
		case from < 0:
			good = assert.Equal(t, ranges[i].From, ranges[i].To, "%q: character %d is in no token of %v", text, i, want)
		default:
			good = assert.Equal(t, Range{from, to}, ranges[i], "%q: character %d in %v", text, i, want)
		}
		at = p.End
	}
	return good
}
