package device

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/modeltest"
)

var errNoLibrary = errors.New("cuda: no libcuda.so.1: install NVIDIA's driver")

// machine is one with a card that opens or with an error instead.
func machine(find, broken error) (opener, *[]string) {
	var asked []string
	return opener{find: func() error { return find }, cards: func(name string) (model.Engine, error) {
		asked = append(asked, name)
		if broken != nil {
			return nil, broken
		}
		return modeltest.NewCard(), nil
	}}, &asked
}

func TestAutoTakesACardThatCanBeUsed(t *testing.T) {
	none := fmt.Errorf("%w: the driver finds none", ErrNoCard)
	old := errors.New("the worker of cuda:0: compute capability 7.0, kernels need 8.0")
	for name, c := range map[string]struct {
		find, broken error
		device, why  string
		noCard       bool
		asked        []string
	}{
		"a card":         {nil, nil, "cuda:0 Test Card", "", false, []string{"cuda"}},
		"no library":     {errNoLibrary, nil, "cpu", "no card: cuda: no libcuda.so.1: install NVIDIA's driver", true, nil},
		"no card":        {nil, none, "cpu", "no card: the driver finds none", true, []string{"cuda"}},
		"a card too old": {nil, old, "cpu", old.Error(), false, []string{"cuda"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, spec := range []string{"", "auto"} {
				p, asked := machine(c.find, c.broken)
				e, why, err := p.open(spec, 1)
				require.NoError(t, err)
				defer e.Close()
				assert.Equal(t, c.device, e.Device())
				assert.Equal(t, c.asked, *asked)
				if c.why == "" {
					assert.NoError(t, why)
					continue
				}
				assert.EqualError(t, why, c.why)
				assert.Equal(t, c.noCard, errors.Is(why, ErrNoCard))
			}
		})
	}
}

func TestDeviceThatIsNamedIsTakenOrRefused(t *testing.T) {
	p, asked := machine(errNoLibrary, errNoLibrary)
	e, why, err := p.open("cpu", 1)
	require.NoError(t, err)
	require.NoError(t, why)
	e.Close()
	assert.Empty(t, *asked, "nobody looks for a card")

	_, _, err = p.open("cuda", 1)
	assert.EqualError(t, err, "device cuda: cuda: no libcuda.so.1: install NVIDIA's driver")
	p, asked = machine(nil, nil)
	e, _, err = p.open("cuda:0,1", 1)
	require.NoError(t, err)
	e.Close()
	assert.Equal(t, []string{"cuda:0,1"}, *asked)
}

func TestNamesOfDevices(t *testing.T) {
	for _, good := range []string{"", "auto", "cpu", "cuda", "cuda:all", "cuda:0", "cuda:3,1,0"} {
		assert.NoError(t, Check(good), good)
	}
	for _, bad := range []string{"gpu", "cuda:", "cuda:x", "cuda:0,", "cuda:-1", "cuda:1,1", "cuda:0, 1", "cpu:0", "CPU", "cuda:99999999999"} {
		assert.EqualError(t, Check(bad), fmt.Sprintf("device %q: want auto, cpu, cuda, cuda:all or cards by number, as in cuda:0,1", bad))
		_, _, err := Open(bad, Options{Threads: 1})
		assert.Error(t, err, bad)
	}
}

func TestThisMachineHasADeviceWhateverItIs(t *testing.T) {
	e, _, err := Open(Auto, Options{Threads: 1})
	require.NoError(t, err)
	e.Close()
}
