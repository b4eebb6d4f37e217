package serve

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// TestARequestReturnsWhatItsRewardIsMadeOf asks a server of ArmoRM's head for all that there is, in every mode, and compares
// with that code's own numbers; what a model does not have is refused by name.
func TestARequestReturnsWhatItsRewardIsMadeOf(t *testing.T) {
	root := os.Getenv("WARM_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared")
	}
	dir := filepath.Join(root, "goldens-families", "armorm")
	data, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	if err != nil {
		t.Skipf("reference material is absent: %v (set WARM_SHARED)", err)
	}
	var golden struct {
		Sequences []struct {
			IDs []int32 `json:"input_ids"`
		} `json:"sequences"`
		Rewards [][]float64 `json:"rewards_f64"`
		Scores  []float64   `json:"scores_f64"`
		Gate    []int       `json:"gating_positions"`
	}
	require.NoError(t, json.Unmarshal(data, &golden))
	models := oneOf(rewardtest.Checkpoint(t, "tiny", nil))
	models["armorm"] = &api.ModelSpec{
		Members: []api.MemberSpec{{Name: "a", Path: dir}, {Name: "b", Path: dir}}, Mode: api.ModeBoth, ABSample: 1,
		Pooling: "hf_legacy+pattern:190,191,17,192,33",
	}
	client, _, _ := running(t, Config{Models: models})
	require.Eventually(t, func() bool { return client.Ready(t.Context()) == nil }, 20*time.Second, 5*time.Millisecond)
	req := &api.RewardRequest{Model: "armorm"}
	for _, s := range golden.Sequences {
		req.Inputs = append(req.Inputs, api.Tokens(s.IDs...))
	}
	plain, err := client.Reward(t.Context(), req)
	require.NoError(t, err)
	for _, mode := range []string{api.ModeWA, api.ModeBoth, api.ModeMember + "b"} {
		req.Mode, req.Return = mode, []string{api.ReturnAttributes, api.ReturnTrajectory}
		got, err := client.Reward(t.Context(), req)
		require.NoError(t, err, mode)
		for i, r := range got.Data {
			assert.Equal(t, plain.Data[i].Reward, r.Reward, "whatever else is returned")
			assert.InDelta(t, golden.Scores[i], r.Reward, 1e-4)
			require.Len(t, r.Attributes, 19)
			assert.Equal(t, "helpsteer-helpfulness", r.Attributes[0].Name)
			for j, a := range r.Attributes {
				assert.InDelta(t, golden.Rewards[i][j], a.Value, 1e-4)
			}
			require.Len(t, r.Trajectory, r.Tokens)
			for j, v := range r.Trajectory {
				assert.Equal(t, j < golden.Gate[i], v == nil)
			}
			assert.Equal(t, r.Reward, *r.Trajectory[r.Tokens-1])
			assert.Empty(t, r.Steps)
		}
	}
	for _, c := range []struct {
		model, mode string
		want        []string
		code        api.Code
		message     string
	}{
		{"m", "", []string{api.ReturnAttributes}, api.CodeInvalidValue, "made of one output"},
		{"m", "", []string{api.ReturnSteps}, api.CodeInvalidValue, "read at one token"},
		{"armorm", api.ModeEns, []string{api.ReturnTrajectory}, api.CodeConflictingFields, "trajectory is of one model's reward"},
		{"armorm", "", []string{"everything"}, api.CodeInvalidValue, "members, tokens, attributes, steps, trajectory"},
	} {
		_, err := client.Reward(t.Context(), &api.RewardRequest{Model: c.model, Mode: c.mode, Return: c.want, Inputs: []api.Input{api.Tokens(1, 2, 3)}})
		assert.True(t, api.IsCode(err, c.code), "%v", err)
		assert.ErrorContains(t, err, c.message)
	}
	one, err := client.Reward(t.Context(), &api.RewardRequest{Model: "m", Return: []string{api.ReturnTrajectory, api.ReturnTokens}, Inputs: []api.Input{api.Answers("Q", "A", "B")}})
	require.NoError(t, err)
	for _, r := range one.Data {
		require.Len(t, r.Trajectory, len(r.TokenIDs))
		require.Len(t, r.AnswerTokens, 2)
		assert.Equal(t, 1, r.AnswerTokens[1]-r.AnswerTokens[0], "A and B are a token each")
	}
	assert.NotEqual(t, one.Data[0].TokenIDs[one.Data[0].AnswerTokens[0]], one.Data[1].TokenIDs[one.Data[1].AnswerTokens[0]])
	for name, want := range map[string][]string{"m": {"trajectory"}, "armorm": {"attributes", "trajectory"}} {
		m, err := client.Model(t.Context(), name)
		require.NoError(t, err)
		assert.Equal(t, want, m.Returns, "what may be asked of %s", name)
	}
}
