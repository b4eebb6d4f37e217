//go:build integration

package rm_test

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/trainer/rm"
	"github.com/warmserve/warmserve/warm/reward"
)

// TestMembersOfRealBasesGiveOurRewardsInTransformers trains a member of each base that people have, a few steps,
// for each pooling, and has transformers read it: as a classifier where the class has that form, else by the code
// of the model card, as it stands there.
//
//	WARM_BASES=DIR WARM_TRANSFORMERS_PYTHON=VENV/bin/python go test -tags integration -v -run RealBases ./trainer/rm
//
// DIR holds minilm-l6 (all-MiniLM-L6-v2) and smollm2-135m-instruct; one that is not there is left out.
func TestMembersOfRealBasesGiveOurRewardsInTransformers(t *testing.T) {
	bases, python := os.Getenv("WARM_BASES"), os.Getenv("WARM_TRANSFORMERS_PYTHON")
	if bases == "" || python == "" {
		t.Skip("WARM_BASES names no directory of bases, or WARM_TRANSFORMERS_PYTHON no Python that has transformers and torch")
	}
	pairs := rm.Lines(t, "pairs.jsonl", rm.Good1, rm.Good2, rm.Good3)
	texts := []string{"p good", "p worse", "Which of the two is the more convincing one, and why should anybody care?", "No."}
	for _, c := range []struct{ base, pooling string }{{"minilm-l6", "pooler"}, {"minilm-l6", "mean"}, {"minilm-l6", "first"}, {"smollm2-135m-instruct", "last"}, {"smollm2-135m-instruct", "mean"}} {
		t.Run(c.base+", "+c.pooling, func(t *testing.T) {
			base := filepath.Join(bases, c.base)
			if _, err := os.Stat(base); err != nil {
				t.Skipf("%v: not there", err)
			}
			run := rm.Config{Base: base, Pooling: c.pooling, Train: []string{pairs}, LR: 1e-4, Batch: 2, Epochs: 2}
			plan := rm.Plan{Out: t.TempDir(), Run: run, M: 1}
			require.NoError(t, plan.Initialize(t.Context()))
			members, err := plan.Expand()
			require.NoError(t, err)
			require.NoError(t, plan.TrainMembers(t.Context(), members, 1, nil))
			dir := members[0].Config.Out
			d, err := reward.Open(t.Context(), reward.Config{Members: []reward.Member{{Dir: dir}}}, 2)
			require.NoError(t, err)
			defer d.Close()
			engine := model.NewEngine(2)
			defer engine.Close()
			ours := make([]float32, len(texts))
			for i, text := range texts {
				e, err := d.Encode(reward.Input{Text: &text}, reward.EncodeOptions{})
				require.NoError(t, err)
				require.NoError(t, engine.Score(d.Average(), ours[i:i+1], []model.Sequence{e.Sequence}))
			}
			code := "import torch\nfrom transformers import AutoModelForSequenceClassification, AutoTokenizer\nmodel = AutoModelForSequenceClassification.from_pretrained(path).eval()\ntokenizer = AutoTokenizer.from_pretrained(path)\nwith torch.no_grad():\n    rewards = model(**tokenizer(texts, padding=True, return_tensors='pt')).logits\n"
			if card, err := os.ReadFile(filepath.Join(dir, "README.md")); err == nil {
				block := regexp.MustCompile("(?s)```python\n(.*?)```").FindSubmatch(card)
				require.NotNil(t, block, "%s", card)
				code = string(block[1])
			}
			arguments, err := json.Marshal(texts)
			require.NoError(t, err)
			cmd := exec.CommandContext(t.Context(), python, "-c", "import json, sys\npath, texts = sys.argv[1], json.loads(sys.argv[2])\n"+code+"print(json.dumps(rewards[:, 0].float().tolist()))\n", dir, string(arguments))
			var said bytes.Buffer
			cmd.Stderr = &said
			out, err := cmd.Output()
			require.NoError(t, err, "%s", &said)
			var theirs []float64
			require.NoError(t, json.Unmarshal([]byte(out[strings.LastIndex(string(out), "["):]), &theirs))
			require.Len(t, theirs, len(texts))
			for i := range texts {
				// A mean of SmolLM2's largest values makes rewards of a hundred, of which float32 keeps six digits.
				assert.InDelta(t, theirs[i], ours[i], max(1e-4, 5e-6*math.Abs(theirs[i])), texts[i])
			}
			t.Logf("%v; transformers %v", ours, theirs)
		})
	}
}
