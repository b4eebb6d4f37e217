package tokenizer

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

type normalizerJSON struct {
	CleanText    *bool           `json:"clean_text"`
	Chinese      *bool           `json:"handle_chinese_chars"`
	StripAccents *bool           `json:"strip_accents"`
	Lowercase    *bool           `json:"lowercase"`
	StripLeft    *bool           `json:"strip_left"`
	StripRight   *bool           `json:"strip_right"`
	Pattern      json.RawMessage `json:"pattern"`
	Content      *string         `json:"content"`
	Prepend      *string         `json:"prepend"`
}

// parseNormalizer reads "normalizer".
func (t *Tokenizer) parseNormalizer(data json.RawMessage) error {
	return flatten(data, "normalizers", func(typ string, data json.RawMessage) error {
		if typ == "Precompiled" {
			p, err := parsePrecompiled(data)
			t.norm = append(t.norm, p)
			return err
		}
		var j normalizerJSON
		if err := json.Unmarshal(data, &j); err != nil {
			return err
		}
		n, err := newNormalizer(typ, j)
		t.norm = append(t.norm, n)
		return err
	})
}

func newNormalizer(typ string, j normalizerJSON) (normalizer, error) {
	switch typ {
	case "NFC":
		return form{nfc}, nil
	case "NFD":
		return form{nfd}, nil
	case "NFKC":
		return form{nfkc}, nil
	case "NFKD":
		return form{nfkd}, nil
	case "Lowercase":
		return lowercase{}, nil
	case "StripAccents":
		return filter{classCombining}, nil
	case "Nmt":
		return nmt{}, nil
	case "ByteLevel":
		return byteLevelText{}, nil
	case "Strip":
		if j.StripLeft == nil || j.StripRight == nil {
			return nil, fmt.Errorf("want strip_left and strip_right")
		}
		return strip{*j.StripLeft, *j.StripRight}, nil
	case "Prepend":
		if j.Prepend == nil {
			return nil, fmt.Errorf("prepend is missing")
		}
		return prepend{*j.Prepend}, nil
	case "Replace":
		if j.Content == nil {
			return nil, fmt.Errorf("content is missing")
		}
		p, err := parsePattern(j.Pattern)
		if old, ok := p.(literal); ok {
			return replace{string(old), *j.Content}, err
		}
		return replacePattern{p, *j.Content}, err
	case "BertNormalizer", "Bert":
		if j.CleanText == nil || j.Chinese == nil || j.Lowercase == nil {
			return nil, fmt.Errorf("want clean_text, handle_chinese_chars and lowercase")
		}
		accents := *j.Lowercase // what null means
		if j.StripAccents != nil {
			accents = *j.StripAccents
		}
		return bertNormalizer{*j.CleanText, *j.Chinese, accents, *j.Lowercase}, nil
	}
	return nil, &UnsupportedError{"normalizer", typ}
}

type metaspaceJSON struct {
	Replacement   string `json:"replacement"`
	PrependScheme string `json:"prepend_scheme"`
	PrefixSpace   *bool  `json:"add_prefix_space"` // the older spelling of the scheme
	Split         *bool  `json:"split"`
}

func newMetaspace(j metaspaceJSON) (metaspace, error) {
	m := metaspace{mark: j.Replacement, cut: j.Split == nil || *j.Split}
	if utf8.RuneCountInString(j.Replacement) != 1 {
		return m, fmt.Errorf("replacement %q is not one character", j.Replacement)
	}
	switch j.PrependScheme {
	case "always":
		m.scheme = prependAlways
	case "":
		m.scheme = prependAlways
		if j.PrefixSpace != nil && !*j.PrefixSpace {
			m.scheme = prependNever
		}
	case "first":
		m.scheme = prependFirst
	case "never":
		m.scheme = prependNever
	default:
		return m, fmt.Errorf("prepend_scheme %q, want always, first or never", j.PrependScheme)
	}
	if j.PrefixSpace != nil && !*j.PrefixSpace && m.scheme != prependNever {
		return m, fmt.Errorf("add_prefix_space is false, but prepend_scheme is %q", j.PrependScheme)
	}
	return m, nil
}

