package experiments

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/trainer/lab"
)

var (
	update = flag.String("update", "", "publish the results of the lab in this `directory`, or again those published in it")
	into   = flag.String("into", "", "under this `name` below docs/lab; there itself without one")
)

// packed are the results that were published, without their findings, which the report
// and the figures show: zstd of one line of JSON, an array of results in which
// {"rewards":N} stands for N float32, and behind it these floats, the most significant
// byte of each, then the next ones. Bytes of one meaning compress better than base64.
const packed = "results.zst"

// roundedBits are the last bits of a float32 that are not published: 11 significant ones
// remain, where members differ by tenths. What is published is computed of these. Two rewards of
// a pair that this would make equal keep their bits: a tie is wrong, and averages, of which margins
// are measured, have none.
const roundedBits = 13

// rounded are rewards, of 4 bytes each, without their last bits.
func rounded(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for ; len(b) > 0; b = b[4:] {
		v := binary.LittleEndian.Uint32(b)
		out = binary.LittleEndian.AppendUint32(out, (v+1<<(roundedBits-1))>>roundedBits<<roundedBits)
	}
	return out
}

// roundedPairs are both rewards of pairs, rounded where they stay apart.
func roundedPairs(a, b []byte) (x, y []byte) {
	x, y = rounded(a), rounded(b)
	for i := 0; i < len(a); i += 4 {
		if bytes.Equal(x[i:i+4], y[i:i+4]) {
			copy(x[i:i+4], a[i:i+4])
			copy(y[i:i+4], b[i:i+4])
		}
	}
	return x, y
}

// roundedAll rounds all rewards of a JSON value.
func roundedAll(v any) any {
	return mapJSON(v, func(v any) (any, bool) {
		if b, ok := rewardsOf(v); ok {
			return base64.StdEncoding.EncodeToString(rounded(b)), true
		}
		both, _ := v.(map[string]any)
		a, first := rewardsOf(both["chosen"])
		b, second := rewardsOf(both["rejected"])
		if !first || !second || len(both) != 2 || len(a) != len(b) {
			return nil, false
		}
		a, b = roundedPairs(a, b)
		return map[string]any{"chosen": base64.StdEncoding.EncodeToString(a), "rejected": base64.StdEncoding.EncodeToString(b)}, true
	})
}

// pack makes results small, and rounds them.
func pack(t *testing.T, results []*lab.Result) []byte {
	var planes [4][]byte
	take := func(b []byte) any {
		for i := range b {
			planes[3-i%4] = append(planes[3-i%4], b[i])
		}
		return map[string]any{"rewards": len(b) / 4}
	}
	var all []any
	for _, r := range results {
		bare := *r
		bare.Findings = nil
		text, err := json.Marshal(&bare)
		require.NoError(t, err)
		all = append(all, mapRewards(roundedAll(decoded(t, text)), take))
	}
	text, err := json.Marshal(all)
	require.NoError(t, err)
	w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	require.NoError(t, err)
	return w.EncodeAll(slices.Concat(text, []byte("\n"), planes[0], planes[1], planes[2], planes[3]), nil)
}

// unpacked are the directories of what was unpacked, which takes seconds, by its hash.
var unpacked = map[[sha256.Size]byte]string{}

func TestMain(m *testing.M) {
	code := m.Run()
	for _, dir := range unpacked {
		_ = os.RemoveAll(dir) // of no use to anybody
	}
	os.Exit(code)
}

