package lm

import (
	"bytes"
	"fmt"
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
	out, files := &corpus{}, c.files()
	context := b.config.MaxPositions
	if c.Context > 0 {
		if c.Context > context {
			return nil, fmt.Errorf("context: %d, the model's is %d", c.Context, context)
		}
		context = c.Context
	}
	var texts []model.Text
	for _, path := range c.Text {
		content, err := files.ReadText(path)
		if err != nil {
			return nil, err
		}
		if isLines(path) {
			err = eachDocument(files, path, content,
				func(text string) { texts = append(texts, b.example(text, context, true, &out.cut)) })
		} else {
			texts, err = b.windows(texts, path, content, context)
		}
		if err != nil {
			return nil, err
		}
	}
	seen := map[string]bool{}
	for _, path := range c.Pairs {
		content, err := files.Read(path)
		if err != nil {
			return nil, err
		}
		err = data.In(files, content, data.Options{Name: path}, (*data.Reader).Pairs,
			func(p data.Pair) error {
				text, plain, err := b.chosen(p)
				if err == nil && !seen[text] {
					seen[text] = true
					texts = append(texts, b.example(text, context, plain, &out.cut))
				}
				return err
			})
		if err != nil {
			return nil, err
		}
	}
	out.hashes = files.Hashes
	if out.cut > 0 {
		c.say("%d of %d texts are longer than the context of %d tokens: their ends are left out", out.cut,
			len(texts), context)
	}
	c.divide(out, texts)
	if len(out.train) == 0 {
		return nil, fmt.Errorf("nothing to learn from in %v", append(slices.Clone(c.Text), c.Pairs...))
	}
	return out, nil
}

// HoldOut says which things of n are held out: a share of them, those of the smallest numbers that
// the seed gives their keys; of several one at least, few where the share would be none.
func HoldOut(n int, share float64, seed uint64, key func(i int) uint64) (held []bool, few bool) {
	held = make([]bool, n)
	if n < 2 || share == 0 {
		return held, false
	}
	numbers := make([]float64, n)
	for i := range numbers {
		numbers[i] = nn.Uniform(nn.Mix(seed, key(i)))
	}
	least := slices.Min(numbers)
	for i, v := range numbers {
		held[i] = v < share || v == least
	}
	return held, least >= share
}

// divide keeps a share of the texts for measuring.
func (c *Config) divide(out *corpus, texts []model.Text) {
	held, few := HoldOut(len(texts), c.Valid, c.DataSeed, func(i int) uint64 { return uint64(i) })
	if few {
		c.say("kept one text for measuring, of %d: %v of them is none", len(texts), c.Valid)
	}
	for i, x := range texts {
		if held[i] {
			out.valid = append(out.valid, x)
		} else {
			out.train = append(out.train, x)
		}
	}
	if c.Valid > 0 && len(texts) == 1 {
		c.say("kept nothing for measuring: there is one text")
	}
}

// files are the run's files of data.
func (c *Config) files() *data.Files { return &data.Files{SkipBad: c.SkipBad, Say: c.say} }

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

// EachText calls f for the texts of some files: a plain one as a whole, and those
// of JSON Lines one by one. skipBad leaves out lines that cannot be used, which say is
// told; else they are an error.
func EachText(paths []string, skipBad bool, say func(format string, args ...any), f func(text []byte)) error {
	files := &data.Files{SkipBad: skipBad, Say: say}
	for _, path := range paths {
		content, err := files.ReadText(path)
		if err != nil {
			return err
		}
		if !isLines(path) {
			f(content)
		} else if err := eachDocument(files, path, content, func(text string) { f([]byte(text)) }); err != nil {
			return err
		}
	}
	return nil
}

func eachDocument(files *data.Files, path string, content []byte, f func(text string)) error {
	o := data.Options{Name: path, MaxLine: max(1, len(content))}
	return data.In(files, content, o, (*data.Reader).Documents, func(d data.Document) error {
		f(d.Text)
		return nil
	})
}

// chosen is a pair's prompt and chosen answer, and whether it is a plain text. It is learned once, however
// often it was chosen: an answer that is in many pairs would be learned by heart, and would be both learned
// and measured on.
func (b *base) chosen(p data.Pair) (text string, plain bool, err error) {
	if !p.Chosen.IsChat() {
		return p.Prompt.Plain + p.Chosen.Plain, true, nil
	}
	if b.template == nil {
		return "", false, fmt.Errorf("%v: it is a conversation, and the base has no chat template", p.At)
	}
	rendered, err := b.template.Render(slices.Concat(p.Prompt.Messages, p.Chosen.Messages), chat.Options{})
	if err != nil {
		return "", false, &data.Error{Place: p.At, Err: err}
	}
	return rendered.Text, false, nil
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
