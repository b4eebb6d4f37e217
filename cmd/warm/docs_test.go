package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the replies in the pages with those of this run")

// example is a curl command of a page and the reply printed behind it.
var example = regexp.MustCompile("(?s)```sh\n(curl [^`]*?)```\n\n```json\n(.*?)```")

// served is how a page says which model answers the examples below.
var served = regexp.MustCompile(`(?m)^<!-- served: (embedded|detox)\b.*-->$`)

// pages are the README and the pages behind it, by their paths from the root.
func pages(t testing.TB) map[string]string {
	out := map[string]string{}
	for _, glob := range []string{"*.md", "docs/*.md", "docs/lab/*.md"} {
		files, err := filepath.Glob(filepath.Join("..", "..", glob))
		require.NoError(t, err)
		for _, f := range files {
			data, err := os.ReadFile(f)
			require.NoError(t, err)
			rel, err := filepath.Rel(filepath.Join("..", ".."), f)
			require.NoError(t, err)
			out[filepath.ToSlash(rel)] = string(data)
		}
	}
	require.Greater(t, len(out), 10)
	return out
}

// TestCurlExamplesRunAsPrinted runs each command that stands in front of its
// reply by a shell, with the address of a server started here.
func TestCurlExamplesRunAsPrinted(t *testing.T) {
	wantTools(t, "bash", "curl")
	servers := map[string]func() string{
		"embedded": sync.OnceValue(func() string { return startServe(t).url }),
		"detox": sync.OnceValue(func() string {
			return startServe(t, "--model", "detox="+strings.Join(paradetox(t), ","), "--mode", "both").url
		}),
	}
	for page, text := range pages(t) {
		t.Run(page, func(t *testing.T) {
			marks := served.FindAllStringSubmatchIndex(text, -1)
			begin := len(text)
			if len(marks) > 0 {
				begin = marks[0][0]
			}
			require.Empty(t, example.FindAllString(text[:begin], -1), "examples in front of the line that says what is served")
			out := text[:begin]
			for i, m := range marks {
				end := len(text)
				if i+1 < len(marks) {
					end = marks[i+1][0]
				}
				model := text[m[2]:m[3]]
				if model == "detox" {
					paradetox(t) // skips where it is not there
				}
				out += runExamples(t, text[m[0]:end], servers[model]())
			}
			if *update && out != text {
				require.NoError(t, os.WriteFile(filepath.Join("..", "..", page), []byte(out), 0o644))
			}
		})
	}
}

func wantTools(t *testing.T, names ...string) {
	for _, tool := range names {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s: %v", tool, err)
		}
	}
}

// runExamples runs the examples of a text and returns it, with the replies of
// this run when those are to be written.
func runExamples(t *testing.T, text, url string) string {
	for _, e := range example.FindAllStringSubmatch(text, -1) {
		command, printed := e[1], e[2]
		cmd := exec.Command("bash", "-c", strings.ReplaceAll(command, "http://127.0.0.1:8080", url))
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		got, err := cmd.Output()
		require.NoError(t, err, "%s\n%s", command, stderr.String())
		if *update {
			var b bytes.Buffer
			require.NoError(t, json.Indent(&b, got, "", "  "))
			text = strings.Replace(text, "```\n\n```json\n"+printed, "```\n\n```json\n"+strings.TrimSpace(b.String())+"\n", 1)
			continue
		}
		var want, have any
		require.NoError(t, json.Unmarshal([]byte(printed), &want), "the reply printed behind\n%s", command)
		require.NoError(t, json.Unmarshal(got, &have), "%s\n%s", command, got)
		sameReply(t, command, want, have)
	}
	return text
}

// block is a shell block of a page.
var block = regexp.MustCompile("(?s)```sh\n(.*?)```")

// fromCheckout is how the README builds a checkout.
var fromCheckout = regexp.MustCompile("From a checkout `(go [^`]+)`")

// TestTheQuickstartRunsAsPrinted walks through docs/quickstart.md in an empty
// directory with a binary that is built as the README builds it in a checkout.
func TestTheQuickstartRunsAsPrinted(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program and trains with it")
	}
	wantTools(t, "bash", "curl", "go")
	dir, bin := t.TempDir(), t.TempDir()
	build := fromCheckout.FindStringSubmatch(pages(t)["README.md"])
	require.NotNil(t, build, "the README says how to build a checkout")
	cmd := exec.Command("bash", "-c", build[1])
	cmd.Dir, cmd.Env = filepath.Join("..", ".."), append(os.Environ(), "GOBIN="+bin)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", build[1], out)
	url := ""
	for _, b := range block.FindAllStringSubmatch(pages(t)["docs/quickstart.md"], -1) {
		run := func(command string) {
			cmd := exec.Command("bash", "-euc", strings.ReplaceAll(command, "http://127.0.0.1:8080", url))
			cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s\n%s", command, out)
			if strings.HasPrefix(command, "curl") {
				assert.NotContains(t, string(out), `"error"`, command)
			}
		}
		before, server, serves := cutServe(b[1])
		if run(before); serves {
			url = startServeIn(t, dir, server)
		}
	}
	assert.FileExists(t, filepath.Join(dir, "average", "model.safetensors"))
}

