package loader

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader/safetensors"
)

// torchArchive is a file of torch.save with a program and storages by key.
func torchArchive(t testing.TB, program string, storages [][]byte) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	put := func(name string, data []byte) {
		f, err := w.CreateHeader(&zip.FileHeader{Name: "archive/" + name, Method: zip.Store})
		require.NoError(t, err)
		_, err = f.Write(data)
		require.NoError(t, err)
	}
	put("data.pkl", []byte(program))
	for i, data := range storages {
		put(fmt.Sprint("data/", i), data)
	}
	require.NoError(t, w.Close())
	return b.String()
}

// torchMatrices is writeMatrices for a file of torch.save.
func torchMatrices(t testing.TB, tensors []matrix) string {
	t.Helper()
	str := func(s string) string { return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s }
	num := func(n int) string { return "J" + string(binary.LittleEndian.AppendUint32(nil, uint32(n))) }
	var p strings.Builder
	var storages [][]byte
	p.WriteString("\x80\x02}(")
	for i, m := range tensors {
		n, sizes, strides := 1, "", ""
		for d := len(m.shape) - 1; d >= 0; d-- {
			sizes, strides = num(m.shape[d])+sizes, num(n)+strides
			n *= m.shape[d]
		}
		values := m.values
		if values == nil {
			values = numbers(m.name, n)
		}
		class, data := "FloatStorage", make([]byte, 4*n)
		if m.dtype == safetensors.BF16 {
			class, data = "BFloat16Storage", make([]byte, 2*n)
			safetensors.EncodeBF16(data, values)
		} else {
			safetensors.EncodeF32(data, values)
		}
		storages = append(storages, data)
		p.WriteString(str(m.name) + "ctorch._utils\n_rebuild_tensor_v2\n((" + str("storage") + "ctorch\n" + class + "\n" + str(fmt.Sprint(i)) + str("cpu") + num(n) + "tQ" +
			num(0) + "(" + sizes + "t(" + strides + "t\x89ccollections\nOrderedDict\n)RtR")
	}
	p.WriteString("u.")
	return torchArchive(t, p.String(), storages)
}

// torchWeights is tensors for a file of torch.save.
func torchWeights(t testing.TB, names ...string) string {
	var out []matrix
	for _, n := range names {
		out = append(out, matrix{name: n, shape: []int{1}, values: []float32{float32(len(n))}})
	}
	return torchMatrices(t, out)
}

// TestWeightsAreTheSameUnderEveryName opens the same tensors from each kind of file that directories have.
func TestWeightsAreTheSameUnderEveryName(t *testing.T) {
	const config = "config.json"
	index := func(a, b string) string { return `{"weight_map":{"v":"` + a + `","ww":"` + b + `"}}` }
	want, err := Open(write(t, map[string]string{config: "{}", weightsFile: tensors(t, "v", "ww")}))
	require.NoError(t, err)
	defer want.Close()
	for name, files := range map[string]map[string]string{
		"one file of torch":                        {"pytorch_model.bin": torchWeights(t, "v", "ww")},
		"shards of torch":                          {"pytorch_model.bin.index.json": index("a.bin", "b.bin"), "a.bin": torchWeights(t, "v"), "b.bin": torchWeights(t, "ww")},
		"a safetensors file of torch's name":       {"pytorch_model.safetensors": tensors(t, "v", "ww")},
		"shards of a safetensors file of the name": {"pytorch_model.safetensors.index.json": index("a.safetensors", "b.safetensors"), "a.safetensors": tensors(t, "v"), "b.safetensors": tensors(t, "ww")},
		"one file of another name in an index":     {"model.safetensors.index.json": index("weights.safetensors", "weights.safetensors"), "weights.safetensors": tensors(t, "v", "ww")},
		"a whole file of torch beside its index":   {"pytorch_model.bin": torchWeights(t, "v", "ww"), "pytorch_model.bin.index.json": index("a.bin", "b.bin")},
		"safetensors beside a file of torch":       {weightsFile: tensors(t, "v", "ww"), "pytorch_model.bin": torchWeights(t, "other")},
	} {
		t.Run(name, func(t *testing.T) {
			files[config] = "{}"
			dir := write(t, files)
			c, err := Open(dir)
			require.NoError(t, err)
			defer c.Close()
			assert.Equal(t, want.Names(), c.Names())
			assert.Equal(t, want.Hash(), c.Hash())
			assertSavesAs(t, want, c)
			inMemory, err := OpenFS(os.DirFS(dir), ".", dir)
			require.NoError(t, err)
			defer inMemory.Close()
			assert.Equal(t, want.Hash(), inMemory.Hash())
		})
	}
}

