package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
)

func TestEmbeddedCheckpointsOpenWhereverDirectoriesDo(t *testing.T) {
	pairs := easyPairs(t, 6)
	rm := startServe(t, "--model", "m=embedded:member-1")
	prompts := filepath.Join(t.TempDir(), "prompts.jsonl")
	require.NoError(t, os.WriteFile(prompts, []byte(`{"prompt":"one"}`+"\n"+`{"prompt":"two"}`), 0o644))
	for name, args := range map[string]string{
		"generate":      "generate --prompt Once --tokens 3",
		"train rm":      "train rm --train " + pairs + " --lr 1e-3 --steps 1 --batch 2 --probe 2 --out OUT --base",
		"train rm lora": "train rm --lora 2,4,q_proj --train " + pairs + " --lr 1e-3 --steps 1 --batch 2 --probe 2 --out OUT --base",
		"train sft":     "train sft --pairs " + pairs + " --lr 1e-3 --steps 1 --batch 2 --out OUT --base",
		"train members": "train members --m 1 --train " + pairs + " --lr 1e-3 --steps 1 --batch 2 --probe 2 --out OUT --base",
		"members bases": "train members --m 1 --train " + pairs + " --lr 1e-3 --steps 1 --batch 2 --probe 2 --out OUT --bases",
		"rl":            "rl --prompts " + prompts + " --url " + rm.url + " --lr 1e-5 --steps 1 --batch 1 --answers 2 --tokens 2 --out OUT --policy",
		"rl reference":  "rl --policy embedded:base --prompts " + prompts + " --url " + rm.url + " --lr 1e-5 --steps 1 --batch 1 --answers 2 --tokens 2 --out OUT --reference",
		"average":       "average --alpha 0.5 --out OUT embedded: --base embedded:member-1",
	} {
		t.Run(name, func(t *testing.T) {
			refs := []string{"embedded:base", "embedded:"}
			if name == "average" {
				refs = []string{""}
			}
			for i, ref := range refs {
				if i > 0 && testing.Short() {
					continue
				}
				out := filepath.Join(t.TempDir(), "out")
				code, _, stderr := command(t, "", append(strings.Fields(strings.ReplaceAll(args, "OUT", out)), strings.Fields(ref)...)...)
				require.Equal(t, exitOK, code, stderr)
				if strings.HasSuffix(name, "lora") {
					assert.Contains(t, stderr, out+" is the whole model, with the low-rank change merged; "+out+"-adapter is the change alone, as PEFT opens it")
					c, err := loader.Open(out + "-adapter")
					require.NoError(t, err)
					require.NoError(t, c.Close())
				}
			}
			last := args[strings.LastIndex(args, " ")+1:]
			if strings.HasPrefix(last, "--") {
				code, _, stderr := command(t, "", append(strings.Fields(strings.ReplaceAll(args, "OUT", filepath.Join(t.TempDir(), "out"))), "embedded:member-9")...)
				assert.NotEqual(t, exitOK, code)
				assert.Contains(t, stderr, "embedded:member-9: no such embedded checkpoint, want one of base, member-1")
			}
		})
	}
}

func TestInterruptedTrainingExitsWith130AndSaysWhereToGoOn(t *testing.T) {
	base, pairs := trainable(t), easyPairs(t, 40)
	for name, args := range map[string][]string{
		"rm":      {"train", "rm", "--base", base, "--train", pairs, "--lr", "1e-3", "--batch", "4"},
		"sft":     {"train", "sft", "--base", base, "--pairs", pairs, "--lr", "1e-3", "--batch", "4"},
		"members": {"train", "members", "--base", base, "--train", pairs, "--lr", "1e-3", "--m", "2", "--batch", "4"},
	} {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			ctx, cancel := context.WithCancel(t.Context())
			var log output
			stop := watchedWriter{&log, func(s string) {
				if strings.Contains(s, "step 1 of") {
					cancel()
				}
			}}
			code := run(ctx, append(args, "--out", out), noEnv, strings.NewReader(""), &output{}, stop)
			assert.Equal(t, exitInterrupted, code, log.String())
			assert.Contains(t, log.String(), "interrupted: the state is saved, run the same again to go on")
			assert.Contains(t, log.String(), "warm: "+out)
			code, _, stderr := command(t, "", append(args, "--out", out)...)
			require.Equal(t, exitOK, code, stderr)
			assert.Contains(t, stderr, "going on after step ")
			code, _, stderr = command(t, "", append(args, "--out", out)...)
			require.Equal(t, exitOK, code, stderr)
			assert.Contains(t, stderr, "nothing to do")
		})
	}
}

func TestAnInterruptedAverageLeavesNothingBehind(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	var log output
	code := run(ctx, []string{"average", "--out", filepath.Join(dir, "wa"), tinyModel(t, "one", nil), tinyModel(t, "two", nil)}, noEnv, strings.NewReader(""), &output{}, &log)
	assert.Equal(t, exitInterrupted, code, log.String())
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, entries)
	assert.Contains(t, log.String(), "interrupted: nothing was written")
}

