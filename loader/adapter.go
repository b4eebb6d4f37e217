package loader

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/loader/safetensors"
)

// The files of an adapter's directory.
const (
	adapterConfigFile  = "adapter_config.json"
	adapterWeightsFile = "adapter_model.safetensors"
	adapterPickleFile  = "adapter_model.bin"
	baseDir            = "base" // the base itself or a link to it
)

// What PEFT adds to the names of the base's tensors and modules.
const (
	adapterPrefix = "base_model.model."
	savedInfix    = "modules_to_save." // written by old versions
	lowASuffix    = ".lora_A.weight"
	lowBSuffix    = ".lora_B.weight"
	lowInfix      = ".lora_"
)

// openAdapter makes the checkpoint of an adapter and its base.
func (c *Checkpoint) openAdapter(s store) error {
	if err := c.readAdapter(s); err != nil {
		return fmt.Errorf("%w: %w", ErrAdapter, err)
	}
	text := Checkpoint{}
	if err := text.openText(s); err != nil {
		return err
	}
	if text.Tokenizer != nil { // the text files go together: those of one directory
		c.Tokenizer, c.TokenizerConfig, c.SpecialTokensMap, c.ChatTemplate = text.Tokenizer, text.TokenizerConfig, text.SpecialTokensMap, text.ChatTemplate
	}
	return nil
}

func (c *Checkpoint) readAdapter(s store) error {
	raw, err := readObject(s, adapterConfigFile, maxSmallFile)
	if err != nil {
		return err
	}
	config, err := parseAdapterConfig(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", adapterConfigFile, err)
	}
	low, err := s.tensors(adapterWeightsFile)
	switch {
	case errors.Is(err, fs.ErrNotExist) && exists(s, adapterPickleFile):
		return ErrPickle
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s is missing", adapterWeightsFile)
	case err != nil:
		return err
	}
	c.files = append(c.files, low)
	base, err := openBase(s, config.Base)
	if base != nil {
		c.files = append(c.files, base.files...) // closed with this checkpoint
	}
	if err != nil {
		return err
	}
	c.Tokenizer, c.TokenizerConfig, c.SpecialTokensMap, c.ChatTemplate = base.Tokenizer, base.TokenizerConfig, base.SpecialTokensMap, base.ChatTemplate
	c.Base = base.Dir
	m := merging{config: config, base: base, file: low, out: c.tensors, pairs: map[string]*lowRank{}}
	if err := m.run(); err != nil {
		return err
	}
	c.names = sortedKeys(c.tensors)
	c.Config, err = m.configuration()
	return err
}

// openBase opens the model that an adapter changes.
func openBase(s store, named string) (*Checkpoint, error) {
	var tried []string
	for _, b := range s.bases(named) {
		if b.check() != nil {
			tried = append(tried, b.String())
			continue
		}
		base := &Checkpoint{Dir: b.String(), tensors: map[string]located{}}
		err := base.openWeights(b)
		if errors.Is(err, errNoWeightsHere) {
			err = errors.New("is an adapter itself: merge it first, as warm average --out DIR ADAPTER does")
		}
		if err == nil {
			if base.Config, err = readObject(b, configFile, maxSmallFile); err == nil && base.Config == nil {
				err = ErrNoConfig
			}
		}
		if err == nil {
			err = base.openText(b)
		}
		if err != nil {
			return base, fmt.Errorf("base %s: %w", b, err)
		}
		base.finish()
		return base, nil
	}
	return nil, fmt.Errorf("base_model_name_or_path %q: no directory at %s; put the base, or a link to it, at the first of them, or write its path into %s",
		named, strings.Join(tried, ", nor at "), adapterConfigFile)
}

// merging puts an adapter's tensors over those of its base.
type merging struct {
	config *adapterConfig
	base   *Checkpoint
	file   *safetensors.File
	out    map[string]located
	pairs  map[string]*lowRank // by module
	wrong  []string
}

func (m *merging) bad(format string, args ...any) {
	m.wrong = append(m.wrong, fmt.Sprintf(format, args...))
}

// run fills out, or names everything that does not fit.
func (m *merging) run() error {
	maps.Copy(m.out, m.base.tensors)
	if m.config.Task == taskClassifier {
		for _, head := range languageHeads {
			delete(m.out, head)
		}
	}
	for i := range m.file.Tensors {
		m.add(&m.file.Tensors[i])
	}
	for _, module := range sortedKeys(m.pairs) {
		m.change(module, m.pairs[module])
	}
	m.complete()
	if len(m.wrong) > 0 {
		return errors.New(strings.Join(m.wrong, "; "))
	}
	return nil
}

