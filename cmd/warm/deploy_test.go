package main

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// deployed is a file below deploy. The chart and KServe's manifests have checks in a module of
// their own, deploy/helm/check.
func deployed(t testing.TB, elem ...string) string {
	data, err := os.ReadFile(filepath.Join(append([]string{"..", "..", "deploy"}, elem...)...))
	require.NoError(t, err)
	return string(data)
}

// serveLine reads a command line of a manifest as the program does. What it names is not opened.
func serveLine(t *testing.T, args []string) {
	t.Helper()
	require.Equal(t, "serve", args[0])
	serve := (&program{getenv: noEnv}).serve()
	assert.NoError(t, serve.ParseFlags(args[1:]), args)
}

// variableIsRead holds a variable against what commands say that they read.
func variableIsRead(t *testing.T, variable string) {
	t.Helper()
	if variable == "HOME" || variable == "CUDA_CACHE_PATH" { // the system's, the driver's
		return
	}
	var help string
	for _, name := range []string{"serve", "pull"} {
		_, text, _ := command(t, "", name, "--help")
		help += text
	}
	assert.Regexp(t, `\b`+variable+`\b`, help, "no help says what this variable does")
}

// composeFile is what deploy/compose/compose.yaml uses of Compose's format. A field that is not
// here is refused.
type composeFile struct {
	Name     string
	Warm     any `yaml:"x-warm"`
	Services map[string]struct {
		Image       string
		Command     []string
		Environment map[string]string
		Volumes     []string
		Tmpfs       []string
		ReadOnly    bool     `yaml:"read_only"`
		CapDrop     []string `yaml:"cap_drop"`
		SecurityOpt []string `yaml:"security_opt"`
		StopGrace   string   `yaml:"stop_grace_period"`
		Ports       []string
		DependsOn   []string `yaml:"depends_on"`
		Restart     string
		Networks    []string
	}
	Networks, Volumes map[string]struct{}
}

func TestComposeNamesWhatIsThere(t *testing.T) {
	var c composeFile
	require.NoError(t, yaml.UnmarshalWithOptions([]byte(deployed(t, "compose", "compose.yaml")), &c, yaml.Strict()))
	config, err := readConfig(filepath.Join("..", "..", "deploy", "compose", "serve.yaml"), sourcesOf(noEnv))
	require.NoError(t, err)
	require.NoError(t, config.validate())
	_, port, err := net.SplitHostPort(config.Addr)
	require.NoError(t, err)
	require.Empty(t, config.OpsAddr, "HAProxy asks for health where it sends requests")
	scraped := deployed(t, "compose", "prometheus.yaml")
	balanced := slices.Collect(maps.Values(c.Services["haproxy"].Environment))
	for v := range c.Services["haproxy"].Environment {
		assert.Regexp(t, `"\$\{`+v+`\}"|defined\(`+v+`\)`, deployed(t, "haproxy", "haproxy.cfg"))
	}
	servers := 0
	for name, s := range c.Services {
		for _, v := range s.Volumes {
			from, to, ok := strings.Cut(strings.Replace(v, "${WARM_MODELS:-./models}", "./models", 1), ":")
			require.True(t, ok, v)
			assert.True(t, path.IsAbs(strings.TrimSuffix(to, ":ro")), v)
			if strings.HasPrefix(from, ".") {
				_, err := os.Stat(filepath.Join("..", "..", "deploy", "compose", from))
				assert.NoError(t, err, v)
			} else {
				assert.Contains(t, c.Volumes, from)
			}
		}
		for _, p := range s.Ports {
			assert.True(t, strings.HasPrefix(p, "127.0.0.1:"), "%s listens beyond this machine: %s", name, p)
		}
		for _, d := range s.DependsOn {
			assert.Contains(t, c.Services, d)
		}
		if len(s.Command) == 0 {
			continue
		}
		servers++
		serveLine(t, s.Command)
		for v := range s.Environment {
			variableIsRead(t, v)
		}
		grace, err := time.ParseDuration(s.StopGrace)
		require.NoError(t, err)
		assert.Greater(t, grace, config.Limits.DrainDelay+config.Limits.DrainTimeout)
		assert.Contains(t, balanced, name+":"+port)
		assert.Contains(t, scraped, fmt.Sprintf("%q", name+":"+port))
	}
	assert.Equal(t, 2, servers)
	assert.Len(t, balanced, servers+2, "and where clients come in, and that addresses change")
	assert.Contains(t, deployed(t, "compose", "grafana-sources.yaml"), "http://prometheus:9090")
	for _, f := range []string{"prometheus.yaml", "grafana-sources.yaml", "grafana-dashboards.yaml"} {
		var v map[string]any
		require.NoError(t, yaml.UnmarshalWithOptions([]byte(deployed(t, "compose", f)), &v, yaml.Strict()), f)
	}
}

