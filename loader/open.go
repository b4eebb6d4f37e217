package loader

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// The files of a checkpoint directory.
const (
	configFile          = "config.json"
	weightsFile         = "model.safetensors"
	indexFile           = "model.safetensors.index.json"
	tokenizerFile       = "tokenizer.json"
	tokenizerConfigFile = "tokenizer_config.json"
	specialTokensFile   = "special_tokens_map.json"
	templateFile        = "chat_template.jinja"
	averageFile         = "warm_average.json"
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
	// ErrNoWeights is returned for a directory without safetensors weights.
	ErrNoWeights = errors.New("no model.safetensors and no model.safetensors.index.json")
	// ErrPickle is returned for a directory whose weights exist only as pickles.
	ErrPickle = errors.New("weights exist only as pickles, which are refused because reading one runs the code in it; " +
		"convert them where they are trusted: AutoModelForSequenceClassification.from_pretrained(dir).save_pretrained(out, safe_serialization=True)")
	// ErrAdapter is returned for a directory with an adapter (adapter_config.json) that cannot be opened as the
	// checkpoint it makes of its base.
	ErrAdapter = errors.New("adapter")
	// ErrIndex is returned when an index does not describe its shards.
	ErrIndex = errors.New("index and shards disagree")
	// ErrJSON is returned when a file is not the JSON that it should be.
	ErrJSON = errors.New("not a JSON object")
	// ErrTemplate is returned when tokenizer_config.json has a chat_template of unknown form.
	ErrTemplate = errors.New("chat_template")
)

// Open reads the small files of a checkpoint directory, maps its weights and checks that all is consistent. The tensors
// themselves are not read. Files that are not named in the package comment are ignored.
//
// A directory with a LoRA adapter of PEFT instead of weights opens as the merged checkpoint. The base of the
// adapter is the first that exists of: the directory or link "base" inside of the adapter's directory, and what
// base_model_name_or_path says, read as an absolute path or relative to the adapter's directory or, as PEFT reads
// it, to the working directory.
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
	if err := c.checkWeights(); err != nil {
		return err
	}
	if exists(s, adapterConfigFile) && !hasAdapterWeights(s) {
		c.note("%s without an adapter's weights is left alone: the weights are whole", adapterConfigFile)
	}
	if c.AverageRecord, err = readObject(s, averageFile, maxSmallFile); err != nil {
		return err
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
			c.note("%s alone is not read: write %s beside it with AutoTokenizer.from_pretrained(dir).save_pretrained(dir)", name, tokenizerFile)
			break
		}
	}
	return nil
}

