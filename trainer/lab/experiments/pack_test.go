package experiments

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"flag"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/trainer/lab"
)

var (
	update = flag.String("update", "", "publish the results of the lab in this `directory`, or again those published in it")
	into   = flag.String("into", "", "under this `name` below docs/lab; there itself without one")
)

// packed are the results that were published, without their findings, which the report
// and the figures show: zstd of one line of JSON, an array of results in which
// {"rewards":N,"like":K} stands for N rewards, and behind it these, in steps and as differences
// from those that came K lists of N before, 0 for none: the lowest byte of each, then the next
// ones. Bytes of one meaning compress better than base64, members are like each other, and
// averages more so.
const packed = "results.zst"

// steps to one: rewards are published in whole ones, where members differ by tenths. What is
// published is computed of these. Of a model by itself no pair is judged otherwise: none becomes a
// tie, which would be wrong, and no margin 0. The mean of an ensemble may fall to the other side.
const steps = 256

// near are how many lists of rewards a list may be like.
const near = 12

// inSteps are rewards of 4 bytes each.
func inSteps(b []byte) (out []int32) {
	for ; len(b) > 0; b = b[4:] {
		v := float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
		q := math.Round(v * steps)
		if q == 0 && v != 0 {
			q = math.Copysign(1, v)
		}
		out = append(out, int32(q))
	}
	return out
}

// ofSteps are the bytes of rewards again.
func ofSteps(q []int32) (out []byte) {
	for _, v := range q {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(float32(v)/steps))
	}
	return out
}

// pairsInSteps are both rewards of pairs, a step apart at least where they are not equal.
func pairsInSteps(a, b []byte) (x, y []int32) {
	x, y = inSteps(a), inSteps(b)
	for i := range x {
		if u, v := math.Float32frombits(binary.LittleEndian.Uint32(a[4*i:])), math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:])); x[i] != y[i] {
			continue
		} else if u > v {
			x[i]++
		} else if v > u {
			y[i]++
		}
	}
	return x, y
}

// lists are lists of rewards by their lengths, as far as others may be like them.
type lists map[int][][]int32

// at is the list that came so many before one of n; zeros where that is 0.
func (l lists) at(n, before int) []int32 {
	if before == 0 {
		return make([]int32, n)
	}
	return l[n][len(l[n])-before]
}

func (l lists) add(q []int32) {
	of := append(l[len(q)], q)
	l[len(q)] = of[max(0, len(of)-near):]
}

// like is how many lists before q that is which differs the least from it, and by how much.
func (l lists) like(q []int32) (before int, by []uint32) {
	least := math.Inf(1)
	for k := range len(l[len(q)]) + 1 {
		var some []uint32
		bits := 0.0
		for i, v := range l.at(len(q), k) {
			d := q[i] - v
			some = append(some, uint32(d<<1^d>>31))
			bits += math.Log2(1 + math.Abs(float64(d)))
		}
		if bits < least {
			least, before, by = bits, k, some
		}
	}
	return before, by
}

// roundedAll rounds all rewards of a JSON value.
func roundedAll(v any) any {
	return mapJSON(v, func(v any) (any, bool) {
		if b, ok := rewardsOf(v); ok {
			return base64.StdEncoding.EncodeToString(ofSteps(inSteps(b))), true
		}
		both, _ := v.(map[string]any)
		a, first := rewardsOf(both["chosen"])
		b, second := rewardsOf(both["rejected"])
		if !first || !second || len(both) != 2 || len(a) != len(b) {
			return nil, false
		}
		x, y := pairsInSteps(a, b)
		return map[string]any{"chosen": base64.StdEncoding.EncodeToString(ofSteps(x)), "rejected": base64.StdEncoding.EncodeToString(ofSteps(y))}, true
	})
}

// pack makes results small, and rounds them.
func pack(t *testing.T, results []*lab.Result) []byte {
	var planes [4][]byte
	before := lists{}
	take := func(b []byte) any {
		q := inSteps(b)
		k, differences := before.like(q)
		before.add(q)
		for _, d := range differences {
			for i := range planes {
				planes[i] = append(planes[i], byte(d>>(8*i)))
			}
		}
		return map[string]any{"rewards": len(q), "like": k}
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
	text, planes, _ := bytes.Cut(content, []byte("\n"))
	n, at, before := len(planes)/4, 0, lists{}
	dir, err := os.MkdirTemp("", "published")
	require.NoError(t, err)
	unpacked[key] = dir
	for _, v := range decoded(t, text).([]any) {
		v = mapMarks(v, func(length, like int) string {
			q := slices.Clone(before.at(length, like))
			for i := range q {
				var d uint32
				for k := range 4 {
					d |= uint32(planes[k*n+at+i]) << (8 * k)
				}
				q[i] += int32(d>>1) ^ -int32(d&1)
			}
			at += length
			before.add(q)
			return base64.StdEncoding.EncodeToString(ofSteps(q))
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
func mapMarks(v any, f func(length, like int) string) any {
	return mapJSON(v, func(v any) (any, bool) {
		object, _ := v.(map[string]any)
		number, ok := object["rewards"].(json.Number)
		other, likes := object["like"].(json.Number)
		length, err := number.Int64()
		like, wrong := other.Int64()
		if !ok || !likes || err != nil || wrong != nil || len(object) != 2 {
			return nil, false
		}
		return f(int(length), int(like)), true
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
// of another base. Experiments that it has no result of stay as they are; after the analysis has changed,
// -update docs/lab writes all of them again.
func TestPublish(t *testing.T) {
	if *update == "" {
		t.Skip("-update names no lab to publish")
	}
	dir := filepath.Join(published, *into)
	require.NoError(t, os.MkdirAll(dir, 0o755))
	from := []string{*update}
	if _, err := os.Stat(filepath.Join(dir, packed)); err == nil {
		from = append(from, readPublished(t, dir))
	}
	var results []*lab.Result
	for _, e := range All() {
		for _, one := range from {
			if r, err := lab.ReadResult(one, e.Name); err == nil {
				results = append(results, r)
				break
			}
		}
	}
	require.NotEmpty(t, results)
	content := pack(t, results)
	report, err := lab.NewReport(unpack(t, content), All())
	require.NoError(t, err)
	for i, r := range results {
		e := All()[slices.IndexFunc(All(), func(e *lab.Experiment) bool { return e.Name == r.Experiment })]
		exact, _, err := r.Recompute(e)
		require.NoError(t, err)
		assert.Equal(t, outcomes(exact), outcomes(report.Parts[i].Findings), "%s: rounding changes a verdict", r.Experiment)
	}
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

// outcomes are whether the claims of findings were seen.
func outcomes(f *lab.Findings) (out []string) {
	for _, v := range f.Verdicts {
		out = append(out, v.Claim+": "+string(v.Seen))
	}
	return out
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
