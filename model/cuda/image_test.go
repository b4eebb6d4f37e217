package cuda_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/cuda"
	"github.com/warmserve/warmserve/model/kernel"
)

// fullFile is a file without room.
type fullFile struct{ err error }

func (f fullFile) WriteAt([]byte, int64) (int, error) { return 0, f.err }
func (f fullFile) Whole(int, int)                     {}

func TestAnImageThatCannotBeWrittenIsAnError(t *testing.T) {
	text, err := os.ReadFile("../testdata/transformers/bert/config.json")
	require.NoError(t, err)
	c, err := model.ParseConfig(text)
	require.NoError(t, err)
	why := errors.New("no memory")
	_, err = cuda.Pack(c.Network(), c.Tensors(model.NewRandom(c, 1)), model.LoadOptions{DType: kernel.BFloat16, Workers: 1},
		func(int) (cuda.Room, error) { return fullFile{why}, nil })
	require.ErrorIs(t, err, why)
}

// card is a room whose bytes are taken to a card as soon as they are said to be whole, and then no more.
type card struct {
	mu           sync.Mutex
	image, taken []byte
	runs         int
}

func (c *card) WriteAt(b []byte, at int64) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return copy(c.image[at:], b), nil
}

func (c *card) Whole(at, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	copy(c.taken[at:at+bytes], c.image[at:])
	c.runs++
}

// What has gone to a card early is what lies in the image in the end, and there is nothing that has not.
func TestWhatIsSaidToBeWholeIsNotWrittenAgain(t *testing.T) {
	configs, err := filepath.Glob("../testdata/transformers/*/config.json")
	require.NoError(t, err)
	require.NotEmpty(t, configs)
	for _, path := range configs {
		for _, d := range []kernel.DType{kernel.Float32, kernel.BFloat16, kernel.FP8} {
			t.Run(filepath.Base(filepath.Dir(path))+"/"+d.String(), func(t *testing.T) {
				text, err := os.ReadFile(path)
				require.NoError(t, err)
				c, err := model.ParseConfig(text)
				require.NoError(t, err)
				to := &card{}
				_, err = cuda.Pack(c.Network(), c.Tensors(model.NewRandom(c, 1)), model.LoadOptions{DType: d, Workers: 2}, func(n int) (cuda.Room, error) {
					to.image, to.taken = make([]byte, n), bytes.Repeat([]byte{0xa5}, n)
					return to, nil
				})
				require.NoError(t, err)
				require.True(t, bytes.Equal(to.image, to.taken))
				require.Greater(t, to.runs, 5, "in parts")
			})
		}
	}
}