// TestTwoSetsOfWeightsAreNotChosenFrom: the whole file counts, as in transformers, where an index beside it tells of no
// others.
func TestTwoSetsOfWeightsAreNotChosenFrom(t *testing.T) {
	const whole, index = weightsFile, weightsFile + indexSuffix
	listing := func(shard string, names ...string) string {
		return `{"weight_map":{"` + strings.Join(names, `":"`+shard+`","`) + `":"` + shard + `"}}`
	}
	for name, c := range map[string]struct {
		files map[string]string
		wrong []string // what the error says, or nothing where the whole file is taken with a note
	}{
		"an index of the file itself":  {map[string]string{index: listing(whole, "v", "ww")}, nil},
		"an index of shards long gone": {map[string]string{index: listing("a.safetensors", "v", "ww")}, nil},
		"shards of the same tensors":   {map[string]string{index: listing("a.safetensors", "v", "ww"), "a.safetensors": tensors(t, "v", "ww")}, []string{"two sets of weights", "a.safetensors"}},
		"a shard of one tensor":        {map[string]string{index: listing("a.safetensors", "v"), "a.safetensors": tensors(t, "v")}, []string{"two sets of weights"}},
		"an index of another tensor":   {map[string]string{index: listing("a.safetensors", "other")}, []string{"lists 1 tensors", "beside it has 2"}},
		"an index of fewer tensors":    {map[string]string{index: listing(whole, "v")}, []string{"lists 1 tensors", "beside it has 2"}},
		"an index of as many others":   {map[string]string{index: listing(whole, "v", "w2")}, []string{"by other names"}},
		"an index that is none":        {map[string]string{index: "{}"}, []string{"weight_map"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.files["config.json"], c.files[whole] = "{}", tensors(t, "v", "ww")
			got, err := Open(write(t, c.files))
			if c.wrong != nil {
				require.ErrorIs(t, err, ErrIndex)
				for _, w := range append(c.wrong, index) {
					assert.ErrorContains(t, err, w)
				}
				return
			}
			require.NoError(t, err)
			defer got.Close()
			assert.Equal(t, []string{"v", "ww"}, got.Names())
			assert.Contains(t, strings.Join(got.Notes, "\n"), index+" is left alone: "+whole+" holds all that it lists")
		})
	}
}

// assertSavesAs holds that a checkpoint is written as another one that is the same.
func assertSavesAs(t testing.TB, want, got *Checkpoint) {
	t.Helper()
	var files [2][]byte
	for i, c := range []*Checkpoint{want, got} {
		dir := filepath.Join(t.TempDir(), "out")
		require.NoError(t, Save(dir, Contents{Config: c.Config, Source: c}))
		var err error
		files[i], err = os.ReadFile(filepath.Join(dir, weightsFile))
		require.NoError(t, err)
	}
	assert.Equal(t, files[0], files[1])
}

func head(prefix string) []matrix {
	return []matrix{{name: prefix + "weight", shape: []int{1, 3}}, {name: prefix + "bias", shape: []int{1}}}
}

