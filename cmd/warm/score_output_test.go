package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader/disk"
)

// manyRows are inputs of warm score, of which every third is a pair.
func manyRows(n int) []string {
	var rows []string
	for i := range n {
		row := fmt.Sprintf(`{"id":%d,"prompt":"Q%d","response":"A%d"}`, i, i%7, i)
		if i%3 == 0 {
			row = fmt.Sprintf(`{"id":%d,"prompt":"Q%d","chosen":"yes %d","rejected":"no"}`, i, i%7, i%50)
		}
		rows = append(rows, row)
	}
	return rows
}

// scoreFiles writes rows and names an output that holds something already.
func scoreFiles(t *testing.T, rows []string) (in, out string) {
	dir := t.TempDir()
	in, out = filepath.Join(dir, "in.jsonl"), filepath.Join(dir, "out.jsonl")
	require.NoError(t, os.WriteFile(in, []byte(strings.Join(rows, "\n")+"\n"), 0o644))
	require.NoError(t, os.WriteFile(out, []byte("precious\n"), 0o600))
	return in, out
}

func readString(t *testing.T, path string) string {
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

func TestABadLineCostsNothingThatWasScored(t *testing.T) {
	dirs := []string{tinyModel(t, "one", nil), tinyModel(t, "two", nil)}
	rows := manyRows(1300)
	rows[1200] = `{"instruction":"i","output":"o"}`
	rows[1205] = `{"prompt":"Q","chosen":"a"}`
	in, out := scoreFiles(t, rows)
	args := append([]string{"score", "--mode", "both", "--in", in, "--out", out}, dirs...)
	code, _, stderr := command(t, "", args...)
	assert.Equal(t, exitFailure, code)
	assert.Contains(t, stderr, "warm: "+in+":1201: columns instruction, output: want messages, prompt with response or responses, text, input_ids, or chosen and rejected\n")
	assert.Contains(t, stderr, "the rewards of 1200 records are in "+out+".part; the same command goes on behind them")
	assert.Equal(t, "precious\n", readString(t, out), "what was there stays until all is scored")
	assert.Equal(t, 1200, strings.Count(readString(t, out+".part"), "\n"))

	code, _, stderr = command(t, "", append(args, "--skip-bad")...)
	require.Equal(t, exitOK, code, stderr)
	assert.Contains(t, stderr, "going on behind 1200 records")
	assert.Contains(t, stderr, in+": left out 2 of 1300 records that cannot be used: line 1201, line 1206")
	assert.NoFileExists(t, out+".part")
	assert.NoFileExists(t, out+".part.json")
	resumed, table := readString(t, out), stderr[strings.Index(stderr, "judge"):]
	info, err := os.Stat(out)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "the file's mode is kept")

	code, _, stderr = command(t, "", append(args, "--skip-bad")...)
	require.Equal(t, exitOK, code, stderr)
	assert.Equal(t, readString(t, out), resumed, "the same bytes as in one go")
	assert.Equal(t, stderr[strings.Index(stderr, "judge"):], table, "the same accuracies, of all pairs")
	assert.Equal(t, 1298, strings.Count(resumed, "\n"))
}

// interrupting ends a context when some bytes were read.
type interrupting struct {
	io.Reader
	left   int
	cancel func()
}

func (r *interrupting) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p[:min(len(p), 1<<10)])
	if r.left -= n; r.left < 0 {
		r.cancel()
	}
	return n, err
}

