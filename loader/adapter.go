package loader

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/loader/jsonerr"
)

// The files of an adapter's directory.
const (
	adapterConfigFile  = "adapter_config.json"
	adapterWeightsFile = "adapter_model.safetensors"
	adapterTorchFile   = "adapter_model.bin"
	baseDir            = "base" // the base itself or a link to it
)

// What PEFT adds to the names of the base's tensors and modules.
const (
	adapterPrefix = "base_model.model."
	savedPart     = "modules_to_save" // written by old versions
	lowASuffix    = ".lora_A.weight"
	lowBSuffix    = ".lora_B.weight"
	lowInfix      = ".lora_"
)

// hasAdapterWeights reports whether a directory holds an adapter's tensors.
func hasAdapterWeights(s store) bool {
	return exists(s, adapterWeightsFile) || exists(s, adapterTorchFile)
}

// overOwnWeights reports whether a directory's weights are the base of the adapter beside them,
// which only the adapter itself can say: where its base is another, the weights may as well be the
// merged model.
func overOwnWeights(s store) (bool, error) {
	if !exists(s, adapterConfigFile) || !hasAdapterWeights(s) {
		return false, nil
	}
	if own, err := hasWeights(s); err != nil || !own {
		return false, err
	}
	raw, err := readObject(s, adapterConfigFile, maxSmallFile)
	if err != nil {
		return false, err
	}
	var config struct {
		Base string `json:"base_model_name_or_path"`
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		return false, fmt.Errorf("%s: %w", adapterConfigFile, jsonerr.WrongType(err))
	}
	for _, b := range s.bases(config.Base) {
		if b.check() == nil && b.same(s) {
			return true, nil
		}
	}
	return false, fmt.Errorf("weights and an adapter of %q are in one directory: move the adapter's files to another one if the weights are "+
		"its base or the merged model, or the weights if the adapter is meant; base_model_name_or_path \".\" says that it changes these weights", config.Base)
}

// openAdapter makes the checkpoint of an adapter and its base. What lies beside the adapter counts
// before what lies beside the base, since that is what the adapter was trained with.
func (c *Checkpoint) openAdapter(s store) error {
	own := Checkpoint{}
	if err := own.openText(s); err != nil {
		return err
	}
	base, err := c.readAdapter(s, &own)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAdapter, err)
	}
	c.AverageRecord = nil
	c.Notes = append(slices.Clone(base.Notes), c.Notes...)
	c.noteText(&own, base)
	return nil
}

// takeText takes the text files of an adapter's directory before those of its base. A tokenizer
// brings its configuration and its template with it, or none, as transformers reads them.
func (c *Checkpoint) takeText(own, base *Checkpoint) {
	if own.Tokenizer != nil {
		c.Tokenizer, c.TokenizerConfig, c.SpecialTokensMap, c.ChatTemplate = own.Tokenizer, own.TokenizerConfig, own.SpecialTokensMap, own.ChatTemplate
		return
	}
	c.Tokenizer, c.TokenizerConfig, c.SpecialTokensMap, c.ChatTemplate = base.Tokenizer, base.TokenizerConfig, base.SpecialTokensMap, base.ChatTemplate
	c.OtherTokenizer = base.OtherTokenizer
	if own.TokenizerConfig != nil {
		c.TokenizerConfig = own.TokenizerConfig
	}
	if own.SpecialTokensMap != nil {
		c.SpecialTokensMap = own.SpecialTokensMap
	}
	if own.ChatTemplate != "" {
		c.ChatTemplate = own.ChatTemplate
	}
}

// noteText says which of the two directories each text file is from.
func (c *Checkpoint) noteText(own, base *Checkpoint) {
	var adapter, under []string
	for _, f := range []struct {
		name      string
		own, base bool
	}{
		{tokenizerFile, own.Tokenizer != nil, base.Tokenizer != nil},
		{tokenizerConfigFile, own.TokenizerConfig != nil, base.TokenizerConfig != nil},
		{specialTokensFile, own.SpecialTokensMap != nil, base.SpecialTokensMap != nil},
		{"the chat template", own.ChatTemplate != "", base.ChatTemplate != ""},
	} {
		switch {
		case f.own:
			adapter = append(adapter, f.name)
		case f.base && own.Tokenizer == nil:
			under = append(under, f.name)
		}
	}
	for _, from := range []struct {
		where string
		what  []string
	}{{"beside the adapter", adapter}, {"beside its base", under}} {
		if len(from.what) > 0 {
			c.note("taken from %s: %s", from.where, strings.Join(from.what, ", "))
		}
	}
	if own.Tokenizer != nil && own.ChatTemplate == "" && base.ChatTemplate != "" {
		c.note("the base's chat template is not used: the tokenizer beside the adapter has none")
	}
}

// readAdapter makes c of the adapter and returns its base.
func (c *Checkpoint) readAdapter(s store, own *Checkpoint) (*Checkpoint, error) {
	raw, err := readObject(s, adapterConfigFile, maxSmallFile)
	if err != nil {
		return nil, err
	}
	config, err := parseAdapterConfig(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", adapterConfigFile, err)
	}
	low, err := s.tensors(adapterWeightsFile)
	if errors.Is(err, fs.ErrNotExist) {
		low, err = s.tensors(adapterTorchFile)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s is missing", adapterWeightsFile)
	case err != nil:
		return nil, err
	}
	c.files = append(c.files, low)
	base, err := openBase(s, config.Base)
	if base != nil {
		c.files = append(c.files, base.files...) // closed with this checkpoint
	}
	if err != nil {
		return nil, err
	}
	c.takeText(own, base)
	c.Base = base.Dir
	m := merging{config: config, base: base, file: low, out: c.tensors, pairs: map[string]*lowRank{},
		baseType: modelType(base.Config)}
	if err := m.run(); err != nil {
		return nil, err
	}
	if err := c.replaceValueHead(s); err != nil {
		return nil, err
	}
	c.names = sortedKeys(c.tensors)
	c.Config, err = m.configuration(c, own)
	c.Notes = append(c.Notes, m.notes...)
	return base, err
}

// openBase opens the model that an adapter changes.
func openBase(s store, named string) (*Checkpoint, error) {
	var tried []string
	for _, b := range s.bases(named) {
		if b.check() != nil {
			tried = append(tried, b.String())
			continue
		}
		return openBaseAt(s, b)
	}
	if b, err := s.find(named); err != nil {
		return nil, fmt.Errorf("base_model_name_or_path %q: no directory at %s, and elsewhere: %w",
			named, strings.Join(tried, ", nor at "), err)
	} else if b != nil {
		return openBaseAt(s, b)
	}
	return nil, fmt.Errorf("base_model_name_or_path %q: no directory at %s; put the base, or a link to it, at the first of them, or write its path into %s",
		named, strings.Join(tried, ", nor at "), adapterConfigFile)
}

// openBaseAt opens the base of the adapter in s.
func openBaseAt(s, b store) (*Checkpoint, error) {
	base := &Checkpoint{Dir: b.String(), tensors: map[string]located{}}
	err := base.openWhole(b)
	if errors.Is(err, errNoWeightsHere) || err == nil && !b.same(s) && exists(b, adapterConfigFile) &&
		hasAdapterWeights(b) {
		err = errors.New("is an adapter itself: merge it first, as warm average --out DIR ADAPTER does")
	}
	if err != nil {
		return base, fmt.Errorf("base %s: %w", b, err)
	}
	base.finish()
	return base, nil
}
