package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/trainer/judge"
	"github.com/warmserve/warmserve/trainer/rl"
	"github.com/warmserve/warmserve/trainer/rm"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// screen is a terminal of some columns, of which only what a display sends is understood.
type screen struct {
	columns int
	rows    []string
	row     int
}

func (s *screen) Write(p []byte) (int, error) {
	text := string(p)
	for text != "" {
		switch {
		case strings.HasPrefix(text, "\x1b[J"):
			s.rows = s.rows[:min(len(s.rows), s.row)]
			text = text[3:]
		case strings.HasPrefix(text, "\x1b["):
			end := strings.IndexByte(text, 'A')
			n := 0
			for _, c := range text[2:end] {
				n = 10*n + int(c-'0')
			}
			s.row -= n
			text = text[end+1:]
		case text[0] == '\r':
			text = text[1:]
		default:
			line, rest, _ := strings.Cut(text, "\n")
			for first := true; first || line != ""; first = false { // the terminal breaks what is too wide
				n := min(len(line), len(string([]rune(line)[:min(utf8.RuneCountInString(line), s.columns)])))
				s.rows = append(s.rows[:s.row], line[:n])
				s.row++
				line = line[n:]
			}
			text = rest
		}
	}
	return len(p), nil
}

func onScreen(columns int) (*display, *screen) {
	s := &screen{columns: columns}
	d := newDisplay(s)
	d.width = func() int { return s.columns }
	now := time.Unix(0, 0)
	d.now = func() time.Time { now = now.Add(time.Second); return now }
	return d, s
}

// TestAJudgeTellsHowFarItIsOnOneLineOfAnyTerminal judges pairs with checkpoints, and with a
// server, on terminals of several widths.
func TestAJudgeTellsHowFarItIsOnOneLineOfAnyTerminal(t *testing.T) {
	dir := rewardtest.Checkpoint(t, "a-member-with-a-long-name", nil)
	s := startServe(t, "--model", "m="+dir)
	client, err := api.NewClient(s.url)
	require.NoError(t, err)
	pairs := easyPairs(t, 600)
	for _, columns := range []int{80, 30, 5} {
		for _, measure := range []func(judge.Test) error{
			func(j judge.Test) error { _, err := judge.Checkpoints(t.Context(), []string{dir}, j); return err },
			func(j judge.Test) error {
				_, err := judge.Server(t.Context(), judge.Remote{Client: client}, j)
				return err
			},
		} {
			d, s := onScreen(columns)
			told, calls := newCounting(d), 0
			require.NoError(t, measure(judge.Test{Files: []string{pairs}, Progress: func(what string, done, of int) {
				told.tell(what, done, of)
				calls++
				if done == of {
					assert.Empty(t, s.rows, "it has ended")
					return
				}
				if assert.Len(t, s.rows, 1, "%q", s.rows) && columns == 80 {
					assert.Contains(t, s.rows[0], fmt.Sprintf("%s: %d of 600", what, done))
				}
				assert.Less(t, utf8.RuneCountInString(s.rows[0]), columns)
			}}))
			assert.Greater(t, calls, 3)
			assert.Empty(t, s.rows)
		}
	}
}

func TestProgressIsOneLineOfAnyTerminal(t *testing.T) {
	control := 7.5
	for _, columns := range []int{120, 80, 40, 20, 2, 1} {
		d, s := onScreen(columns)
		log := newTrainLog(d)
		reinforced := &rlLog{trainLog: newTrainLog(d)}
		for step := 1; step <= 30; step++ {
			log.last = time.Time{}
			log.progress(rm.Progress{Step: step, Steps: 60, Loss: 0.5, Accuracy: 0.9, LR: 1e-3, Norm: 3, Tokens: 2048})
			require.Len(t, s.rows, 1, "%d columns: %q", columns, s.rows)
			assert.Less(t, utf8.RuneCountInString(s.rows[0]), max(2, columns))
		}
		if columns >= 40 {
			assert.Contains(t, s.rows[0], "step 30 of 60: loss 0.5000")
			assert.Contains(t, s.rows[0], " left")
		}
		log.end()
		kept := len(s.rows)
		for step := 1; step <= 5; step++ {
			reinforced.last = time.Time{}
			reinforced.progress(rl.Progress{Steps: 60, Metrics: &rl.Metrics{Step: step, Reward: 18.5, RewardStd: 12.25, Control: &control, KL: 1.5}, Times: rl.Times{Learning: 1, Tokens: 99}})
			assert.Len(t, s.rows, kept+1, "%d columns: %q", columns, s.rows)
		}
		if columns >= 40 {
			d.say("a word")
			assert.Equal(t, "a word", s.rows[kept])
			assert.Len(t, s.rows, kept+2, "the line is below what is said")
			assert.Contains(t, s.rows[kept+1], "step 5 of 60: reward 18.5000 ± 12.2500")
		}
	}
}

func TestALineIsWrittenOverWhenTheTerminalGetsNarrower(t *testing.T) {
	d, s := onScreen(60)
	d.show("a", "step 1 of 2: loss 0.5", "3s left", "accuracy 0.9")
	require.Len(t, s.rows, 1)
	full := s.rows[0]
	s.columns, s.rows, s.row = 20, nil, 0 // as a terminal breaks its rows anew
	_, err := s.Write([]byte(full + "\n"))
	require.NoError(t, err)
	require.Greater(t, len(s.rows), 1)
	d.show("a", "step 2 of 2: loss 0.5", "accuracy 0.9")
	require.Len(t, s.rows, 1, "%q", s.rows)
	assert.Equal(t, "step 2 of 2: loss …", s.rows[0])
}

func TestSeveralLinesAreShownTogether(t *testing.T) {
	d, s := onScreen(80)
	d.show("one", "one: 1")
	d.show("two", "two: 1")
	d.show("one", "one: 2")
	assert.Equal(t, []string{"one: 2", "two: 1"}, s.rows)
	d.end("one", true)
	assert.Equal(t, []string{"one: 2", "two: 1"}, s.rows)
	d.end("two", false)
	assert.Equal(t, []string{"one: 2"}, s.rows)
	d.end("two", false)
	d.show("three", "three: 1", strings.Repeat("long", 25))
	d.end("three", true)
	assert.Equal(t, []string{"one: 2", "three: 1"}, s.rows, "what stays fits as well")
}

func TestNothingIsDrawnWithoutATerminal(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer null.Close()
	assert.False(t, newDisplay(null).live(), "a device is no terminal")
	var b bytes.Buffer
	d := newDisplay(&b)
	p := (&program{}).progressOf(d, 100, "scoring")
	p.set(50)
	p.finish()
	assert.Empty(t, b.String())
	log := newTrainLog(d)
	log.progress(rm.Progress{Step: 1, Steps: 2, Tokens: 9, Loss: 0.5, Accuracy: 1, LR: 1e-3, Norm: 2})
	log.progress(rm.Progress{Step: 2, Steps: 2, Tokens: 9, Loss: 0.25, Accuracy: 1, LR: 1e-3, Norm: 2})
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	require.Len(t, lines, 2)
	assert.Equal(t, "step 1 of 2: loss 0.5000, accuracy 1.000, lr 0.001, gradient 2", lines[0])
}
