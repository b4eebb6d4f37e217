package dialect

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/warmserve/warmserve/api"
)

// The fields by which NeMo Gym numbers what it asks for, and leaves it out.
const (
	gymTask    = "_ng_task_index"
	gymRollout = "_ng_rollout_index"
	gymMask    = "mask_sample"
)

// GymRollouts is the body of NeMo Gym's /aggregate_metrics: rollouts as /verify
// answered them, stripped.
type GymRollouts struct {
	list []gymNumbers
}

// gymNumbers is what of a rollout is counted: its own numbers, truth values
// among them as 0 and 1, and those of its response's usage.
type gymNumbers struct {
	task, rollout float64
	masked        bool // its reward measures nothing
	own, usage    map[string]float64
}

// DecodeGymRollouts reads the body of /aggregate_metrics.
func DecodeGymRollouts(body []byte) (*GymRollouts, error) {
	var r struct {
		Rollouts jsontext.Value `json:"verify_responses"`
	}
	if err := api.DecodeLenient(api.NullNonFinite(body), &r); err != nil {
		return nil, err
	}
	const param = "verify_responses"
	if !given(r.Rollouts) {
		return nil, api.Errorf(api.CodeMissingField, param, "%s is missing", param)
	}
	var rows []jsontext.Value
	if err := read(r.Rollouts, param, &rows); err != nil {
		return nil, err
	}
	out := &GymRollouts{}
	for i, v := range rows {
		at := fmt.Sprintf("%s[%d]", param, i)
		if !given(v) {
			return nil, api.Errorf(api.CodeInvalidValue, at, "null, want an object")
		}
		var row api.Fields
		if err := read(v, at, &row); err != nil {
			return nil, err
		}
		n := gymNumbers{own: numbers(row)}
		n.task, n.rollout, n.masked = n.own[gymTask], n.own[gymRollout], n.own[gymMask] != 0
		maps.DeleteFunc(n.own, func(name string,
			_ float64) bool {
			return name == gymMask || strings.HasPrefix(name, "_")
		})
		var response struct {
			Usage api.Fields `json:"usage"`
		}
		if v := row.Get("response"); given(v) && v.Kind() == '{' && read(v, "", &response) == nil {
			n.usage = numbers(response.Usage)
		}
		out.list = append(out.list, n)
	}
	return out, nil
}

func numbers(fields api.Fields) map[string]float64 {
	out := map[string]float64{}
	for _, f := range fields {
		switch f.Value.Kind() {
		case 't':
			out[f.Name] = 1
		case 'f':
			out[f.Name] = 0
		case '0':
			var v float64
			if read(f.Value, "", &v) == nil {
				out[f.Name] = v
			}
		}
	}
	return out
}

// GymMetrics is the reply.
type GymMetrics struct {
	Tasks []map[string]any   `json:"group_level_metrics"`
	All   map[string]float64 `json:"agent_metrics"`
	Key   map[string]float64 `json:"key_metrics"` // the means, and what they are of where rollouts are masked
}

// What rollouts take in bytes until the reply is written of them, where each is of a task of its
// own and has names of its own: itself, and each of its numbers, which there are five
// statistics of for the task and five for all.
const (
	gymRolloutSize = 2560
	gymNumberSize  = 1600
	gymNameSize    = 24 // of a byte of a number's name, as JSON writes it
)

// Size bounds what the rollouts, their metrics and the reply take, in bytes.
func (g *GymRollouts) Size() int64 {
	size := int64(0)
	for _, n := range g.list {
		size += gymRolloutSize
		for _, of := range []map[string]float64{n.own, n.usage} {
			for name := range of {
				size += gymNumberSize + gymNameSize*int64(quotedSize(name))
			}
		}
	}
	return size
}

// quotedSize bounds the length of a string in JSON.
func quotedSize(s string) int {
	n := len(s)
	for i := range len(s) {
		if s[i] < ' ' {
			n += len(`\u0000`) - 1
		} else if s[i] == '"' || s[i] == '\\' {
			n++
		}
	}
	return n
}

