package contest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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
