package loader

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/loader/safetensors"
)

// indexSuffix makes the name of an index of that of the file whose shards it lists.
const indexSuffix = ".index.json"

// torchWeightsFile is what torch.save writes.
const torchWeightsFile = "pytorch_model.bin"

// weightFiles are the names of a directory's weights, which may be one file or shards with an
// index; the first that is there counts.
var weightFiles = []string{weightsFile, "pytorch_model.safetensors", torchWeightsFile}

// otherWeights are names of weights in other layouts, or in none that the name tells.
var otherWeights = []string{"model.bin", "model.pt", "pytorch_model.pt", "consolidated.00.pth"}

// valueHeads are the names of a score head beside a language model or an adapter, as LLaMA-Factory writes it.
var valueHeads = []string{"value_head.safetensors", "value_head.bin"}

// valueHeadPrefix is in front of the names of its tensors.
const valueHeadPrefix = "v_head."

// errNoWeightsHere says that a directory holds an adapter and no weights of its own.
var errNoWeightsHere = errors.New("an adapter without weights")

func (c *Checkpoint) openWeights(s store) error {
	for _, file := range weightFiles {
		f, err := s.tensors(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if f != nil && hasAdapterWeights(s) && isValueHead(f) {
			return errors.Join(f.Close(), errNoWeightsHere)
		}
		if f != nil {
			c.add(f)
		}
		index, err := readSmall(s, file+indexSuffix, maxIndex)
		switch {
		case err != nil:
			return err
		case f != nil && index != nil:
			return c.compareIndex(s, file, index)
		case f != nil:
			return nil
		case index != nil:
			return c.openShards(s, file+indexSuffix, index)
		}
	}
	for _, name := range otherWeights {
		if exists(s, name) {
			return fmt.Errorf("%s: %w", name, ErrWeightsName)
		}
	}
	if exists(s, adapterConfigFile) {
		return errNoWeightsHere
	}
	return ErrNoWeights
}

// isValueHead reports whether a file has a score head alone, as TRL and LLaMA-Factory's trainer
// write it beside an adapter.
func isValueHead(f *safetensors.File) bool {
	return len(f.Tensors) > 0 &&
		!slices.ContainsFunc(f.Tensors,
			func(t safetensors.Tensor) bool { return !strings.HasPrefix(t.Name, valueHeadPrefix) })
}

// valueHead opens the file of a score head beside other weights; nil when there is none.
func valueHead(s store) (*safetensors.File, string, error) {
	names := valueHeads
	if hasAdapterWeights(s) {
		names = append(slices.Clone(names), weightFiles...)
	}
	for _, name := range names {
		f, err := s.tensors(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, "", err
		case !isValueHead(f) && slices.Contains(weightFiles, name):
			return nil, "", f.Close() // the base, which lies beside its adapter
		case !isValueHead(f):
			return nil, "", errors.Join(fmt.Errorf("%s: want tensors %s… alone", name,
				valueHeadPrefix), f.Close())
		}
		return f, name, nil
	}
	return nil, "", nil
}

// openValueHead adds the score head beside the weights.
func (c *Checkpoint) openValueHead(s store) error {
	f, name, err := valueHead(s)
	if f == nil {
		return err
	}
	c.note("the score head is that of %s", name)
	return c.addHead(f, name)
}

// addHead adds a file of a score head, or closes it where the weights have its tensors, too.
func (c *Checkpoint) addHead(f *safetensors.File, name string) error {
	for i := range f.Tensors {
		if t := f.Tensors[i].Name; slices.Contains(c.names, t) {
			return errors.Join(fmt.Errorf("tensor %q is in %s and among the weights beside it", t,
				name), f.Close())
		}
	}
	c.add(f)
	return nil
}

// replaceValueHead puts the score head beside an adapter in the place of that of its base.
func (c *Checkpoint) replaceValueHead(s store) error {
	f, name, err := valueHead(s)
	if f == nil {
		return err
	}
	c.files = append(c.files, f)
	for _, have := range sortedKeys(c.tensors) {
		if strings.HasPrefix(have, valueHeadPrefix) {
			delete(c.tensors, have)
		}
	}
	for i := range f.Tensors {
		t := &f.Tensors[i]
		c.tensors[t.Name] = located{tensor: t, file: f}
	}
	c.note("the score head is that of %s beside the adapter", name)
	return nil
}

// hasWeights reports whether a directory with an adapter has a model's weights as well.
func hasWeights(s store) (bool, error) {
	for _, file := range weightFiles {
		if exists(s, file) {
			f, err := s.tensors(file)
			if err != nil {
				return false, err
			}
			return !isValueHead(f), f.Close()
		}
		if exists(s, file+indexSuffix) {
			return true, nil
		}
	}
	return false, nil
}

// compareIndex looks at an index beside a file with all weights. As in transformers the whole file
// counts, and the index is a leftover; but where it tells of other weights nobody knows which were
// meant.
func (c *Checkpoint) compareIndex(s store, file string, raw []byte) error {
	indexFile := file + indexSuffix
	weightMap, err := decodeIndex(indexFile, raw)
	if err != nil {
		return err
	}
	const remedy = "remove the set that is not meant"
	listed := sortedKeys(weightMap)
	for _, name := range listed {
		if shard := weightMap[name]; shard != file && exists(s, shard) {
			return fmt.Errorf("%w: two sets of weights, %s and those of %s (%s …): %s", ErrIndex,
				file, indexFile, shard, remedy)
		}
	}
	if !slices.Equal(listed, slices.Sorted(slices.Values(c.names))) {
		return fmt.Errorf("%w: %s lists %d tensors, %s beside it has %d, by other names: %s",
			ErrIndex, indexFile, len(listed), file, len(c.names), remedy)
	}
	c.note("%s is left alone: %s holds all that it lists", indexFile, file)
	return nil
}

// openShards maps every shard that the index names and compares both, reporting every disagreement.
func (c *Checkpoint) openShards(s store, indexFile string, raw []byte) error {
	weightMap, err := decodeIndex(indexFile, raw)
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
			wrong = append(wrong, fmt.Sprintf("shard %s of %d tensors is missing, fetch it as well",
				shard, len(byShard[shard])))
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
				wrong = append(wrong, fmt.Sprintf("tensor %q is in %s, the index says %s", name,
					shard, weightMap[name]))
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

// decodeIndex returns tensor name → shard. It refuses a name that occurs twice, which a map would
// hide, and a shard that is not a plain file name, which could point out of the directory, or of
// another format than the index. total_size is not looked at: the files themselves say how large
// they are, and public indexes have it wrong.
func decodeIndex(indexFile string, raw []byte) (map[string]string, error) {
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
	out, format := map[string]string{}, path.Ext(strings.TrimSuffix(indexFile, indexSuffix))
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
		case shard != filepath.Base(shard) || strings.ContainsAny(shard, `/\`) || path.Ext(shard) != format:
			return nil, fmt.Errorf("%w: weight_map[%q] is %q, want a %s file in the same directory",
				ErrIndex, name, shard, format)
		}
		out[name] = shard
	}
	return out, nil
}
