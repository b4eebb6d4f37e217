package model

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/loader/jsonerr"
)

// ownPrefix is what stands in front of the names of the body's tensors in a class, such as "model.".
func (a architecture) ownPrefix() string {
	return a.embedding[:strings.IndexByte(a.embedding, '.')+1]
}

// findPrefix returns what stands in front of the body's tensors in a checkpoint, nil where it is
// the class's own or cannot be told: a body that was saved alone has nothing there, one inside of
// another model that model's name for it. The embedding tells, which is there once.
func (a architecture) findPrefix(src Source) *string {
	if _, own := src.Shape(a.embedding); own {
		return nil
	}
	stem := a.embedding[len(a.ownPrefix()):]
	var found []string
	for _, name := range src.Names() {
		if rest, ok := strings.CutSuffix(name, stem); ok && (rest == "" || strings.HasSuffix(rest, ".")) {
			found = append(found, rest)
		}
	}
	if len(found) != 1 {
		return nil
	}
	return &found[0]
}

// named returns a tensor's name in a checkpoint whose body has a prefix, nil for the class's own.
func (a architecture) named(name string, prefix *string) string {
	if rest, ok := strings.CutPrefix(name, a.ownPrefix()); ok && prefix != nil {
		return *prefix + rest
	}
	return name
}

// otherSenses are in the names of what models of images and text have beside the body that reads text.
var otherSenses = []string{"vision_tower.", "multi_modal_projector.", "vision_model."}

// isOtherSense reports whether a tensor is of the part of a model that sees.
func isOtherSense(name string) bool {
	return slices.ContainsFunc(otherSenses,
		func(s string) bool { return strings.HasPrefix(name, s) || strings.HasPrefix(name, "model."+s) })
}

// leaves is what of other parts of a model is left out; nil where there is none.
func (c *Config) leaves() func(name string) bool {
	if !c.Inside {
		return nil
	}
	return isOtherSense
}

// textOf returns the configuration of the model that reads the text where raw is one of several:
// its own sizes, with what the whole says about the head.
func (raw *rawConfig) textOf() (*rawConfig, error) {
	if raw.TextConfig == nil || string(raw.TextConfig) == "null" || classOf(raw.ModelType) != "" {
		return raw, nil
	}
	var text rawConfig
	if err := json.Unmarshal(raw.TextConfig, &text); err != nil {
		return nil, fmt.Errorf("config.json: text_config: %w", jsonerr.WrongType(err))
	}
	if classOf(text.ModelType) == "" {
		return raw, nil
	}
	text.Architectures, text.NumLabels, text.ID2Label = raw.Architectures, raw.NumLabels, raw.ID2Label
	text.HeadPrefix, text.Mean, text.Std, text.inside = raw.HeadPrefix, raw.Mean, raw.Std, true
	text.Own, text.NameOrPath = raw.Own, raw.NameOrPath
	if text.PadTokenID == nil {
		text.PadTokenID = raw.PadTokenID
	}
	if text.ModelType == "gemma3_text" { // files of 2025 leave out what is the class's default
		d := &text
		for _, f := range []struct {
			to  **int
			def int
		}{{&d.VocabSize, 262208}, {&d.Hidden, 2304}, {&d.Intermediate, 9216}, {&d.Layers, 26},
			{&d.Heads, 8}, {&d.MaxPositions, 131072}} {
			if *f.to == nil {
				*f.to = new(f.def)
			}
		}
	}
	return &text, nil
}
