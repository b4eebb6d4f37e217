package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/experiments"
)

func TestLabSaysWhatItWants(t *testing.T) {
	data, base := shared(t, "data"), trainable(t)
	empty := t.TempDir()
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no data":                     {[]string{"all", "--out", empty}, "ukp/strict.jsonl.zst"},
		"a directory without data":    {[]string{"all", "--out", empty, "--data", empty}, "UKPConvArg1"},
		"an unknown size":             {[]string{"connectivity", "--size", "huge", "--data", data}, `size "huge"`},
		"an argument":                 {[]string{"all", "now"}, "lab all takes flags alone"},
		"a task that is not there":    {[]string{"bon", "--size", "tiny", "--base", base, "--data", data, "--out", empty, "--task", "999"}, "want 1 to"},
		"a negative task":             {[]string{"bon", "--size", "tiny", "--base", base, "--data", data, "--out", empty, "--task", "-1"}, "want 1 or more"},
		"a policy where none answers": {[]string{"corruption", "--policy", base, "--data", data, "--out", empty}, "--policy has no effect in an experiment without a policy"},
		"a flag of another command":   {[]string{"report", "--size", "small"}, "unknown flag"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, log := command(t, "", append([]string{"lab"}, c.args...)...)
			assert.Equal(t, exitUsage, code)
			assert.Contains(t, log, c.want)
		})
	}
	code, _, log := command(t, "", "lab", "report", "--out", empty)
	assert.Equal(t, exitFailure, code)
	assert.Contains(t, log, "no experiment has a result")
}

func TestLabHelpTeachesEveryExperiment(t *testing.T) {
	code, help, _ := command(t, "", "lab", "--help")
	require.Equal(t, exitOK, code)
	for _, e := range experiments.All() {
		assert.Contains(t, help, "\n"+e.Name+" ")
		code, one, _ := command(t, "", "lab", e.Name, "--help")
		require.Equal(t, exitOK, code)
		assert.Contains(t, strings.Join(strings.Fields(one), " "), e.Question)
	}
}

// lastTask matches the line of a list that counts the experiments.
var lastTask = regexp.MustCompile(`(?m)^tasks (\d+) to (\d+) measure`)

func TestLabListsItsTasksAndTrainsOne(t *testing.T) {
	args := []string{"lab", "connectivity", "--size", "tiny", "--base", trainable(t), "--data", shared(t, "data"), "--out", t.TempDir()}
	code, list, log := command(t, "", append(args, "--list")...)
	require.Equal(t, exitOK, code, log)
	assert.Contains(t, list, "measure connectivity")
	require.Regexp(t, lastTask, list)
	lines := strings.Split(list, "\n")
	assert.NotContains(t, lines[1], "done")

	code, _, log = command(t, "", append(args, "--index", "0")...)
	require.Equal(t, exitOK, code, log)
	assert.Contains(t, log, "task 1 of")
	code, list, log = command(t, "", append(args, "--list")...)
	require.Equal(t, exitOK, code, log)
	assert.Contains(t, strings.Split(list, "\n")[1], "done")
}

func TestInterruptedLabSaysHowToGoOn(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var log output
	out := t.TempDir()
	stop := watchedWriter{&log, func(s string) {
		if strings.Contains(s, "member-") {
			cancel()
		}
	}}
	code := run(ctx, []string{"lab", "all", "--size", "tiny", "--base", trainable(t), "--data", shared(t, "data"), "--out", out}, noEnv, strings.NewReader(""), &log, stop)
	assert.Equal(t, exitInterrupted, code)
	assert.Contains(t, log.String(), "run the same again to go on")
	results, err := filepath.Glob(filepath.Join(out, "*.json"))
	require.NoError(t, err)
	assert.Empty(t, results)
}

func TestLabTellsEveryExperimentThatFails(t *testing.T) {
	data := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(data, "ukp"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(data, "ukp", "strict.jsonl.zst"), []byte("not compressed"), 0o644))
	code, _, log := command(t, "", "lab", "all", "--size", "tiny", "--base", trainable(t), "--data", data, "--out", t.TempDir())
	assert.Equal(t, exitFailure, code)
	for _, e := range experiments.All() {
		assert.Contains(t, log, "failed: "+e.Name+": ")
	}
	assert.Contains(t, log, "votes.jsonl.zst", "the file that is missing")
	assert.Contains(t, log, errExperimentsFailed.Error())
}

