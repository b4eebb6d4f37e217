package embedded

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/warmserve/warmserve/loader"
)

// Prefix in front of a name makes a reference to a checkpoint of the model; alone it means all members.
const Prefix = "embedded:"

// The names of the checkpoints: the base, and a number behind memberPrefix.
const (
	Base         = "base"
	memberPrefix = "member-"
)

// cardFile is the model's card.
const cardFile = "README.md"

// ErrUnknown is returned for a name that is no checkpoint of the model.
var ErrUnknown = errors.New("no such embedded checkpoint")

//go:embed model
var files embed.FS

// Model is a packed model. What it decompressed once it keeps, so that members share their base: it is meant to
// live as long as a deployment is loaded. It is safe for concurrent use.
type Model struct {
	packed fs.FS

	mu   sync.Mutex
	kept map[string][]byte // by name without .zst
}

// New returns the model of the program.
func New() *Model {
	sub, err := fs.Sub(files, "model")
	if err != nil {
		panic("embedded: " + err.Error()) // the name is a constant
	}
	return newModel(sub)
}

func newModel(packed fs.FS) *Model { return &Model{packed: packed, kept: map[string][]byte{}} }

// Members returns the members' names, in order.
func (m *Model) Members() ([]string, error) {
	entries, err := fs.ReadDir(m.packed, ".")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries { // sorted by name; there are fewer than ten
		if e.IsDir() && strings.HasPrefix(e.Name(), memberPrefix) {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

// Checkpoint opens the base or a member by its name.
func (m *Model) Checkpoint(name string) (*loader.Checkpoint, error) {
	members, err := m.Members()
	if err != nil {
		return nil, err
	}
	if known := append([]string{Base}, members...); !slices.Contains(known, name) {
		return nil, fmt.Errorf("%s%s: %w, want one of %s", Prefix, name, ErrUnknown, strings.Join(known, ", "))
	}
	return loader.OpenFS(m, name, Prefix+name)
}

// OpenReference opens what a reference names: a checkpoint of the model behind Prefix, or else a directory.
func (m *Model) OpenReference(ref string) (*loader.Checkpoint, error) {
	if name, ok := strings.CutPrefix(ref, Prefix); ok {
		return m.Checkpoint(name)
	}
	return loader.Open(ref)
}

// Card returns the model's card, in Markdown.
func (m *Model) Card() (string, error) {
	b, err := m.ReadFile(cardFile)
	return string(b), err
}

// compressed is what the names of compressed files end with.
const compressed = ".zst"

// ReadFile implements [fs.ReadFileFS]. The bytes are shared: the caller must not change them.
func (m *Model) ReadFile(name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b, ok := m.kept[name]; ok {
		return b, nil
	}
	packed, err := fs.ReadFile(m.packed, name+compressed)
	if errors.Is(err, fs.ErrNotExist) {
		return fs.ReadFile(m.packed, name)
	}
	if err != nil {
		return nil, err
	}
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	b, err := d.DecodeAll(packed, nil)
	if err != nil {
		return nil, &fs.PathError{Op: "decompress", Path: name, Err: err}
	}
	m.kept[name] = b
	return b, nil
}

// Open implements [fs.FS]: it opens the folder of a checkpoint, or one of its files, decompressed. A folder lists its
// files under the names that they have when packed.
func (m *Model) Open(name string) (fs.File, error) {
	f, err := m.packed.Open(name)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	f, err = m.packed.Open(name + compressed)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b, err := m.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return &file{Reader: bytes.NewReader(b), info: sized{FileInfo: info, name: path.Base(name), size: int64(len(b))}}, nil
}

// file is a decompressed file.
type file struct {
	*bytes.Reader
	info fs.FileInfo
}

func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *file) Close() error               { return nil }

// sized is a compressed file's information with the name and size of what is in it.
type sized struct {
	fs.FileInfo
	name string
	size int64
}

func (s sized) Name() string { return s.name }
func (s sized) Size() int64  { return s.size }

// ErrExists is returned by Extract for a directory that is not empty.
var ErrExists = errors.New("directory exists and is not empty")

// Extract writes the model's card, base and members to a directory as ordinary checkpoints: the base as a causal
// language model, members as adapters of PEFT over ../base or, when merged, as reward models of their own.
func (m *Model) Extract(dir string, merged bool) error {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("%s: %w", dir, ErrExists)
	}
	return fs.WalkDir(m.packed, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if merged && strings.HasPrefix(name, memberPrefix) {
			if err := m.merge(name, filepath.Join(dir, name)); err != nil {
				return err
			}
			return fs.SkipDir
		}
		target := filepath.Join(dir, filepath.FromSlash(strings.TrimSuffix(name, compressed)))
		if e.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		b, err := m.ReadFile(strings.TrimSuffix(name, compressed))
		if err != nil {
			return err
		}
		return os.WriteFile(target, b, 0o644)
	})
}

// merge writes one member as a checkpoint of its own.
func (m *Model) merge(name, dir string) error {
	c, err := m.Checkpoint(name)
	if err != nil {
		return err
	}
	defer c.Close()
	return loader.Save(dir, contents(c))
}

// contents is a checkpoint as it is written again.
func contents(c *loader.Checkpoint) loader.Contents {
	return loader.Contents{Config: c.Config, Tokenizer: c.Tokenizer, TokenizerConfig: c.TokenizerConfig,
		SpecialTokensMap: c.SpecialTokensMap, ChatTemplate: c.ChatTemplate, Source: c}
}
