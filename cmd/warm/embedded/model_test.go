package embedded

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/loader/safetensors"
)

// maxSize bounds what the model adds to the program and to the repository.
const maxSize = 16 << 20

// extracted writes the model to a directory and returns it with the members' directories.
func extracted(t testing.TB) (dir string, members []string) {
	m := New()
	dir = filepath.Join(t.TempDir(), "demo")
	require.NoError(t, m.Extract(dir, false))
	names, err := m.Members()
	require.NoError(t, err)
	for _, n := range names {
		members = append(members, filepath.Join(dir, n))
	}
	return dir, members
}

func TestTheAverageOfTheExtractedMembersHasTheRecordedDigest(t *testing.T) {
	_, members := extracted(t)
	got, err := Digest(members)
	require.NoError(t, err)
	want, err := fs.ReadFile(New().packed, digestFile)
	require.NoError(t, err)
	assert.Equal(t, string(want), got+"\n")
}

func TestTheModelIsSmallEnoughToBePartOfTheProgram(t *testing.T) {
	total := int64(0)
	require.NoError(t, fs.WalkDir(New().packed, ".", func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	}))
	t.Logf("%d bytes", total)
	assert.Less(t, total, int64(maxSize))
}

func TestTheModelIsAFileSystem(t *testing.T) {
	m := New()
	for _, name := range []string{"base/model.safetensors", "base/config.json"} {
		opened, err := m.Open(name)
		require.NoError(t, err)
		info, err := opened.Stat()
		require.NoError(t, err)
		b, err := m.ReadFile(name)
		require.NoError(t, err)
		assert.Equal(t, filepath.Base(name), info.Name())
		assert.EqualValues(t, len(b), info.Size(), "the size is that of the decompressed file")
		require.NoError(t, opened.Close())
	}
	_, err := m.Open("base/none")
	assert.ErrorIs(t, err, fs.ErrNotExist)
	_, err = m.ReadFile("base/none")
	assert.ErrorIs(t, err, fs.ErrNotExist)
	broken := newModel(fstest.MapFS{"x.zst": {Data: []byte("no zstd")}})
	_, err = broken.Open("x")
	assert.ErrorContains(t, err, "decompress")
}

func TestReferencesNameEmbeddedCheckpointsAndDirectories(t *testing.T) {
	m := New()
	dir, members := extracted(t)
	for ref, same := range map[string]string{Prefix + Base: filepath.Join(dir, Base), Prefix + "member-1": members[0], members[0]: members[0]} {
		a, err := m.OpenReference(ref)
		require.NoError(t, err)
		b, err := loader.Open(same)
		require.NoError(t, err)
		assert.Equal(t, b.Hash(), a.Hash(), ref)
		assert.Equal(t, ref, a.Dir)
		require.NoError(t, errors.Join(a.Close(), b.Close()))
	}
	for _, ref := range []string{Prefix, Prefix + "member-0", Prefix + "../embedded/model/base", Prefix + "base/"} {
		_, err := m.OpenReference(ref)
		assert.ErrorIs(t, err, ErrUnknown, ref)
	}
}

// small writes a language model of one matrix, whose values bfloat16 holds, and two adapters over it.
func small(t testing.TB) (base string, adapters []string) {
	dir := t.TempDir()
	base = filepath.Join(dir, "lm")
	save(t, base, 1)
	for i := range 2 {
		adapter := filepath.Join(dir, fmt.Sprintf("adapter-%d", i))
		require.NoError(t, os.Mkdir(adapter, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(adapter, adapterConfig), []byte(`{"peft_type":"LORA","task_type":"SEQ_CLS",
			"base_model_name_or_path":"../lm","r":1,"lora_alpha":2,"target_modules":["q_proj"]}`), 0o644))
		var specs []safetensors.Spec
		for name, shape := range map[string][]int{"q_proj.lora_A.weight": {1, 4}, "q_proj.lora_B.weight": {4, 1}, "score.weight": {1, 4}} {
			specs = append(specs, safetensors.Spec{Name: "base_model.model." + name, DType: safetensors.F32, Shape: shape})
		}
		slices.SortFunc(specs, func(a, b safetensors.Spec) int { return strings.Compare(a.Name, b.Name) })
		fill := func(w io.Writer, _ safetensors.Spec) error {
			b := make([]byte, 16)
			safetensors.EncodeF32(b, []float32{0.1, -0.2, 0.3, float32(i)})
			_, err := w.Write(b)
			return err
		}
		require.NoError(t, safetensors.WriteFile(filepath.Join(adapter, adapterWeights), specs, nil, fill))
		adapters = append(adapters, adapter)
	}
	return base, adapters
}

