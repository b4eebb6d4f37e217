package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/eval"
	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/trainer/lab/drawing"
	"github.com/warmserve/warmserve/trainer/rm"
)

// testBase returns a small language model to start from, or skips the test.
func testBase(t testing.TB) string {
	dir := os.Getenv("WARM_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared")
	}
	dir = filepath.Join(dir, "models", "stories260K-hf")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no base model (set WARM_SHARED): %v", err)
	}
	return dir
}

// openTestLab opens a lab in a directory.
func openTestLab(t testing.TB, dir string) *Lab {
	l := &Lab{Dir: dir, Base: testBase(t), Data: t.TempDir(), Size: Tiny, Workers: 2}
	require.NoError(t, l.Open())
	t.Cleanup(l.Close)
	return l
}

// kind are pairs that any model learns: a word decides.
func kind(n int) (out []data.Pair) {
	for i := range n {
		name := string(rune('a' + i%26))
		out = append(out, data.Pair{ID: fmt.Sprint(i), Group: name,
			Chosen: data.Text{Plain: "the " + name + " was happy and kind"}, Rejected: data.Text{Plain: "the " + name + " was angry and mean"}})
	}
	return out
}

// kindness is an experiment that asks whether the average of two members likes kind
// words.
func kindness() *Experiment {
	trainings := func(l *Lab) ([]Training, error) {
		s, err := l.NewSet("kind", kind(60))
		if err != nil {
			return nil, err
		}
		run := rm.Config{Base: l.Base, Train: []string{s.Path}, LR: 1e-3, Batch: 4, Epochs: 1, SaveEvery: 2}
		return []Training{{Name: "kind", Plan: rm.Plan{Run: run, M: 2}}}, nil
	}
	return &Experiment{
		Name: "kindness", Title: "Kindness", Question: "Is it <b>liked</b>?",
		Settings:  func(Size) any { return map[string]int{"pairs": 60} },
		Trainings: trainings,
		Measure: func(ctx context.Context, l *Lab) (any, error) {
			all, err := trainings(l)
			if err != nil {
				return nil, err
			}
			members, err := l.Members(ctx, all[0].Name, all[0].Plan)
			if err != nil {
				return nil, err
			}
			judge, err := l.NewSet("judge", kind(26))
			if err != nil {
				return nil, err
			}
			return l.Score(ctx, Model{Members: members}, judge)
		},
		Analyse: func(measured []byte) (*Findings, error) {
			var s Scored
			if err := json.Unmarshal(measured, &s); err != nil {
				return nil, err
			}
			a, err := Accuracy(s.Margins(), nil)
			if err != nil {
				return nil, err
			}
			return &Findings{
				Verdicts: []Verdict{{Claim: "kind words & <i>deeds</i> are liked", Source: "a test", Seen: Judge(eval.Estimate{Value: a.Value - 0.5, Low: a.Low - 0.5, High: a.High - 0.5}), Figures: a.Percent()}},
				Tables:   []Table{{Name: "accuracy", Title: "Accuracy", Columns: []string{"what", "value"}, Rows: [][]string{{"WA | of 2", a.String()}}}},
				Figures: []drawing.Figure{{Name: "accuracy", Title: "Accuracy <script>", Caption: "M = 2", X: drawing.Axis{Label: "x"}, Y: drawing.Axis{Label: "y"},
					Series: []drawing.Series{{Label: "WA", X: []float64{0}, Y: []float64{a.Value}, Low: []float64{a.Low}, High: []float64{a.High}, Style: "points"}}}},
				Notes: []string{"one base"},
			}, nil
		},
	}
}

