package lm

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/chat"
	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/model/tokenizer"
	"github.com/warmserve/warmserve/trainer/data"
)

// corpus is what a run learns from and is measured on.
type corpus struct {
	train, valid []model.Text
	hashes       map[string]string
}

// load reads all files of a run.
func (c *Config) load(b *base) (*corpus, error) {
	out := &corpus{hashes: map[string]string{}}
	context := b.config.MaxPositions
	if c.Context > 0 {
		if c.Context > context {
			return nil, fmt.Errorf("context: %d, the model's is %d", c.Context, context)
		}
		context = c.Context
	}
	var texts []model.Text
	for _, path := range c.Text {
		content, err := read(path, out.hashes)
		if err != nil {
			return nil, err
		}
		if isLines(path) {
			texts, err = b.documents(texts, path, content, context)
		} else {
			texts, err = b.windows(texts, path, content, context)
		}
		if err != nil {
			return nil, err
		}
	}
	seen := map[string]bool{}
	for _, path := range c.Pairs {
		content, err := read(path, out.hashes)
		if err != nil {
			return nil, err
		}
		if texts, err = b.answers(texts, path, content, context, seen); err != nil {
			return nil, err
		}
	}
	for i, x := range texts {
		if float64(nn.Mix(c.DataSeed, uint64(i))>>11)/(1<<53) < c.Valid {
			out.valid = append(out.valid, x)
		} else {
			out.train = append(out.train, x)
		}
	}
	if len(out.train) == 0 {
		return nil, fmt.Errorf("nothing to learn from in %v", append(slices.Clone(c.Text), c.Pairs...))
	}
	if c.Valid > 0 && len(out.valid) == 0 {
		return nil, fmt.Errorf("valid: %v of %d texts is none", c.Valid, len(texts))
	}
	return out, nil
}

// isLines tells JSON Lines from plain text by the file's name.
func isLines(path string) bool {
	for _, s := range []string{".zst", ".gz"} {
		path = strings.TrimSuffix(path, s)
	}
	return strings.HasSuffix(path, ".jsonl") || strings.HasSuffix(path, ".ndjson")
}