func TestAnInterruptedScoreGoesOn(t *testing.T) {
	dir := tinyModel(t, "one", nil)
	rows := strings.Join(manyRows(3000), "\n")
	_, out := scoreFiles(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	var stdout, stderr bytes.Buffer
	code := run(ctx, []string{"score", "--out", out, dir}, noEnv, &interrupting{strings.NewReader(rows), 60_000, cancel}, &stdout, &stderr)
	assert.Equal(t, exitInterrupted, code)
	assert.Regexp(t, `^warm: interrupted: the rewards of (512|1024|1536) records are in `+out+`.part; the same command goes on behind them\n$`, stderr.String())
	assert.Equal(t, "precious\n", readString(t, out))

	// What a crash leaves behind the last state is dropped.
	f, err := os.OpenFile(out+".part", os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString(`{"line":7,"answers":[{"rew`)
	require.NoError(t, err)
	require.NoError(t, f.Close())

	for change, c := range map[string]struct {
		in   string
		args []string
		want string
	}{
		"other records":  {strings.Replace(rows, "Q1", "Q9", 1), nil, ".part holds the rewards of another input: its first records are others"},
		"fewer records":  {rows[:2000], nil, ".part holds the rewards of another input: it has fewer records"},
		"other settings": {rows, []string{"--truncate", "left"}, ".part holds rewards of other members or settings"},
		"other members":  {rows, []string{tinyModel(t, "two", nil)}, ".part holds rewards of other members or settings"},
	} {
		code, _, stderr := command(t, c.in, append([]string{"score", "--out", out, dir}, c.args...)...)
		assert.Equal(t, exitFailure, code, change)
		assert.Contains(t, stderr, out+c.want, change)
		assert.Contains(t, stderr, "remove it to begin anew", change)
	}
	code, _, errs := command(t, rows, "score", "--out", out, dir)
	require.Equal(t, exitOK, code, errs)
	code, whole, errs2 := command(t, rows, "score", dir)
	require.Equal(t, exitOK, code)
	assert.Equal(t, whole, readString(t, out))
	assert.Equal(t, errs2, errs[strings.Index(errs, "judge")-strings.Index(errs2, "judge"):])
}

func TestTheInputIsNeverWrittenOver(t *testing.T) {
	dir := tinyModel(t, "one", nil)
	in, _ := scoreFiles(t, manyRows(3))
	hard, soft := in+".hard", in+".soft"
	require.NoError(t, os.Link(in, hard))
	require.NoError(t, os.Symlink(in, soft))
	before := readString(t, in)
	for _, out := range []string{in, hard, soft, filepath.Dir(in) + "/./" + filepath.Base(in)} {
		code, _, stderr := command(t, "", "score", "--in", in, "--out", out, dir)
		assert.Equal(t, exitUsage, code)
		assert.Contains(t, stderr, "--out: "+out+" is the input: name another file")
		f, err := os.Open(in)
		require.NoError(t, err)
		var errs bytes.Buffer
		code = run(t.Context(), []string{"score", "--out", out, dir}, noEnv, f, io.Discard, &errs)
		require.NoError(t, f.Close())
		assert.Equal(t, exitUsage, code, "standard input is a file too")
		assert.Contains(t, errs.String(), "is the input")
	}
	assert.Equal(t, before, readString(t, in))
}

func TestWhereScoresAreWritten(t *testing.T) {
	dir := tinyModel(t, "one", nil)
	in, out := scoreFiles(t, manyRows(5))
	link := out + ".link"
	require.NoError(t, os.Symlink(out, link))
	code, _, stderr := command(t, "", "score", "--in", in, "--out", link, dir)
	require.Equal(t, exitOK, code, stderr)
	target, err := os.Readlink(link)
	require.NoError(t, err, "a link stays one")
	assert.Equal(t, out, target)
	assert.Equal(t, 5, strings.Count(readString(t, out), "\n"))

	code, _, stderr = command(t, "", "score", "--in", in, "--out", os.DevNull, dir)
	assert.Equal(t, exitOK, code, stderr)
	assert.NoFileExists(t, os.DevNull+".part")
	code, _, stderr = command(t, "", "score", "--in", in, "--out", filepath.Dir(in), dir)
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, stderr, "is a directory")
	code, _, stderr = command(t, "", "score", "--in", in, "--out", filepath.Join(in+".none", "x"), dir)
	assert.Equal(t, exitFailure, code)
	assert.Contains(t, stderr, in+".none is no directory")
}

func TestScoreReadsArraysAndNamesOtherFiles(t *testing.T) {
	dir := tinyModel(t, "one", nil)
	rows := manyRows(4)
	code, lines, stderr := command(t, strings.Join(rows, "\n"), "score", dir)
	require.Equal(t, exitOK, code, stderr)
	code, array, stderr := command(t, "[\n"+strings.Join(rows, ",\n")+"]", "score", dir)
	require.Equal(t, exitOK, code, stderr)
	reward := func(s string) (out []string) {
		for line := range strings.Lines(s) {
			out = append(out, line[strings.Index(line, `"id"`):])
		}
		return out
	}
	assert.Equal(t, reward(lines), reward(array))
	assert.Contains(t, array, `{"line":2,"item":1,"id":0,`)
	code, _, stderr = command(t, "prompt,response\nq,a\n", "score", dir)
	assert.Equal(t, exitFailure, code)
	assert.Contains(t, stderr, "standard input: not JSON: a CSV file with the columns prompt, response; want JSON Lines")
	code, _, stderr = command(t, "[\n"+rows[1]+",\n"+`{"prompt":"Q"}]`, "score", dir)
	assert.Equal(t, exitFailure, code)
	assert.Contains(t, stderr, "warm: standard input:3 (item 2): columns prompt: want messages")
}

func TestTwoScoresDoNotWriteTheSameFile(t *testing.T) {
	dir := tinyModel(t, "one", nil)
	in, out := scoreFiles(t, manyRows(3))
	f, err := os.OpenFile(out+".part", os.O_CREATE|os.O_RDWR, 0o600)
	require.NoError(t, err)
	require.NoError(t, disk.TryLock(f))
	code, _, stderr := command(t, "", "score", "--in", in, "--out", out, dir)
	assert.Equal(t, exitFailure, code)
	assert.Contains(t, stderr, out+".part: another process is at work on it")
	require.NoError(t, f.Close())
	code, _, stderr = command(t, "", "score", "--in", in, "--out", out, dir)
	assert.Equal(t, exitOK, code, stderr)
}
