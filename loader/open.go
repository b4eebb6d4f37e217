package loader

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
)

// The files of a checkpoint directory.
const (
	configFile          = "config.json"
	weightsFile         = "model.safetensors"
	indexFile           = weightsFile + indexSuffix
	tokenizerFile       = "tokenizer.json"
	tokenizerConfigFile = "tokenizer_config.json"
	specialTokensFile   = "special_tokens_map.json"
	templateFile        = "chat_template.jinja"
	averageFile         = "warm_average.json"
	modulesFile         = "modules.json" // of sentence-transformers
	poolingFile         = "1_Pooling/config.json"
)

// Limits on the small files, in bytes. The largest tokenizer.json of a public model has about 35 MB.
const (
	maxSmallFile = 16 << 20
	maxTokenizer = 512 << 20
	maxIndex     = 128 << 20
)

// Errors about a directory as a whole.
var (
	// ErrNoConfig is returned for a directory without config.json.
	ErrNoConfig = errors.New("config.json is missing")
	// ErrNoWeights is returned for a directory without weights.
	ErrNoWeights = errors.New("no model.safetensors and no model.safetensors.index.json, nor pytorch_model.bin and its index")
	// ErrWeightsName is returned for a directory whose weights have a name that says nothing about
	// their layout.
	ErrWeightsName = errors.New("weights have a name that is not read; where it is the state_dict of the model of config.json, name it pytorch_model.bin")
	// ErrAdapter is returned for a directory with an adapter (adapter_config.json) that cannot be
	// opened as the checkpoint it makes of its base.
	ErrAdapter = errors.New("adapter")
	// ErrIndex is returned when an index does not describe its shards.
	ErrIndex = errors.New("index and shards disagree")
	// ErrJSON is returned when a file is not the JSON that it should be.
	ErrJSON = errors.New("not a JSON object")
	// ErrTemplate is returned when tokenizer_config.json has a chat_template of unknown form.
	ErrTemplate = errors.New("chat_template")
)

// Open reads the small files of a checkpoint directory, maps its weights and checks that all is
// consistent. The tensors themselves are not read. Files that are not named in the package comment
// are ignored.
//
// A directory with a LoRA adapter of PEFT instead of weights opens as the merged checkpoint. The
// base of the adapter is the first that exists of: the directory or link "base" inside of the
// adapter's directory, and what base_model_name_or_path says, read as an absolute path or relative
// to the adapter's directory or, as PEFT reads it, to the working directory.
func Open(dir string) (*Checkpoint, error) { return openStore(dirStore{path: dir}, dir) }

// Finder brings what an adapter names as its base where no directory does, such
// as a name on a hub, to this disk. It returns "" for what it does not know.
type Finder func(base string) (dir string, err error)

// OpenFinding is [Open] where a finder knows further bases.
func OpenFinding(dir string, find Finder) (*Checkpoint, error) {
	return openStore(dirStore{dir, find}, dir)
}

// OpenFS is [Open] for a directory of a file system, whose files are read into memory. An adapter's base lies
// in the same file system. It becomes the checkpoint's Dir under the name that is given.
func OpenFS(fsys fs.FS, dir, name string) (*Checkpoint, error) {
	return openStore(fsStore{fsys, dir}, name)
}

func openStore(s store, name string) (*Checkpoint, error) {
	c := &Checkpoint{Dir: name, tensors: map[string]located{}}
	if err := c.open(s); err != nil {
		_ = c.Close() // The error that counts is the one found first.
		return nil, fmt.Errorf("loader: %s: %w", name, err)
	}
	c.finish()
	return c, nil
}

func (c *Checkpoint) open(s store) error {
	if err := s.check(); err != nil {
		return err
	}
	if over, err := overOwnWeights(s); err != nil {
		return fmt.Errorf("%w: %w", ErrAdapter, err)
	} else if over {
		return c.openAdapter(s)
	}
	err := c.openWhole(s)
	if errors.Is(err, errNoWeightsHere) {
		return c.openAdapter(s)
	}
	return err
}

