package model

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/kernel"
)

// BenchmarkFormats scores batches in float32 and in a smaller format by turns, on one
// core, with random weights in the shapes that warm bench takes, at every level with
// assembly. Of each batch in the smaller format it reports the tokens of a second at the
// best and how many times float32's rate that is: the middle of all turns, each beside the
// two in float32 about it, so that a processor that slows down slows both.
func BenchmarkFormats(b *testing.B) {
	files, err := filepath.Glob("../cmd/warm/testdata/*x*.json")
	require.NoError(b, err)
	files = append(files, "../cmd/warm/testdata/qwen3-0.6b.json")
	for _, l := range kernel.Available()[1:] {
		for _, f := range files {
			for _, d := range []kernel.DType{kernel.BFloat16, kernel.Int8} {
				name := strings.TrimSuffix(filepath.Base(f), ".json")
				b.Run(fmt.Sprintf("%v/%s/%v", l, name, d), func(b *testing.B) {
					defer kernel.SetLevel(l)()
					benchmarkFormat(b, f, d)
				})
			}
		}
	}
}

func benchmarkFormat(b *testing.B, config string, d kernel.DType) {
	text, err := os.ReadFile(config)
	require.NoError(b, err)
	c, err := ParseConfig(text)
	require.NoError(b, err)
	e := NewEngine(1)
	defer e.Close()
	var models [2]Model
	for i, d := range []kernel.DType{kernel.Float32, d} {
		m, err := e.Load(c, NewRandom(c, 1), LoadOptions{DType: d, Workers: 2})
		require.NoError(b, err)
		defer m.Close()
		if h, ok := m.(HugePaged); ok {
			h.HugePages(context.Background())
		}
		models[i] = m
	}
	for _, shape := range [][2]int{{1, 1}, {1, 16}, {1, 32}, {1, 128}, {1, 512}, {8, 128}, {8, 512}} {
		b.Run(fmt.Sprintf("%dx%d", shape[0], shape[1]), func(b *testing.B) {
			seqs := make([]Sequence, shape[0])
			for i := range seqs {
				ids := make([]int32, shape[1])
				for j := range ids {
					ids[j] = int32((i*7919 + j*104729 + i*j) % 1000)
				}
				seqs[i] = Sequence{IDs: ids, Read: []int32{0}}
				if c.Causal() {
					seqs[i].Read[0] = int32(shape[1] - 1)
				}
			}
			scores := make([]float32, len(seqs))
			took := func(m Model) float64 {
				t := time.Now()
				require.NoError(b, e.Score(m, scores, seqs))
				return time.Since(t).Seconds()
			}
			took(models[0])
			took(models[1])
			before, best := took(models[0]), 0.0
			var shares []float64
			for b.Loop() {
				low, after := took(models[1]), took(models[0])
				shares = append(shares, (before+after)/2/low)
				best = max(best, float64(shape[0]*shape[1])/low)
				before = after
			}
			slices.Sort(shares)
			b.ReportMetric(best, "tokens/s")
			b.ReportMetric(shares[len(shares)/2], "×float32")
			b.ReportMetric(0, "ns/op")
		})
	}
}
