package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTheWholePipeline goes from text to a comparison of members that start along
// one trajectory, with nothing but what this repository makes.
func TestTheWholePipeline(t *testing.T) {
	dir, pairs := t.TempDir(), easyPairs(t, 40)
	at := func(name string) string { return filepath.Join(dir, name) }
	text := strings.Repeat("the cat was happy and the dog was angry, kind or mean\n", 150)
	require.NoError(t, os.WriteFile(at("text.txt"), []byte(text), 0o644))
	for _, step := range []struct {
		args string
		want string // on standard output or error
	}{
		{"train tokenizer --text TEXT --vocab 300 --out TOK", "tokens"},
		{"train lm --tokenizer TOK --layers 2 --hidden 32 --heads 2 --context 32 --text TEXT --lr 3e-3 --batch 8 --valid 0.1 --steps 20 --out BASE", "validation loss"},
		{"generate --prompt the --tokens 5 BASE", "the"},
		{"train sft --base BASE --pairs PAIRS --keep 1 --lr 1e-3 --batch 8 --valid 0 --out SFT", "20 steps"},
		{"train members --bases SFT-1,SFT --train PAIRS --holdout id%4 --lrs 1e-3 --m 2 --batch 8 --out RUNS", "WA"},
		{"check RUNS/member-1 RUNS/member-2", "LlamaForSequenceClassification"},
		{"eval --data PAIRS RUNS/member-1 RUNS/member-2", "ENS"},
	} {
		args := strings.NewReplacer("TEXT", at("text.txt"), "PAIRS", pairs, "TOK", at("tok"), "BASE", at("base"), "SFT", at("sft"), "RUNS", at("runs")).Replace(step.args)
		if strings.HasPrefix(step.args, "train sft") {
			args += " --steps 20 --epochs 8"
		}
		code, stdout, stderr := trainCommand(t, strings.Fields(args)...)
		require.Equal(t, exitOK, code, "%s\n%s", args, stderr)
		assert.Contains(t, stdout+stderr, step.want, args)
	}
	tokenizer := []string{"train", "tokenizer", "--text", at("text.txt"), "--out", at("tok"), "--vocab"}
	code, _, log := trainCommand(t, append(tokenizer, "300")...)
	assert.Equal(t, exitOK, code, log)
	assert.Contains(t, log, at("tok")+" holds the result of this run already: nothing to do")
	code, _, log = trainCommand(t, append(tokenizer, "265")...)
	assert.Equal(t, exitFailure, code, log)
	assert.Contains(t, log, "holds another tokenizer: name another directory")
	code, _, log = trainCommand(t, "train", "tokenizer", "--text", at("text.txt"), "--vocab", "10", "--out", at("x"))
	assert.Equal(t, exitUsage, code, log)
}
