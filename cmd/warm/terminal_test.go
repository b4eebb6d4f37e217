package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
)

func TestTheBannersRequestIsAnswered(t *testing.T) {
	wantTools(t, "bash", "curl")
	s := startServe(t)
	b := banner{url: s.url, console: true, keys: true, device: "cpu", models: map[string]*api.ModelSpec{embeddedName: {}, "other": {}}}
	var out strings.Builder
	b.write(&out, false)
	for _, want := range []string{embeddedName, "device    cpu", s.url + "/v1/reward", s.url + "/docs", "Ctrl-C"} {
		assert.Contains(t, out.String(), want)
	}
	assert.NotContains(t, out.String(), "\x1b", "no colour was asked for")
	_, try, _ := strings.Cut(out.String(), "try")
	try, _, _ = strings.Cut(try, "  stop")
	reply, err := exec.Command("bash", "-c", try).CombinedOutput()
	require.NoError(t, err, "%s", reply)
	assert.Contains(t, string(reply), `"reward"`, "%s", try)

	b.console, b.keys, b.models = false, false, map[string]*api.ModelSpec{embeddedName: {}}
	out.Reset()
	b.write(&out, false)
	for line := range strings.Lines(out.String()) {
		assert.LessOrEqual(t, utf8.RuneCountInString(line), 81, line)
	}
	out.Reset()
	b.write(&out, true)
	assert.NotContains(t, out.String(), "console")
	assert.Contains(t, out.String(), "\x1b[32m"+embeddedName+"\x1b[0m")
}

func TestServeSaysNoMoreThanItsLogElsewhereThanOnATerminal(t *testing.T) {
	s := startServe(t)
	s.stop()
	for line := range strings.Lines(s.stderr.String()) {
		assert.True(t, strings.HasPrefix(line, "time="), "%q", line)
		assert.NotContains(t, line, "\x1b")
	}
}

func TestALogOnATerminalIsColouredByItsLevel(t *testing.T) {
	var plain, out bytes.Buffer
	for _, w := range []*slog.Logger{slog.New(slog.NewTextHandler(&plain, nil)), slog.New(slog.NewTextHandler(paintedLog{&out}, nil))} {
		w.Info("a")
		w.Warn("level=ERROR is a word here")
		w.Error("c")
	}
	lines := strings.Split(out.String(), "\n")
	assert.NotContains(t, lines[0], "\x1b[33m")
	assert.Contains(t, lines[1], "\x1b[33mlevel=WARN\x1b[0m msg=\"level=ERROR is a word here\"")
	assert.Contains(t, lines[2], "\x1b[31mlevel=ERROR\x1b[0m msg=c")
	bare := strings.NewReplacer("\x1b[2m", "", "\x1b[31m", "", "\x1b[33m", "", "\x1b[0m", "").Replace(out.String())
	assert.Len(t, bare, plain.Len(), "nothing but colours is added")
}

func TestVersionSaysWhatTheProgramIs(t *testing.T) {
	code, stdout, _ := command(t, "", "version", "--json")
	require.Equal(t, exitOK, code)
	var b buildInfo
	require.NoError(t, json.Unmarshal([]byte(stdout), &b))
	assert.Equal(t, built(), b)
	assert.Equal(t, runtime.Version(), b.Go)

	defer func(v, c, at string) { buildVersion, buildCommit, buildTime = v, c, at }(buildVersion, buildCommit, buildTime)
	buildVersion, buildCommit, buildTime = "v1.2.3", "0123abc", "2026-01-02T03:04:05Z"
	assert.Equal(t, "v1.2.3", version())
	code, stdout, _ = command(t, "", "version")
	require.Equal(t, exitOK, code)
	assert.Contains(t, stdout, "warm v1.2.3\ncommit 0123abc\nof     2026-01-02T03:04:05Z\nwith   go")
	assert.Regexp(t, `\ncards  NVIDIA's driver: (found|cuda: .+)\n$`, stdout)
	buildVersion = "(devel)"
	assert.Equal(t, "0123abc", version())
}

func TestHealthSaysWhetherAServerIsReady(t *testing.T) {
	s := startServe(t)
	host := strings.TrimPrefix(s.url, "http://")
	for _, url := range []string{s.url, host, s.url + "/"} {
		code, stdout, stderr := command(t, "", "health", url)
		assert.Equal(t, exitOK, code, "%s", stderr)
		assert.Equal(t, "ready\n", stdout)
	}
	port := host[strings.LastIndex(host, ":"):]
	for _, addr := range []string{host, port, "0.0.0.0" + port} {
		var out, errs bytes.Buffer
		code := run(t.Context(), []string{"health"}, func(name string) string {
			return map[string]string{"WARM_ADDR": addr}[name]
		}, nil, &out, &errs)
		assert.Equal(t, exitOK, code, "WARM_ADDR=%s: %s", addr, &errs)
	}
	s.stop()
	code, _, stderr := command(t, "", "health", s.url)
	assert.Equal(t, exitFailure, code)
	assert.Contains(t, stderr, s.url+" does not answer: ")
	code, _, _ = command(t, "", "health", "ftp://"+host)
	assert.Equal(t, exitUsage, code)
}

func TestHealthSaysWhyAServerIsNotReady(t *testing.T) {
	for name, c := range map[string]struct {
		reply http.HandlerFunc
		want  string
	}{
		"loading": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write(api.EncodeError(api.Errorf(api.CodeNotReady, "", "no model is live yet")))
		}, "is not ready: no model is live yet"},
		"another program": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }, "404"},
		"silence":         {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "no answer within 50ms"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(c.reply)
			defer server.Close()
			timeout := "5s"
			if name == "silence" {
				timeout = "50ms"
			}
			code, _, stderr := command(t, "", "health", "--timeout", timeout, server.URL)
			assert.Equal(t, exitFailure, code)
			assert.Contains(t, stderr, c.want)
		})
	}
}

func TestACommandThatIsMisspeltIsNamed(t *testing.T) {
	for args, want := range map[string]string{
		"vresion": "did you mean version?", "helth": "did you mean health?", "completoin": "did you mean completion?",
		"train membrs": "did you mean members?", "bench sreve": "did you mean serve?", "serve --adr x": "did you mean --addr?",
		"lab connectivty": "did you mean connectivity?", "version --jsn": "did you mean --json?",
	} {
		code, _, stderr := command(t, "", strings.Fields(args)...)
		assert.Equal(t, exitUsage, code)
		assert.Contains(t, stderr, want, args)
	}
}

func TestCompletionIsPartOfTheHelp(t *testing.T) {
	code, stdout, _ := command(t, "", "--help")
	require.Equal(t, exitOK, code)
	assert.Regexp(t, `(?m)^  completion +\S`, stdout)
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		code, stdout, _ := command(t, "", "completion", shell)
		assert.Equal(t, exitOK, code)
		assert.Contains(t, stdout, "warm")
	}
}
