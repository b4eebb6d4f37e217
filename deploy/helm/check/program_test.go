package check

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var binary string // the program, built here

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "warm")
	if err == nil {
		binary = filepath.Join(dir, "warm")
		build := exec.Command("go", "build", "-o", binary, "./cmd/warm")
		build.Dir, build.Env, build.Stderr = filepath.Join("..", "..", ".."), append(os.Environ(), "CGO_ENABLED=0"), os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "the program cannot be built:", err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// help is what the program says of commands, by their names.
var help = sync.OnceValue(func() string {
	var out strings.Builder
	for _, command := range []string{"serve", "pull", "health"} {
		text, err := exec.Command(binary, command, "--help").Output()
		if err != nil {
			panic(err)
		}
		out.WriteString(command + "\n" + string(text))
	}
	return out.String()
})

// checkArgs holds a command line against the flags that the command has.
func checkArgs(t *testing.T, args []string) {
	t.Helper()
	require.NotEmpty(t, args)
	require.Equal(t, "serve", args[0])
	for _, a := range args[1:] {
		if flag, ok := strings.CutPrefix(a, "--"); ok {
			flag, _, _ = strings.Cut(flag, "=")
			assert.Regexp(t, `(?m)^ +--`+regexp.QuoteMeta(flag)+`\b`, help(), "warm serve has no such flag")
		}
	}
}

// foreign are variables that are read by the system, the cards' driver, or the libraries of clouds.
var foreign = []string{"HOME", "CUDA_CACHE_PATH", "AWS_REGION"}

func checkVariable(t *testing.T, name string) {
	t.Helper()
	if !slices.Contains(foreign, name) {
		assert.Regexp(t, `\b`+name+`\b`, help(), "the program says nothing of this variable")
	}
}

// parse has the program read a configuration: warm health reads all of it, exits with 2 where it
// is wrong, and then asks a server that is not there.
func parse(t *testing.T, config string) (exit int, said string) {
	file := filepath.Join(t.TempDir(), "serve.yaml")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	cmd := exec.Command(binary, "health", "--config", file, "--timeout", "1s")
	cmd.Env = []string{"HOME=" + t.TempDir()}
	out, err := cmd.CombinedOutput()
	var status *exec.ExitError
	if err != nil && !errors.As(err, &status) {
		require.NoError(t, err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func TestTheProgramReadsEachConfiguration(t *testing.T) {
	eachCase(t, func(t *testing.T, r rendered) {
		text, _ := r.config(t)
		// At a port where nothing answers.
		exit, said := parse(t, strings.ReplaceAll(text, "0.0.0.0:8081", "127.0.0.1:1"))
		assert.Equal(t, 1, exit, said)
		assert.Contains(t, said, "does not answer")
	})
	for _, wrong := range []string{"models: {m: {members: [/models/m], colour: red}}", "config: {limits: {drain: 1s}}",
		"config: {log: loud}", "models: {m: {members: [/models/m], mode: many}}"} {
		r, err := render(t, wrong)
		require.NoError(t, err)
		text, _ := r.config(t)
		exit, said := parse(t, text)
		assert.Equal(t, 2, exit, "%s: %s", wrong, said)
	}
}

// TestAReleaseIsServed starts the program with what the chart writes where no values are given, at
// free ports, and asks it what probes, Prometheus and the autoscaler ask.
func TestAReleaseIsServed(t *testing.T) {
	r, err := render(t, "{keys: {clients: [a-client-key], metrics: metrics-key}, serviceMonitor: {enabled: true}, autoscaling: {enabled: true}}")
	require.NoError(t, err)
	text, _ := r.config(t)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "clients"), []byte(r.secrets[0].StringData["clients"]), 0o600))
	text = strings.ReplaceAll(text, "/etc/warm-keys/", dir+"/")
	file := filepath.Join(dir, "serve.yaml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, append(r.pod.Containers[0].Args[:1:1], "--config", file,
		"--addr", "127.0.0.1:0", "--ops-addr", "127.0.0.1:0")...)
	cmd.Env = []string{"HOME=" + dir, "WARM_API_KEY=" + r.secrets[0].StringData["metrics"]}
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer func() {
		cancel()
		_ = cmd.Wait()
	}()
	ops, live := "", false
	for lines := bufio.NewScanner(stderr); (ops == "" || !live) && lines.Scan(); {
		if m := regexp.MustCompile(`"msg":"operators","addr":"([^"]+)"`).FindStringSubmatch(lines.Text()); m != nil {
			ops = "http://" + m[1]
		}
		live = live || strings.Contains(lines.Text(), `"model is live"`)
	}
	require.NotEmpty(t, ops)
	get := func(path, key string) (int, string) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, ops+path, nil)
		require.NoError(t, err)
		if key != "" {
			req.Header.Set("Authorization", "Bearer "+key)
		}
		reply, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer reply.Body.Close()
		var body strings.Builder
		_, err = bufio.NewReader(reply.Body).WriteTo(&body)
		require.NoError(t, err)
		return reply.StatusCode, body.String()
	}
	c := r.pod.Containers[0]
	for _, p := range []string{c.StartupProbe.HTTPGet.Path, c.LivenessProbe.HTTPGet.Path, c.ReadinessProbe.HTTPGet.Path} {
		require.Eventually(t, func() bool { status, _ := get(p, ""); return status == http.StatusOK }, 20*time.Second, 50*time.Millisecond, p)
	}
	status, _ := get(r.monitors[0].Spec.Endpoints[0].Path, "")
	assert.Equal(t, http.StatusUnauthorized, status)
	status, body := get(r.monitors[0].Spec.Endpoints[0].Path, r.secrets[0].StringData["metrics"])
	assert.Equal(t, http.StatusOK, status)
	assert.Contains(t, body, "\n"+r.autoscalers[0].Spec.Metrics[0].Pods.Metric.Name+" 0\n")
}
