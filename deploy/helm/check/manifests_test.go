package check

import (
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

// mounts holds the mounts of a container against the volumes of its pod, both ways.
func mounts(t *testing.T, c core.Container, volumes []core.Volume, claimed ...string) {
	t.Helper()
	have, used, paths := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, v := range volumes {
		assert.False(t, have[v.Name], "the volume %s is given twice", v.Name)
		have[v.Name] = true
	}
	for _, name := range claimed {
		assert.False(t, have[name], "the volume %s is given twice", name)
		have[name] = true
	}
	for _, m := range c.VolumeMounts {
		assert.True(t, have[m.Name], "there is no volume %s", m.Name)
		assert.False(t, paths[m.MountPath], "two volumes at %s", m.MountPath)
		used[m.Name], paths[m.MountPath] = true, true
	}
	assert.Equal(t, have, used, "volumes that there are, and those that are mounted")
}

// container holds what is true of each container of warm: its flags and variables are the
// program's, its probes ask the paths and the port that answer there.
func container(t *testing.T, c core.Container, ops string) {
	t.Helper()
	checkArgs(t, c.Args)
	seen := map[string]bool{}
	for _, e := range c.Env {
		assert.False(t, seen[e.Name], "%s is set twice", e.Name)
		seen[e.Name] = true
		checkVariable(t, e.Name)
	}
	require.NotNil(t, c.LivenessProbe)
	require.NotNil(t, c.ReadinessProbe)
	assert.Equal(t, "/livez", c.LivenessProbe.HTTPGet.Path)
	assert.Equal(t, "/readyz", c.ReadinessProbe.HTTPGet.Path)
	ports := map[string]string{}
	for _, p := range c.Ports {
		number := strconv.Itoa(int(p.ContainerPort))
		ports[p.Name], ports[number] = number, number
	}
	for _, p := range []*core.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
		if p != nil {
			assert.Equal(t, ops, ports[p.HTTPGet.Port.String()], "a probe asks %s", p.HTTPGet.Port.String())
		}
	}
	assert.NotEmpty(t, c.Resources.Limits.Memory().Value(), "warm keeps to the limit of memory")
}

// config is the configuration of a release, as the container reads it.
func (r rendered) config(t testing.TB) (text string, read map[string]any) {
	require.NotEmpty(t, r.configs)
	for _, c := range r.configs {
		if c.Name == r.workload.Name {
			text = c.Data["serve.yaml"]
		}
	}
	require.NotEmpty(t, text)
	require.NoError(t, yaml.Unmarshal([]byte(text), &read))
	return text, read
}

func TestWhatIsMountedIsThere(t *testing.T) {
	eachCase(t, func(t *testing.T, r rendered) {
		require.Len(t, r.pod.Containers, 1)
		c := r.pod.Containers[0]
		container(t, c, "8081")
		var claimed []string
		for _, s := range r.sets {
			for _, v := range s.Spec.VolumeClaimTemplates {
				claimed = append(claimed, v.Name)
			}
			assert.True(t, slices.ContainsFunc(r.services, func(v core.Service) bool {
				return v.Name == s.Spec.ServiceName && v.Spec.ClusterIP == core.ClusterIPNone
			}), "a StatefulSet wants a headless service")
		}
		mounts(t, c, r.pod.Volumes, claimed...)
		assert.Equal(t, []string{"serve", "--config", "/etc/warm/serve.yaml"}, c.Args)
		_, config := r.config(t)
		mounted := func(p string) bool {
			return slices.ContainsFunc(c.VolumeMounts, func(m core.VolumeMount) bool {
				return p == m.MountPath || strings.HasPrefix(p, m.MountPath+"/")
			})
		}
		for _, name := range []string{"key_file", "admin_key_file", "state", "model_root", "watch"} {
			if p, ok := config[name].(string); ok {
				assert.True(t, path.IsAbs(p) && mounted(p), "%s: %s is on no volume", name, p)
			}
		}
		models, _ := config["models"].(map[string]any)
		for name, m := range models {
			for _, member := range m.(map[string]any)["members"].([]any) {
				p, ok := member.(string)
				if !ok {
					p = member.(map[string]any)["path"].(string)
				}
				if path.IsAbs(p) {
					assert.True(t, mounted(p), "%s: %s is on no volume", name, p)
				}
			}
		}
		for _, e := range c.Env {
			if strings.HasPrefix(e.Value, "/") {
				assert.True(t, mounted(e.Value), "%s=%s is on no volume, and nothing else can be written", e.Name, e.Value)
			}
		}
	})
}

