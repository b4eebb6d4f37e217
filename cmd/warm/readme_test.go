package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the replies in README.md with those of this run")

// example is a curl command of the README and the reply printed behind it.
var example = regexp.MustCompile("(?s)```sh\n(curl [^`]*?)```\n\n```json\n(.*?)```")

// detoxExamples stands in front of the examples that ask for the model "detox";
// those before it are answered by warm serve without arguments.
const detoxExamples = `on four small reward models served as "detox"`

// TestCurlExamplesOfTheReadmeRunAsPrinted runs each command by a shell, with the
// address of a server started here.
func TestCurlExamplesOfTheReadmeRunAsPrinted(t *testing.T) {
	for _, tool := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s: %v", tool, err)
		}
	}
	path := filepath.Join("..", "..", "README.md")
	readme, err := os.ReadFile(path)
	require.NoError(t, err)
	first, rest, ok := bytes.Cut(readme, []byte(detoxExamples))
	require.True(t, ok, "the README has a line %q", detoxExamples)
	if *update {
		defer func() {
			require.NoError(t, os.WriteFile(path, bytes.Join([][]byte{first, rest}, []byte(detoxExamples)), 0o644))
		}()
	}
	t.Run("of the embedded model", func(t *testing.T) {
		first = runExamples(t, first, startServe(t).url, 1)
	})
	t.Run("of models of one's own", func(t *testing.T) {
		s := startServe(t, "--model", "detox="+strings.Join(paradetox(t), ","), "--mode", "both")
		rest = runExamples(t, rest, s.url, 4)
	})
}

// runExamples runs the examples of a text, at least so many, and returns the text,
// with the replies of this run when those are to be written.
func runExamples(t *testing.T, text []byte, url string, least int) []byte {
	examples := example.FindAllSubmatch(text, -1)
	require.GreaterOrEqual(t, len(examples), least)
	for _, e := range examples {
		command, printed := string(e[1]), e[2]
		cmd := exec.Command("bash", "-c", strings.ReplaceAll(command, "http://127.0.0.1:8080", url))
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		got, err := cmd.Output()
		require.NoError(t, err, "%s\n%s", command, stderr.String())
		if *update {
			var b bytes.Buffer
			require.NoError(t, json.Indent(&b, got, "", "  "))
			text = bytes.Replace(text, printed, append(bytes.TrimSpace(b.Bytes()), '\n'), 1)
			continue
		}
		var want, have any
		require.NoError(t, json.Unmarshal(printed, &want), "the reply printed behind\n%s", command)
		require.NoError(t, json.Unmarshal(got, &have), "%s\n%s", command, got)
		sameReply(t, command, want, have)
	}
	return text
}

// sameReply compares replies key by key. Ids, times and revisions differ from
// run to run or from file to file; numbers may differ in the last digits between
// processors.
func sameReply(t *testing.T, at string, want, have any) {
	switch w := want.(type) {
	case map[string]any:
		h, ok := have.(map[string]any)
		require.True(t, ok, at)
		for k := range h {
			assert.Contains(t, w, k, "%s: the reply has more than the README", at)
		}
		for k, v := range w {
			if !assert.Contains(t, h, k, at) || k == "id" && w["object"] != "model" || k == "created" || k == "revision" || k == "live_since" {
				continue
			}
			sameReply(t, at+"."+k, v, h[k])
		}
	case []any:
		h, ok := have.([]any)
		require.True(t, ok, at)
		require.Len(t, h, len(w), at)
		for i := range w {
			sameReply(t, at, w[i], h[i])
		}
	case float64:
		assert.InDelta(t, w, have, 1e-4*math.Max(1, math.Abs(w)), at)
	default:
		assert.Equal(t, want, have, at)
	}
}

func TestReadmeNamesEveryCommand(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	require.NoError(t, err)
	p := &program{}
	for _, c := range p.root().Commands() {
		if c.Runnable() && !c.HasSubCommands() {
			assert.True(t, bytes.Contains(readme, []byte("`warm "+c.Name()+"`")), "warm %s", c.Name())
		}
	}
}