// cutServe divides a block whose last line starts a server.
func cutServe(block string) (before string, args []string, serves bool) {
	i := strings.LastIndex(block, "warm serve")
	if i < 0 {
		return block, nil, false
	}
	return block[:i], strings.Fields(block[i:])[2:], true
}

// startServeIn starts a server whose relative paths are of a directory.
func startServeIn(t *testing.T, dir string, args []string) string {
	for i, a := range args {
		if name, path, ok := strings.Cut(a, "="); ok {
			args[i] = name + "=" + filepath.Join(dir, path)
		} else if i > 0 && strings.HasPrefix(args[i-1], "--") {
			args[i] = filepath.Join(dir, a)
		}
	}
	return startServe(t, args...).url
}

// TestTheConfigurationIsServedAsPrinted serves the YAML of docs/operations.md, with
// members of the embedded model in place of its directories.
func TestTheConfigurationIsServedAsPrinted(t *testing.T) {
	page := pages(t)["docs/operations.md"]
	config := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(page)
	require.NotNil(t, config)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "keys.txt"), []byte("a-secret\n"), 0o600))
	text := config[1]
	for printed, real := range map[string]string{
		"runs/rm-1": "'embedded:member-1'", "runs/rm-2": "'embedded:member-2'",
		"runs/probe": "'embedded:member-3'", "keys.txt": filepath.Join(dir, "keys.txt"),
	} {
		require.Contains(t, text, printed)
		text = strings.Replace(text, printed, real, 1)
	}
	path := filepath.Join(dir, "serve.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	startServe(t, "--config", path) // waits until it is ready
}

// TestCurlSaysThatItSendsJSON holds what no reply is printed behind: a body that curl
// declares as a form is refused.
func TestCurlSaysThatItSendsJSON(t *testing.T) {
	bodies := 0
	for page, text := range pages(t) {
		text = strings.ReplaceAll(text, "\\\n", " ")
		for _, line := range strings.Split(text, "\n") {
			if strings.HasPrefix(line, "curl ") && strings.Contains(line, " -d ") {
				bodies++
				assert.Contains(t, line, "-H 'Content-Type: application/json'", page)
			}
		}
	}
	assert.Greater(t, bodies, 5)
}

// TestWhatIsRequiredIsInEveryExample holds the help of flags against the examples of
// their commands.
func TestWhatIsRequiredIsInEveryExample(t *testing.T) {
	var walk func(c *cobra.Command)
	required := 0
	walk = func(c *cobra.Command) {
		for _, example := range strings.Split(strings.ReplaceAll(c.Example, "\\\n", " "), "\n") {
			if !strings.HasPrefix(strings.TrimSpace(example), c.CommandPath()+" ") {
				continue
			}
			c.LocalFlags().VisitAll(func(f *pflag.Flag) {
				if strings.HasSuffix(f.Usage, "; required") {
					required++
					assert.Contains(t, example, "--"+f.Name+" ", c.CommandPath())
				}
			})
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk((&program{}).root())
	assert.Greater(t, required, 10)
}

// link is a link of a page to a file or a heading of ours.
var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	code    = regexp.MustCompile("(?s)```.*?```")
)

func TestNoLinkIsDead(t *testing.T) {
	all := pages(t)
	for page, text := range all {
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(text, ""), -1) {
			if strings.Contains(m[1], "://") {
				continue // elsewhere
			}
			file, anchor, _ := strings.Cut(m[1], "#")
			to := page
			if file != "" {
				to = path.Join(path.Dir(page), file)
			}
			_, err := os.Stat(filepath.Join("..", "..", to))
			assert.NoError(t, err, "%s links to %s", page, m[1])
			if anchor != "" {
				assert.Contains(t, anchors(all[to]), anchor, "%s links to %s", page, m[1])
			}
		}
	}
}

// anchors are the names that headings of a page have.
func anchors(text string) []string {
	var out []string
	for _, h := range heading.FindAllStringSubmatch(code.ReplaceAllString(text, ""), -1) {
		out = append(out, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, h[1]))
	}
	return out
}

func TestTheReadmeIsShort(t *testing.T) {
	assert.LessOrEqual(t, strings.Count(pages(t)["README.md"], "\n"), 200)
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
			assert.Contains(t, w, k, "%s: the reply has more than the page", at)
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
	readme := pages(t)["README.md"]
	p := &program{}
	for _, c := range p.root().Commands() {
		if c.Runnable() && !c.HasSubCommands() {
			assert.True(t, strings.Contains(readme, "`warm "+c.Name()+"`"), "warm %s", c.Name())
		}
	}
}
