package lm

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/chat"
	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/model/tokenizer"
	"github.com/warmserve/warmserve/trainer/data"
)

// corpus is what a run learns from and is measured on.
type corpus struct {
	train, valid []model.Text
	cut          int // texts longer than the context, whose end is left out
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
			texts, err = c.documents(b, texts, path, content, context, &out.cut)
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
		if texts, err = c.answers(b, texts, path, content, context, seen, &out.cut); err != nil {
			return nil, err
		}
	}
	if out.cut > 0 {
		c.say("%d of %d texts are longer than the context of %d tokens: their ends are left out", out.cut, len(texts), context)
	}
	c.divide(out, texts)
	if len(out.train) == 0 {
		return nil, fmt.Errorf("nothing to learn from in %v", append(slices.Clone(c.Text), c.Pairs...))
	}
	return out, nil
}

// divide keeps a share of the texts for measuring: those of the smallest numbers that the
// seed gives them. Of several texts one is kept at least.
func (c *Config) divide(out *corpus, texts []model.Text) {
	number := func(i int) float64 { return nn.Uniform(nn.Mix(c.DataSeed, uint64(i))) }
	limit := c.Valid
	if c.Valid > 0 && len(texts) > 1 {
		least := 1.0
		for i := range texts {
			least = min(least, number(i))
		}
		if least >= limit {
			limit = math.Nextafter(least, 1)
			c.say("kept one text for measuring, of %d: %v of them is none", len(texts), c.Valid)
		}
	}
	for i, x := range texts {
		if len(texts) > 1 && number(i) < limit {
			out.valid = append(out.valid, x)
		} else {
			out.train = append(out.train, x)
		}
	}
	if c.Valid > 0 && len(texts) == 1 {
		c.say("kept nothing for measuring: there is one text")
	}
}

func (c *Config) say(format string, args ...any) {
	if c.Progress != nil {
		c.Progress(Progress{Message: fmt.Sprintf(format, args...)})
	}
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
	plain, packed, err := data.Decompress(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer plain.Close()
	if !packed {
		return raw, nil
	}
	if raw, err = io.ReadAll(plain); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, data.ErrDamaged, err)
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
func (c *Config) documents(b *base, texts []model.Text, path string, content []byte, context int, cut *int) ([]model.Text, error) {
	bad, err := eachDocument(path, content, func(text string) { texts = append(texts, b.example(text, context, true, cut)) })
	if err != nil {
		return nil, err
	}
	return texts, c.tolerate(bad)
}

// tolerate leaves out bad lines and says so, or returns them as an error.
func (c *Config) tolerate(bad *data.Bad) error {
	if err := bad.Err(c.SkipBad); err != nil {
		return err
	}
	if bad.Count > 0 {
		c.say("%v", bad)
	}
	return nil
}

// EachText calls f for the texts of some files: a plain one as a whole, and those
// of JSON Lines one by one. skipBad leaves out lines that cannot be used, which say is
// told; else they are an error.
func EachText(paths []string, skipBad bool, say func(message string), f func(text []byte)) error {
	c := Config{SkipBad: skipBad, Progress: func(p Progress) { say(p.Message) }}
	for _, path := range paths {
		content, err := read(path, map[string]string{})
		if err != nil {
			return err
		}
		if !isLines(path) {
			f(content)
			continue
		}
		bad, err := eachDocument(path, content, func(text string) { f([]byte(text)) })
		if err == nil {
			err = c.tolerate(bad)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func eachDocument(path string, content []byte, f func(text string)) (*data.Bad, error) {
	r, err := data.NewReader(bytes.NewReader(content), data.Options{Name: path, MaxLine: max(1, len(content))})
	if err != nil {
		return nil, err
	}
	defer r.Close() // of bytes: nothing can be lost
	bad := &data.Bad{File: path}
	return bad, data.Each(r.Documents(), bad, func(d data.Document) error {
		f(d.Text)
		return nil
	})
}

// answers reads preferences and takes the prompt and the chosen answer: once, however
// often it was chosen. An answer that is in many pairs would be learned by heart, and would be
// both learned and measured on.
func (c *Config) answers(b *base, texts []model.Text, path string, content []byte, context int, seen map[string]bool, cut *int) ([]model.Text, error) {
	r, err := data.NewReader(bytes.NewReader(content), data.Options{Name: path})
	if err != nil {
		return nil, err
	}
	defer r.Close() // of bytes: nothing can be lost
	bad := &data.Bad{File: path}
	err = data.Each(r.Pairs(), bad, func(p data.Pair) error {
		text, plain := p.Prompt.Plain+p.Chosen.Plain, !p.Chosen.IsChat()
		if !plain {
			if b.template == nil {
				return fmt.Errorf("%v: it is a conversation, and the base has no chat template", p.At)
			}
			rendered, err := b.template.Render(slices.Concat(p.Prompt.Messages, p.Chosen.Messages), chat.Options{})
			if err != nil {
				return &data.Error{Place: p.At, Err: err}
			}
			text = rendered.Text
		}
		if seen[text] {
			return nil
		}
		seen[text] = true
		texts = append(texts, b.example(text, context, plain, cut))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return texts, c.tolerate(bad)
}

// example is one text, cut to the context, which is counted; a plain one between the
// tokens that begin and end a text.
func (b *base) example(s string, context int, plain bool, cut *int) model.Text {
	var ids []int32
	if plain && b.bos >= 0 {
		ids = append(ids, b.bos)
	}
	ids = b.tokenizer.AppendEncode(ids, s, tokenizer.Options{NoParseSpecial: plain})
	if plain && b.eos >= 0 {
		ids = append(ids, b.eos)
	}
	if len(ids) > context {
		*cut++
		ids = ids[:context]
	}
	return model.Text{IDs: ids}
}