func TestFilesOfOtherKindsAreNamedWhereverDataIsRead(t *testing.T) {
	base := trainable(t)
	csv := filepath.Join(t.TempDir(), "pairs.csv")
	require.NoError(t, os.WriteFile(csv, []byte("prompt,chosen,rejected\nq,a,b\n"), 0o644))
	for _, args := range [][]string{
		{"train", "rm", "--base", base, "--train", csv, "--lr", "1e-3", "--out", csv + ".out"},
		{"train", "sft", "--base", base, "--pairs", csv, "--lr", "1e-3", "--out", csv + ".out"},
		{"train", "members", "--base", base, "--train", csv, "--m", "1", "--out", csv + ".out"},
		{"rl", "--policy", base, "--prompts", csv, "--lr", "1e-3", "--out", csv + ".out"},
		{"eval", "--data", csv, "embedded:member-1"},
		{"score", "--in", csv, "embedded:member-1"},
	} {
		code, _, stderr := command(t, "", args...)
		assert.Equal(t, exitFailure, code, args)
		assert.Contains(t, stderr, csv+": not JSON: a CSV file with the columns prompt, chosen, rejected; want JSON Lines, one object a line, or a JSON array of objects", args)
	}
	array := filepath.Join(t.TempDir(), "pairs.json")
	require.NoError(t, os.WriteFile(array, []byte(`[{"chosen":"kind","rejected":"mean"}, {"chosen":"good","rejected":"bad"}]`), 0o644))
	code, _, stderr := command(t, "", "eval", "--data", array, "embedded:member-1")
	assert.Equal(t, exitOK, code, stderr)
}

func TestBenchLoadFailsWhenTooManyRequestsDo(t *testing.T) {
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1)%200 != 0 {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, err := w.Write([]byte(`{"data":[{"reward":1}],"usage":{"total_tokens":3}}`))
		assert.NoError(t, err)
	}))
	defer s.Close()
	args := []string{"bench", "load", "--url", s.URL, "--clients", "4", "--duration", "400ms", "--warmup", "0"}
	code, _, stderr := command(t, "", args...)
	assert.Equal(t, exitFailure, code)
	assert.Regexp(t, `requests failed, 99\.\d %, more than --max-failed 0 allows`, stderr)
	code, _, stderr = command(t, "", append(args, "--max-failed", "0.99")...)
	assert.Equal(t, exitFailure, code, stderr)
	code, _, stderr = command(t, "", append(args, "--max-failed", "1")...)
	assert.Equal(t, exitOK, code, stderr)
	code, _, _ = command(t, "", append(args, "--max-failed", "2")...)
	assert.Equal(t, exitUsage, code)
}

func TestRandomCheckpointsTellOtherEnginesWhatTheyAre(t *testing.T) {
	for class, kind := range map[string]string{"LlamaForSequenceClassification": "llama", "Qwen3ForSequenceClassification": "qwen3", "BertForSequenceClassification": "bert"} {
		config := filepath.Join(t.TempDir(), "config.json")
		require.NoError(t, os.WriteFile(config, []byte(`{"architectures":["`+class+`"],"num_labels":1,"vocab_size":50,"hidden_size":16,"num_hidden_layers":1,"num_attention_heads":2,
			"intermediate_size":32,"max_position_embeddings":32,"rms_norm_eps":1e-5,"layer_norm_eps":1e-12,"type_vocab_size":2,"head_dim":8,"rope_theta":10000.0,"big":12345678901234567890}`), 0o644))
		out := filepath.Join(t.TempDir(), "random")
		code, _, stderr := command(t, "", "bench", "checkpoint", "--random", config, out)
		require.Equal(t, exitOK, code, stderr)
		text := readString(t, filepath.Join(out, "config.json"))
		var got struct {
			ModelType string            `json:"model_type"`
			ID2Label  map[string]string `json:"id2label"`
			Label2ID  map[string]int    `json:"label2id"`
		}
		require.NoError(t, json.Unmarshal([]byte(text), &got))
		assert.Equal(t, kind, got.ModelType)
		assert.Equal(t, map[string]string{"0": "LABEL_0"}, got.ID2Label)
		assert.Equal(t, map[string]int{"LABEL_0": 0}, got.Label2ID)
		assert.Contains(t, text, "12345678901234567890", "what is there stays as it was written")
		assert.Contains(t, text, "10000.0")
	}
}

func TestCommandsWithNothingToSaveEndAtOnce(t *testing.T) {
	var log output
	ended := make(chan int, 1)
	p := &program{stderr: &log, exit: func(code int) { ended <- code }}
	ctx, cancel := context.WithCancel(t.Context())
	stop := p.atOnce(ctx)
	cancel()
	assert.Equal(t, exitInterrupted, <-ended)
	assert.Equal(t, "warm: interrupted\n", log.String())
	assert.False(t, stop(), "it has run")
	over := p.atOnce(t.Context())
	assert.True(t, over(), "a command that has ended is not ended again")
}