// replicasVariable asks for the test of replicas behind HAProxy: "short", or "long" for
// more clients, which leave the replicas no rest, and longer faults.
const replicasVariable = "WARM_REPLICAS"

// freeAddresses are so many different ones that nobody listens at.
func freeAddresses(t *testing.T, n int) (all []string) {
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer ln.Close() // not before all are taken
		all = append(all, ln.Addr().String())
	}
	return all
}

// TestOneServerBehindHAProxyEndsUnderLoad starts what deploy/compose starts, by hand: two servers
// and HAProxy with its configuration, at other addresses. Each request is scored once, and none
// fails while one of the servers drains and ends.
func TestOneServerBehindHAProxyEndsUnderLoad(t *testing.T) {
	t.Parallel()
	if os.Getenv(replicasVariable) == "" {
		t.Skipf("takes ten seconds: servers drain, and are asked for their health once a second: set %s=short", replicasVariable)
	}
	wantTools(t, "haproxy")
	config := filepath.Join(t.TempDir(), "serve.yaml")
	require.NoError(t, os.WriteFile(config, []byte("models: {m: {members: ['embedded:']}}\nlimits: {drain_delay: 3s}\n"), 0o600))
	front := freeAddresses(t, 1)[0]
	var servers []*instance
	environment := append(os.Environ(), "WARM_LISTEN="+front)
	for i := range 2 {
		s := startServe(t, "--config", config)
		servers = append(servers, s)
		environment = append(environment, fmt.Sprintf("WARM_REPLICA_%d=%s", i+1, strings.TrimPrefix(s.url, "http://")))
	}
	said := &output{}
	balancer := exec.Command("haproxy", "-db", "-f", filepath.Join("..", "..", "deploy", "haproxy", "haproxy.cfg"))
	balancer.Env = environment
	balancer.Stdout, balancer.Stderr = said, said
	require.NoError(t, balancer.Start())
	defer func() {
		_ = balancer.Process.Kill()
		_ = balancer.Wait()
	}()
	url := "http://" + front
	ask := func() int {
		reply, err := http.Post(url+"/v1/reward", "application/json", strings.NewReader(`{"inputs":[{"prompt":"a","response":"b"}]}`))
		if err != nil {
			return 0
		}
		reply.Body.Close()
		return reply.StatusCode
	}
	require.Eventually(t, func() bool { return ask() == http.StatusOK }, 20*time.Second, 50*time.Millisecond, "%s", said)
	time.Sleep(2 * time.Second) // both are asked for their health once a second
	scored := func(s *instance) int {
		_, body := status(t, s.url+"/metrics", "")
		m := regexp.MustCompile(`(?m)^warm_sequences_total{model="m"} (\d+)$`).FindStringSubmatch(body)
		if m == nil {
			return 0
		}
		n, err := strconv.Atoi(m[1])
		require.NoError(t, err)
		return n
	}
	before := []int{scored(servers[0]), scored(servers[1])}
	for range 40 {
		require.Equal(t, http.StatusOK, ask(), "%s", said)
	}
	did := []int{scored(servers[0]) - before[0], scored(servers[1]) - before[1]}
	assert.Equal(t, 40, did[0]+did[1], "each is scored once: %v", did)
	assert.NotContains(t, did, 0, "both serve")
	var failed, answered atomic.Int64
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if ask() == http.StatusOK {
					answered.Add(1)
				} else {
					failed.Add(1)
				}
			}
		})
	}
	assert.Equal(t, exitOK, servers[0].stop())
	time.Sleep(time.Second)
	close(stop)
	clients.Wait()
	assert.Zero(t, failed.Load(), "of %d: %s", answered.Load(), said)
	assert.Greater(t, answered.Load(), int64(20))
}