type preJSON struct {
	metaspaceJSON
	UseRegex   *bool           `json:"use_regex"`
	Pattern    json.RawMessage `json:"pattern"`
	Behavior   string          `json:"behavior"`
	Invert     bool            `json:"invert"`
	Individual bool            `json:"individual_digits"`
	Delimiter  string          `json:"delimiter"`
	Length     *int            `json:"length"`
}

// parsePre reads "pre_tokenizer". bytewise says that the last stage is
// ByteLevel: its characters stand for bytes, so words stay bytes and the model
// reads them as such. Before any other stage they are really written out.
func (t *Tokenizer) parsePre(data json.RawMessage) (bytewise bool, err error) {
	err = flatten(data, "pretokenizers", func(typ string, data json.RawMessage) error {
		var j preJSON
		if err := json.Unmarshal(data, &j); err != nil {
			return err
		}
		if bytewise {
			t.pre = append(t.pre, byteLevelStage{})
			bytewise = false
		}
		if typ == "ByteLevel" {
			if j.PrefixSpace == nil {
				return fmt.Errorf("add_prefix_space is missing")
			}
			if *j.PrefixSpace {
				t.pre = append(t.pre, prefixSpace{})
			}
			if j.UseRegex == nil || *j.UseRegex {
				t.pre = append(t.pre, scanStage{scanGPT2})
			}
			bytewise = true
			return nil
		}
		stages, err := newStages(typ, j)
		t.pre = append(t.pre, stages...)
		return err
	})
	return bytewise, err
}

func newStages(typ string, j preJSON) ([]stage, error) {
	switch typ {
	case "Metaspace":
		m, err := newMetaspace(j.metaspaceJSON)
		return []stage{m}, err
	case "BertPreTokenizer":
		return []stage{bertStage{}}, nil
	case "WhitespaceSplit":
		return []stage{splitStage{runes{classSpace}, removed, false}}, nil
	case "Whitespace":
		return []stage{splitStage{words{}, removed, true}}, nil
	case "Punctuation":
		if j.Behavior == "" {
			return []stage{splitStage{pattern: runes{classPunct}}}, nil
		}
		b, err := parseBehavior(j.Behavior)
		return []stage{splitStage{runes{classPunct}, b, false}}, err
	case "Digits":
		b := contiguous
		if j.Individual {
			b = isolated
		}
		return []stage{splitStage{runes{classNumeric}, b, false}}, nil
	case "Split":
		p, err := parsePattern(j.Pattern)
		if err != nil {
			return nil, err
		}
		b, err := parseBehavior(j.Behavior)
		return []stage{newSplit(p, b, j.Invert)}, err
	case "CharDelimiterSplit":
		if utf8.RuneCountInString(j.Delimiter) != 1 {
			return nil, fmt.Errorf("delimiter %q is not one character", j.Delimiter)
		}
		return []stage{splitStage{literal(j.Delimiter), removed, false}}, nil
	case "FixedLength":
		if j.Length == nil {
			return []stage{fixedLength{5}}, nil
		}
		if *j.Length < 1 {
			return nil, fmt.Errorf("length %d, want at least 1", *j.Length)
		}
		return []stage{fixedLength{*j.Length}}, nil
	}
	return nil, &UnsupportedError{"pre_tokenizer", typ}
}

func parseBehavior(s string) (behavior, error) {
	switch s {
	case "Isolated":
		return isolated, nil
	case "Removed":
		return removed, nil
	case "Contiguous":
		return contiguous, nil
	case "MergedWithPrevious":
		return mergedWithPrevious, nil
	case "MergedWithNext":
		return mergedWithNext, nil
	}
	return 0, fmt.Errorf("behavior %q is none", s)
}
