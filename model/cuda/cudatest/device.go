package cudatest

import (
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/cuda"
	"github.com/warmserve/warmserve/model/cuda/driver"
	"github.com/warmserve/warmserve/model/cuda/ptx"
)

// CardVariable names the environment variable that says where tests run that need a device: on the
// first card, or, as without it, in the interpreter; tests that need none take its being set for a wish
// to run on one.
const CardVariable = "WARM_TEST_CARD"

// OnCard says whether tests run on a card, where large ones take no time.
func OnCard() bool { v := os.Getenv(CardVariable); return v != "" && v != "interpreter" }

// NewDevice returns a device for a test that takes itself for one of a capability: the interpreter, or
// the first card.
func NewDevice(t testing.TB, capability int) cuda.Device {
	t.Helper()
	if !OnCard() {
		return ptx.NewDevice(1, 2, capability)
	}
	c, err := card()
	require.NoError(t, err)
	if c.Limits().Capability < capability {
		t.Skipf("the card is of capability %d", c.Limits().Capability)
	}
	return older{c, capability}
}

// card opens the first card, once for all tests, which run one after the other.
var card = sync.OnceValues(func() (*driver.Card, error) { return driver.Open(0) })

// older is a card that takes itself for an older one.
type older struct {
	*driver.Card
	capability int
}

// Limits are those of the card, but for the capability.
func (o older) Limits() cuda.Limits {
	l := o.Card.Limits()
	l.Capability = o.capability
	return l
}