// Metrics computes what NeMo Gym's RewardProfiler does of any environment: mean,
// max, min, median and sample standard deviation of every number, for each task
// and of all rollouts but the masked ones. Its statistics across repeats are left out.
func (g *GymRollouts) Metrics() GymMetrics {
	var measured []gymNumbers
	tasks, all, repeats := map[float64][]gymNumbers{}, map[float64]bool{}, map[float64]bool{}
	for _, n := range g.list {
		all[n.task], repeats[n.rollout] = true, true
		if !n.masked {
			measured = append(measured, n)
			tasks[n.task] = append(tasks[n.task], n)
		}
	}
	out := GymMetrics{Tasks: []map[string]any{}, All: describe(measured), Key: map[string]float64{}}
	if len(measured) > 0 {
		out.All["num_repeats"] = float64(len(repeats))
	}
	if masked := len(g.list) - len(measured); masked > 0 {
		maps.Copy(out.All, map[string]float64{
			"coverage/measured_rollouts": float64(len(measured)), "coverage/masked_rollouts": float64(masked),
			"coverage/measured_tasks":     float64(len(tasks)),
			"coverage/fully_masked_tasks": float64(len(all) - len(tasks)),
		})
	}
	for name, v := range out.All {
		if strings.HasPrefix(name, "mean/") || strings.HasPrefix(name, "coverage/") {
			out.Key[name] = v
		}
	}
	for _, task := range slices.Sorted(maps.Keys(tasks)) {
		rollouts := tasks[task]
		slices.SortStableFunc(rollouts,
			func(a, b gymNumbers) int { return cmp.Compare(a.rollout, b.rollout) })
		m := map[string]any{
			gymTask: task, "num_rollouts": len(rollouts), "expected_num_rollouts": len(rollouts),
			"missing_num_rollouts":          0,
			"reward_profile_completion_pct": 100.0,
			"sample":                        map[string]any{"agent_ref": map[string]string{"name": "agent"}},
		}
		for name, v := range describe(rollouts) {
			m[name] = v
		}
		var infos []map[string]any
		for _, n := range rollouts {
			infos = append(infos, n.info())
		}
		m["rollout_infos"] = infos
		out.Tasks = append(out.Tasks, m)
	}
	return out
}

// info lists the numbers of one rollout, its own before those of its usage.
func (n *gymNumbers) info() map[string]any {
	out := map[string]any{"rollout_id": pair(n.task, n.rollout), gymTask: n.task, gymRollout: n.rollout}
	for _, from := range []map[string]float64{n.usage, n.own} {
		for name, v := range from {
			out[name] = v
		}
	}
	return out
}

// pair names a rollout by its indices.
func pair(task, rollout float64) string {
	text := func(f float64) string {
		b, _ := api.Encode(f) // finite: it was read from JSON
		return string(b)
	}
	return text(task) + ":" + text(rollout)
}

// describe names the statistics of every number of the rollouts that have it. A
// standard deviation of one value is left out, and 0 where all are.
func describe(rollouts []gymNumbers) map[string]float64 {
	columns := map[string][]float64{}
	for _, n := range rollouts {
		row := maps.Clone(n.own)
		maps.Copy(row, n.usage)
		for name, v := range row {
			columns[name] = append(columns[name], v)
		}
	}
	out := map[string]float64{}
	spread := false
	for name, values := range columns {
		slices.Sort(values)
		count := len(values)
		sum := 0.0
		for _, v := range values {
			sum += v
		}
		mean := sum / float64(count)
		out["mean/"+name], out["min/"+name], out["max/"+name] = mean, values[0], values[count-1]
		out["median/"+name] = values[(count-1)/2]/2 + values[count/2]/2
		if count == 1 {
			continue
		}
		squares := 0.0
		for _, v := range values {
			squares += (v - mean) * (v - mean)
		}
		spread = true
		out["std/"+name] = math.Sqrt(squares / float64(count-1))
	}
	if !spread {
		for name, values := range columns {
			if len(values) == len(rollouts) {
				out["std/"+name] = 0
			}
		}
	}
	for name, v := range out {
		if math.IsInf(v, 0) || math.IsNaN(v) {
			delete(out, name) // of values near the end of float64's range
		}
	}
	return out
}