func TestAValueHeadBesideTheWeightsIsTheirs(t *testing.T) {
	for _, name := range valueHeads {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{"config.json": "{}", weightsFile: tensors(t, "w")}
			dir := write(t, files)
			if strings.HasSuffix(name, ".bin") {
				require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(torchMatrices(t, head("v_head.summary."))), 0o600))
			} else {
				writeMatrices(t, filepath.Join(dir, name), head("v_head.summary."))
			}
			c, err := Open(dir)
			require.NoError(t, err)
			defer c.Close()
			assert.Equal(t, []string{"v_head.summary.bias", "v_head.summary.weight", "w"}, c.Names())
			got := make([]float32, 3)
			require.NoError(t, c.ReadAt(got, "v_head.summary.weight", 0))
			assert.Equal(t, numbers("v_head.summary.weight", 3), got)
			assert.Contains(t, strings.Join(c.Notes, "\n"), name)
		})
	}
	t.Run("with another tensor in it", func(t *testing.T) {
		dir := write(t, map[string]string{"config.json": "{}", weightsFile: tensors(t, "w"), "value_head.safetensors": tensors(t, "v_head.weight", "lm_head.weight")})
		_, err := Open(dir)
		assert.ErrorContains(t, err, "value_head.safetensors: want tensors v_head.… alone")
	})
	t.Run("that the weights have as well", func(t *testing.T) {
		dir := write(t, map[string]string{"config.json": "{}", weightsFile: tensors(t, "w", "v_head.weight"), "value_head.safetensors": tensors(t, "v_head.weight")})
		_, err := Open(dir)
		assert.ErrorContains(t, err, `tensor "v_head.weight" is in value_head.safetensors and among the weights beside it`)
	})
}

func TestAdaptersAreReadFromEveryFile(t *testing.T) {
	want, err := Open(writeAdapter(t, adapterOptions(), adapterTensors()))
	require.NoError(t, err)
	defer want.Close()
	inTorch := func(t *testing.T) string {
		dir := writeAdapter(t, adapterOptions(), adapterTensors())
		require.NoError(t, os.Remove(filepath.Join(dir, adapterWeightsFile)))
		require.NoError(t, os.WriteFile(filepath.Join(dir, adapterTorchFile), []byte(torchMatrices(t, adapterTensors())), 0o600))
		return dir
	}
	t.Run("of torch", func(t *testing.T) {
		c, err := Open(inTorch(t))
		require.NoError(t, err)
		defer c.Close()
		assert.Equal(t, want.Hash(), c.Hash())
	})
	for name, file := range map[string]string{"LLaMA-Factory's": "value_head.safetensors", "LLaMA-Factory's of torch": "value_head.bin", "TRL's": "pytorch_model.bin", "LLaMA-Factory's before it is moved": "model.safetensors"} {
		t.Run("with a value head, "+name, func(t *testing.T) {
			dir := inTorch(t)
			if strings.HasSuffix(file, ".bin") {
				require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(torchMatrices(t, head("v_head.summary."))), 0o600))
			} else {
				writeMatrices(t, filepath.Join(dir, file), head("v_head.summary."))
			}
			c, err := Open(dir)
			require.NoError(t, err)
			defer c.Close()
			got := make([]float32, 3)
			require.NoError(t, c.ReadAt(got, "v_head.summary.weight", 0))
			assert.Equal(t, numbers("v_head.summary.weight", 3), got)
			assert.Contains(t, c.Names(), "v_head.summary.bias")
			assert.Contains(t, strings.Join(c.Notes, "\n"), file)
		})
	}
	t.Run("beside a model of torch that nothing says to be its base", func(t *testing.T) {
		dir := inTorch(t)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "pytorch_model.bin"), []byte(torchWeights(t, "w")), 0o600))
		_, err := Open(dir)
		require.ErrorIs(t, err, ErrAdapter)
		assert.ErrorContains(t, err, "in one directory")
	})
}
