package tokenizer

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A decoder turns the tokens of a sequence into texts that, joined, are the
// text. It may change tokens in place.
type decoder interface {
	decode(tokens []string) []string
}

// Decode returns the text of ids. Ids that no token has are left out, and so
// are special tokens when skipSpecial is set. A file without decoder joins
// tokens by spaces.
func (t *Tokenizer) Decode(ids []int32, skipSpecial bool) string {
	tokens := make([]string, 0, len(ids))
	for _, id := range ids {
		token, ok := t.added.decoded[id]
		if !ok {
			if token, ok = t.Token(id); !ok {
				continue
			}
		}
		if !skipSpecial || !t.added.special[token] {
			tokens = append(tokens, token)
		}
	}
	if t.dec == nil {
		return strings.Join(tokens, " ")
	}
	for _, d := range t.dec {
		tokens = d.decode(tokens)
	}
	return strings.Join(tokens, "")
}

type decoderJSON struct {
	Prefix        *string         `json:"prefix"`
	Cleanup       bool            `json:"cleanup"`
	Suffix        *string         `json:"suffix"`
	Pattern       json.RawMessage `json:"pattern"`
	Content       string          `json:"content"`
	Start         int             `json:"start"`
	Stop          int             `json:"stop"`
	Replacement   string          `json:"replacement"`
	PrependScheme string          `json:"prepend_scheme"`
	PrefixSpace   *bool           `json:"add_prefix_space"`
}

// parseDecoder reads "decoder".
func (t *Tokenizer) parseDecoder(data json.RawMessage) error {
	return flatten(data, "decoders", func(typ string, data json.RawMessage) error {
		var j decoderJSON
		if err := json.Unmarshal(data, &j); err != nil {
			return err
		}
		d, err := newDecoder(typ, j)
		if err == nil {
			t.dec = append(t.dec, d)
		}
		return err
	})
}

func newDecoder(typ string, j decoderJSON) (decoder, error) {
	switch typ {
	case "ByteLevel":
		return byteLevelDecoder{}, nil
	case "ByteFallback":
		return byteFallbackDecoder{}, nil
	case "Fuse":
		return fuseDecoder{}, nil
	case "Metaspace":
		m, err := newMetaspace(metaspaceJSON{j.Replacement, j.PrependScheme, j.PrefixSpace, nil})
		return metaspaceDecoder{m.mark, m.scheme != prependNever}, err
	case "WordPiece":
		if j.Prefix == nil {
			return nil, fmt.Errorf("prefix is missing")
		}
		return wordPieceDecoder{*j.Prefix, j.Cleanup}, nil
	case "BPEDecoder":
		if j.Suffix == nil {
			return nil, fmt.Errorf("suffix is missing")
		}
		return bpeDecoder{*j.Suffix}, nil
	case "Replace":
		p, err := parsePattern(j.Pattern)
		return replaceDecoder{p, j.Content}, err
	case "Strip":
		if utf8.RuneCountInString(j.Content) != 1 {
			return nil, fmt.Errorf("content %q is not one character", j.Content)
		}
		if j.Start < 0 || j.Stop < 0 {
			return nil, fmt.Errorf("start %d, stop %d: want no negative counts", j.Start, j.Stop)
		}
		return stripDecoder{j.Content, j.Start, j.Stop}, nil
	}
	return nil, &UnsupportedError{"decoder", typ}
}

// byteLevelDecoder reads the byte alphabet. A token with another character, an
// added one usually, stands for its own bytes.
type byteLevelDecoder struct{}

func (byteLevelDecoder) decode(tokens []string) []string {
	var raw []byte
	for _, token := range tokens {
		var ok bool
		if raw, ok = appendBytes(raw, token); !ok {
			raw = append(raw, token...)
		}
	}
	return []string{string(appendValid(nil, string(raw), nil))}
}

// byteFallbackDecoder joins runs of <0x..> tokens into characters; a run that
// is not valid UTF-8 becomes one U+FFFD a byte.
type byteFallbackDecoder struct{}

func (byteFallbackDecoder) decode(tokens []string) []string {
	var out []string
	var run []byte
	flush := func() {
		if utf8.Valid(run) {
			out = append(out, string(run))
		} else {
			out = append(out, strings.Repeat("\uFFFD", len(run)))
		}
		run = run[:0]
	}
	for _, token := range tokens {
		if b, ok := byteToken(token); ok {
			run = append(run, b)
			continue
		}
		if len(run) > 0 {
			flush()
		}
		out = append(out, token)
	}
	if len(run) > 0 {
		flush()
	}
	return out
}

func byteToken(token string) (byte, bool) {
	if len(token) != 6 || token[:3] != "<0x" || token[5] != '>' {
		return 0, false
	}
	digits := token[3:5]
	if digits[0] == '+' { // Rust's from_str_radix takes a sign
		digits = digits[1:]
	}
	b, err := strconv.ParseUint(digits, 16, 8)
	return byte(b), err == nil
}

type fuseDecoder struct{}

func (fuseDecoder) decode(tokens []string) []string { return []string{strings.Join(tokens, "")} }

// metaspaceDecoder reads the mark as a space, and drops it from the first token
// when encoding put it there.
type metaspaceDecoder struct {
	mark      string
	prepended bool
}

func (d metaspaceDecoder) decode(tokens []string) []string {
	for i, token := range tokens {
		space := " "
		if i == 0 && d.prepended {
			space = ""
		}
		tokens[i] = strings.ReplaceAll(token, d.mark, space)
	}
	return tokens
}

type wordPieceDecoder struct {
	prefix  string
	cleanup bool
}

// wordPieceCleanup undoes what cutting at punctuation did to English, in this
// order.
var wordPieceCleanup = [][2]string{
	{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"}, {" 'm", "'m"},
	{" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
}

func (d wordPieceDecoder) decode(tokens []string) []string {
	for i, token := range tokens {
		if i > 0 {
			rest, ok := strings.CutPrefix(token, d.prefix)
			if token = rest; !ok {
				token = " " + token
			}
		}
		if d.cleanup {
			for _, c := range wordPieceCleanup {
				token = strings.ReplaceAll(token, c[0], c[1])
			}
		}
		tokens[i] = token
	}
	return tokens
}

// bpeDecoder reads the suffix that ends words as a space, but for the last.
type bpeDecoder struct{ suffix string }

func (d bpeDecoder) decode(tokens []string) []string {
	for i, token := range tokens {
		space := " "
		if i == len(tokens)-1 {
			space = ""
		}
		tokens[i] = strings.ReplaceAll(token, d.suffix, space)
	}
	return tokens
}

type replaceDecoder struct {
	pattern pattern
	content string
}

func (d replaceDecoder) decode(tokens []string) []string {
	for i, token := range tokens {
		if token == "" {
			continue
		}
		var out []byte
		for _, s := range d.pattern.find(nil, []byte(token)) {
			if s.match {
				out = append(out, d.content...)
			} else {
				out = append(out, token[s.start:s.end]...)
			}
		}
		tokens[i] = string(out)
	}
	return tokens
}

// stripDecoder removes up to start and stop copies of a character at the ends
// of each token.
type stripDecoder struct {
	content     string
	start, stop int
}

func (d stripDecoder) decode(tokens []string) []string {
	for i, token := range tokens {
		for n := 0; n < d.start && strings.HasPrefix(token, d.content); n++ {
			token = token[len(d.content):]
		}
		for n := 0; n < d.stop && strings.HasSuffix(token, d.content); n++ {
			token = token[:len(token)-len(d.content)]
		}
		tokens[i] = token
	}
	return tokens
}
