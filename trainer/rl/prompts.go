package rl

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"regexp"
	"strings"

	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/trainer/lm"
)

// promptSet is the prompts of a run.
type promptSet struct {
	train, held []question
	long        int               // prompts that leave no room for an answer
	hashes      map[string]string // of each file, "sha256:…"
}

// load reads all prompts. Equal ones count once; which are held out is decided by
// their text, so that files may be reordered or grow.
func (c *Config) load(v *writer) (*promptSet, error) {
	d, files := &promptSet{}, &data.Files{SkipBad: c.SkipBad, Say: c.say}
	seen := map[string]bool{}
	for _, path := range c.Prompts {
		content, err := files.Read(path)
		if err != nil {
			return nil, err
		}
		err = data.In(files, content, data.Options{Name: path}, (*data.Reader).Prompts,
			func(p data.Prompt) error { return c.put(d, v, p, seen) })
		if err != nil {
			return nil, err
		}
	}
	d.hashes = files.Hashes
	c.divide(d)
	if len(d.train) == 0 {
		return nil, fmt.Errorf("no prompt to learn from in %v (%d leave no room for %d tokens, %d held out)", c.Prompts, d.long, c.Tokens, len(d.held))
	}
	return d, nil
}

// divide holds out a share of the prompts, by their texts.
func (c *Config) divide(d *promptSet) {
	all := d.train
	held, few := lm.HoldOut(len(all), c.Holdout, c.DataSeed, func(i int) uint64 { return all[i].key })
	switch {
	case c.Holdout > 0 && len(all) < 2:
		c.say("no prompt is held out: there is one")
	case few:
		c.say("held out one prompt of %d: %v of them is none", len(all), c.Holdout)
	}
	d.train = nil
	for i, q := range all {
		if held[i] {
			d.held = append(d.held, q)
		} else {
			d.train = append(d.train, q)
		}
	}
}

func (c *Config) say(format string, args ...any) {
	if c.Progress != nil {
		c.Progress(Progress{Message: fmt.Sprintf(format, args...), Steps: c.Steps})
	}
}

// put adds a prompt that was not there yet.
func (c *Config) put(d *promptSet, v *writer, p data.Prompt, seen map[string]bool) error {
	text, err := c.format(p)
	if err != nil {
		return &data.Error{Place: p.At, Err: err}
	}
	name, err := json.Marshal([]any{text.Plain, text.Messages})
	if err != nil {
		return err
	}
	if seen[string(name)] {
		return nil
	}
	seen[string(name)] = true
	q, err := v.read(text)
	if err != nil {
		return &data.Error{Place: p.At, Field: "prompt", Err: err}
	}
	if len(q.ids)+c.Tokens-1 > v.policy.Config.MaxPositions {
		d.long++
		return nil
	}
	h := fnv.New64a()
	h.Write(name)
	q.key = h.Sum64()
	d.train = append(d.train, q)
	return nil
}

// place is a field's name in a format.
var place = regexp.MustCompile(`\{[A-Za-z0-9_.-]+\}`)

// format makes the text of a line's fields.
func (c *Config) format(p data.Prompt) (data.Text, error) {
	if c.Format == "" {
		return p.Prompt, nil
	}
	if p.Prompt.IsChat() {
		return data.Text{}, fmt.Errorf("a conversation has no format")
	}
	var missing []string
	text := place.ReplaceAllStringFunc(c.Format, func(name string) string {
		name = strings.Trim(name, "{}")
		if name == "prompt" {
			return p.Prompt.Plain
		}
		var s string
		if raw, ok := p.Meta[name]; !ok || json.Unmarshal(raw, &s) != nil {
			missing = append(missing, name)
		}
		return s
	})
	if missing != nil {
		return data.Text{}, fmt.Errorf("format %q: no text in the fields %v", c.Format, missing)
	}
	return data.Text{Plain: text}, nil
}
