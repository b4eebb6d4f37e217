package check

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

const chartDir = "../warm"

// cases are values as people give them, one for each part of the chart that can be chosen.
var cases = map[string]string{
	"nothing said": "",
	"members of a volume, with keys": `
models: {helpful: {members: [{path: /models/rm-1, weight: 1}, {path: /models/rm-2, weight: 2}], mode: both}}
checkpoints: {claim: checkpoints, subPath: runs}
keys: {clients: [a-client-key, another-one], admins: [an-admin-key], metrics: metrics-key}
serviceMonitor: {enabled: true, labels: {release: prometheus}}
prometheusRule: {enabled: true, labels: {release: prometheus}}
dashboard: {enabled: true}
autoscaling: {enabled: true}
config: {limits: {request_memory: 1073741824, timeout: 60s}, log_level: warn}
`,
	"from the hub, kept on a volume of each pod": `
models: {skywork: {members: [Skywork/Skywork-Reward-V2-Qwen3-0.6B], aliases: [gpt-4]}}
persistence: {enabled: true, size: 20Gi, storageClass: fast}
hub: {tokenSecret: hub-token, endpoint: "https://hub.example.com", offline: true}
autoscaling: {enabled: true, minReplicas: 1, maxReplicas: 3, queueTokens: 1000000}
`,
	"from a bucket, on two cards": `
models: {helpful: {members: ["s3://bucket/rm-1", "s3://bucket/rm-2"], swap: drain}}
gpu: {enabled: true, count: 2, runtimeClass: nvidia}
env: [{name: AWS_REGION, value: eu-central-1}]
envFrom: [{secretRef: {name: bucket}}]
cacheSize: 100Gi
resources: {requests: {cpu: 4, memory: 32Gi}, limits: {memory: 32Gi}}
networkPolicy: {egress: [{to: [{ipBlock: {cidr: 169.254.169.254/32}}], ports: [{port: 80, protocol: TCP}]}]}
`,
	"on one card, with all that a pod may say": `
gpu: {enabled: true}
image: {repository: registry.example.com/warm, tag: v1.2.3-cuda, pullSecrets: [registry]}
service: {type: LoadBalancer, annotations: {a: b}}
serviceAccount: {annotations: {a: b}}
nodeSelector: {pool: cards}
tolerations: [{key: pool, operator: Exists}]
affinity: {podAntiAffinity: {}}
priorityClassName: high
podLabels: {team: rl}
podAnnotations: {a: b}
disruption: {maxUnavailable: 50%}
`,
	"a manifest that is watched, keys of one's own": `
checkpoints: {claim: checkpoints}
config: {watch: /models}
keys: {existing: {secret: mine, entries: [clients, admins, metrics]}}
serviceAccount: {name: mine}
serviceMonitor: {enabled: true}
networkPolicy: {https: false, operators: []}
disruption: {enabled: false}
`,
	"administrators alone": `
keys: {admins: [an-admin-key]}
networkPolicy: {enabled: false}
`,
}

// rendered is what a release consists of, by kinds.
type rendered struct {
	deployments  []apps.Deployment
	sets         []apps.StatefulSet
	services     []core.Service
	configs      []core.ConfigMap
	secrets      []core.Secret
	accounts     []core.ServiceAccount
	autoscalers  []autoscaling.HorizontalPodAutoscaler
	budgets      []policy.PodDisruptionBudget
	policies     []networking.NetworkPolicy
	monitors     []monitoring.ServiceMonitor
	rules        []monitoring.PrometheusRule
	runtimes     []ClusterServingRuntime
	inferences   []InferenceService
	notes        string
	labelsOfPods map[string]string
	pod          core.PodSpec // of the workload
	workload     meta.ObjectMeta
	kind         string
}

// values reads what a case says.
func values(t testing.TB, text string) map[string]any {
	v := map[string]any{}
	require.NoError(t, yaml.Unmarshal([]byte(text), &v))
	return v
}

