package loader

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader/safetensors"
)

func TestNothingIsWrittenThatIsNotFinite(t *testing.T) {
	for _, c := range []struct {
		name, dtype string
		value       float32
		want        string
	}{
		{"NaN", "", float32(math.NaN()), "element 70001 is NaN"},
		{"NaN in bfloat16", "BF16", math.Float32frombits(0xffc00001), "element 70001 is NaN"},
		{"an infinity", "", float32(math.Inf(-1)), "element 70001 is -Inf"},
		{"what bfloat16 makes infinite", "BF16", math.MaxFloat32, "infinite in bfloat16"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := make([]float32, 80000) // the second block
			v[70001] = c.value
			dir := filepath.Join(t.TempDir(), "out")
			err := Save(dir, Contents{Config: []byte("{}"), Source: memory{"a": {1}, "deep.weight": v}, DType: c.dtype})
			require.ErrorIs(t, err, ErrNotFinite)
			assert.ErrorContains(t, err, c.want)
			assert.Equal(t, 1, strings.Count(err.Error(), "deep.weight"), err.Error())
			left, err := os.ReadDir(filepath.Dir(dir))
			require.NoError(t, err)
			assert.Empty(t, left)
		})
	}
	for _, dtype := range []string{"", "BF16"} {
		v := []float32{math.SmallestNonzeroFloat32, math.Float32frombits(maxBF16 - 1), -math.Float32frombits(maxBF16 - 1)}
		assert.NoError(t, Save(filepath.Join(t.TempDir(), "out"), Contents{Config: []byte("{}"), Source: memory{"a": v}, DType: dtype}))
	}
}

func TestCheckFiniteNamesEveryTensor(t *testing.T) {
	m := memory{"good": make([]float32, 3*block+1), "bad": make([]float32, 2*block), "worse": {0, float32(math.Inf(1))}}
	seen := 0
	require.NoError(t, CheckFinite(memory{"good": m["good"]}, func(n int) { seen += n }))
	assert.Equal(t, 3*block+1, seen)
	m["bad"][block+7] = float32(math.NaN())
	err := CheckFinite(m, nil)
	require.ErrorIs(t, err, ErrNotFinite)
	assert.ErrorContains(t, err, fmt.Sprintf(`tensor "bad": element %d is NaN`, block+7))
	assert.ErrorContains(t, err, `tensor "worse": element 1 is +Inf`)
	assert.NotContains(t, err.Error(), "good")
}

func BenchmarkCheckFinite(b *testing.B) {
	v := make([]float32, 1<<24)
	for i := range v {
		v[i] = float32(i)
	}
	b.SetBytes(4 << 24)
	for b.Loop() {
		if notBelow(v, exponent) >= 0 {
			b.Fatal()
		}
	}
}

// one returns the bytes of a safetensors file with one tensor of zeros.
func one(t testing.TB, name string, dtype safetensors.DType, shape ...int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f")
	writeMatrices(t, path, []matrix{{name: name, dtype: dtype, shape: shape}})
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

func TestWhatUsersReallyHaveIsNamedWithARemedy(t *testing.T) {
	weights := tensors(t, "w")
	lfs := "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 5\n"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"a git-LFS pointer", map[string]string{weightsFile: lfs}, []string{weightsFile, "git-LFS pointer", "git lfs pull"}},
		{"a git-LFS pointer in place of a shard", map[string]string{indexFile: `{"weight_map":{"w":"a.safetensors"}}`, "a.safetensors": lfs}, []string{"a.safetensors", "git lfs pull"}},
		{"a git-LFS pointer in place of the tokenizer", map[string]string{weightsFile: weights, configFile: "{}", tokenizerFile: lfs}, []string{tokenizerFile, "git lfs pull"}},
		{"an HTML page", map[string]string{weightsFile: "\n <!DOCTYPE html><html>Sign in</html>"}, []string{"HTML page", "download"}},
		{"an HTML page in place of the configuration", map[string]string{weightsFile: weights, configFile: "<html>"}, []string{configFile, "HTML page"}},
		{"a pickle of torch.save", map[string]string{weightsFile: "PK\x03\x04\x00\x00\x08\x08"}, []string{"torch.save", "pytorch_model.bin"}},
		{"an old pickle", map[string]string{weightsFile: "\x80\x02\x8a\nl\xfc\x9c\x46\xf9"}, []string{"torch.save", "pytorch_model.bin"}},
		{"a GGUF file", map[string]string{weightsFile: "GGUF\x03\x00\x00\x00\x10"}, []string{"GGUF", "safetensors"}},
		{"an empty file", map[string]string{weightsFile: ""}, []string{"cut short"}},
		{"half a header", map[string]string{weightsFile: weights[:20]}, []string{"cut short", "fetch the file again"}},
		{"half the tensors", map[string]string{weightsFile: weights[:len(weights)-2]}, []string{"cut short"}},
		{"a shard that is missing", map[string]string{indexFile: `{"weight_map":{"w":"a.safetensors"}}`}, []string{"a.safetensors", "is missing", "fetch"}},
		{"weights of PyTorch under their own name", map[string]string{"consolidated.00.pth": "x"}, []string{"consolidated.00.pth", "pytorch_model.bin"}},
		{"weights of bitsandbytes", map[string]string{weightsFile: one(t, "l.q_proj.weight.absmax", "F32", 2), configFile: `{"quantization_config":{"quant_method":"bitsandbytes"}}`},
			[]string{"absmax", "bitsandbytes", "dequantize"}},
		{"weights of bitsandbytes by their dtype alone", map[string]string{weightsFile: one(t, "l.q_proj.weight", "U8", 2, 1), configFile: "{}"}, []string{"U8", "quantised"}},
		{"weights in 8 bits", map[string]string{weightsFile: one(t, "l.q_proj.SCB", "F32", 2), configFile: "{}"}, []string{"bitsandbytes, 8 bits"}},
		{"weights of GPTQ", map[string]string{weightsFile: one(t, "l.q_proj.qweight", "I32", 2, 2), configFile: `{"quantization_config":{"quant_method":"gptq"}}`}, []string{"gptq", "dequantize"}},
		{"weights of AWQ", map[string]string{weightsFile: one(t, "l.q_proj.qzeros", "I32", 2), configFile: `{"quantization_config":{"quant_method":"awq"}}`}, []string{"awq"}},
		{"weights in FP8", map[string]string{weightsFile: one(t, "l.q_proj.weight", "F8_E4M3", 2, 2), configFile: "{}"}, []string{"F8_E4M3", "quantised"}},
		{"weights of ZeRO-3", map[string]string{weightsFile: one(t, "l.q_proj.weight", "", 0), configFile: "{}"}, []string{"l.q_proj.weight", "ZeRO-3", "zero_to_fp32"}},
		{"a PEFT model saved whole", map[string]string{weightsFile: tensors(t, "base_model.model.q.base_layer.weight", "base_model.model.q.lora_A.default.weight"), configFile: "{}"},
			[]string{"merge_and_unload"}},
		{"a name with and without a wrapper", map[string]string{weightsFile: tensors(t, "a._orig_mod.weight", "a.weight"), configFile: "{}"}, []string{"twice"}},
		{"a file and shards", map[string]string{weightsFile: weights, configFile: "{}", "a.safetensors": weights, indexFile: `{"weight_map":{"w":"a.safetensors"}}`},
			[]string{"two sets of weights", "remove"}},
		{"a file and the index of another", map[string]string{weightsFile: weights, configFile: "{}", indexFile: `{"weight_map":{"w":"a.safetensors","x":"b.safetensors"}}`},
			[]string{"lists 2 tensors", "remove"}},
		{"a record of an average that is none", map[string]string{weightsFile: weights, configFile: "{}", averageFile: "[]"}, []string{averageFile}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := write(t, c.files)
			_, err := Open(dir)
			require.Error(t, err)
			for _, w := range append(c.want, dir) {
				assert.ErrorContains(t, err, w)
			}
		})
	}
}

