package embedded

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
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
	require.NoError(t, m.Extract(dir))
	names, err := m.Members()
	require.NoError(t, err)
	for _, n := range names {
		members = append(members, filepath.Join(dir, n))
	}
	return dir, members
}

func TestTheAverageOfTheExtractedMembersHasTheRecordedDigest(t *testing.T) {
	_, members := extracted(t)
	var checkpoints []*loader.Checkpoint
	for _, dir := range members {
		c, err := loader.Open(dir)
		require.NoError(t, err)
		defer c.Close()
		checkpoints = append(checkpoints, c)
	}
	got, err := Digest(checkpoints)
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

func TestCheckpointsAreThoseThatAreExtracted(t *testing.T) {
	m := New()
	dir, members := extracted(t)
	for name, same := range map[string]string{"": filepath.Join(dir, Base), Base: filepath.Join(dir, Base), "member-1": members[0]} {
		a, err := m.Checkpoint(name)
		require.NoError(t, err)
		b, err := loader.Open(same)
		require.NoError(t, err)
		assert.Equal(t, b.Hash(), a.Hash(), name)
		assert.Equal(t, Prefix+cmp.Or(name, Base), a.Dir)
		require.NoError(t, errors.Join(a.Close(), b.Close()))
	}
	for _, name := range []string{"member-0", "../embedded/model/base", "base/"} {
		_, err := m.Checkpoint(name)
		assert.ErrorIs(t, err, ErrUnknown, name)
	}
}

// small writes a language model of one matrix, whose values bfloat16 holds, and two reward models fine-tuned from it.
func small(t testing.TB) (base string, members []string) {
	dir := t.TempDir()
	base = filepath.Join(dir, "lm")
	save(t, base, matrix{})
	for i := range 2 {
		member := filepath.Join(dir, fmt.Sprintf("member-%d", i+1))
		save(t, member, matrix{moved: 0.01 * float32(i+1), head: true})
		members = append(members, member)
	}
	return base, members
}

func save(t testing.TB, dir string, m matrix) {
	architecture := "LlamaForCausalLM"
	if m.head {
		architecture = "LlamaForSequenceClassification"
	}
	require.NoError(t, loader.Save(dir, loader.Contents{Config: []byte(`{"architectures":["` + architecture + `"]}`),
		Tokenizer: []byte(`{"added_tokens":[]}`), Source: m, Replace: true}))
}

// matrix is a source of one matrix and perhaps a score head.
type matrix struct {
	moved float32 // by how much the values in the second half are further from 0
	head  bool
}

func (m matrix) Names() []string {
	if m.head {
		return []string{"q_proj.weight", "score.weight"}
	}
	return []string{"q_proj.weight"}
}

func (m matrix) Shape(name string) ([]int, bool) {
	if name == "score.weight" {
		return []int{1, 4}, m.head
	}
	return []int{4, 4}, true
}

func (m matrix) ReadAt(dst []float32, name string, offset int) error {
	for i := range dst {
		dst[i] = float32(offset + i - 8)
		if name == "score.weight" {
			dst[i] += 1.0 / 3 // kept to the bit
		} else if dst[i] >= 0 {
			dst[i] += m.moved
		}
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
	base, members := small(t)
	out, again := filepath.Join(t.TempDir(), "model"), filepath.Join(t.TempDir(), "again")
	require.NoError(t, Pack(out, base, members, []byte("a card")))
	m := newModel(os.DirFS(out))
	card, err := m.Card()
	require.NoError(t, err)
	assert.Equal(t, "a card", card)

	dir := filepath.Join(t.TempDir(), "demo")
	require.NoError(t, m.Extract(dir))
	require.NoError(t, Pack(again, filepath.Join(dir, Base), []string{filepath.Join(dir, "member-1"), filepath.Join(dir, "member-2")}, []byte("a card")))
	assert.Equal(t, contentsOf(t, out), contentsOf(t, again))
	assert.ErrorIs(t, m.Extract(dir), ErrExists)

	for i, member := range members {
		name := fmt.Sprintf("member-%d", i+1)
		require.NoError(t, m.verify(name, filepath.Join(dir, name), 0), "what is extracted is what is served")
		require.NoError(t, m.verify(name, member, step/2))
		assert.ErrorIs(t, m.verify(name, member, step/100), ErrInexact, "members are rounded")
		got, err := m.Checkpoint(name)
		require.NoError(t, err)
		values, err := read(got, "q_proj.weight")
		require.NoError(t, err)
		assert.Equal(t, 3+step*float32(math.Round(0.01*float64(i+1)/step)), values[11])
		head, err := read(got, "score.weight")
		require.NoError(t, err)
		assert.Equal(t, []float32{-8 + 1.0/3, -7 + 1.0/3, -6 + 1.0/3, -5 + 1.0/3}, head)
		require.NoError(t, got.Close())
	}

	require.NoError(t, Pack(out, base, members[:1], nil), "what is there is replaced")
	assert.NoDirExists(t, filepath.Join(out, "member-2"))
}

func TestPackRefusesWhatItCannotHold(t *testing.T) {
	base, members := small(t)
	out := filepath.Join(t.TempDir(), "model")
	fine := filepath.Join(t.TempDir(), "fine")
	save(t, fine, matrix{moved: 0x1p-20})
	assert.ErrorIs(t, Pack(out, fine, members, nil), ErrInexact, "the base is not bfloat16")
	far := filepath.Join(t.TempDir(), "far")
	save(t, far, matrix{moved: 1, head: true})
	assert.ErrorContains(t, Pack(out, base, []string{far}, nil), "too far from the base's")
	assert.NoDirExists(t, out, "nothing is written then")
	assert.Error(t, Pack(out, base, nil, nil))
	assert.Error(t, Pack(out, base, make([]string, 10), nil), "names have one digit")
	assert.Error(t, Pack(out, base, []string{t.TempDir()}, nil), "no member")
	left, err := os.ReadDir(filepath.Dir(out))
	require.NoError(t, err)
	assert.Empty(t, left, "nothing is left behind")
}

func TestDamagedStepsAreRefused(t *testing.T) {
	base, members := small(t)
	out := filepath.Join(t.TempDir(), "model")
	require.NoError(t, Pack(out, base, members, nil))
	var other bytes.Buffer
	require.NoError(t, safetensors.Write(&other, []safetensors.Spec{{Name: "q_proj.weight", DType: steps, Shape: []int{3}}}, nil,
		func(w io.Writer, _ safetensors.Spec) error { _, err := w.Write([]byte{1, 2, 3}); return err }))
	require.NoError(t, writeCompressed(filepath.Join(out, "member-1", stepsFile), other.Bytes()))
	_, err := newModel(os.DirFS(out)).Checkpoint("member-1")
	assert.ErrorContains(t, err, "is not the base's")
}
