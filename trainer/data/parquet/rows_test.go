package parquet_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pq "github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/trainer/data/parquet"
)

const maxRow = 1 << 20

// all reads every row of a file.
func all(t testing.TB, file []byte) (rows []string, err error) {
	r, err := parquet.Open(bytes.NewReader(file), int64(len(file)), maxRow)
	if err != nil {
		return nil, err
	}
	defer func() { require.NoError(t, r.Close()) }()
	for {
		row, err := r.Next()
		if err == io.EOF {
			return rows, nil
		}
		if err != nil {
			return rows, err
		}
		rows = append(rows, string(row))
	}
}

func golden(t testing.TB, name string) []byte {
	b, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return b
}

func TestRowsAreThoseThatPyArrowReads(t *testing.T) {
	want := strings.Split(strings.TrimSpace(string(golden(t, "rows.jsonl"))), "\n")
	for _, name := range []string{"plain", "snappy", "gzip", "zstd"} {
		t.Run(name, func(t *testing.T) {
			rows, err := all(t, golden(t, name+".parquet"))
			require.NoError(t, err)
			require.Len(t, rows, len(want))
			for i := range want {
				require.JSONEq(t, want[i], rows[i])
			}
		})
	}
}

func TestCodecsThatNoSetHasAreNamed(t *testing.T) {
	_, err := all(t, golden(t, "brotli.parquet"))
	assert.ErrorIs(t, err, parquet.ErrDamaged)
	assert.ErrorContains(t, err, "column x")
	assert.ErrorContains(t, err, "BROTLI")
}

// write makes a file of rows.
func write[T any](t testing.TB, rows []T, o ...pq.WriterOption) []byte {
	var b bytes.Buffer
	w := pq.NewGenericWriter[T](&b, o...)
	_, err := w.Write(rows)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

type text struct {
	Text string `parquet:"text"`
	N    uint32 `parquet:"n"`
}

func TestTextThatIsNoUTF8CostsItsRowAlone(t *testing.T) {
	file := write(t, []text{{Text: "a"}, {Text: "\xff"}, {Text: "c", N: 1<<32 - 1}})
	r, err := parquet.Open(bytes.NewReader(file), int64(len(file)), maxRow)
	require.NoError(t, err)
	defer r.Close()
	_, err = r.Next()
	require.NoError(t, err)
	_, err = r.Next()
	assert.ErrorIs(t, err, parquet.ErrText)
	assert.ErrorContains(t, err, "column text")
	row, err := r.Next()
	require.NoError(t, err)
	assert.JSONEq(t, `{"text":"c","n":4294967295}`, string(row))
	_, err = r.Next()
	assert.Equal(t, io.EOF, err)
}

func TestARowOverTheLimitCostsItselfAlone(t *testing.T) {
	file := write(t, []text{{Text: strings.Repeat("x", maxRow+1)}, {Text: strings.Repeat("\x01", maxRow/2)}, {Text: "c"}})
	r, err := parquet.Open(bytes.NewReader(file), int64(len(file)), maxRow)
	require.NoError(t, err)
	defer r.Close()
	for range 2 {
		_, err = r.Next()
		assert.ErrorIs(t, err, parquet.ErrTooLarge)
	}
	_, err = r.Next()
	assert.NoError(t, err)
}

func TestFilesThatAreCutOffAreErrors(t *testing.T) {
	file := golden(t, "zstd.parquet")
	for n := range file {
		_, err := all(t, file[:n])
		require.ErrorIs(t, err, parquet.ErrDamaged, n)
	}
}

// TestBytesThatAreChanged: no panic, no error without a cause, and no memory beyond what rows take.
func TestBytesThatAreChangedAreErrorsOrRows(t *testing.T) {
	for _, name := range []string{"plain", "snappy", "gzip", "zstd"} {
		file := golden(t, name+".parquet")
		for i := 0; i < len(file); i += 1 + len(file)/150 {
			for _, b := range []byte{0, 0x7f, 0xff, file[i] ^ 1} {
				changed := bytes.Clone(file)
				changed[i] = b
				if _, err := all(t, changed); err != nil && !errors.Is(err, parquet.ErrDamaged) && !errors.Is(err, parquet.ErrTooLarge) {
					require.ErrorIs(t, err, parquet.ErrText, "%s, byte %d is %#x", name, i, b)
				}
			}
		}
	}
}

func FuzzRows(f *testing.F) {
	for _, name := range []string{"plain", "snappy", "gzip", "zstd", "brotli"} {
		f.Add(golden(f, name+".parquet"))
	}
	f.Fuzz(func(t *testing.T, file []byte) { _, _ = all(t, file) })
}
