package embedded

import (
	"bytes"
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/loader/safetensors"
	"github.com/warmserve/warmserve/trainer/data"
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

// Model is a packed model. What it decompressed once it keeps, so that members share their base: it
// is meant to live as long as a deployment is loaded. It is safe for concurrent use.
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

// Checkpoint opens the base or a member by its name; "" is the base.
func (m *Model) Checkpoint(name string) (*loader.Checkpoint, error) {
	name = cmp.Or(name, Base)
	members, err := m.Members()
	if err != nil {
		return nil, err
	}
	if known := append([]string{Base}, members...); !slices.Contains(known, name) {
		return nil, fmt.Errorf("%s%s: %w, want one of %s", Prefix, name, ErrUnknown,
			strings.Join(known, ", "))
	}
	return loader.OpenFS(m, name, Prefix+name)
}

// Card returns the model's card, in Markdown.
func (m *Model) Card() (string, error) {
	b, err := m.ReadFile(cardFile)
	return string(b), err
}

// compressed is what the names of compressed files end with.
const compressed = ".zst"

// The files of a member: its configuration, and its weights as steps from the base's. The rest is the base's.
const (
	configFile  = "config.json"
	stepsFile   = "steps.safetensors"
	weightsFile = "model.safetensors"
)

// step is the unit in which members are away from the base, and steps the type of their number in stepsFile.
const (
	step  = 0x1p-10
	steps = safetensors.DType("I8")
)

// shared are the files of the base that are the members' too.
var shared = []string{"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
	"chat_template.jinja"}

// ReadFile implements [fs.ReadFileFS]. The bytes are shared: the caller must not change them.
func (m *Model) ReadFile(name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.read(name)
}

// read is ReadFile with the lock held.
func (m *Model) read(name string) ([]byte, error) {
	if b, ok := m.kept[name]; ok {
		return b, nil
	}
	dir, file := path.Split(name)
	if strings.HasPrefix(dir, memberPrefix) && slices.Contains(shared, file) {
		return m.read(path.Join(Base, file))
	}
	unpack := m.unpack
	if strings.HasPrefix(dir, memberPrefix) && file == weightsFile {
		unpack = func(string) ([]byte, error) { return m.member(dir) }
	}
	b, err := unpack(name)
	if err == nil {
		m.kept[name] = b
	}
	return b, err
}

// unpack reads a file that is stored, compressed or not.
func (m *Model) unpack(name string) ([]byte, error) {
	stored, err := fs.ReadFile(m.packed, name+compressed)
	if errors.Is(err, fs.ErrNotExist) {
		return fs.ReadFile(m.packed, name)
	}
	if err != nil {
		return nil, err
	}
	plain, packed, err := data.Decompress(bytes.NewReader(stored))
	if err == nil && !packed {
		err = data.ErrDamaged
	}
	if err != nil {
		return nil, &fs.PathError{Op: "decompress", Path: name, Err: err}
	}
	defer plain.Close() // of bytes: nothing can be lost
	b, err := io.ReadAll(plain)
	if err != nil {
		return nil, &fs.PathError{Op: "decompress", Path: name, Err: err}
	}
	return b, nil
}

// member makes a member's weights, in float32, of the base's and of its steps.
func (m *Model) member(dir string) ([]byte, error) {
	b, err := m.read(path.Join(Base, weightsFile))
	if err != nil {
		return nil, err
	}
	base, err := safetensors.Parse(b)
	if err != nil {
		return nil, err
	}
	if b, err = m.unpack(path.Join(dir, stepsFile)); err != nil {
		return nil, err
	}
	away, err := safetensors.Parse(b)
	if err != nil {
		return nil, err
	}
	from := map[string]*safetensors.Tensor{}
	for i := range base.Tensors {
		from[base.Tensors[i].Name] = &base.Tensors[i]
	}
	at := map[string]*safetensors.Tensor{}
	var specs []safetensors.Spec
	for i := range away.Tensors {
		t := &away.Tensors[i]
		if t.DType == steps && (from[t.Name] == nil || from[t.Name].Elements() != t.Elements()) {
			return nil, fmt.Errorf("%s%s: %s is not the base's", dir, stepsFile, t.Name)
		}
		at[t.Name] = t
		specs = append(specs, safetensors.Spec{Name: t.Name, DType: safetensors.F32, Shape: t.Shape})
	}
	var out bytes.Buffer
	err = safetensors.Write(&out, specs, map[string]string{"format": "pt"},
		func(w io.Writer, s safetensors.Spec) error {
			t := at[s.Name]
			if t.DType != steps {
				_, err := w.Write(t.Data)
				return err
			}
			values := make([]float32, t.Elements())
			if err := from[s.Name].ReadAt(values, 0); err != nil {
				return err
			}
			for i, n := range t.Data {
				values[i] += step * float32(int8(n))
			}
			b := make([]byte, 4*len(values))
			safetensors.EncodeF32(b, values)
			_, err := w.Write(b)
			return err
		})
	return out.Bytes(), err
}

// Open implements [fs.FS]: it opens the folder of a checkpoint, or one of its files, as it is when
// unpacked. A folder lists its files under the names that they have when packed.
func (m *Model) Open(name string) (fs.File, error) {
	f, err := m.packed.Open(name)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	b, err := m.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return &file{Reader: bytes.NewReader(b), name: path.Base(name)}, nil
}

// file is an unpacked file, and what is known about it.
type file struct {
	*bytes.Reader
	name string
}

func (f *file) Stat() (fs.FileInfo, error) { return f, nil }
func (f *file) Close() error               { return nil }
func (f *file) Name() string               { return f.name }
func (f *file) Mode() fs.FileMode          { return 0o444 }
func (f *file) ModTime() time.Time         { return time.Time{} }
func (f *file) IsDir() bool                { return false }
func (f *file) Sys() any                   { return nil }

// ErrExists is returned by Extract for a directory that is not empty.
var ErrExists = errors.New("directory exists and is not empty")

// Extract writes the model's card, base and members to a directory as ordinary checkpoints: the
// base as a causal language model, members as reward models.
func (m *Model) Extract(dir string) error {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("%s: %w", dir, ErrExists)
	}
	names, err := m.Members()
	if err != nil {
		return err
	}
	for _, name := range append(names, Base) {
		if err := m.extract(name, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	card, err := m.ReadFile(cardFile)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, cardFile), card, 0o644)
}

// extract writes one checkpoint.
func (m *Model) extract(name, dir string) error {
	c, err := m.Checkpoint(name)
	if err != nil {
		return err
	}
	defer c.Close()
	o := c.Contents()
	if name == Base {
		o.DType = "BF16" // as it is stored: nothing is lost
	}
	return loader.Save(dir, o)
}
