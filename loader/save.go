package loader

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/loader/disk"
	"github.com/warmserve/warmserve/loader/safetensors"
)

// DefaultShardBytes is the largest amount of tensor data in one file, unless one tensor alone is larger.
const DefaultShardBytes = 5_000_000_000

// Errors of Save.
var (
	// ErrExists is returned when the directory is not empty and Replace is not set.
	ErrExists = errors.New("directory exists and is not empty")
	// ErrNotCheckpoint is returned when Replace is set and the directory has no config.json, so that
	// replacing it would delete something else than a checkpoint.
	ErrNotCheckpoint = errors.New("directory to be replaced holds no checkpoint")
	// ErrContents is returned when the contents cannot make a checkpoint.
	ErrContents = errors.New("contents")
)

// Contents is what Save writes.
type Contents struct {
	Config           []byte // config.json; required. torch_dtype and dtype are set to the stored type, the rest stays as it is
	Tokenizer        []byte // tokenizer.json; nil for none
	TokenizerConfig  []byte // tokenizer_config.json; nil for none
	SpecialTokensMap []byte // special_tokens_map.json; nil for none

	// ChatTemplate is written to chat_template.jinja when TokenizerConfig does not say the same already.
	// Empty means that TokenizerConfig decides.
	ChatTemplate string

	// Source gives the tensors. Integer tensors of a [Checkpoint] are copied as they are.
	Source Source

	// DType is the stored type of floating tensors: "F32" (the default) or "BF16", rounded to nearest even.
	DType string

	// Extra are further files by name, such as a description of how the checkpoint was made.
	// Their names are plain file names, not those of the files above.
	Extra map[string][]byte

	// Replace allows a directory that holds a checkpoint already: the whole directory is replaced, with
	// whatever else lies in it. Whoever has the old one open keeps it.
	Replace bool

	// ShardBytes is the largest amount of tensor data in one file; 0 means [DefaultShardBytes].
	ShardBytes int64
}

// Contents is the checkpoint as it is written again; a change of it begins there.
func (c *Checkpoint) Contents() Contents {
	return Contents{Config: c.Config, Tokenizer: c.Tokenizer, TokenizerConfig: c.TokenizerConfig,
		SpecialTokensMap: c.SpecialTokensMap, ChatTemplate: c.ChatTemplate, Source: c}
}

// Save writes a checkpoint directory that [Open] and transformers read, piece by piece: one buffer
// is all the memory it needs. Equal contents give equal bytes.
//
// A weight that is NaN or infinite, or would be in bfloat16, is an error that names it
// ([ErrNotFinite]), and nothing is written.
//
// It is atomic: everything is written to a directory beside dir, synced, and renamed. Where the
// system cannot exchange two directories (anything but Linux, and some network file systems), replacing
// has one short moment in which dir does not exist.
func Save(dir string, c Contents) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("loader: save %s: %w", dir, err)
		}
	}()
	files, err := c.smallFiles()
	if err != nil {
		return err
	}
	shards, err := c.plan()
	if err != nil {
		return err
	}
	dir = filepath.Clean(dir)
	old, err := checkTarget(dir, c.Replace)
	if err != nil {
		return err
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(parent, "."+filepath.Base(dir)+".tmp-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp) // After an exchange this is the old checkpoint.
	if err := os.Chmod(temp, 0o755); err != nil {
		return err
	}
	if err := c.writeAll(temp, files, shards); err != nil {
		return err
	}
	if old {
		err = exchange(temp, dir)
	} else {
		err = os.Rename(temp, dir)
	}
	if err != nil {
		return err
	}
	return disk.SyncDir(parent)
}

// Saved reports whether dir holds what Save would write, as far as the files beside the weights
// and the names, types and shapes of the tensors say: where those files hold hashes of what the
// tensors were made of, that is all.
func (c *Contents) Saved(dir string) (bool, error) {
	files, err := c.smallFiles()
	if err != nil {
		return false, err
	}
	shards, err := c.plan()
	if err != nil {
		return false, err
	}
	for name, want := range files {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, want) {
			return false, nil
		}
	}
	for i, specs := range shards {
		if !holds(filepath.Join(dir, shardName(i, len(shards))), specs) {
			return false, nil
		}
	}
	return true, nil
}