// save writes the language model of small, its weights multiplied by scale.
func save(t testing.TB, dir string, scale float32) {
	require.NoError(t, loader.Save(dir, loader.Contents{Config: []byte(`{"architectures":["LlamaForCausalLM"]}`),
		Tokenizer: []byte(`{"added_tokens":[]}`), Source: matrix(scale), Replace: true}))
}

// matrix is a source of one matrix.
type matrix float32

func (matrix) Names() []string            { return []string{"q_proj.weight"} }
func (matrix) Shape(string) ([]int, bool) { return []int{4, 4}, true }
func (m matrix) ReadAt(dst []float32, _ string, offset int) error {
	for i := range dst {
		dst[i] = float32(m) * float32(offset+i-8)
	}
	return nil
}

// contentsOf returns the files below a directory by name.
func contentsOf(t testing.TB, dir string) map[string]string {
	out := map[string]string{}
	fsys := os.DirFS(dir)
	require.NoError(t, fs.WalkDir(fsys, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := fs.ReadFile(fsys, name)
		out[name] = string(b)
		return err
	}))
	return out
}

func TestPackingAnExtractedModelGivesTheSameBytes(t *testing.T) {
	base, adapters := small(t)
	out, again := filepath.Join(t.TempDir(), "model"), filepath.Join(t.TempDir(), "again")
	require.NoError(t, Pack(out, base, adapters, []byte("a card")))
	m := newModel(os.DirFS(out))
	card, err := m.Card()
	require.NoError(t, err)
	assert.Equal(t, "a card", card)

	dir := filepath.Join(t.TempDir(), "demo")
	require.NoError(t, m.Extract(dir, false))
	require.NoError(t, Pack(again, filepath.Join(dir, Base), []string{filepath.Join(dir, "member-1"), filepath.Join(dir, "member-2")}, []byte("a card")))
	assert.Equal(t, contentsOf(t, out), contentsOf(t, again))
	assert.ErrorIs(t, m.Extract(dir, false), ErrExists)

	whole := filepath.Join(t.TempDir(), "merged")
	require.NoError(t, m.Extract(whole, true))
	for i, adapter := range adapters {
		require.NoError(t, m.verify(fmt.Sprintf("member-%d", i+1), filepath.Join(whole, fmt.Sprintf("member-%d", i+1))))
		require.NoError(t, m.verify(fmt.Sprintf("member-%d", i+1), adapter))
	}

	require.NoError(t, Pack(out, base, adapters[:1], nil), "what is there is replaced")
	assert.NoDirExists(t, filepath.Join(out, "member-2"))
}

func TestPackRefusesWhatWouldChangeValues(t *testing.T) {
	base, adapters := small(t)
	out := filepath.Join(t.TempDir(), "model")
	fine := filepath.Join(t.TempDir(), "fine")
	save(t, fine, 1+0x1p-20)
	assert.ErrorIs(t, Pack(out, fine, adapters, nil), ErrInexact, "the base is not bfloat16")
	other := filepath.Join(t.TempDir(), "other")
	save(t, other, 2)
	err := Pack(out, other, adapters, nil)
	require.ErrorIs(t, err, ErrInexact, "the adapters belong to another base")
	assert.ErrorContains(t, err, "member-1")
	assert.NoDirExists(t, out, "nothing is written then")
	assert.Error(t, Pack(out, base, nil, nil))
	assert.Error(t, Pack(out, base, make([]string, 10), nil), "names have one digit")
	assert.Error(t, Pack(out, base, []string{t.TempDir()}, nil), "no adapter")
	left, err := os.ReadDir(filepath.Dir(out))
	require.NoError(t, err)
	assert.Empty(t, left, "nothing is left behind")
}