// setting is a line of a unit.
var setting = regexp.MustCompile(`(?m)^([A-Za-z]+)=(.*)$`)

func TestTheUnitOfSystemd(t *testing.T) {
	unit := deployed(t, "systemd", "warm.service")
	settings := map[string][]string{}
	for _, text := range []string{unit, deployed(t, "systemd", "warm.service.d", "cuda.conf")} {
		for _, m := range setting.FindAllStringSubmatch(text, -1) {
			settings[m[1]] = append(settings[m[1]], m[2])
		}
	}
	line := strings.Fields(settings["ExecStart"][0])
	assert.Equal(t, "/usr/local/bin/warm", line[0])
	serveLine(t, line[1:])
	variables := map[string]string{}
	for _, e := range settings["Environment"] {
		for _, v := range strings.Fields(e) {
			name, value, _ := strings.Cut(v, "=")
			variableIsRead(t, name)
			variables[name] = value
		}
	}
	config, err := readConfig(filepath.Join("..", "..", "deploy", "systemd", "serve.yaml"), sourcesOf(noEnv))
	require.NoError(t, err)
	require.NoError(t, config.environment(func(name string) string { return variables[name] }))
	require.NoError(t, config.validate())
	assert.Equal(t, "/var/lib/"+settings["StateDirectory"][0]+"/state.json", config.State)
	credential, _, _ := strings.Cut(settings["LoadCredential"][0], ":")
	assert.Equal(t, "%d/"+credential, config.KeyFile)
	stop, err := strconv.Atoi(settings["TimeoutStopSec"][0])
	require.NoError(t, err)
	assert.Greater(t, time.Duration(stop)*time.Second, config.Limits.DrainDelay+config.Limits.DrainTimeout)
	assert.Equal(t, strconv.Itoa(exitUsage), settings["RestartPreventExitStatus"][0])
	t.Run("systemd-analyze", func(t *testing.T) {
		wantTools(t, "systemd-analyze", "true")
		bin, err := exec.LookPath("true")
		require.NoError(t, err)
		dir := t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(dir, "warm.service.d"), 0o755))
		file := filepath.Join(dir, "warm.service")
		// The program is not installed here; all else is as it stands.
		require.NoError(t, os.WriteFile(file, []byte(strings.Replace(unit, "ExecStart="+line[0], "ExecStart="+bin, 1)), 0o644))
		analyze := func(args ...string) string {
			cmd := exec.Command("systemd-analyze", append(args, file)...)
			var said bytes.Buffer
			cmd.Stdout, cmd.Stderr = &said, &said
			assert.NoError(t, cmd.Run(), "%s", said.String())
			return said.String()
		}
		assert.Empty(t, analyze("verify"))
		analyze("security", "--offline=true", "--threshold=20") // of 100, which is a unit that guards nothing
		require.NoError(t, os.WriteFile(filepath.Join(dir, "warm.service.d", "cuda.conf"), []byte(deployed(t, "systemd", "warm.service.d", "cuda.conf")), 0o644))
		assert.Empty(t, analyze("verify"))
	})
}
