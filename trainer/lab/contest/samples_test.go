package contest

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader/disk"
	"github.com/warmserve/warmserve/trainer/lab/labtest"
)

func TestSamplesAndTheirRewardsAreKept(t *testing.T) {
	l := labtest.ArguingLab(t)
	prompts := []string{"Yes or no?\nYes\n", "Yes or no?\nNo\n", "Why?\n", "When?\n", "Who?\n"}
	first, err := Draw(t.Context(), l, l.Base, "", prompts, 3, 5, 1)
	require.NoError(t, err)
	require.Len(t, first.Texts, 15)
	again, err := Draw(labtest.Stopped(t), l, l.Base, "", prompts, 3, 5, 1)
	require.NoError(t, err, "what was kept needs no time")
	assert.Equal(t, first.Texts, again.Texts)
	assert.Equal(t, first.Tokens, again.Tokens)
	_, err = Draw(labtest.Stopped(t), l, l.Base, "", prompts, 3, 5, 2)
	assert.ErrorIs(t, err, context.Canceled, "another seed draws others")
	other, err := Draw(t.Context(), l, l.Base, "", prompts, 3, 5, 2)
	require.NoError(t, err)
	assert.NotEqual(t, first.Texts, other.Texts)
}

// TestSamplingGoesOnWhereItWasEnded has the first four prompts answered before, and the others not.
func TestSamplingGoesOnWhereItWasEnded(t *testing.T) {
	l := labtest.ArguingLab(t)
	prompts := []string{"the one", "the other", "side", "says", "that", "it"}
	draw := func(ctx context.Context) (*Samples, error) { return Draw(ctx, l, l.Base, l.Base, prompts, 2, 4, 1) }
	all, err := draw(t.Context())
	require.NoError(t, err)
	require.Len(t, all.KL, 12)
	for _, name := range []string{"", "-4"} {
		require.NoError(t, os.Remove(filepath.Join(l.Dir, "scores", "samples-"+all.id+name+".json")))
	}
	first := filepath.Join(l.Dir, "scores", "samples-"+all.id+"-0.json")
	text, err := os.ReadFile(first)
	require.NoError(t, err)
	var part Samples
	require.NoError(t, json.Unmarshal(text, &part))
	part.Texts[0] = "as it was drawn"
	text, err = json.Marshal(part)
	require.NoError(t, err)
	require.NoError(t, disk.Write(first, text))
	again, err := draw(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "as it was drawn", again.Texts[0])
	assert.Equal(t, all.Texts[1:], again.Texts[1:])
	assert.Equal(t, all.Tokens, again.Tokens)
	assert.Equal(t, all.KL, again.KL)
}