// TestTrainingsOfOneMemberLearnSideBySide: the second begins before the first ends.
func TestTrainingsOfOneMemberLearnSideBySide(t *testing.T) {
	l := openTestLab(t, t.TempDir())
	e := kindness()
	e.Trainings = func(l *Lab) (out []Training, err error) {
		s, err := l.NewSet("kind", kind(60))
		if err != nil {
			return nil, err
		}
		for i := range 2 {
			run := rm.Config{Base: l.Base, Train: []string{s.Path}, LR: 1e-3, Batch: 4, Epochs: 1, Seed: uint64(i), SaveEvery: 2}
			out = append(out, Training{Name: fmt.Sprint("alone-", i), Plan: rm.Plan{Run: run, M: 1}})
		}
		return out, nil
	}
	both := make(chan struct{})
	var begun sync.Map
	var n atomic.Int32
	l.Progress = func(p Progress) {
		if _, before := begun.LoadOrStore(p.What, true); p.What != "" && !before && n.Add(1) == 2 {
			close(both)
		}
		if p.What != "" {
			<-both // each waits for the other
		}
	}
	trainings, err := e.Trainings(l)
	require.NoError(t, err)
	_, err = l.train(t.Context(), trainings)
	require.NoError(t, err)
	tasks, err := l.Tasks([]*Experiment{e})
	require.NoError(t, err)
	assert.True(t, tasks[0].Done && tasks[1].Done)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = l.train(ctx, trainings)
	require.NoError(t, err, "nothing is left to do")
	l = openTestLab(t, t.TempDir())
	trainings, err = e.Trainings(l)
	require.NoError(t, err)
	_, err = l.train(ctx, trainings)
	require.ErrorIs(t, err, rm.ErrInterrupted)
}

// withoutSeconds is a result but for the time it took.
func withoutSeconds(t *testing.T, dir, name string) string {
	r, err := ReadResult(dir, name)
	require.NoError(t, err)
	r.Seconds = 0
	text, err := json.Marshal(r)
	require.NoError(t, err)
	return string(text)
}

func TestWhatWasMeasuredBeforeIsFound(t *testing.T) {
	l := openTestLab(t, t.TempDir())
	e := kindness()
	none, err := l.Finished(e)
	require.NoError(t, err)
	assert.Nil(t, none)
	r, err := l.Run(t.Context(), e)
	require.NoError(t, err)
	again, err := l.Finished(e)
	require.NoError(t, err)
	require.NotNil(t, again)
	assert.Equal(t, r.Findings.Verdicts, again.Findings.Verdicts)

	settings := kindness()
	settings.Settings = func(Size) any { return map[string]int{"pairs": 61} }
	other, err := l.Finished(settings)
	require.NoError(t, err)
	assert.Nil(t, other, "other settings")
	analysis := kindness()
	analysis.Analyse = func([]byte) (*Findings, error) { return &Findings{Notes: []string{"others"}}, nil }
	other, err = l.Finished(analysis)
	require.NoError(t, err)
	assert.Nil(t, other, "other findings")
	l.Size = Paper
	other, err = l.Finished(e)
	require.NoError(t, err)
	assert.Nil(t, other, "another size")
	l.Size, l.Control = Tiny, filepath.Join(l.Base, "..", "rm-paradetox-1")
	other, err = l.Finished(e)
	require.NoError(t, err)
	assert.Nil(t, other, "another control")
	l.Control = l.Base
	again, err = l.Finished(e)
	require.NoError(t, err)
	assert.NotNil(t, again)
}