// TestSecretsHoldWhatIsReadOfThem holds the entries of the Secret against the configuration.
func TestSecretsHoldWhatIsReadOfThem(t *testing.T) {
	eachCase(t, func(t *testing.T, r rendered) {
		own := map[string]string{}
		for _, s := range r.secrets {
			own = s.StringData
		}
		_, config := r.config(t)
		read := map[string]bool{}
		for _, name := range []string{"key_file", "admin_key_file"} {
			if p, ok := config[name].(string); ok {
				read[path.Base(p)] = true
			}
		}
		secret := ""
		for _, v := range r.pod.Volumes {
			if v.Secret != nil {
				secret = v.Secret.SecretName
			}
		}
		for _, e := range r.pod.Containers[0].Env {
			if e.Name == "WARM_API_KEY" {
				assert.Equal(t, secret, e.ValueFrom.SecretKeyRef.Name)
				read[e.ValueFrom.SecretKeyRef.Key] = true
			}
		}
		for _, m := range r.monitors {
			if a := m.Spec.Endpoints[0].Authorization; a != nil {
				assert.Equal(t, secret, a.Credentials.Name)
				assert.Equal(t, "metrics", a.Credentials.Key)
			} else {
				assert.NotContains(t, config, "key_file", "/metrics asks for a key")
			}
		}
		if len(r.secrets) > 0 {
			assert.Equal(t, r.secrets[0].Name, secret)
			assert.ElementsMatch(t, slices.Collect(maps.Keys(own)), slices.Collect(maps.Keys(read)))
		}
	})
}

func TestTheyNameEachOther(t *testing.T) {
	eachCase(t, func(t *testing.T, r rendered) {
		chosen := func(labels map[string]string) {
			t.Helper()
			assert.NotEmpty(t, labels)
			for k, v := range labels {
				assert.Equal(t, v, r.labelsOfPods[k], k)
			}
		}
		ports := map[string]int32{}
		for _, p := range r.pod.Containers[0].Ports {
			ports[p.Name] = p.ContainerPort
		}
		for _, s := range r.services {
			chosen(s.Spec.Selector)
			for _, p := range s.Spec.Ports {
				assert.Contains(t, ports, p.TargetPort.StrVal)
				if s.Spec.Type == core.ServiceTypeLoadBalancer {
					assert.NotEqual(t, "ops", p.Name, "what changes models goes nowhere beyond the cluster")
				}
			}
		}
		for _, b := range r.budgets {
			chosen(b.Spec.Selector.MatchLabels)
		}
		for _, p := range r.policies {
			chosen(p.Spec.PodSelector.MatchLabels)
			for _, in := range p.Spec.Ingress {
				assert.NotEmpty(t, in.From, "a rule without peers lets everybody in")
				for _, port := range in.Ports {
					assert.Contains(t, ports, port.Port.StrVal)
				}
			}
		}
		for _, m := range r.monitors {
			n := 0
			for _, s := range r.services {
				fits := true
				for k, v := range m.Spec.Selector.MatchLabels {
					fits = fits && s.Labels[k] == v
				}
				if fits {
					n++
					assert.True(t, slices.ContainsFunc(s.Spec.Ports, func(p core.ServicePort) bool { return p.Name == m.Spec.Endpoints[0].Port }))
				}
			}
			assert.Equal(t, 1, n, "services that are scraped: two would count everything twice")
		}
		for _, h := range r.autoscalers {
			assert.Equal(t, []string{r.kind, r.workload.Name}, []string{h.Spec.ScaleTargetRef.Kind, h.Spec.ScaleTargetRef.Name})
			assert.LessOrEqual(t, *h.Spec.MinReplicas, h.Spec.MaxReplicas)
			for _, d := range r.deployments {
				assert.Nil(t, d.Spec.Replicas, "two would set how many pods there are")
			}
		}
		for _, a := range r.accounts {
			assert.Equal(t, a.Name, r.pod.ServiceAccountName)
		}
		s := r.pod.Containers[0].SecurityContext
		assert.True(t, *s.ReadOnlyRootFilesystem && !*s.AllowPrivilegeEscalation && *r.pod.SecurityContext.RunAsNonRoot)
	})
}

// TestTheEndIsWaitedFor adds up what the program waits for after SIGTERM.
func TestTheEndIsWaitedFor(t *testing.T) {
	r, err := render(t, "")
	require.NoError(t, err)
	_, config := r.config(t)
	limits := config["limits"].(map[string]any)
	assert.Equal(t, []any{"10s", "60s"}, []any{limits["drain_delay"], limits["drain_timeout"]})
	assert.Greater(t, *r.pod.TerminationGracePeriodSeconds, int64(10+60))
	p := r.pod.Containers[0].ReadinessProbe
	assert.Less(t, p.PeriodSeconds*p.FailureThreshold, int32(10), "/readyz is asked before requests are refused")
}

func TestCardsAreAskedFor(t *testing.T) {
	for text, want := range map[string][]string{
		"":                               {"cpu", "", "warm:latest"},
		"gpu: {enabled: true}":           {"cuda", "1", "warm:latest-cuda"},
		"gpu: {enabled: true, count: 4}": {"cuda:all", "4", "warm:latest-cuda"},
		"{gpu: {enabled: true}, image: {tag: v9}}": {"cuda", "1", "warm:v9"},
	} {
		r, err := render(t, text)
		require.NoError(t, err)
		_, config := r.config(t)
		cards := ""
		if q, ok := r.pod.Containers[0].Resources.Limits["nvidia.com/gpu"]; ok {
			cards = q.String()
		}
		assert.Equal(t, want, []string{config["device"].(string), cards, r.pod.Containers[0].Image}, text)
		if cards != "" {
			assert.Equal(t, "nvidia.com/gpu", r.pod.Tolerations[0].Key)
			assert.Equal(t, intstr.FromInt32(0), *r.deployments[0].Spec.Strategy.RollingUpdate.MaxSurge)
		}
	}
}

// TestDashboardAndAlertsAreThoseOfDeploy holds the chart's against the files, whose queries a
// test of package server holds against what a server exports.
func TestDashboardAndAlertsAreThoseOfDeploy(t *testing.T) {
	r, err := render(t, cases["members of a volume, with keys"])
	require.NoError(t, err)
	file := func(name string) []byte {
		data, err := os.ReadFile("../../" + name)
		require.NoError(t, err)
		return data
	}
	require.Len(t, r.rules, 1)
	want, err := yaml.YAMLToJSONStrict(file("alerts.yaml"))
	require.NoError(t, err)
	have, err := yaml.Marshal(r.rules[0].Spec)
	require.NoError(t, err)
	have, err = yaml.YAMLToJSONStrict(have)
	require.NoError(t, err)
	assert.JSONEq(t, string(want), string(have))
	for _, c := range r.configs {
		if c.Labels["grafana_dashboard"] == "1" {
			assert.JSONEq(t, string(file("grafana/warmserve.json")), c.Data["warmserve.json"])
			return
		}
	}
	t.Error("there is no dashboard")
}

func TestValuesAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"replica: 3":                                                         "replica",
		"replicas: many":                                                     "replicas",
		"models: {m: {}}":                                                    "members",
		"models: {m: {members: []}}":                                         "members",
		"config: {addr: 'localhost:1'}":                                      "addr",
		"config: {device: cuda}":                                             "device",
		"config: {limits: {drain_delay: 10}}":                                "drain_delay",
		"keys: {clients: [short]}":                                           "clients",
		"keys: {clients: ['has a space in it']}":                             "clients",
		"keys: {metrics: metrics-key}":                                       "keys.clients",
		"gpu: {enabled: true, count: 0}":                                     "count",
		"checkpoints: {claim: Upper_Case}":                                   "claim",
		"service: {type: ExternalName}":                                      "type",
		"autoscaling: {queueTokens: 0}":                                      "queueTokens",
		"disruption: {maxUnavailable: half}":                                 "maxUnavailable",
		"keys: {existing: {secret: s, entries: [other]}}":                    "entries",
		"{keys: {clients: [a-client-key]}, serviceMonitor: {enabled: true}}": "keys.metrics",
	} {
		_, err := render(t, text)
		if assert.Error(t, err, text) {
			assert.Contains(t, err.Error(), want, text)
		}
	}
}

// TestEveryValueIsInTheSchemaAndSaysWhatItIs holds values.yaml against values.schema.json, and
// asks of each line for people that it is explained.
func TestEveryValueIsInTheSchemaAndSaysWhatItIs(t *testing.T) {
	read := func(name string) (text string, v map[string]any) {
		data, err := os.ReadFile(path.Join(chartDir, name))
		require.NoError(t, err)
		require.NoError(t, yaml.UnmarshalStrict(data, &v))
		return string(data), v
	}
	_, schema := read("values.schema.json")
	text, have := read("values.yaml")
	delete(schema["properties"].(map[string]any), "global") // Helm's own
	var walk func(at string, schema, have map[string]any)
	walk = func(at string, schema, have map[string]any) {
		properties, _ := schema["properties"].(map[string]any)
		if schema["additionalProperties"] != false {
			return // what is inside is Kubernetes' or warm's
		}
		assert.ElementsMatch(t, slices.Collect(maps.Keys(properties)), slices.Collect(maps.Keys(have)), at)
		for name, v := range have {
			inner, ok := v.(map[string]any)
			if ok && properties[name] != nil {
				walk(at+"."+name, properties[name].(map[string]any), inner)
			}
		}
	}
	walk("", schema, have)
	assert.Greater(t, strings.Count(text, "#"), 40)
}

// TestThePageShowsValuesOfTheChart renders what docs/kubernetes.md prints as values.
func TestThePageShowsValuesOfTheChart(t *testing.T) {
	page, err := os.ReadFile("../../../docs/kubernetes.md")
	require.NoError(t, err)
	shown := 0
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		if strings.HasPrefix(block[1], "rules:") {
			assert.Contains(t, block[1], "warm_queue_tokens")
			continue // of the adapter
		}
		shown++
		r, err := render(t, block[1])
		require.NoError(t, err, block[1])
		assert.Contains(t, r.pod.Containers[0].Image, "registry.example.com/warm:v1")
	}
	assert.Equal(t, 2, shown)
}
