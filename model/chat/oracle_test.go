package chat

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/chat/jinja"
	"github.com/warmserve/warmserve/model/chat/origin"
)

// job is one render for the oracle. Vars is a JSON object.
type job struct {
	Template string          `json:"template"`
	Vars     json.RawMessage `json:"vars"`
}

// answer is what a renderer made of a job: Text, or Error and the name of its type.
type answer struct {
	Text  *string `json:"text,omitempty"`
	Error string  `json:"error,omitempty"`
	Type  string  `json:"type,omitempty"`
}

// oracleTime is what strftime_now tells in testdata/render.py.
var oracleTime = time.Date(2024, 7, 26, 9, 5, 3, 0, time.UTC)

// askJinja2 renders the jobs with the real Jinja2, or skips when this machine has none.
func askJinja2(tb testing.TB, jobs []job) []answer {
	tb.Helper()
	python := os.Getenv("PYTHON")
	if python == "" {
		python = "python3"
	}
	if err := exec.Command(python, "-c", "import jinja2").Run(); err != nil {
		tb.Skipf("%s cannot import jinja2 (set PYTHON to one that can): %v", python, err)
	}
	var in, errs bytes.Buffer
	enc := json.NewEncoder(&in)
	enc.SetEscapeHTML(false)
	for _, j := range jobs {
		require.NoError(tb, enc.Encode(j))
	}
	cmd := exec.Command(python, "testdata/render.py")
	cmd.Stdin, cmd.Stderr = &in, &errs
	out, err := cmd.Output()
	require.NoError(tb, err, errs.String())
	var answers []answer
	sc := bufio.NewScanner(bytes.NewReader(out))
	sc.Buffer(nil, 1<<24)
	for sc.Scan() {
		var a answer
		require.NoError(tb, json.Unmarshal(sc.Bytes(), &a))
		answers = append(answers, a)
	}
	require.Len(tb, answers, len(jobs))
	return answers
}

// renderJob renders a job with this package.
func renderJob(tb testing.TB, j job) answer {
	tb.Helper()
	vars, err := jinja.DecodeJSON(j.Vars)
	require.NoError(tb, err)
	var text string
	t, err := jinja.Parse(j.Template, jinja.Limits{})
	if err == nil {
		var out origin.Text
		out, err = t.Render(vars.(*jinja.Dict), oracleTime)
		text = out.Peek()
	}
	if err == nil {
		return answer{Text: &text}
	}
	var e *jinja.Error
	require.True(tb, errors.As(err, &e), "%T %v", err, err)
	return answer{Error: e.Message, Type: e.Kind.String()}
}

// kindOf is our kind for the exceptions of Python and Jinja2.
func kindOf(a answer) string {
	if strings.HasPrefix(a.Error, "No filter named") || strings.HasPrefix(a.Error, "No test named") {
		return "syntax" // also when it is found only at run time
	}
	switch a.Type {
	case "TemplateSyntaxError", "TemplateAssertionError", "SyntaxError":
		return "syntax"
	case "TemplateError":
		return "raised"
	case "UndefinedError":
		return "undefined"
	case "SecurityError":
		return "security"
	case "TypeError", "TemplateRuntimeError", "FilterArgumentError", "AttributeError":
		return "type"
	case "OverflowError", "RecursionError":
		return "limit"
	}
	return "value"
}

// snippetTemplates splits testdata/snippets.txt, where a line of four dashes follows each template.
func snippetTemplates(tb testing.TB) []string {
	tb.Helper()
	data, err := os.ReadFile("testdata/snippets.txt")
	require.NoError(tb, err)
	return strings.Split(strings.TrimSuffix(string(data), "\n----\n"), "\n----\n")
}