func TestInterruptedRunGoesOnToTheSameResult(t *testing.T) {
	whole, cut := t.TempDir(), t.TempDir()
	_, err := openTestLab(t, whole).Run(t.Context(), kindness())
	require.NoError(t, err)

	l := openTestLab(t, cut)
	for _, steps := range []int{3, 9} {
		ctx, cancel := context.WithCancel(t.Context())
		l.Progress = func(p Progress) {
			if p.Done >= steps {
				cancel()
			}
		}
		_, err = l.Run(ctx, kindness())
		require.ErrorIs(t, err, rm.ErrInterrupted)
		_, err = ReadResult(cut, "kindness")
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
	var mu sync.Mutex
	first := map[string]int{}
	l.Progress = func(p Progress) {
		mu.Lock()
		defer mu.Unlock()
		if _, ok := first[p.What]; !ok {
			first[p.What] = p.Done
		}
	}
	_, err = l.Run(t.Context(), kindness())
	require.NoError(t, err)
	for what, step := range first {
		assert.Greater(t, step, 3, "%s began anew", what)
	}
	assert.Equal(t, withoutSeconds(t, whole, "kindness"), withoutSeconds(t, cut, "kindness"))

	r, err := ReadResult(cut, "kindness")
	require.NoError(t, err)
	assert.Equal(t, Seen, r.Findings.Verdicts[0].Seen)
	assert.Greater(t, r.Seconds, 0.0)
	for _, file := range []string{"kindness-accuracy.svg", "kindness-accuracy.png"} {
		assert.FileExists(t, filepath.Join(cut, file))
	}

	// What was done is known by its contents: a lab may be moved.
	moved := filepath.Join(t.TempDir(), "moved")
	require.NoError(t, os.Rename(cut, moved))
	l = openTestLab(t, moved)
	l.Progress = func(p Progress) { assert.Equal(t, p.Of, p.Done, "%s is trained already", p.What) }
	_, err = l.Run(t.Context(), kindness())
	require.NoError(t, err)
	assert.Equal(t, withoutSeconds(t, whole, "kindness"), withoutSeconds(t, moved, "kindness"))
}

func TestTasksDoWhatTheExperimentDoes(t *testing.T) {
	whole, parts := t.TempDir(), t.TempDir()
	_, err := openTestLab(t, whole).Run(t.Context(), kindness())
	require.NoError(t, err)

	l := openTestLab(t, parts)
	twice := kindness()
	twice.Name = "again"
	tasks, err := l.Tasks([]*Experiment{kindness(), twice})
	require.NoError(t, err)
	require.Len(t, tasks, 4, "two members that both experiments share, and the experiments")
	assert.Equal(t, "kind: member-2", tasks[1].Name)
	assert.Equal(t, []string{"kindness", "again"}, tasks[1].Experiments)
	assert.True(t, tasks[2].Measures && tasks[3].Measures)
	assert.Greater(t, tasks[0].FLOP, 1e8, "60 pairs of a model of 260,000 weights")

	var wg sync.WaitGroup
	for _, i := range []int{1, 0, 0} { // one of them twice: the second waits for the first
		wg.Go(func() {
			// A process of its own.
			l := openTestLab(t, parts)
			_, err := l.RunTask(t.Context(), &tasks[i])
			assert.NoError(t, err)
		})
	}
	wg.Wait()
	tasks, err = l.Tasks([]*Experiment{kindness()})
	require.NoError(t, err)
	assert.True(t, tasks[0].Done && tasks[1].Done)
	l.Progress = func(p Progress) { assert.Equal(t, p.Done, p.Of, "%s is trained already", p.What) }
	r, err := l.RunTask(t.Context(), &tasks[2])
	require.NoError(t, err)
	require.NotNil(t, r)
	assert.Equal(t, withoutSeconds(t, whole, "kindness"), withoutSeconds(t, parts, "kindness"))
	_, err = l.RunTask(t.Context(), &Task{})
	assert.ErrorIs(t, err, errTask)
}

func TestFindingsAreThoseOfTheMeasurements(t *testing.T) {
	l, e := openTestLab(t, t.TempDir()), kindness()
	_, err := l.Run(t.Context(), e)
	require.NoError(t, err)
	r, err := ReadResult(l.Dir, e.Name)
	require.NoError(t, err)
	_, same, err := r.Recompute(e)
	require.NoError(t, err)
	assert.True(t, same)

	// Other measurements, other findings.
	var s Scored
	require.NoError(t, json.Unmarshal(r.Measured, &s))
	s.Chosen, s.Rejected = s.Rejected, s.Chosen
	r.Measured, err = json.Marshal(s)
	require.NoError(t, err)
	f, same, err := r.Recompute(e)
	require.NoError(t, err)
	assert.False(t, same)
	assert.Equal(t, Contradicted, f.Verdicts[0].Seen)

	// The report believes the measurements and corrects the file.
	require.NoError(t, r.write(l.Dir))
	report, err := NewReport(l.Dir, []*Experiment{e})
	require.NoError(t, err)
	require.True(t, report.Parts[0].Changed)
	require.NoError(t, report.Write(l.Dir))
	again, err := ReadResult(l.Dir, e.Name)
	require.NoError(t, err)
	_, same, err = again.Recompute(e)
	require.NoError(t, err)
	assert.True(t, same)
}

func TestReportIsOnePageThatEscapesItsTexts(t *testing.T) {
	l, e := openTestLab(t, t.TempDir()), kindness()
	_, err := l.Run(t.Context(), e)
	require.NoError(t, err)
	missing := kindness()
	missing.Name = "absent"
	r, err := NewReport(l.Dir, []*Experiment{e, missing})
	require.NoError(t, err)
	require.NoError(t, r.Write(l.Dir))
	text, err := os.ReadFile(filepath.Join(l.Dir, "report.html"))
	require.NoError(t, err)
	page := string(text)
	for _, want := range []string{"kind words &amp; &lt;i&gt;deeds&lt;/i&gt;", "Is it &lt;b&gt;liked&lt;/b&gt;?", "<svg", "M = 2", "Not run: absent", "&#34;pairs&#34;: 60",
		r.Parts[0].Findings.Verdicts[0].Figures, "one base", `class="badge seen"`} {
		assert.Contains(t, page, want)
	}
	for _, never := range []string{"<script", "<i>deeds", "src=", "ZgotmplZ", "<?xml", "<link"} {
		assert.NotContains(t, page, never)
	}
	md, err := os.ReadFile(filepath.Join(l.Dir, "report.md"))
	require.NoError(t, err)
	assert.Contains(t, string(md), `| WA \| of 2 | `)
	assert.Contains(t, string(md), "kindness-accuracy.svg")
}

func TestDamagedResultIsAnErrorThatNamesTheFile(t *testing.T) {
	good := `{"experiment":"kindness","measured":{"chosen":"AAAAAA==","rejected":"AACAPw=="},"findings":{"verdicts":[],"tables":[],"figures":[]}}`
	for name, c := range map[string]struct{ text, want string }{
		"cut short":                {good[:40], "unexpected end"},
		"another experiment":       {strings.Replace(good, "kindness", "other", 1), `result of "other"`},
		"no measurements":          {`{"experiment":"kindness","findings":{}}`, "no measurements"},
		"no findings":              {`{"experiment":"kindness","measured":{}}`, "no findings"},
		"rewards that are cut":     {strings.Replace(good, "AACAPw==", "AACA", 1), "multiple of 4"},
		"rewards missing":          {strings.Replace(good, `"AACAPw=="`, `""`, 1), "cannot be analysed"},
		"nothing to judge":         {`{"experiment":"kindness","measured":{},"findings":{}}`, "kindness"},
		"measurements of a string": {`{"experiment":"kindness","measured":"x","findings":{}}`, "cannot unmarshal"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "kindness.json"), []byte(c.text), 0o644))
			_, err := NewReport(dir, []*Experiment{kindness()})
			require.ErrorContains(t, err, c.want)
			assert.ErrorContains(t, err, "kindness")
		})
	}
	_, err := NewReport(t.TempDir(), []*Experiment{kindness()})
	assert.ErrorContains(t, err, "no experiment has a result")
}

func TestFailuresTellAnInterruptionOnlyWhenNothingIsWorse(t *testing.T) {
	broken := errors.New("broken")
	only := failures("p", []rm.MemberRun{{Name: "member-1", Err: rm.ErrInterrupted}, {Name: "member-2", Err: rm.ErrInterrupted}})
	assert.EqualError(t, only, "p: "+rm.ErrInterrupted.Error())
	worse := failures("p", []rm.MemberRun{{Name: "member-1", Err: rm.ErrInterrupted}, {Name: "member-2", Err: broken}})
	assert.ErrorIs(t, worse, broken)
	assert.NotErrorIs(t, worse, rm.ErrInterrupted)
	assert.NoError(t, failures("p", []rm.MemberRun{{}}))
}