// holds reports whether a file of weights is whole and has these tensors.
func holds(path string, specs []safetensors.Spec) bool {
	f, err := safetensors.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return slices.EqualFunc(f.Tensors, specs, func(t safetensors.Tensor, s safetensors.Spec) bool {
		return t.Name == s.Name && t.DType == s.DType && slices.Equal(t.Shape, s.Shape)
	})
}

// shardName is the name of the i-th of n files of weights.
func shardName(i, n int) string {
	if n == 1 {
		return weightsFile
	}
	return fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, n)
}

// checkTarget reports whether dir holds a checkpoint that is to be replaced.
func checkTarget(dir string, replace bool) (old bool, err error) {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case len(entries) == 0:
		return false, os.Remove(dir) // Not every system renames onto an empty directory.
	case !replace:
		return false, ErrExists
	case !exists(dirStore{path: dir}, configFile):
		return false, ErrNotCheckpoint
	}
	return true, nil
}

// smallFiles returns every file but the weights, by name.
func (c *Contents) smallFiles() (map[string][]byte, error) {
	storage := map[string]string{"": "float32", "F32": "float32", "BF16": "bfloat16"}[c.DType]
	if storage == "" {
		return nil, fmt.Errorf("%w: dtype %q, want F32 or BF16", ErrContents, c.DType)
	}
	// transformers 5 loads weights in the type that the configuration says, not in that of the file.
	quoted := json.RawMessage(`"` + storage + `"`)
	config, err := EditObject(c.Config, map[string]json.RawMessage{"torch_dtype": quoted, "dtype": quoted})
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrContents, configFile, err)
	}
	files := map[string][]byte{configFile: config}
	for name, b := range map[string][]byte{tokenizerFile: c.Tokenizer,
		tokenizerConfigFile: c.TokenizerConfig, specialTokensFile: c.SpecialTokensMap} {
		if b == nil {
			continue
		}
		if !isObject(b) {
			return nil, fmt.Errorf("%w: %s: %w", ErrContents, name, ErrJSON)
		}
		files[name] = b
	}
	if c.ChatTemplate != "" {
		if said, err := configTemplate(c.TokenizerConfig); err != nil || said != c.ChatTemplate {
			files[templateFile] = []byte(c.ChatTemplate)
		}
	}
	for name, b := range c.Extra {
		reserved := slices.Contains([]string{configFile, tokenizerFile, tokenizerConfigFile,
			specialTokensFile, templateFile, indexFile, adapterConfigFile}, name)
		if reserved || name != filepath.Base(name) || strings.ContainsAny(name, `/\`) ||
			strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".safetensors") {
			return nil, fmt.Errorf("%w: extra file %q has a reserved or no plain name", ErrContents, name)
		}
		files[name] = b
	}
	return files, nil
}

// rawSource is a source that has tensors which are not floating, and gives their bytes.
type rawSource interface {
	DType(name string) string
	Raw(name string) (data []byte, ok bool)
}

// plan spreads the tensors over shards, in the order of their names.
func (c *Contents) plan() ([][]safetensors.Spec, error) {
	if c.Source == nil || len(c.Source.Names()) == 0 {
		return nil, fmt.Errorf("%w: no tensors", ErrContents)
	}
	limit := cmp.Or(c.ShardBytes, DefaultShardBytes)
	if limit < 0 {
		return nil, fmt.Errorf("%w: shards of %d bytes", ErrContents, limit)
	}
	raw, _ := c.Source.(rawSource)
	shards := [][]safetensors.Spec{nil}
	inShard := int64(0)
	for _, name := range slices.Sorted(slices.Values(c.Source.Names())) {
		shape, ok := c.Source.Shape(name)
		if !ok {
			return nil, fmt.Errorf("%w: tensor %q has no shape", ErrContents, name)
		}
		s := safetensors.Spec{Name: name, DType: cmp.Or(safetensors.DType(c.DType), safetensors.F32), Shape: shape}
		if raw != nil {
			if d := safetensors.DType(raw.DType(name)); !d.Float() {
				s.DType = d
			}
		}
		n, err := s.Bytes()
		if err != nil {
			return nil, err
		}
		if last := len(shards) - 1; inShard > 0 && inShard+n > limit {
			shards, inShard = append(shards, []safetensors.Spec{s}), n
		} else {
			shards[last], inShard = append(shards[last], s), inShard+n
		}
	}
	return shards, nil
}

// writeAll writes every file into dir and makes them durable.
func (c *Contents) writeAll(dir string, files map[string][]byte, shards [][]safetensors.Spec) error {
	metadata := map[string]string{"format": "pt"} // transformers refuses files without it.
	index := struct {
		Metadata  map[string]int64  `json:"metadata"`
		WeightMap map[string]string `json:"weight_map"`
	}{map[string]int64{"total_size": 0}, map[string]string{}}
	for i, specs := range shards {
		name := shardName(i, len(shards))
		if err := safetensors.WriteFile(filepath.Join(dir, name), specs, metadata, c.filler()); err != nil {
			return err
		}
		for _, s := range specs {
			n, err := s.Bytes()
			if err != nil {
				return err
			}
			index.Metadata["total_size"] += n
			index.WeightMap[s.Name] = name
		}
	}
	if len(shards) > 1 {
		b, err := json.MarshalIndent(index, "", "  ")
		if err != nil {
			return err
		}
		if err := writeSynced(filepath.Join(dir, indexFile), append(b, '\n')); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := writeSynced(filepath.Join(dir, name), files[name]); err != nil {
			return err
		}
	}
	return disk.SyncDir(dir)
}

// filler streams tensors through one buffer.
func (c *Contents) filler() safetensors.Fill {
	values, bytes := make([]float32, block), make([]byte, 4*block)
	raw, _ := c.Source.(rawSource)
	releaser, _ := c.Source.(Releaser)
	return func(w io.Writer, s safetensors.Spec) error {
		if releaser != nil {
			defer releaser.Release(s.Name)
		}
		if !s.DType.Float() {
			data, ok := raw.Raw(s.Name)
			if !ok {
				return ErrNoTensor
			}
			return Guard(func() error {
				_, err := w.Write(data)
				return err
			})
		}
		total := Elements(c.Source, s.Name)
		for at := 0; at < total; at += block {
			n := min(block, total-at)
			if err := c.Source.ReadAt(values[:n], s.Name, at); err != nil {
				return err
			}
			if err := checkValues(at, values[:n], s.DType); err != nil {
				return err
			}
			out := bytes[:n*s.DType.Bits()/8]
			if s.DType == safetensors.BF16 {
				safetensors.EncodeBF16(out, values[:n])
			} else {
				safetensors.EncodeF32(out, values[:n])
			}
			if _, err := w.Write(out); err != nil {
				return err
			}
		}
		return nil
	}
}

// writeSynced writes one small file to disk. It needs no rename: the directory around it is renamed
// as a whole.
func writeSynced(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

// sortedKeys returns a map's keys, sorted.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// exchangeByRenames puts the directory fresh in the place of old, and old in the place of fresh.
func exchangeByRenames(fresh, old string) error {
	aside := fresh + ".old"
	if err := os.Rename(old, aside); err != nil {
		return err
	}
	if err := os.Rename(fresh, old); err != nil {
		return errors.Join(err, os.Rename(aside, old))
	}
	return os.Rename(aside, fresh)
}
