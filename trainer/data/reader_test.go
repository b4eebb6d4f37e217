package data

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const twoPairs = `{"prompt": "p", "chosen": "good", "rejected": "bad"}
{"id": "x", "prompt": "p", "chosen": "better", "rejected": "worse", "margin": 0.5}
`

func gzipped(t testing.TB, s string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := io.WriteString(w, s)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func zstded(t testing.TB, s string) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	return w.EncodeAll([]byte(s), nil)
}

// readPairs reads everything and fails on nothing.
func readPairs(t testing.TB, data []byte, o Options) ([]Pair, []error) {
	t.Helper()
	r, err := NewReader(bytes.NewReader(data), o)
	if err != nil {
		return nil, []error{err}
	}
	defer func() { assert.NoError(t, r.Close()) }()
	var pairs []Pair
	var errs []error
	for p, err := range r.Pairs() {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		pairs = append(pairs, p)
	}
	return pairs, errs
}

func TestCompressionIsToldByTheFirstBytes(t *testing.T) {
	skippable := append([]byte{0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 'h', 'i'}, zstded(t, twoPairs)...)
	for name, data := range map[string][]byte{
		"plain":                          []byte(twoPairs),
		"no newline at the end":          []byte(strings.TrimSuffix(twoPairs, "\n")),
		"blank lines and carriage":       []byte("\n" + strings.ReplaceAll(twoPairs, "\n", "\r\n") + "  \n\n"),
		"a byte order mark":              []byte("\ufeff" + twoPairs),
		"gzip":                           gzipped(t, twoPairs),
		"gzip in two members":            append(gzipped(t, twoPairs[:53]), gzipped(t, twoPairs[53:])...),
		"zstd":                           zstded(t, twoPairs),
		"zstd in two frames":             append(zstded(t, twoPairs[:20]), zstded(t, twoPairs[20:])...),
		"zstd after a frame of metadata": skippable,
	} {
		t.Run(name, func(t *testing.T) {
			pairs, errs := readPairs(t, data, Options{})
			require.Empty(t, errs)
			require.Len(t, pairs, 2)
			assert.Equal(t, "better", pairs[1].Chosen.Plain)
			assert.Equal(t, "x", pairs[1].ID)
			require.NotNil(t, pairs[1].Margin)
			assert.Equal(t, 0.5, *pairs[1].Margin)
			assert.Nil(t, pairs[0].Margin)
		})
	}
	pairs, errs := readPairs(t, nil, Options{})
	assert.Empty(t, pairs)
	assert.Empty(t, errs, "an empty file holds no pairs")
}

func TestADamagedStreamEndsTheReading(t *testing.T) {
	long := strings.Repeat(twoPairs, 5000)
	z, g := zstded(t, long), gzipped(t, long)
	flipped := bytes.Clone(z)
	flipped[len(flipped)/2] ^= 0xff
	for name, data := range map[string][]byte{
		"zstd cut in the middle":     z[:len(z)/2],
		"zstd cut before its end":    z[:len(z)-1],
		"zstd cut after the magic":   z[:4],
		"zstd with a changed byte":   flipped,
		"zstd followed by something": append(bytes.Clone(z), "garbage"...),
		"gzip cut in the middle":     g[:len(g)/2],
		"gzip cut before its end":    g[:len(g)-1],
		"gzip cut in its head":       g[:3],
	} {
		t.Run(name, func(t *testing.T) {
			_, errs := readPairs(t, data, Options{Name: "f"})
			require.Len(t, errs, 1)
			assert.ErrorIs(t, errs[0], ErrDamaged)
			assert.Contains(t, errs[0].Error(), "f:")
		})
	}
}

func TestALineThatIsTooLongIsPassedOver(t *testing.T) {
	long := `{"prompt": "", "chosen": "` + strings.Repeat("a", 200_000) + `", "rejected": "b"}` + "\n"
	pairs, errs := readPairs(t, []byte(twoPairs+long+twoPairs), Options{MaxLine: 100_000, Name: "f"})
	assert.Len(t, pairs, 4)
	require.Len(t, errs, 1)
	assert.ErrorIs(t, errs[0], ErrLongLine)
	var e *Error
	require.True(t, errors.As(errs[0], &e))
	assert.Equal(t, 3, e.Line)
	assert.Equal(t, "f:3: line is too long: the limit is 100000 bytes", e.Error())

	exact := strings.TrimSuffix(long, "\n")
	pairs, errs = readPairs(t, []byte(long), Options{MaxLine: len(exact)})
	assert.Empty(t, errs, "a line of exactly the limit is read")
	assert.Len(t, pairs, 1)
	_, errs = readPairs(t, []byte(exact), Options{MaxLine: len(exact) - 1})
	assert.Len(t, errs, 1, "a last line without newline is held to the limit too")
}

func TestReadingMayStopAndGoOn(t *testing.T) {
	r, err := NewReader(strings.NewReader(twoPairs), Options{})
	require.NoError(t, err)
	for p, err := range r.Pairs() {
		require.NoError(t, err)
		assert.Equal(t, "good", p.Chosen.Plain)
		break
	}
	for p, err := range r.Pairs() {
		require.NoError(t, err)
		assert.Equal(t, "better", p.Chosen.Plain)
	}
}

func TestOpenNamesSetAndFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mine.jsonl.zst")
	require.NoError(t, os.WriteFile(path, zstded(t, twoPairs+"x"), 0o600))
	r, err := Open(path, Options{})
	require.NoError(t, err)
	n := 0
	for p, err := range r.Pairs() {
		if n++; n == 3 {
			assert.ErrorContains(t, err, path+":3:1: ")
			break
		}
		require.NoError(t, err)
		assert.Equal(t, "mine", p.Set)
	}
	require.NoError(t, r.Close())
	_, err = Open(filepath.Join(t.TempDir(), "absent"), Options{})
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestFailuresOfTheFileAreNotCalledDamage(t *testing.T) {
	boom := errors.New("boom")
	r, err := NewReader(io.MultiReader(strings.NewReader(twoPairs), &failing{boom}), Options{})
	require.NoError(t, err)
	var last error
	for _, err := range r.Pairs() {
		last = err
	}
	assert.ErrorIs(t, last, boom)
	assert.NotErrorIs(t, last, ErrDamaged)
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }
