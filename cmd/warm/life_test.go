package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// status asks a path with a key, which may be "".
func status(t testing.TB, url, key string) (int, string) {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+key)
	reply, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	require.NoError(t, err)
	return reply.StatusCode, string(body)
}

func TestSIGHUPReadsKeysModelsAndLevelsAgain(t *testing.T) {
	dir := t.TempDir()
	config, keys := filepath.Join(dir, "serve.yaml"), filepath.Join(dir, "keys")
	one, two := tinyModel(t, "one", nil), tinyModel(t, "two", nil)
	write := func(rest string) { require.NoError(t, os.WriteFile(config, []byte("key_file: keys\n"+rest), 0o600)) }
	require.NoError(t, os.WriteFile(keys, []byte("first-key\n\n# a comment\n"), 0o600))
	write("models:\n  m: {members: [" + one + "]}\n  gone: {members: [" + two + "]}\n")
	c := startChild(t, "--config", config)
	hup := func(says string) {
		t.Helper()
		before := strings.Count(c.stderr.String(), says)
		require.NoError(t, c.cmd.Process.Signal(syscall.SIGHUP))
		require.Eventually(t, func() bool { return strings.Count(c.stderr.String(), says) > before }, 20*time.Second, time.Millisecond, "%s", c.stderr)
	}
	code, m := status(t, c.url+"/v1/models/m", "first-key")
	require.Equal(t, http.StatusOK, code)

	require.NoError(t, os.WriteFile(keys, []byte("second-key\n"), 0o600))
	write("log_level: debug\nlimits: {max_sequences: 7}\nmodels:\n  m: {members: [" + one + "]}\n  new: {members: [" + two + "]}\n")
	hup(`msg="the configuration was read again"`)
	code, _ = status(t, c.url+"/v1/models", "first-key")
	assert.Equal(t, http.StatusUnauthorized, code)
	code, list := status(t, c.url+"/v1/models", "second-key")
	assert.Equal(t, http.StatusOK, code)
	assert.Contains(t, list, `"id":"new"`)
	assert.NotContains(t, list, `"id":"gone"`)
	code, again := status(t, c.url+"/v1/models/m", "second-key")
	assert.Equal(t, http.StatusOK, code)
	assert.Equal(t, m, again, "what is configured as before is not touched")
	assert.Contains(t, c.stderr.String(), `msg="these settings change only with a restart" settings=limits`)
	status(t, c.url+"/livez", "")
	assert.Eventually(t, func() bool { return strings.Contains(c.stderr.String(), "level=DEBUG") }, 5*time.Second, time.Millisecond, "the log's level changed")

	const wrong = "what is wrong with it stays as it was"
	write("models:\n  m: {membres: [" + one + "]}\n")
	hup(wrong)
	write("models:\n  m: {members: [/nowhere]}\n  new: {members: [" + two + "]}\n")
	hup(wrong)
	require.NoError(t, os.WriteFile(keys, []byte("\n"), 0o600))
	hup(wrong)
	code, again = status(t, c.url+"/v1/models/m", "second-key")
	assert.Equal(t, http.StatusOK, code)
	assert.Contains(t, again, `"state":"live"`)
	_, metrics := status(t, c.url+"/metrics", "second-key")
	assert.Contains(t, metrics, `warm_config_reloads_total{outcome="failed"} 3`)
	assert.Contains(t, metrics, `warm_config_reloads_total{outcome="done"} 1`)
	require.NoError(t, c.cmd.Process.Signal(syscall.SIGTERM))
	<-c.ended
	assert.Equal(t, 0, c.cmd.ProcessState.ExitCode())
}

func TestAClosedLogPipeEndsNothing(t *testing.T) {
	model := tinyModel(t, "one", nil)
	exe, err := os.Executable()
	require.NoError(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := ln.Addr().String()
	require.NoError(t, ln.Close())
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childCommand+"="+strings.Join([]string{"serve", "--addr", addr, "--model", "m=" + model}, "\n"))
	read, write, err := os.Pipe()
	require.NoError(t, err)
	cmd.Stderr = write
	require.NoError(t, cmd.Start())
	require.NoError(t, write.Close())
	require.NoError(t, read.Close())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }() // it has ended, if all is well
	ask := func() bool {
		r, err := http.Post("http://"+addr+"/v1/reward", "application/json", strings.NewReader(`{"inputs":[{"text":"a"}]}`))
		if err != nil {
			return false
		}
		r.Body.Close()
		return r.StatusCode == http.StatusOK
	}
	require.Eventually(t, ask, 20*time.Second, 10*time.Millisecond, "it does not serve")
	for range 5 {
		assert.True(t, ask(), "each request writes to the log")
	}
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	select {
	case err := <-ended:
		assert.NoError(t, err, "it drained")
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end")
	}
}

// TestSIGTERMEndsALoadWithinASecond stops a server in the middle of a load that
// would take several seconds.
func TestSIGTERMEndsALoadWithinASecond(t *testing.T) {
	var members []string
	for i := range 4 {
		members = append(members, rewardtest.Sparse(t, fmt.Sprint("m", i), 3, byte(i+1)))
	}
	ctx, cancel := context.WithCancel(t.Context())
	stderr, ended := &output{}, make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"serve", "--addr", "127.0.0.1:0", "--threads", "1", "--model", "m=" + strings.Join(members, ",")}, noEnv, strings.NewReader(""), io.Discard, stderr)
	}()
	url := ""
	require.Eventually(t, func() bool {
		if m := listening.FindStringSubmatch(stderr.String()); m != nil {
			url = m[1]
		}
		return url != ""
	}, 10*time.Second, time.Millisecond)
	require.Eventually(t, func() bool {
		_, body := status(t, url+"/v1/models/m", "")
		return regexp.MustCompile(`"doing":"weight average","progress":0\.[0-9]*[1-9]`).MatchString(body)
	}, 30*time.Second, time.Millisecond)
	begin := time.Now()
	cancel()
	assert.Equal(t, exitOK, <-ended, "%s", stderr)
	assert.Less(t, time.Since(begin), time.Second)
}

func TestOperatorsHaveAPortOfTheirOwn(t *testing.T) {
	model := tinyModel(t, "one", nil)
	s := &instance{stderr: &output{}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"serve", "--addr", "127.0.0.1:0", "--ops-addr", "127.0.0.1:0", "--model", "m=" + model, "--admin-key-file", adminKeyFile(t), "--model-root", t.TempDir()},
			noEnv, strings.NewReader(""), io.Discard, s.stderr)
	}()
	operators := regexp.MustCompile(`msg=operators addr=(\S+)`)
	ops := ""
	require.Eventually(t, func() bool {
		a, b := listening.FindStringSubmatch(s.stderr.String()), operators.FindStringSubmatch(s.stderr.String())
		if a == nil || b == nil {
			return false
		}
		s.url, ops = a[1], "http://"+b[1]
		code, _ := status(t, ops+"/readyz", "")
		return code == http.StatusOK
	}, 20*time.Second, 5*time.Millisecond, "%s", s.stderr)
	for _, url := range []string{s.url, ops} {
		for _, path := range []string{"/docs", "/console/app.js"} {
			code, _ := status(t, url+path, "")
			assert.Equal(t, http.StatusOK, code, "%s of the console, which is on both", path)
		}
	}
	for _, path := range []string{"/metrics", "/livez", "/readyz"} {
		code, _ := status(t, ops+path, "")
		assert.Equal(t, http.StatusOK, code, path)
		code, _ = status(t, s.url+path, "")
		assert.Equal(t, http.StatusNotFound, code, "%s on the public port", path)
	}
	for _, c := range []struct {
		url  string
		want []int
	}{{s.url, []int{http.StatusNotFound, http.StatusMethodNotAllowed}}, {ops, []int{http.StatusBadRequest}}} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, c.url+"/v1/models/m", strings.NewReader("{"))
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer "+testAdminKey)
		reply, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		reply.Body.Close()
		assert.Contains(t, c.want, reply.StatusCode, c.url)
	}
	code, _ := s.post(t, `{"inputs":[{"text":"a"}]}`)
	assert.Equal(t, http.StatusOK, code)
	cancel()
	assert.Equal(t, exitOK, <-ended)

	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--addr", "127.0.0.1:18080", "--ops-addr", "127.0.0.1:18080"}, exitUsage, "ops_addr: 127.0.0.1:18080 is addr, too"},
		{[]string{"--ops-addr", "nowhere"}, exitUsage, "ops_addr: "},
		{[]string{"--log-level", "loud"}, exitUsage, `log_level: "loud", want debug, info, warn or error`},
		{[]string{"--ready", "some"}, exitUsage, `ready: "some", want all or any`},
		{[]string{"--alias", "gpt-4"}, exitUsage, "--alias gpt-4: want NAME=MODEL"},
		{[]string{"--alias", "gpt-4=n"}, exitUsage, `no model "n" is named by --model or the configuration, only ["m"]`},
		{[]string{"--model", "n=" + model, "--alias", "n=m"}, exitUsage, `models.m: the alias "n" is a name of the model "n", too`},
		{[]string{"--model", "n=" + model, "--any-model-name"}, exitUsage, "any_name: any name would mean one of 2 models"},
	} {
		code, _, stderr := command(t, "", append([]string{"serve", "--model", "m=" + model}, c.args...)...)
		assert.Equal(t, c.code, code)
		assert.Contains(t, stderr, c.want)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	code, _, stderr := command(t, "", "serve", "--model", "m="+model, "--addr", ln.Addr().String())
	assert.Equal(t, exitFailure, code)
	assert.Contains(t, stderr, "is in use by another program: end that, or choose another port with --addr")
}

