package embedded

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
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

func TestPackingTheExtractedModelGivesTheSameBytes(t *testing.T) {
	dir, members := extracted(t)
	out := filepath.Join(t.TempDir(), "model")
	card, err := New().Card()
	require.NoError(t, err)
	require.NoError(t, Pack(out, filepath.Join(dir, Base), members, []byte(card)))
	want, got := map[string][]byte{}, map[string][]byte{}
	for files, fsys := range map[*map[string][]byte]fs.FS{&want: New().packed, &got: os.DirFS(out)} {
		require.NoError(t, fs.WalkDir(fsys, ".", func(name string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				(*files)[name], err = fs.ReadFile(fsys, name)
			}
			return err
		}))
	}
	assert.Equal(t, want, got)
	require.NoError(t, Pack(out, filepath.Join(dir, Base), members[:1], []byte(card)), "what is there is replaced")
	assert.NoDirExists(t, filepath.Join(out, "member-2"))
}

func TestPackRefusesWhatWouldChangeValues(t *testing.T) {
	dir, members := extracted(t)
	base := filepath.Join(dir, Base)
	c, err := loader.Open(base)
	require.NoError(t, err)
	defer c.Close()
	other := contents(c)
	other.Source = nudged{c}
	fine := filepath.Join(t.TempDir(), "fine")
	require.NoError(t, loader.Save(fine, other))
	out := filepath.Join(t.TempDir(), "model")
	assert.ErrorIs(t, Pack(out, fine, members, nil), ErrInexact, "the base is not bfloat16")
	coarse := filepath.Join(t.TempDir(), "coarse")
	other.DType, other.Source = "BF16", halved{c}
	require.NoError(t, loader.Save(coarse, other))
	err = Pack(out, coarse, members, nil)
	require.ErrorIs(t, err, ErrInexact, "the adapters belong to another base")
	assert.ErrorContains(t, err, "member-1")
	assert.NoDirExists(t, out, "nothing is written then")
	assert.Error(t, Pack(out, base, nil, nil))
	assert.Error(t, Pack(out, base, []string{t.TempDir()}, nil), "no adapter")
}

// nudged adds what bfloat16 cannot hold.
type nudged struct{ *loader.Checkpoint }

func (n nudged) ReadAt(dst []float32, name string, offset int) error {
	err := n.Checkpoint.ReadAt(dst, name, offset)
	for i := range dst {
		dst[i] *= 1 + 0x1p-20
	}
	return err
}

// halved is exact in bfloat16, and another model.
type halved struct{ *loader.Checkpoint }

func (h halved) ReadAt(dst []float32, name string, offset int) error {
	err := h.Checkpoint.ReadAt(dst, name, offset)
	for i := range dst {
		dst[i] /= 2
	}
	return err
}