// read returns a file's content, decompressed, and records its hash.
func read(path string, hashes map[string]string) ([]byte, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	hashes[path] = "sha256:" + hex.EncodeToString(sum[:])
	var r io.Reader
	switch {
	case bytes.HasPrefix(raw, []byte{0x1f, 0x8b}):
		r, err = gzip.NewReader(bytes.NewReader(raw))
	case bytes.HasPrefix(raw, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, zerr := zstd.NewReader(bytes.NewReader(raw), zstd.WithDecoderConcurrency(1))
		if zerr == nil {
			defer z.Close()
		}
		r, err = z, zerr
	default:
		return raw, nil
	}
	if err == nil {
		raw, err = io.ReadAll(r)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: damaged stream: %w", path, err)
	}
	return raw, nil
}

// pieceBytes is about how much text is tokenised at a time.
const pieceBytes = 1 << 14

// windows cuts a text into windows of the context, each of which also predicts
// the first token of the next. The rest at the end is a shorter window.
func (b *base) windows(texts []model.Text, path string, content []byte, context int) ([]model.Text, error) {
	var ids []int32
	if b.bos >= 0 {
		ids = append(ids, b.bos)
	}
	line := 1
	for len(content) > 0 {
		n := min(len(content), pieceBytes)
		if i := bytes.LastIndexByte(content[:n], '\n'); i > 0 && n < len(content) {
			n = i // the newline begins the next piece
		} else if i := bytes.IndexByte(content[n:], '\n'); n < len(content) && i >= 0 {
			n += i
		} else {
			n = len(content)
		}
		if !utf8.Valid(content[:n]) {
			return nil, fmt.Errorf("%s: invalid UTF-8 in the text from line %d on", path, line)
		}
		ids = b.tokenizer.AppendEncode(ids, string(content[:n]), tokenizer.Options{NoParseSpecial: true})
		line += bytes.Count(content[:n], []byte{'\n'})
		content = content[n:]
	}
	if b.eos >= 0 {
		ids = append(ids, b.eos)
	}
	for at := 0; at+1 < len(ids); at += context {
		end := min(at+context, len(ids)-1)
		texts = append(texts, model.Text{IDs: ids[at:end], Targets: ids[at+1 : end+1]})
	}
	return texts, nil
}

// documents reads JSON Lines with a "text" each.
func (b *base) documents(texts []model.Text, path string, content []byte, context int) ([]model.Text, error) {
	err := eachDocument(path, content, func(text string) { texts = append(texts, b.example(text, context, true)) })
	return texts, err
}

// EachText calls f for the texts of some files: a plain one as a whole, and those
// of JSON Lines one by one.
func EachText(paths []string, f func(text []byte)) error {
	for _, path := range paths {
		content, err := read(path, map[string]string{})
		if err != nil {
			return err
		}
		if !isLines(path) {
			f(content)
			continue
		}
		if err := eachDocument(path, content, func(text string) { f([]byte(text)) }); err != nil {
			return err
		}
	}
	return nil
}

func eachDocument(path string, content []byte, f func(text string)) error {
	s := bufio.NewScanner(bytes.NewReader(content))
	s.Buffer(nil, len(content)+1)
	for line := 1; s.Scan(); line++ {
		if len(bytes.TrimSpace(s.Bytes())) == 0 {
			continue
		}
		var doc struct {
			Text *string `json:"text"`
		}
		if !utf8.Valid(s.Bytes()) {
			return fmt.Errorf("%s:%d: invalid UTF-8", path, line)
		}
		if err := json.Unmarshal(s.Bytes(), &doc); err != nil {
			return fmt.Errorf("%s:%d: %w", path, line, err)
		}
		if doc.Text == nil || strings.TrimSpace(*doc.Text) == "" {
			return fmt.Errorf("%s:%d: text: missing or empty", path, line)
		}
		f(*doc.Text)
	}
	return s.Err()
}

// answers reads preferences and takes the prompt and the chosen answer: once, however
// often it was chosen. An answer that is in many pairs would be learned by heart, and would be
// both learned and measured on.
func (b *base) answers(texts []model.Text, path string, content []byte, context int, seen map[string]bool) ([]model.Text, error) {
	r, err := data.NewReader(bytes.NewReader(content), data.Options{Name: path})
	if err != nil {
		return nil, err
	}
	for p, err := range r.Pairs() {
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		text, plain := p.Prompt.Plain+p.Chosen.Plain, !p.Chosen.IsChat()
		if !plain {
			if b.template == nil {
				return nil, errors.Join(fmt.Errorf("%s: pair %q is a conversation, the base has no chat template", path, p.ID), r.Close())
			}
			rendered, err := b.template.Render(slices.Concat(p.Prompt.Messages, p.Chosen.Messages), chat.Options{})
			if err != nil {
				return nil, errors.Join(fmt.Errorf("%s: pair %q: %w", path, p.ID, err), r.Close())
			}
			text = rendered.Text
		}
		if seen[text] {
			continue
		}
		seen[text] = true
		texts = append(texts, b.example(text, context, plain))
	}
	return texts, r.Close()
}

// example is one text, cut to the context; a plain one between the tokens that
// begin and end a text.
func (b *base) example(s string, context int, plain bool) model.Text {
	var ids []int32
	if plain && b.bos >= 0 {
		ids = append(ids, b.bos)
	}
	ids = b.tokenizer.AppendEncode(ids, s, tokenizer.Options{NoParseSpecial: plain})
	if plain && b.eos >= 0 {
		ids = append(ids, b.eos)
	}
	return model.Text{IDs: ids[:min(len(ids), context)]}
}
