package rewardtest

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
)

// Sparse writes a checkpoint of Config with layers wide ones, of 0.7 GB each,
// whose weights are a hole in the file: it takes no room on the disk, and
// seconds to load. All weights are 0 but the one at the start of the first
// tensor, which is first. It has no tokenizer.
func Sparse(t testing.TB, name string, layers int, first byte) string {
	wide := strings.NewReplacer(`"hidden_size":32`, `"hidden_size":4096`, `"intermediate_size":48`,
		`"intermediate_size":8192`, `"num_hidden_layers":2`,
		`"num_hidden_layers":`+string(rune('0'+layers))).Replace(Config)
	dir := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(wide), 0o600))
	c, err := model.ParseConfig([]byte(wide))
	require.NoError(t, err)
	source := model.NewRandom(c, 1)
	header, size := map[string]any{}, 0
	for _, n := range source.Names() {
		shape, _ := source.Shape(n)
		begin := size
		size += 4 * loader.Elements(source, n)
		header[n] = map[string]any{"dtype": "F32", "shape": shape, "data_offsets": []int{begin, size}}
	}
	data, err := json.Marshal(header)
	require.NoError(t, err)
	for len(data)%8 != 0 {
		data = append(data, ' ')
	}
	f, err := os.Create(filepath.Join(dir, "model.safetensors"))
	require.NoError(t, err)
	defer f.Close()
	_, err = f.Write(append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(data))), data...), first))
	require.NoError(t, err)
	require.NoError(t, f.Truncate(int64(8+len(data)+size)))
	return dir
}