// openWhole opens a directory with weights of its own.
func (c *Checkpoint) openWhole(s store) error {
	// The weights are looked for first: their absence says best what is wrong with a directory.
	if err := c.openWeights(s); err != nil {
		return err
	}
	var err error
	if c.Config, err = readObject(s, configFile, maxSmallFile); err != nil {
		return err
	}
	if c.Config == nil {
		return ErrNoConfig
	}
	if err := c.unwrap(); err != nil {
		return err
	}
	if err := c.openHeadParts(s); err != nil {
		return err
	}
	if err := c.openValueHead(s); err != nil {
		return err
	}
	if err := c.checkWeights(); err != nil {
		return err
	}
	if exists(s, adapterConfigFile) && !hasAdapterWeights(s) {
		c.note("%s without an adapter's weights is left alone: the weights are whole", adapterConfigFile)
	}
	if c.AverageRecord, err = readObject(s, averageFile, maxSmallFile); err != nil {
		return err
	}
	if exists(s, modulesFile) {
		if c.SentencePooling, err = readObject(s, poolingFile, maxSmallFile); err != nil {
			return err
		}
	}
	return c.openText(s)
}

// openText reads what makes tokens of text.
func (c *Checkpoint) openText(s store) (err error) {
	if c.Tokenizer, err = readObject(s, tokenizerFile, maxTokenizer); err != nil {
		return err
	}
	if c.TokenizerConfig, err = readObject(s, tokenizerConfigFile, maxSmallFile); err != nil {
		return err
	}
	if c.SpecialTokensMap, err = readObject(s, specialTokensFile, maxSmallFile); err != nil {
		return err
	}
	if c.ChatTemplate, err = readTemplate(s, c.TokenizerConfig); err != nil || c.Tokenizer != nil {
		return err
	}
	for _, name := range slowTokenizers {
		if exists(s, name) {
			how := "AutoTokenizer.from_pretrained(dir).save_pretrained(dir)"
			if hasOwnCode(c.TokenizerConfig) {
				how = "AutoTokenizer.from_pretrained(dir, trust_remote_code=True).save_pretrained(dir), which runs the Python code beside it"
			}
			c.OtherTokenizer = fmt.Sprintf("%s alone is not read: write %s beside it with %s", name,
				tokenizerFile, how)
			c.note("%s", c.OtherTokenizer)
			break
		}
	}
	return nil
}

// hasOwnCode says whether a tokenizer's class is code in the checkpoint, as InternLM2's is.
func hasOwnCode(tokenizerConfig []byte) bool {
	var top struct {
		AutoMap map[string]json.RawMessage `json:"auto_map"`
	}
	return json.Unmarshal(tokenizerConfig, &top) == nil && top.AutoMap["AutoTokenizer"] != nil
}

// slowTokenizers are the files of tokenizers that transformers converts when it opens them.
var slowTokenizers = []string{"tokenizer.model", "spiece.model", "sentencepiece.bpe.model",
	"vocab.json", "vocab.txt", "tekken.json"}

func isObject(b []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("{")) && json.Valid(b)
}

// readTemplate finds the chat template.
func readTemplate(s store, tokenizerConfig []byte) (string, error) {
	b, err := readSmall(s, templateFile, maxSmallFile)
	if err != nil {
		return "", err
	}
	if b != nil {
		return string(b), nil
	}
	return configTemplate(tokenizerConfig)
}

// configTemplate returns the chat template of a tokenizer_config.json: a string, or a list of named
// ones of which "default" is taken. It is an error when none of several is the default, since any
// choice would be a guess.
func configTemplate(tokenizerConfig []byte) (string, error) {
	if tokenizerConfig == nil {
		return "", nil
	}
	var top struct {
		ChatTemplate json.RawMessage `json:"chat_template"`
	}
	if err := json.Unmarshal(tokenizerConfig, &top); err != nil {
		return "", fmt.Errorf("%s: %w: %w", tokenizerConfigFile, ErrJSON, err)
	}
	if top.ChatTemplate == nil || string(top.ChatTemplate) == "null" {
		return "", nil
	}
	var one string
	if json.Unmarshal(top.ChatTemplate, &one) == nil {
		return one, nil
	}
	var named []struct {
		Name     *string `json:"name"`
		Template *string `json:"template"`
	}
	if err := json.Unmarshal(top.ChatTemplate, &named); err != nil {
		return "", fmt.Errorf("%s: %w is neither a string nor a list of {name, template}",
			tokenizerConfigFile, ErrTemplate)
	}
	var names []string
	for _, n := range named {
		if n.Name == nil || n.Template == nil {
			return "", fmt.Errorf("%s: %w: an entry has no name or no template", tokenizerConfigFile,
				ErrTemplate)
		}
		if *n.Name == "default" {
			return *n.Template, nil
		}
		names = append(names, *n.Name)
	}
	return "", fmt.Errorf("%s: %w has no default among %q", tokenizerConfigFile, ErrTemplate, names)
}