// watchedWriter calls a function with everything that is written.
type watchedWriter struct {
	*output
	saw func(string)
}

func (w watchedWriter) Write(b []byte) (int, error) {
	w.saw(string(b))
	return w.output.Write(b)
}

func TestLabServesMembersWithTheRealServer(t *testing.T) {
	p := &program{getenv: noEnv, stderr: &output{}}
	serve := p.serveMembers(1)
	members := paradetox(t)[:2]
	rewards := map[string]float32{}
	for _, mode := range []string{"wa", "ens", "member:member-2"} {
		url, stop, err := serve(t.Context(), "proxy", members, mode)
		require.NoError(t, err)
		s := &instance{url: url}
		code, r := s.post(t, map[string]any{"model": "proxy", "inputs": []any{map[string]string{"text": "you are very kind"}}})
		assert.Equal(t, http.StatusOK, code)
		if assert.Len(t, r.Data, 1) {
			rewards[mode] = r.Data[0].Reward
		}
		require.NoError(t, stop())
		_, err = http.Get(url + "/readyz")
		assert.Error(t, err, "the server is gone")
	}
	assert.NotEqual(t, rewards["wa"], rewards["member:member-2"])
	_, _, err := serve(t.Context(), "proxy", []string{t.TempDir()}, "wa")
	assert.Error(t, err)
}

// TestLabMeasuresWhatServingCosts: an ensemble of two takes the memory of two, whatever the times are.
func TestLabMeasuresWhatServingCosts(t *testing.T) {
	out := t.TempDir()
	code, said, log := command(t, "", "lab", "cost", "--size", "tiny", "--base", trainable(t), "--data", shared(t, "data"), "--out", out)
	require.Equal(t, exitOK, code, log)
	assert.Regexp(t, `(?m)^  Served, M = 2, float32\n    WA\n        tokens/s: \d+; memory`, said, "what claims nothing says what it measured")
	r, err := lab.ReadResult(out, "cost")
	require.NoError(t, err)
	rows := r.Findings.Tables[0].Rows
	require.Len(t, rows, 3)
	for i, memory := range []string{"1.00", "2.00", "1.00"} { // WA, ENS, a member alone
		assert.Regexp(t, `^\d+\.\d\d \[\d.*\] times as long, `+memory+` times the memory; \d+ tokens/s for \d+$`, rows[i][3], rows[i][0])
	}
}