// render makes a release named "rewards" of the chart with values.
func render(t testing.TB, text string) (rendered, error) {
	chart, err := loader.Load(chartDir)
	require.NoError(t, err)
	v, err := util.ToRenderValues(chart, values(t, text), common.ReleaseOptions{
		Name: "rewards", Namespace: "rl", Revision: 1, IsInstall: true}, common.DefaultCapabilities)
	if err != nil {
		return rendered{}, err
	}
	files, err := engine.Engine{Strict: true}.RenderWithContext(t.Context(), chart, v)
	if err != nil {
		return rendered{}, err
	}
	var r rendered
	for name, text := range files {
		switch {
		case strings.HasSuffix(name, "NOTES.txt"):
			r.notes = text
		default:
			r.read(t, name, text)
		}
	}
	switch {
	case len(r.deployments) == 1:
		d := r.deployments[0]
		r.pod, r.labelsOfPods, r.workload, r.kind = d.Spec.Template.Spec, d.Spec.Template.Labels, d.ObjectMeta, d.Kind
	case len(r.sets) == 1:
		s := r.sets[0]
		r.pod, r.labelsOfPods, r.workload, r.kind = s.Spec.Template.Spec, s.Spec.Template.Labels, s.ObjectMeta, s.Kind
	}
	return r, nil
}

// read decodes the documents of a file. A field that its type has not, or that is given twice,
// and a kind that is not known here are errors.
func (r *rendered) read(t testing.TB, name, text string) {
	for doc := range strings.SplitSeq("\n"+text, "\n---") {
		if comment(doc) {
			continue
		}
		var is meta.TypeMeta
		require.NoError(t, yaml.Unmarshal([]byte(doc), &is), "%s:\n%s", name, doc)
		switch is.APIVersion + " " + is.Kind {
		case "apps/v1 Deployment":
			add(t, &r.deployments, name, doc)
		case "apps/v1 StatefulSet":
			add(t, &r.sets, name, doc)
		case "v1 Service":
			add(t, &r.services, name, doc)
		case "v1 ConfigMap":
			add(t, &r.configs, name, doc)
		case "v1 Secret":
			add(t, &r.secrets, name, doc)
		case "v1 ServiceAccount":
			add(t, &r.accounts, name, doc)
		case "autoscaling/v2 HorizontalPodAutoscaler":
			add(t, &r.autoscalers, name, doc)
		case "policy/v1 PodDisruptionBudget":
			add(t, &r.budgets, name, doc)
		case "networking.k8s.io/v1 NetworkPolicy":
			add(t, &r.policies, name, doc)
		case "monitoring.coreos.com/v1 ServiceMonitor":
			add(t, &r.monitors, name, doc)
		case "monitoring.coreos.com/v1 PrometheusRule":
			add(t, &r.rules, name, doc)
		case "serving.kserve.io/v1alpha1 ClusterServingRuntime":
			add(t, &r.runtimes, name, doc)
		case "serving.kserve.io/v1beta1 InferenceService":
			add(t, &r.inferences, name, doc)
		default:
			t.Errorf("%s: %s %s is no kind that is known here:\n%s", name, is.APIVersion, is.Kind, doc)
		}
	}
}

// comment reports whether a document holds nothing else.
func comment(doc string) bool {
	for line := range strings.Lines(doc) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			return false
		}
	}
	return true
}

func add[T any](t testing.TB, to *[]T, name, doc string) {
	var v T
	asJSON, err := yaml.YAMLToJSONStrict([]byte(doc))
	require.NoError(t, err, "%s:\n%s", name, doc)
	unknown, err := json.UnmarshalStrict(asJSON, &v) // as the API server reads, which tells upper case from lower
	require.NoError(t, err, "%s:\n%s", name, doc)
	require.Empty(t, unknown, "%s:\n%s", name, doc)
	*to = append(*to, v)
}

// eachCase renders every case and hands it over.
func eachCase(t *testing.T, check func(t *testing.T, r rendered)) {
	for name, text := range cases {
		t.Run(name, func(t *testing.T) {
			r, err := render(t, text)
			require.NoError(t, err)
			check(t, r)
		})
	}
}

// manifest reads a file of deploy/kserve.
func manifest(t testing.TB, name string) rendered {
	data, err := os.ReadFile(filepath.Join("..", "..", "kserve", name))
	require.NoError(t, err)
	var r rendered
	r.read(t, name, string(data))
	return r
}

// TestNoTemplateAsksACluster: what stands for Kubernetes' client here has no answers.
func TestNoTemplateAsksACluster(t *testing.T) {
	templates, err := filepath.Glob(filepath.Join(chartDir, "templates", "*"))
	require.NoError(t, err)
	require.NotEmpty(t, templates)
	for _, name := range templates {
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		assert.NotRegexp(t, `\blookup\b|\.APIVersions\b`, string(data), name)
	}
}
