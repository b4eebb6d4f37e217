package cuda_test

import (
	"errors"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/cuda"
	"github.com/warmserve/warmserve/model/kernel"
)

// fullFile is a file without room.
type fullFile struct{ err error }

func (f fullFile) WriteAt([]byte, int64) (int, error) { return 0, f.err }

func TestAnImageThatCannotBeWrittenIsAnError(t *testing.T) {
	text, err := os.ReadFile("../testdata/transformers/bert/config.json")
	require.NoError(t, err)
	c, err := model.ParseConfig(text)
	require.NoError(t, err)
	why := errors.New("no memory")
	_, err = cuda.Pack(c.Network(), c.Tensors(model.NewRandom(c, 1)), model.LoadOptions{DType: kernel.BFloat16, Workers: 1},
		func(int) (io.WriterAt, error) { return fullFile{why}, nil })
	require.ErrorIs(t, err, why)
}