func TestLabProgressInALog(t *testing.T) {
	var b bytes.Buffer
	one, two := &lab.Experiment{Name: "one", Minutes: 10}, &lab.Experiment{Name: "two", Minutes: 5}
	g := newLabProgress(&b, []*lab.Experiment{one, two}, lab.Small)
	now := time.Unix(0, 0)
	g.now = func() time.Time { return now }
	g.begun = now
	g.begin(one)
	assert.Equal(t, "experiment 1 of 2, one: about 15 minutes left in all\n", b.String())
	b.Reset()
	for step := range 61 { // one a second
		now = now.Add(time.Second)
		g.tell(lab.Progress{What: "c: member-1", Done: step, Of: 120})
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	assert.Equal(t, []string{
		"one, 1s: c: member-1: 0 of 120", "one, 16s: c: member-1: 15 of 120, 1m45s left", "one, 31s: c: member-1: 30 of 120, 1m30s left",
		"one, 46s: c: member-1: 45 of 120, 1m15s left", "one, 1m1s: c: member-1: 60 of 120, 1m0s left"}, lines)
	b.Reset()
	now = time.Unix(0, 0).Add(20 * time.Minute) // half as fast as expected
	g.begin(two)
	assert.Equal(t, "experiment 2 of 2, two: about 10 minutes left in all\n", b.String())
	now = now.Add(9 * time.Minute)
	assert.Equal(t, "experiment 2 of 2, two: about a minute left in all", g.total())
	now = now.Add(-9 * time.Minute)
	b.Reset()
	g.tell(lab.Progress{What: "found", Done: 3, Of: 3})
	g.tell(lab.Progress{Message: "a word"})
	assert.Equal(t, "a word\n", b.String(), "what was done before is not told")
}

// TestEveryLoopOfTheLabEnds sees that what an experiment goes through leaves no bar behind,
// and that what it found is told as JSON.
func TestEveryLoopOfTheLabEnds(t *testing.T) {
	d, s := onScreen(80)
	g := &labProgress{d: d, now: time.Now, current: -1}
	l := &lab.Lab{Progress: g.tell}
	for range 2 {
		for i := range lab.Through(l, "walking", []int{1, 2, 3}) {
			assert.Len(t, s.rows, 1, "%q", s.rows)
			assert.Contains(t, s.rows[0], fmt.Sprintf("walking: %d of 3", i))
		}
		assert.Empty(t, s.rows)
	}
	for range lab.Through(l, "broken off", []int{1, 2, 3}) {
		break
	}
	assert.Empty(t, s.rows)
	for range lab.Through(l, "nothing", []int{}) {
		t.Fail()
	}
	l.Tell("what fails", 3, 10)
	assert.Len(t, s.rows, 1)
	l.Ended("what fails")
	assert.Empty(t, s.rows, "not done, and yet no more under way")
	l.Ended("what fails")

	var out bytes.Buffer
	p := &program{stdout: &out}
	x := &lab.Result{Experiment: "x", Findings: &lab.Findings{Verdicts: []lab.Verdict{{Claim: "c", Seen: lab.Unclear}}}}
	require.NoError(t, p.printVerdicts(x, true))
	var v verdictsOf
	require.NoError(t, json.Unmarshal(out.Bytes(), &v))
	assert.Equal(t, lab.Unclear, v.Verdicts[0].Seen)
	out.Reset()
	require.NoError(t, p.printVerdicts(&lab.Result{Title: "T", Findings: &lab.Findings{Verdicts: []lab.Verdict{{Claim: "c", Source: "s", Seen: lab.Unclear, Figures: "f"}}}}, false))
	_, gone := io.Pipe()
	require.NoError(t, gone.Close())
	assert.ErrorIs(t, (&program{stdout: gone}).printVerdicts(x, true), io.ErrClosedPipe, "who reads no more is told")
	assert.Equal(t, "T (0 s of measuring)\n  unclear       c (s)\n                f\n", out.String())
}

// TestTheSlurmScriptSubmitsEveryTaskOnce runs the script with an sbatch that runs the
// jobs at once, and a warm that notes how it was called.
func TestTheSlurmScriptSubmitsEveryTaskOnce(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a shell script")
	}
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte("#!"+bash+"\n"+text), 0o755))
		return path
	}
	write("sbatch", `echo "$@" >> "$CALLS.sbatch"
for last; do :; done
for a; do case $a in --array=*) range=${a#--array=}; range=${range%\%1};; esac; done
if [ -z "${range:-}" ]; then bash "$last"; else for i in $(seq ${range/-/ }); do SLURM_ARRAY_TASK_ID=$i bash "$last"; done; fi
echo 7
`)
	var list bytes.Buffer
	p := &program{stdout: &list}
	p.listTasks([]lab.Task{{Name: "a: member-1"}, {Name: "a: member-2"}, {Name: "measure x", Measures: true}}, 1)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "list"), list.Bytes(), 0o644))
	warm := write("warm", `case "$*" in *--list*) cat "$(dirname "$0")/list";; *) echo "$@" >> "$CALLS";; esac
`)
	cmd := exec.Command(bash, filepath.Join("..", "..", "deploy", "lab", "slurm.sh"), "--partition=cpu")
	calls := filepath.Join(dir, "calls")
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "WARM="+warm, "WARM_DATA=/data", "LAB=/lab", "CALLS="+calls, "SLURM_CPUS_PER_TASK=4")
	text, err := cmd.CombinedOutput()
	require.NoError(t, err, string(text))
	did, err := os.ReadFile(calls)
	require.NoError(t, err)
	one := "lab all --size paper --base embedded: --out /lab --task "
	assert.Equal(t, []string{one + "1 --workers 4", one + "2 --workers 4", one + "3 --workers 4", "lab report --out /lab"}, strings.Split(strings.TrimSpace(string(did)), "\n"))
	submitted, err := os.ReadFile(calls + ".sbatch")
	require.NoError(t, err)
	assert.Contains(t, string(submitted), "--array=1-2 --partition=cpu")
	assert.Contains(t, string(submitted), "--array=3-3%1 --dependency=afterok:7")
}

