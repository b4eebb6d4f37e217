package data_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	pq "github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/trainer/data"
)

type turn struct {
	Role    string `parquet:"role"`
	Content string `parquet:"content"`
}

type row struct {
	Prompt   []turn `parquet:"prompt,list"`
	Chosen   []turn `parquet:"chosen,list"`
	Rejected []turn `parquet:"rejected,list"`
	Subset   string `parquet:"subset,dict"`
}

func rows(n int) (out []row) {
	for range n {
		out = append(out, row{
			Prompt:   []turn{{"user", "Name a colour."}},
			Chosen:   []turn{{"assistant", "Blue."}},
			Rejected: []turn{{"assistant", "Yes."}},
			Subset:   "chat",
		})
	}
	return out
}

// parquetFile writes rows to a file.
func parquetFile[T any](t testing.TB, rows []T) string {
	path := filepath.Join(t.TempDir(), "pairs.parquet")
	require.NoError(t, pq.WriteFile(path, rows))
	return path
}

func TestPairsOfAParquetFileAreThoseOfItsRows(t *testing.T) {
	in := rows(3)
	in[1].Rejected = in[1].Chosen
	r, err := data.Open(parquetFile(t, in), data.Options{Name: "pairs.parquet"})
	require.NoError(t, err)
	defer func() { assert.NoError(t, r.Close()) }()
	var got []data.Pair
	var faults []string
	for p, err := range r.Pairs() {
		if err != nil {
			faults = append(faults, err.Error())
			continue
		}
		got = append(got, p)
	}
	assert.Equal(t, []string{"pairs.parquet (row 2): rejected: both answers are the same"}, faults)
	require.Len(t, got, 2)
	assert.Equal(t, "3", got[1].ID)
	content, _ := got[1].Chosen.Messages[0].Content()
	assert.Equal(t, "Blue.", content)
	assert.JSONEq(t, `"chat"`, string(got[1].Meta["subset"]))
}

func TestATextThatIsDamagedInAParquetFileCostsItsRowAlone(t *testing.T) {
	in := rows(3)
	in[0].Chosen[0].Content = "\xff"
	r, err := data.Open(parquetFile(t, in), data.Options{Name: "pairs.parquet"})
	require.NoError(t, err)
	defer r.Close()
	good, bad := 0, 0
	for _, err := range r.Pairs() {
		if err == nil {
			good++
			continue
		}
		bad++
		assert.ErrorIs(t, err, data.ErrText)
		assert.ErrorContains(t, err, "pairs.parquet (row 1): not valid text: column chosen")
	}
	assert.Equal(t, [2]int{2, 1}, [2]int{good, bad})
}

func TestADamagedParquetFileEndsTheReading(t *testing.T) {
	whole, err := os.ReadFile(parquetFile(t, rows(3)))
	require.NoError(t, err)
	_, err = data.NewReader(bytes.NewReader(whole[:len(whole)-1]), data.Options{})
	assert.ErrorIs(t, err, data.ErrDamaged)
	assert.ErrorContains(t, err, "cut off")

	copy(whole[4:40], bytes.Repeat([]byte{0xff}, 36)) // the first page
	r, err := data.NewReader(bytes.NewReader(whole), data.Options{})
	require.NoError(t, err)
	n := 0
	for _, err := range r.Pairs() {
		n++
		assert.ErrorIs(t, err, data.ErrDamaged)
		var e *data.Error
		assert.True(t, errors.As(err, &e) && e.End)
	}
	assert.Equal(t, 1, n)
}

func TestAParquetFileInAStreamIsNamed(t *testing.T) {
	whole, err := os.ReadFile(parquetFile(t, rows(1)))
	require.NoError(t, err)
	_, err = data.NewReader(io.MultiReader(bytes.NewReader(whole)), data.Options{})
	assert.ErrorIs(t, err, data.ErrFormat)
	assert.ErrorContains(t, err, "give its path")
}