// languageHeads are the output layers of language models, which a classifier does not have.
var languageHeads = []string{"lm_head.weight", "embed_out.weight"}

// add sorts one tensor of the adapter: a half of a low-rank change, or a replacement.
func (m *merging) add(t *safetensors.Tensor) {
	name, ok := strings.CutPrefix(t.Name, adapterPrefix)
	if !ok {
		m.bad("tensor %q: its name does not begin with %q", t.Name, adapterPrefix)
		return
	}
	if !t.DType.Float() {
		m.bad("tensor %q: dtype %s, want a floating one", t.Name, t.DType)
		return
	}
	half := func(module string) *lowRank {
		if m.pairs[module] == nil {
			m.pairs[module] = &lowRank{file: m.file}
		}
		return m.pairs[module]
	}
	if module, ok := strings.CutSuffix(name, lowASuffix); ok {
		half(module).a = t
		return
	}
	if module, ok := strings.CutSuffix(name, lowBSuffix); ok {
		half(module).b = t
		return
	}
	if strings.Contains(name, lowInfix) {
		m.bad("tensor %q is no matrix A or B of a linear layer", t.Name)
		return
	}
	name = strings.Replace(name, savedInfix, "", 1)
	module := name[:max(0, strings.LastIndexByte(name, '.'))]
	if !m.config.isWhole(module) {
		m.bad("tensor %q belongs to no module of modules_to_save", t.Name)
		return
	}
	if old, ok := m.out[name]; ok && !slices.Equal(old.tensor.Shape, t.Shape) && !isScore(module) {
		m.bad("tensor %q: shape %v, the base has %v", t.Name, t.Shape, old.tensor.Shape)
		return
	}
	m.out[name] = located{tensor: t, file: m.file}
}

// isScore reports whether a module is the head of a classifier, which an adapter may make anew in another size.
func isScore(module string) bool { return module == "score" || module == "classifier" }

// change puts a low-rank change over a matrix of the base.
func (m *merging) change(module string, l *lowRank) {
	before := len(m.wrong)
	w, known := m.base.tensors[module+".weight"]
	switch {
	case l.a == nil || l.b == nil:
		m.bad("module %q has one of lora_A and lora_B", module)
	case !known:
		m.bad("module %q is not in the base", module)
	case !m.config.isTarget(module):
		m.bad("module %q is not among the target_modules", module)
	case len(w.tensor.Shape) != 2 || len(l.a.Shape) != 2 || len(l.b.Shape) != 2:
		m.bad("module %q: shapes %v, A %v, B %v, want matrices", module, w.tensor.Shape, l.a.Shape, l.b.Shape)
	case !w.tensor.DType.Float():
		m.bad("module %q: the base is %s, want a floating type", module, w.tensor.DType)
	case m.config.isWhole(module):
		m.bad("module %q is changed and replaced", module)
	}
	if len(m.wrong) > before {
		return
	}
	if r := m.config.rank(module); float64(l.a.Shape[0]) != r || float64(l.b.Shape[1]) != r {
		m.bad("module %q: A %v and B %v, want rank %v", module, l.a.Shape, l.b.Shape, r)
		return
	}
	if l.a.Shape[1] != w.tensor.Shape[1] || l.b.Shape[0] != w.tensor.Shape[0] {
		m.bad("module %q: B·A of %v and %v does not fit the base's %v", module, l.b.Shape, l.a.Shape, w.tensor.Shape)
		return
	}
	l.rank, l.in, l.scale = l.a.Shape[0], l.a.Shape[1], m.config.scale(module)
	l.prepare()
	m.out[module+".weight"] = located{tensor: w.tensor, file: w.file, low: l}
}

// complete looks for targets without a change: an adapter that lost a tensor would otherwise be served in part.
func (m *merging) complete() {
	for _, t := range m.config.targets {
		if !slices.ContainsFunc(sortedKeys(m.pairs), func(module string) bool { return hasSuffixPart(module, t) }) {
			m.bad("target_modules: no module %q is changed", t)
			continue
		}
		if m.config.narrowed {
			continue
		}
		for _, name := range m.base.names {
			module, ok := strings.CutSuffix(name, ".weight")
			if !ok || !hasSuffixPart(module, t) || m.pairs[module] != nil || len(m.base.tensors[name].tensor.Shape) != 2 {
				continue
			}
			m.bad("module %q of target %q has no lora_A and lora_B", module, t)
		}
	}
}