func TestLabSaysWhatALargeRunTakes(t *testing.T) {
	e := lab.Estimate{Members: 48, Left: 12, Tokens: 15_432_100, Time: 90 * time.Minute}
	assert.Equal(t, "size standard: 48 members, 12 of them to train, 15.4 million tokens: about 1h30m0s of one worker at the speed measured now, 45m0s of all; what is measured comes on top",
		costWords(lab.Standard, e, 2))
	assert.Equal(t, "size paper: all 3 members are trained; policies write 2.3 million tokens at most: about 50m0s of all, with what is learned from them; what is measured comes on top",
		costWords(lab.Paper, lab.Estimate{Members: 3, PolicyTokens: 2_345_000, PolicyTime: 100 * time.Minute}, 2))
}

// TestTheStandardScriptGoesOnAndStops runs the script with a warm that notes how it was called.
func TestTheStandardScriptGoesOnAndStops(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a shell script")
	}
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "warm"), []byte("#!"+bash+"\necho \"$@\" >> \"$CALLS\"\n[ \"$2\" != \"${ENDS:-}\" ] || exit \"$CODE\"\n"), 0o755))
	run := func(env []string, args ...string) (int, []string) {
		calls := filepath.Join(t.TempDir(), "calls")
		cmd := exec.Command(bash, append([]string{filepath.Join("..", "..", "deploy", "lab", "standard.sh")}, args...)...)
		cmd.Env = append(os.Environ(), append([]string{"WARM=" + filepath.Join(dir, "warm"), "WARM_DATA=/data", "LAB=/lab", "BASES=" + dir, "CALLS=" + calls}, env...)...)
		_, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil {
			require.ErrorAs(t, err, &exit)
		}
		did, _ := os.ReadFile(calls) // none where it was called wrongly
		return cmd.ProcessState.ExitCode(), strings.Split(strings.TrimSpace(string(did)), "\n")
	}
	code, did := run(nil)
	assert.Equal(t, 0, code)
	known := map[string]bool{}
	for _, e := range experiments.All() {
		known[e.Name] = true
	}
	for _, call := range did {
		words := strings.Fields(call)
		assert.True(t, known[words[1]], call)
		assert.Contains(t, call, "--size standard --base "+dir)
	}
	assert.Equal(t, "lab members --size standard --base "+dir+"/minilm-l6 --out /lab/minilm --workers 1", did[0])

	code, did = run([]string{"ENDS=corruption", "CODE=130"}, "minilm/corruption", "minilm/shift")
	assert.Equal(t, 130, code, "what was ended goes on later, and nothing else begins")
	assert.Len(t, did, 1)
	code, did = run([]string{"ENDS=corruption", "CODE=1", "WORKERS=2"}, "minilm/corruption", "smollm2/members")
	assert.Equal(t, 1, code, "a failure stops no other")
	require.Len(t, did, 2)
	assert.Equal(t, "lab members --size standard --base "+dir+"/smollm2-135m-instruct --out /lab/smollm2 --workers 2", did[1])
	code, _ = run(nil, "other/members")
	assert.Equal(t, 2, code)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "minilm-l6", "1_Pooling"), 0o755))
	code, _ = run(nil, "minilm/members")
	assert.Equal(t, 2, code)
}

func TestLabPrintsTheSummaryOfSeveralBases(t *testing.T) {
	code, page, log := command(t, "", "lab", "report", "--summary", "MiniLM="+t.TempDir(), "--summary", "SmolLM2=nowhere")
	require.Equal(t, exitOK, code, log)
	assert.Contains(t, page, "## MiniLM\n\nNo experiment has a result yet.\n")
	assert.Contains(t, page, "## SmolLM2\n")
	assert.Contains(t, page, "| 79.4 % | – | not run |")
	code, _, log = command(t, "", "lab", "report", "--summary", "MiniLM")
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, log, "want NAME=DIR")
}