// unpack writes packed results as a lab does, with the findings of their measurements,
// and returns their directory, which is only read.
func unpack(t *testing.T, content []byte) string {
	key := sha256.Sum256(content)
	if dir, ok := unpacked[key]; ok {
		return dir
	}
	r, err := zstd.NewReader(nil)
	require.NoError(t, err)
	defer r.Close()
	content, err = r.DecodeAll(content, nil)
	require.NoError(t, err)
	text, floats, _ := bytes.Cut(content, []byte("\n"))
	n, at := len(floats)/4, 0
	dir, err := os.MkdirTemp("", "published")
	require.NoError(t, err)
	unpacked[key] = dir
	for _, v := range decoded(t, text).([]any) {
		v = mapMarks(v, func(length int) string {
			b := make([]byte, 4*length)
			for i := range b {
				b[i] = floats[(3-i%4)*n+at+i/4]
			}
			at += length
			return base64.StdEncoding.EncodeToString(b)
		})
		text, err := json.Marshal(v)
		require.NoError(t, err)
		var r lab.Result
		require.NoError(t, json.Unmarshal(text, &r))
		e := All()[slices.IndexFunc(All(), func(e *lab.Experiment) bool { return e.Name == r.Experiment })]
		r.Findings, err = e.Analyse(r.Measured)
		require.NoError(t, err)
		text, err = json.Marshal(&r)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, r.Experiment+".json"), text, 0o644))
	}
	return dir
}

// decoded is a JSON value whose numbers keep their digits.
func decoded(t *testing.T, text []byte) (v any) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	require.NoError(t, d.Decode(&v))
	return v
}

// mapRewards replaces all rewards of a JSON value, in the order of keys.
func mapRewards(v any, f func(b []byte) any) any {
	return mapJSON(v, func(v any) (any, bool) {
		b, ok := rewardsOf(v)
		if !ok {
			return nil, false
		}
		return f(b), true
	})
}

// rewardsOf are the bytes of a JSON value that holds rewards.
func rewardsOf(v any) (b []byte, ok bool) {
	text, ok := v.(string)
	b, err := base64.StdEncoding.DecodeString(text)
	return b, ok && err == nil && len(b) >= 16 && len(b)%4 == 0 // a word of eight letters is no reward
}

// mapMarks replaces what pack left in the place of rewards, in the same order.
func mapMarks(v any, f func(length int) string) any {
	return mapJSON(v, func(v any) (any, bool) {
		object, _ := v.(map[string]any)
		number, ok := object["rewards"].(json.Number)
		length, err := number.Int64()
		if !ok || err != nil || len(object) != 1 {
			return nil, false
		}
		return f(int(length)), true
	})
}

// mapJSON replaces values of a JSON value for which f has another.
func mapJSON(v any, f func(any) (any, bool)) any {
	if other, ok := f(v); ok {
		return other
	}
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			v[k] = mapJSON(v[k], f)
		}
	case []any:
		for i := range v {
			v[i] = mapJSON(v[i], f)
		}
	}
	return v
}

// TestPublish writes what is published of a lab: go test -run TestPublish$ -update DIR, with -into minilm for that
// of another base. After the analysis has changed, -update docs/lab writes what is published again.
func TestPublish(t *testing.T) {
	if *update == "" {
		t.Skip("-update names no lab to publish")
	}
	from := *update
	if _, err := os.Stat(filepath.Join(from, packed)); err == nil { // today's analysis of what was published
		from = readPublished(t, from)
	}
	report, err := lab.NewReport(from, All())
	require.NoError(t, err)
	var results []*lab.Result
	for _, p := range report.Parts {
		results = append(results, p.Result)
	}
	content := pack(t, results)
	report, err = lab.NewReport(unpack(t, content), All())
	require.NoError(t, err)
	dir := filepath.Join(published, *into)
	require.NoError(t, os.MkdirAll(dir, 0o755))
	write := func(name string, content []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o644))
	}
	for _, p := range report.Parts {
		for name, image := range figures(t, p) {
			write(name, image)
		}
	}
	write("report.md", report.Markdown())
	write(packed, content)
	require.NoError(t, os.WriteFile(filepath.Join(published, "README.md"), publishedSummary(t), 0o644))
}

// figures are the figures of a part of a report, by the names of their files.
func figures(t *testing.T, p lab.Part) map[string][]byte {
	out := map[string][]byte{}
	for i := range p.Findings.Figures {
		f := &p.Findings.Figures[i]
		image, err := f.Draw("svg")
		require.NoError(t, err)
		out[p.Experiment+"-"+f.Name+".svg"] = image
	}
	return out
}
