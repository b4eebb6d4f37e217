package serve

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/warm/reward"
)

// What an encoder refuses is the input's fault: an error without a code is
// logged and answered as the server's own.
func TestWhatAnEncoderRefusesHasACode(t *testing.T) {
	in := api.Text("")
	for _, refusal := range []error{
		reward.ErrTooLong, reward.ErrNoTemplate, reward.ErrNoTokenizer, reward.ErrEmpty, reward.ErrTokenRange, reward.ErrInput,
	} {
		var e *api.Error
		require.ErrorAs(t, inputError(&in, 0, fmt.Errorf("%w: why", refusal)), &e, "%v", refusal)
		assert.Contains(t, e.Message, "why")
		assert.Equal(t, "text", e.Param)
	}
}