func TestNotesSayWhatWasNotTakenAsItLies(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		names []string
		note  string
	}{
		{"torch.compile", map[string]string{weightsFile: tensors(t, "_orig_mod.model.w", "_orig_mod.score.weight")}, []string{"model.w", "score.weight"}, "_orig_mod.model.w"},
		{"torch.compile of a part", map[string]string{weightsFile: tensors(t, "model._orig_mod.w", "score.weight")}, []string{"model.w", "score.weight"}, "wrappers"},
		{"FSDP inside of DistributedDataParallel", map[string]string{weightsFile: tensors(t, "module._fsdp_wrapped_module.w", "module.score.weight")}, []string{"score.weight", "w"}, "module."},
		{"PEFT", map[string]string{weightsFile: tensors(t, "base_model.model.model.w", "base_model.model.score.weight")}, []string{"model.w", "score.weight"}, "base_model.model."},
		{"no wrapper", map[string]string{weightsFile: tensors(t, "module.w", "score.weight")}, []string{"module.w", "score.weight"}, ""},
		{"an index that was left", map[string]string{weightsFile: tensors(t, "w"), indexFile: `{"weight_map":{"w":"a.safetensors"}}`}, []string{"w"}, indexFile + " is left alone"},
		{"an index of the file itself", map[string]string{weightsFile: tensors(t, "w"), indexFile: `{"weight_map":{"w":"model.safetensors"}}`}, []string{"w"}, indexFile},
		{"a tokenizer of sentencepiece", map[string]string{weightsFile: tensors(t, "w"), "tokenizer.model": "\n\x0b"}, []string{"w"}, "tokenizer.model alone is not read: write tokenizer.json beside it with AutoTokenizer.from_pretrained(dir).save_pretrained(dir)"},
		{"one with code of its own", map[string]string{weightsFile: tensors(t, "w"), "tokenizer.model": "\n\x0b", tokenizerConfigFile: `{"auto_map":{"AutoTokenizer":["a.B",null]}}`}, []string{"w"}, "from_pretrained(dir, trust_remote_code=True).save_pretrained(dir), which runs the Python code beside it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.files[configFile] = "{}"
			got := mustOpen(t, write(t, c.files))
			assert.Equal(t, c.names, got.Names())
			if c.note == "" {
				assert.Empty(t, got.Notes)
				return
			}
			assert.Contains(t, strings.Join(got.Notes, "\n"), c.note)
			for _, n := range got.Names() {
				v := make([]float32, 1)
				assert.NoError(t, got.ReadAt(v, n, 0))
			}
		})
	}
}

// TestHeadersThatBeginLikeAnotherFormatAreRead holds that a legal length which looks like a magic number stays legal.
func TestHeadersThatBeginLikeAnotherFormatAreRead(t *testing.T) {
	for _, n := range []int{0x0280, 0x8b1f} { // a pickle's and gzip's first bytes
		header := `{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}`
		header += strings.Repeat(" ", n-len(header)-1) + "}"
		file := string(binary.LittleEndian.AppendUint64(nil, uint64(n))) + header + "\x00\x00\x80\x3f"
		mustOpen(t, write(t, map[string]string{weightsFile: file, configFile: "{}"}))
		_, err := Open(write(t, map[string]string{weightsFile: file[:len(file)-1], configFile: "{}"}))
		assert.ErrorContains(t, err, "cut short")
	}
}
