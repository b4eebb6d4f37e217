package worker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/cuda"
	"github.com/warmserve/warmserve/model/cuda/driver"
	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/model/plan"
)

// batches are of every kind.
var batches = map[string][]plan.Sequence{
	"none": {},
	"one":  {{IDs: []int32{7}, Read: []int32{0}}},
	"many": {
		{IDs: []int32{1, 2, 3}, Read: []int32{2}},
		{IDs: []int32{math.MaxInt32, math.MinInt32, -1}, Types: []int32{0, 1, 1}, Read: []int32{0, 2}},
		{IDs: []int32{4, 5}, Read: []int32{0}, Every: true},
	},
}

func TestBatchesCrossAsTheyAre(t *testing.T) {
	var b batch // used again
	for range 2 {
		for name, seqs := range batches {
			p := appendScore(nil, 1<<40, seqs)
			assert.Equal(t, scoreBytes(seqs), len(p), name)
			require.NoError(t, b.decode(p), name)
			assert.Equal(t, uint64(1<<40), b.model)
			assert.Equal(t, len(seqs), len(b.seqs))
			for i := range seqs {
				assert.Equal(t, seqs[i], b.seqs[i], name)
			}
			for n := range p {
				assert.ErrorIs(t, b.decode(p[:n]), errProtocol, "%s, %d bytes", name, n)
			}
			assert.ErrorIs(t, b.decode(append(p, 0, 0, 0, 0)), errProtocol)
		}
	}
	values := []float32{0, -1.5, float32(math.Inf(1)), math.SmallestNonzeroFloat32}
	got := make([]float32, len(values))
	assert.Empty(t, takeFloats(got, appendFloats(nil, values)))
	assert.Equal(t, values, got)
}

func TestDecodingABatchTakesNoMemoryAgain(t *testing.T) {
	var b batch
	p := appendScore(nil, 1, batches["many"])
	require.NoError(t, b.decode(p))
	assert.LessOrEqual(t, testing.AllocsPerRun(10, func() { _ = b.decode(p) }), 0.0)
}

func FuzzBatch(f *testing.F) {
	for _, seqs := range batches {
		f.Add(appendScore(nil, 1, seqs))
	}
	f.Add(bytes.Repeat([]byte{0xff}, 64))
	f.Fuzz(func(t *testing.T, p []byte) {
		var b batch
		if err := b.decode(p); err != nil {
			assert.ErrorIs(t, err, errProtocol)
			return
		}
		for i := range b.seqs {
			s := &b.seqs[i]
			assert.LessOrEqual(t, 4*(len(s.IDs)+len(s.Types)+len(s.Read)), len(p))
		}
	})
}

func TestFramesThatMakeNoSense(t *testing.T) {
	good := append(appendHeader(nil, header{size: 3, kind: kindDone, id: 5}), 1, 2, 3)
	h, payload, err := readFrame(bytes.NewReader(good))
	require.NoError(t, err)
	assert.Equal(t, header{size: 3, kind: kindDone, id: 5}, h)
	assert.Equal(t, []byte{1, 2, 3}, payload)
	for n := range good {
		_, _, err := readFrame(bytes.NewReader(good[:n]))
		assert.True(t, errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF), n)
	}
	for at := 4; at < 8; at++ {
		bad := bytes.Clone(good)
		bad[at] = 0
		_, _, err := readFrame(bytes.NewReader(bad))
		assert.ErrorIs(t, err, errProtocol)
	}
	long := appendHeader(nil, header{size: maxScore, kind: kindDone})
	_, _, err = readFrame(bytes.NewReader(long)) // and memory is taken as bytes come
	assert.ErrorIs(t, err, io.EOF)
}

func TestErrorsCrossWithWhatIsDoneAboutThem(t *testing.T) {
	fault := &driver.Error{Call: "cuStreamSynchronize", Code: 719, Name: "CUDA_ERROR_LAUNCH_FAILED",
		Text: "unspecified launch failure"}
	for _, c := range []struct {
		err  error
		want failure
	}{
		{errors.New("text"), failure{}},
		{fmt.Errorf("batch: %w", fault), failure{Lost: true}},
		{&driver.NoCardError{Ordinal: 3, Count: 1}, failure{None: true}},
		{&driver.LibraryError{Reason: "a", Remedy: "b"}, failure{None: true}},
		{fmt.Errorf("weights: %w", &driver.MemoryError{Asked: 5, Free: 3, Total: 9}), failure{Need: 5, Free: 3}},
		{&cuda.MemoryError{Network: "N", Weights: 5, Batch: 6, Free: 8, Memory: 9}, failure{Need: 11, Free: 8}},
	} {
		c.want.Text = c.err.Error()
		b, err := json.Marshal(failureOf(c.err))
		require.NoError(t, err)
		var got failure
		require.NoError(t, json.Unmarshal(b, &got))
		assert.Equal(t, c.want, got)
	}
}

func TestCardsThatAreTooOldAreSaidToBe(t *testing.T) {
	assert.EqualError(t, suits(cuda.Limits{Name: "Tesla V100", Capability: 70}),
		"Tesla V100 has compute capability 7.0, kernels need 8.0")
	for _, c := range []int{80, 86, 89, 90, 100, 120} {
		assert.NoError(t, suits(cuda.Limits{Capability: c}))
	}
}

// TestConfigurationsCross checks that a worker builds the network that the server has.
func TestConfigurationsCross(t *testing.T) {
	files, err := filepath.Glob("../../testdata/transformers/*/config.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		c, err := model.ParseConfig(data)
		require.NoError(t, err, file)
		b, err := json.Marshal(c)
		require.NoError(t, err)
		got := new(model.Config)
		require.NoError(t, json.Unmarshal(b, got))
		got.Reading = c.Reading // of which networks know nothing
		assert.Equal(t, c, got, file)
		assert.Equal(t, params(c.Network()), params(got.Network()))
	}
}

func params(n *nn.Network) []string {
	var out []string
	for _, p := range n.Params() {
		out = append(out, fmt.Sprint(p.Name, p.Shape))
	}
	return out
}