const (
	causalSuffix     = "ForCausalLM"
	classifierSuffix = "ForSequenceClassification"
)

// configuration returns the merged model's config.json: for a classifier over a language model that of the
// classifier, with as many labels as the score head has rows, and the base's own otherwise.
func (m *merging) configuration() ([]byte, error) {
	if m.config.Task != taskClassifier {
		return m.base.Config, nil
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(m.base.Config, &raw); err != nil {
		return nil, fmt.Errorf("base %s: %s: %w", m.base.Dir, configFile, err)
	}
	var arch []string
	if err := json.Unmarshal(raw["architectures"], &arch); err != nil || len(arch) != 1 {
		return nil, fmt.Errorf("base %s: %s: architectures %.80s, want one", m.base.Dir, configFile, raw["architectures"])
	}
	name, ok := strings.CutSuffix(arch[0], causalSuffix)
	if !ok {
		return m.base.Config, nil
	}
	head, ok := m.out["score.weight"]
	if !ok || len(head.tensor.Shape) != 2 {
		return nil, fmt.Errorf("no matrix score.weight, and the base %s is a language model", m.base.Dir)
	}
	set, err := m.classifier(name+classifierSuffix, head.tensor.Shape[0], raw["pad_token_id"])
	if err != nil {
		return nil, err
	}
	for k, v := range set {
		data, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		raw[k] = data
	}
	out, err := json.MarshalIndent(raw, "", "  ") // keys in the order of the alphabet
	return append(out, '\n'), err
}

// maxLabels bounds the labels that are listed by name in a configuration.
const maxLabels = 1 << 10

// classifier returns the fields in which a classifier's config.json differs from a language model's.
func (m *merging) classifier(arch string, labels int, pad json.RawMessage) (map[string]any, error) {
	if labels < 1 || labels > maxLabels {
		return nil, fmt.Errorf("score.weight has %d rows, want 1 to %d", labels, maxLabels)
	}
	names, ids := map[string]string{}, map[string]int{}
	for i := range labels {
		label := fmt.Sprintf("LABEL_%d", i)
		names[fmt.Sprint(i)], ids[label] = label, i
	}
	set := map[string]any{"architectures": []string{arch}, "num_labels": labels, "id2label": names, "label2id": ids}
	if pad == nil || string(pad) == "null" {
		id, err := m.base.padToken()
		if err != nil {
			return nil, fmt.Errorf("base %s: %w", m.base.Dir, err)
		}
		if id >= 0 { // transformers needs one for batches of several sequences
			set["pad_token_id"] = id
		}
	}
	return set, nil
}

// padToken returns the id of the token that tokenizer_config.json names for padding, -1 when there is none.
func (c *Checkpoint) padToken() (int, error) {
	var config struct {
		Pad json.RawMessage `json:"pad_token"`
	}
	var tokenizer struct {
		Added []struct {
			ID      int    `json:"id"`
			Content string `json:"content"`
		} `json:"added_tokens"`
	}
	if c.Tokenizer == nil || c.TokenizerConfig == nil {
		return -1, nil
	}
	if err := json.Unmarshal(c.TokenizerConfig, &config); err != nil {
		return -1, fmt.Errorf("%s: %w", tokenizerConfigFile, err)
	}
	if !isSet(config.Pad) {
		return -1, nil
	}
	var pad string
	var object struct {
		Content string `json:"content"`
	}
	if json.Unmarshal(config.Pad, &pad) != nil && json.Unmarshal(config.Pad, &object) == nil {
		pad = object.Content
	}
	if err := json.Unmarshal(c.Tokenizer, &tokenizer); err != nil {
		return -1, fmt.Errorf("%s: %w", tokenizerFile, err)
	}
	for _, t := range tokenizer.Added {
		if t.Content == pad {
			return t.ID, nil
		}
	}
	return -1, fmt.Errorf("%s: pad_token %q is not among the added_tokens of %s", tokenizerConfigFile, pad, tokenizerFile)
}