// TestTheImageServesTheDemonstration runs what the Dockerfile runs, with its
// environment, where no configuration is mounted and where one is.
func TestTheImageServesTheDemonstration(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "Dockerfile"))
	require.NoError(t, err)
	words := regexp.MustCompile(`"([^"]*)"`)
	var args []string
	env := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "FROM ") {
			args = nil
			clear(env)
		}
		if rest, ok := strings.CutPrefix(line, "CMD "); ok {
			for _, w := range words.FindAllStringSubmatch(rest, -1) {
				args = append(args, strings.Replace(w[1], "0.0.0.0:8080", "127.0.0.1:0", 1))
			}
		}
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "ENV "); ok {
			name, value, _ := strings.Cut(rest, "=")
			env[name] = value
		}
	}
	require.Equal(t, "/etc/warm/serve.yaml", env["WARM_DEFAULT_CONFIG"])
	serves := func(t *testing.T, want string) {
		ctx, cancel := context.WithCancel(t.Context())
		stderr, ended := &output{}, make(chan int, 1)
		go func() {
			ended <- run(ctx, args, func(name string) string { return env[name] }, strings.NewReader(""), io.Discard, stderr)
		}()
		assert.Eventually(t, func() bool {
			m := listening.FindStringSubmatch(stderr.String())
			if m == nil {
				return false
			}
			code, body := status(t, m[1]+"/v1/models", "")
			return code == http.StatusOK && strings.Contains(body, want)
		}, 60*time.Second, 20*time.Millisecond, "%s", stderr)
		cancel()
		assert.Equal(t, exitOK, <-ended, "%s", stderr)
	}
	if _, err := os.Stat(env["WARM_DEFAULT_CONFIG"]); err == nil {
		t.Skip("this machine has a configuration where the image's is mounted")
	}
	t.Run("nothing mounted", func(t *testing.T) { serves(t, `"id":"`+embeddedName+`"`) })
	t.Run("a configuration mounted", func(t *testing.T) {
		config := filepath.Join(t.TempDir(), "serve.yaml")
		require.NoError(t, os.WriteFile(config, []byte("models:\n  mounted: {members: ["+tinyModel(t, "one", nil)+"]}\n"), 0o600))
		env["WARM_DEFAULT_CONFIG"] = config
		serves(t, `"id":"mounted"`)
	})
}

func TestABadModelOfTheConfigurationIsTriedAgain(t *testing.T) {
	t.Parallel()
	good, late := tinyModel(t, "good", nil), filepath.Join(t.TempDir(), "late")
	config := filepath.Join(t.TempDir(), "serve.yaml")
	require.NoError(t, os.WriteFile(config, []byte("ready: any\nmodels:\n  good: {members: ["+good+"]}\n  late: {members: ["+late+"]}\n"), 0o600))
	s := startServe(t, "--config", config)
	code, _ := s.post(t, `{"model":"good","inputs":[{"text":"a"}]}`)
	assert.Equal(t, http.StatusOK, code)
	require.Eventually(t, func() bool { return strings.Contains(s.stderr.String(), "those that are not are tried again") }, 10*time.Second, time.Millisecond)
	assert.Equal(t, 1, strings.Count(s.stderr.String(), "level=ERROR"), "%s", s.stderr)
	require.NoError(t, os.Rename(tinyModel(t, "late", nil), late))
	require.Eventually(t, func() bool {
		code, _ := status(t, s.url+"/v1/models/late", "")
		_, body := status(t, s.url+"/v1/models", "")
		return code == http.StatusOK && strings.Contains(body, `"id":"late"`)
	}, 20*time.Second, 20*time.Millisecond)
	assert.Equal(t, exitOK, s.stop())
}