// slowTokenizers are the files of tokenizers that transformers converts when it opens them.
var slowTokenizers = []string{"tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "vocab.json", "vocab.txt", "tekken.json"}

// pickleFiles are the weights that are refused, by the names that trainers give them.
var pickleFiles = []string{"pytorch_model.bin", "pytorch_model.bin.index.json", "model.bin", "model.pt", "pytorch_model.pt", "consolidated.00.pth"}

// errNoWeightsHere says that a directory holds an adapter and no weights of its own.
var errNoWeightsHere = errors.New("an adapter without weights")

func (c *Checkpoint) openWeights(s store) error {
	f, err := s.tensors(weightsFile)
	if err == nil {
		c.add(f)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	index, indexErr := readSmall(s, indexFile, maxIndex)
	if indexErr != nil {
		return indexErr
	}
	switch {
	case err == nil && index != nil:
		return c.compareIndex(s, index)
	case err == nil:
		return nil
	case index != nil:
		return c.openShards(s, index)
	}
	switch {
	case slices.ContainsFunc(pickleFiles, func(name string) bool { return exists(s, name) }):
		return ErrPickle
	case exists(s, adapterConfigFile):
		return errNoWeightsHere
	}
	return ErrNoWeights
}

// compareIndex looks at an index beside model.safetensors. As in transformers the whole file counts, and the index is a
// leftover; but where it tells of other weights nobody knows which were meant.
func (c *Checkpoint) compareIndex(s store, raw []byte) error {
	weightMap, err := decodeIndex(raw)
	if err != nil {
		return err
	}
	const remedy = "remove the set that is not meant"
	listed := sortedKeys(weightMap)
	for _, name := range listed {
		if shard := weightMap[name]; shard != weightsFile && exists(s, shard) {
			return fmt.Errorf("%w: two sets of weights, %s and those of %s (%s …): %s", ErrIndex, weightsFile, indexFile, shard, remedy)
		}
	}
	if !slices.Equal(listed, slices.Sorted(slices.Values(c.names))) {
		return fmt.Errorf("%w: %s lists %d tensors, %s beside it has %d, by other names: %s", ErrIndex, indexFile, len(listed), weightsFile, len(c.names), remedy)
	}
	c.note("%s is left alone: %s holds all that it lists", indexFile, weightsFile)
	return nil
}

// openShards maps every shard that the index names and compares both, reporting every disagreement.
func (c *Checkpoint) openShards(s store, raw []byte) error {
	weightMap, err := decodeIndex(raw)
	if err != nil {
		return err
	}
	byShard := map[string][]string{}
	for name, shard := range weightMap {
		byShard[shard] = append(byShard[shard], name)
	}
	var wrong []string
	holder := map[string]string{}
	for _, shard := range sortedKeys(byShard) {
		f, err := s.tensors(shard)
		if errors.Is(err, fs.ErrNotExist) {
			wrong = append(wrong, fmt.Sprintf("shard %s of %d tensors is missing, fetch it as well", shard, len(byShard[shard])))
			continue
		} else if err != nil {
			return err
		}
		c.files = append(c.files, f)
		for i := range f.Tensors {
			name := f.Tensors[i].Name
			switch other, twice := holder[name]; {
			case twice:
				wrong = append(wrong, fmt.Sprintf("tensor %q is in %s and in %s", name, other, shard))
			case weightMap[name] == "":
				wrong = append(wrong, fmt.Sprintf("tensor %q of %s is not in the index", name, shard))
			case weightMap[name] != shard:
				wrong = append(wrong, fmt.Sprintf("tensor %q is in %s, the index says %s", name, shard, weightMap[name]))
			}
			holder[name] = shard
		}
		slices.Sort(byShard[shard])
		for _, name := range byShard[shard] {
			if holder[name] == "" {
				wrong = append(wrong, fmt.Sprintf("tensor %q is not in %s", name, shard))
			}
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%w: %s", ErrIndex, strings.Join(wrong, "; "))
	}
	opened := c.files
	c.files = nil
	for _, f := range opened {
		c.add(f)
	}
	return nil
}

// decodeIndex returns tensor name → shard. It refuses a name that occurs twice, which a map would hide, and a
// shard that is not a plain file name, which could point out of the directory. total_size is not looked
// at: the files themselves say how large they are, and public indexes have it wrong.
func decodeIndex(raw []byte) (map[string]string, error) {
	var top struct {
		WeightMap json.RawMessage `json:"weight_map"`
	}
	if err := json.Unmarshal(raw, &top); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", indexFile, ErrJSON, err)
	}
	dec := json.NewDecoder(bytes.NewReader(top.WeightMap))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("%w: %s has no weight_map", ErrIndex, indexFile)
	}
	out := map[string]string{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("%s: %w: %w", indexFile, ErrJSON, err)
		}
		name := key.(string) // Unmarshal has checked the syntax: keys are strings.
		value, err := dec.Token()
		shard, ok := value.(string)
		switch {
		case err != nil || !ok:
			return nil, fmt.Errorf("%w: weight_map[%q] is not a file name", ErrIndex, name)
		case out[name] != "":
			return nil, fmt.Errorf("%w: weight_map has %q twice", ErrIndex, name)
		case shard != filepath.Base(shard) || strings.ContainsAny(shard, `/\`) || !strings.HasSuffix(shard, ".safetensors"):
			return nil, fmt.Errorf("%w: weight_map[%q] is %q, want a .safetensors file in the same directory", ErrIndex, name, shard)
		}
		out[name] = shard
	}
	return out, nil
}

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

// configTemplate returns the chat template of a tokenizer_config.json: a string, or a list of named ones of which
// "default" is taken. It is an error when none of several is the default, since any choice would be a guess.
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
		return "", fmt.Errorf("%s: %w is neither a string nor a list of {name, template}", tokenizerConfigFile, ErrTemplate)
	}
	var names []string
	for _, n := range named {
		if n.Name == nil || n.Template == nil {
			return "", fmt.Errorf("%s: %w: an entry has no name or no template", tokenizerConfigFile, ErrTemplate)
		}
		if *n.Name == "default" {
			return *n.Template, nil
		}
		names = append(names, *n.Name)
	}
	return "", fmt.Errorf("%s: %w has no default among %q", tokenizerConfigFile, ErrTemplate, names)
}
