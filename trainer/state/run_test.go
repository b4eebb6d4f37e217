package state

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model/nn"
)

// count is a training whose one weight counts the steps, and which notes what it is asked.
type count struct {
	Run
	head   Head
	weight []float32
	asked  []string
	at     map[int]func() error // before a step
	result struct {
		Config map[string]int    `json:"config"`
		Data   map[string]string `json:"data"`
		Sum    float32           `json:"sum"`
	}
}

func (c *count) note(format string, args ...any) {
	c.asked = append(c.asked, fmt.Sprintf(format, args...))
}

func (c *count) Origin() Origin { return Origin{Config: map[string]int{"steps": 6}} }

func (c *count) Open() (int, string, error) { c.note("open"); return 6, "id", nil }

func (c *count) About() (any, *Head) { return &c.head, &c.head }

func (c *count) Begin(context.Context) error { c.note("begin"); return nil }

func (c *count) Resume(s *Saved) error { c.note("resume %d", c.head.Step); return s.Fill(c.Tensors) }

func (c *count) Step(context.Context) error {
	if f := c.at[c.head.Step]; f != nil {
		if err := f(); err != nil {
			return err
		}
	}
	c.head.Step++
	c.weight[0] += float32(c.head.Step)
	return c.Metrics.Add(map[string]int{"step": c.head.Step})
}

func (c *count) Tensors(f func(string, []int, []float32) error) error {
	return f("w", []int{1}, c.weight)
}

func (c *count) Finish(context.Context) (map[string][]byte, error) {
	c.result.Config, c.result.Sum = map[string]int{"steps": 6}, c.weight[0]
	return map[string][]byte{"own.txt": []byte("own")}, nil
}

func (c *count) Contents() loader.Contents {
	return loader.Contents{Config: []byte("{}"), Tokenizer: []byte("{}"), Source: NewWeights([]nn.Param{{Name: "w", Shape: []int{1}, Data: c.weight}})}
}

func newCount(out string) *count {
	c := &count{weight: []float32{0}, at: map[int]func() error{}}
	c.Run = Run{Out: out, Keep: 1, SaveEvery: 2, Say: func(m string) { c.note("%s", m) }}
	return c
}

func (c *count) train(ctx context.Context) (bool, error) { return c.Run.Train(ctx, c, &c.result) }

// TestARunThatWasKilledKnowsItsCheckpoint has it end after the checkpoint along the way, before a state was due.
func TestARunThatWasKilledKnowsItsCheckpoint(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	killed := errors.New("killed")
	first := newCount(out)
	first.SaveEvery, first.at[4] = 100, func() error { return killed }
	_, err := first.train(t.Context())
	require.ErrorIs(t, err, killed)
	require.DirExists(t, out+"-1")
	second := newCount(out)
	_, err = second.train(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"open", "resume 3", "going on after step 3"}, second.asked)
	assert.EqualValues(t, 1+2+3+4+5+6, second.result.Sum)
}

func TestARunGoesOnAfterEveryKindOfInterruption(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	broken := errors.New("broken")
	first := newCount(out)
	first.at[3] = func() error { return broken }
	_, err := first.train(t.Context())
	require.ErrorIs(t, err, broken)
	assert.Equal(t, []string{"open", "begin"}, first.asked)

	second := newCount(out)
	ctx, cancel := context.WithCancel(t.Context())
	second.at[4] = func() error { cancel(); return fmt.Errorf("asking: %w", ctx.Err()) }
	_, err = second.train(ctx)
	require.ErrorIs(t, err, ErrInterrupted)
	assert.ErrorContains(t, err, out+".train")
	assert.Equal(t, []string{"open", "resume 2", "going on after step 2"}, second.asked, "what broke was not saved")

	third := newCount(out)
	before, err := third.train(t.Context())
	require.NoError(t, err)
	assert.False(t, before)
	assert.Equal(t, []string{"open", "resume 4", "going on after step 4"}, third.asked)
	assert.EqualValues(t, 1+2+3+4+5+6, third.result.Sum)
	for name, want := range map[string]string{
		MetricsFile: "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n{\"step\":4}\n{\"step\":5}\n{\"step\":6}\n",
		CSVFile:     "step\n1\n2\n3\n4\n5\n6\n", "own.txt": "own",
	} {
		got, err := os.ReadFile(filepath.Join(out, name))
		require.NoError(t, err)
		assert.Equal(t, want, string(got))
	}
	assert.FileExists(t, filepath.Join(out+"-1", "model.safetensors"))
	assert.NoFileExists(t, filepath.Join(out+"-1", ResultFile))
	assert.NoDirExists(t, Dir(out))

	fourth := newCount(out)
	before, err = fourth.train(t.Context())
	require.NoError(t, err)
	assert.True(t, before)
	assert.EqualValues(t, 21, fourth.result.Sum, "the result of the run before")
	assert.Empty(t, fourth.asked)
}

func TestARunThatIsInterruptedBeforeItsFirstStepIsBegun(t *testing.T) {
	c := newCount(filepath.Join(t.TempDir(), "out"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.train(ctx)
	require.ErrorIs(t, err, ErrInterrupted)
	require.True(t, Begun(c.Out))
}

func TestARunRefusesDirectoriesThatItWouldWriteOver(t *testing.T) {
	for _, dir := range []string{"out", "out-1", "out-adapter"} {
		root := t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(root, dir), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(root, dir, "x"), nil, 0o644))
		c := newCount(filepath.Join(root, "out"))
		c.Adapter = true
		_, err := c.train(t.Context())
		require.ErrorIs(t, err, loader.ErrExists, dir)
		c.Replace = true
		_, err = c.train(t.Context())
		require.ErrorIs(t, err, loader.ErrNotCheckpoint, dir)
		assert.Empty(t, c.asked)
	}
}

func TestEveryEpochHasEveryExampleOnce(t *testing.T) {
	o := Order{N: 5, Batch: 3, Seed: 1}
	var all []int
	for step := range 10 {
		all = append(all, o.Step(step)...)
	}
	for epoch := range 6 {
		seen := all[5*epoch : 5*epoch+5]
		assert.ElementsMatch(t, []int{0, 1, 2, 3, 4}, seen)
		assert.Equal(t, o.Epoch(epoch), seen)
	}
	again := Order{N: 5, Batch: 3, Seed: 1}
	assert.Equal(t, all[21:24], again.Step(7), "a resumed run begins anywhere")
	assert.NotEqual(t, all[:5], all[5:10])
	assert.Equal(t, 4, o.Steps(2, 0))
	assert.Equal(t, 3, o.Steps(2, 3))
	assert.Equal(t, 1, o.Steps(0.1, 3))
}
