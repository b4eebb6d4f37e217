package events

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
)

// point is a scalar of a step, or a step at which a session starts.
type point struct {
	Step  uint64
	Tag   string
	Value float32
}

// read returns what the files of a directory hold, and checks the framing of each record.
func read(t *testing.T, dir string) (points []point) {
	files, err := filepath.Glob(filepath.Join(dir, "events.out.tfevents.*"))
	require.NoError(t, err)
	slices.Sort(files)
	for _, f := range files {
		data, err := os.ReadFile(f)
		require.NoError(t, err)
		for len(data) > 0 {
			n := binary.LittleEndian.Uint64(data)
			require.Equal(t, masked(data[:8]), binary.LittleEndian.Uint32(data[8:]))
			body := data[12 : 12+n]
			require.Equal(t, masked(body), binary.LittleEndian.Uint32(data[12+n:]))
			points = append(points, event(t, body)...)
			data = data[16+n:]
		}
	}
	return points
}

// fields calls f with each field of a message; v is its number or its bytes.
func fields(t *testing.T, b []byte, f func(n protowire.Number, v uint64, bytes []byte)) {
	for len(b) > 0 {
		n, kind, k := protowire.ConsumeTag(b)
		require.Positive(t, k)
		b = b[k:]
		var v uint64
		var bytes []byte
		switch kind {
		case protowire.VarintType:
			v, k = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			v, k = protowire.ConsumeFixed64(b)
		case protowire.Fixed32Type:
			var v32 uint32
			v32, k = protowire.ConsumeFixed32(b)
			v = uint64(v32)
		case protowire.BytesType:
			bytes, k = protowire.ConsumeBytes(b)
		default:
			k = -1
		}
		require.Positive(t, k)
		f(n, v, bytes)
		b = b[k:]
	}
}

func event(t *testing.T, body []byte) (points []point) {
	var step uint64
	fields(t, body, func(n protowire.Number, v uint64, bytes []byte) {
		switch n {
		case eventStep:
			step = v
		case eventSessionLog:
			points = append(points, point{Step: step, Tag: "start"})
		case eventSummary:
			fields(t, bytes, func(_ protowire.Number, _ uint64, value []byte) {
				p := point{Step: step}
				fields(t, value, func(n protowire.Number, v uint64, bytes []byte) {
					if n == valueTag {
						p.Tag = string(bytes)
					} else {
						p.Value = math.Float32frombits(uint32(v))
					}
				})
				points = append(points, p)
			})
		}
	})
	return points
}

// The check value of CRC-32C is that of "123456789" in RFC 3720 and everywhere else; the mask
// is the format's.
func TestSumsAreMaskedCRC32C(t *testing.T) {
	check := uint32(0xe3069283)
	assert.Equal(t, (check>>15|check<<17)+0xa282ead8, masked([]byte("123456789")))
}

// write makes a run that is interrupted after step 3 and goes on after step 2.
func write(t *testing.T, dir string) {
	at := time.Unix(1700000000, 0)
	now := func() time.Time { at = at.Add(time.Second); return at }
	w, err := create(dir, 0, now)
	require.NoError(t, err)
	for step := 1; step <= 3; step++ {
		require.NoError(t, w.Scalars(step, map[string]float64{"loss": 1 / float64(step), "test/accuracy": 0.25 * float64(step)}))
	}
	require.NoError(t, w.Close())
	w, err = create(dir, 3, now)
	require.NoError(t, err)
	require.NoError(t, w.Scalars(3, map[string]float64{"loss": 7}))
	require.NoError(t, w.Close())
}

func TestEventsHoldTheScalarsOfEachStep(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made")
	write(t, dir)
	assert.Equal(t, []point{
		{0, "start", 0}, {1, "loss", 1}, {1, "test/accuracy", 0.25}, {2, "loss", 0.5}, {2, "test/accuracy", 0.5},
		{3, "loss", float32(1. / 3)}, {3, "test/accuracy", 0.75},
		{3, "start", 0}, {3, "loss", 7},
	}, read(t, dir))
}

// accumulate prints what TensorBoard itself reads.
const accumulate = `
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
a = EventAccumulator(sys.argv[1])
a.Reload()
print(json.dumps({t: [[e.step, e.value] for e in a.Scalars(t)] for t in a.Tags()["scalars"]}))
`

// TestTensorBoardReadsTheEvents needs $WARM_TENSORBOARD, a Python that has tensorboard.
func TestTensorBoardReadsTheEvents(t *testing.T) {
	python := os.Getenv("WARM_TENSORBOARD")
	if python == "" {
		t.Skip("WARM_TENSORBOARD names no Python with tensorboard")
	}
	dir := t.TempDir()
	write(t, dir)
	cmd := exec.Command(python, "-c", accumulate, dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	var got map[string][][2]float64
	require.NoError(t, json.Unmarshal(out, &got))
	assert.Equal(t, map[string][][2]float64{
		"loss":          {{1, 1}, {2, 0.5}, {3, 7}}, // step 3 was made again
		"test/accuracy": {{1, 0.25}, {2, 0.5}},      // and not measured on
	}, got)
}
