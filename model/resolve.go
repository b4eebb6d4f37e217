package model

import (
	"fmt"
	"slices"
	"strings"
)

// languageHeads are output layers of language models, which a reward model leaves out where its
// checkpoint has kept one.
var languageHeads = []string{"lm_head.weight", "embed_out.weight", "output.weight"}

// Resolve reads config.json together with the checkpoint's tensors, which decide: the class follows
// from model_type where the one that is named is not known, the score head is the one that is
// there, with as many outputs as it has rows, and the vocabulary has as many tokens as the
// embedding. Notes say where the configuration says otherwise.
func Resolve(data []byte, src Source, set Settings) (c *Config, notes []string, err error) {
	raw, err := decodeConfig(data)
	if err != nil {
		return nil, nil, err
	}
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	class, known := raw.class()
	if class == "" {
		return nil, nil, raw.unsupported()
	}
	a := architectures[class]
	prefix := a.findPrefix(src)
	head, err := raw.findHead(src, a, prefix, set)
	switch {
	case err != nil:
		return nil, nil, err
	case known:
	case head.name == "":
		return nil, nil, raw.noHead()
	default:
		note("read as %s, by model_type %q and its head %s.weight; architectures names %s", class,
			raw.ModelType, head.name, orNone(raw.Architectures))
	}
	notes = append(notes, head.notes...)
	head.labels(raw, note)
	embedding := a.named(a.embedding, prefix)
	switch {
	case prefix == nil:
	case *prefix == "":
		note("the body's tensors have no prefix, where %s has %q", class, a.ownPrefix())
	default:
		note("the body's tensors have names that begin with %q, where %s has %q", *prefix, class,
			a.ownPrefix())
	}
	if shape, ok := src.Shape(embedding); ok && len(shape) == 2 && raw.VocabSize != nil &&
		*raw.VocabSize != shape[0] {
		note("%s has %d rows, vocab_size in config.json is %d: the tensor counts", embedding,
			shape[0], *raw.VocabSize)
		raw.VocabSize = &shape[0]
	}
	if c, err = raw.config(class); err != nil {
		return nil, nil, err
	}
	c.Prefix = prefix
	head.describe(c)
	for _, n := range c.left() {
		switch _, ok := src.Shape(n); {
		case !ok || c.reads(n):
		case slices.Contains(languageHeads, n):
			note("%s is left out: a reward model has its score head in place of it", n)
		default:
			note("%s is left out: %s does not read it", n, class)
		}
	}
	if c.Inside {
		note("only %s of %s is read, the part that reads text", c.ModelType, orNone(raw.Architectures))
	}
	if c.Reading, err = raw.reading(src); err != nil {
		return nil, nil, err
	}
	if public, ok := publicModel(set.Path, raw.NameOrPath); ok &&
		c.Head == strings.Split(public.Head, "[")[0] {
		c.Reading.Pooling = public.Pooling
	}
	c.Mean = c.Mean || c.Reading.Pooling == PoolMean
	if raw.Mean != nil && raw.Std != nil && c.scoring().Readout.Normal == nil {
		note("mean %s and std %s of config.json are not applied: rewards are raw, unless output is normalized", raw.Mean, raw.Std)
	}
	return c, notes, nil
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// class returns the supported class that a configuration is of: the one that it names, known, else
// the one of its model_type, "" when there is none.
func (raw *rawConfig) class() (class string, known bool) {
	if len(raw.Architectures) == 1 {
		if _, ok := architectures[raw.Architectures[0]]; ok {
			return raw.Architectures[0], true
		}
	}
	return classOf(raw.ModelType), false
}

// classOf returns the supported class of a model_type, "" when there is none.
func classOf(modelType string) string {
	for class, a := range architectures {
		if a.modelType == modelType {
			return class
		}
	}
	return ""
}

// TypeOf returns the model_type of a supported class.
func TypeOf(class string) string { return architectures[class].modelType }

// ClassifierOf returns the class of the reward models that have the backbone of a
// language model's class, and whether the name is such a class's.
func ClassifierOf(class string) (string, bool) {
	for _, suffix := range []string{"ForCausalLM", "LMHeadModel"} {
		if name, ok := strings.CutSuffix(class, suffix); ok {
			return name + "ForSequenceClassification", true
		}
	}
	return "", false
}

// Tied says whether a language model of this class has its embedding for an output
// layer where config.json does not say it (tie_word_embeddings).
func (c *Config) Tied() bool { return architectures[c.Architecture].tied }

// left lists the tensors that a checkpoint may have and the model does without.
func (c *Config) left() []string {
	out := append(slices.Clone(languageHeads), "normalizer.mean", "normalizer.var", "normalizer.count")
	if c.Prefix != nil { // of what is around a whole language model
		around, ok := strings.CutSuffix(*c.Prefix, architectures[c.Architecture].ownPrefix())
		for _, n := range languageHeads {
			if ok {
				out = append(out, around+n)
			}
		}
	}
	for _, n := range architectures[c.Architecture].left {
		out = append(out, c.tensorName(n))
	}
	return out
}

// tensorName returns the checkpoint's name of a parameter.
func (c *Config) tensorName(parameter string) string {
	if rest, ok := strings.CutPrefix(parameter, headNames[0]+"."); ok && c.Head != "" {
		return c.Head + "." + rest
	}
	return architectures[c.Architecture].named(parameter, c.Prefix)
}
