package check

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What deploy/kserve uses of KServe's resources, with Kubernetes' own types inside. KServe's
// module would bring Knative, Istio and the clouds' SDKs for these few fields; what is not here is
// refused, so that a field is added on purpose.
// Source: KServe pkg/apis/serving/v1alpha1/servingruntime_types.go, v1beta1/predictor.go,
// predictor_model.go, component.go.
type (
	ClusterServingRuntime struct {
		meta.TypeMeta   `json:",inline"`
		meta.ObjectMeta `json:"metadata"`
		Spec            RuntimeSpec `json:"spec"`
	}

	RuntimeSpec struct {
		Annotations           map[string]string `json:"annotations"`
		SupportedModelFormats []ModelFormat     `json:"supportedModelFormats"`
		ProtocolVersions      []string          `json:"protocolVersions"`
		Containers            []core.Container  `json:"containers"`
	}

	ModelFormat struct {
		Name       string `json:"name"`
		Version    string `json:"version"`
		AutoSelect bool   `json:"autoSelect"`
		Priority   *int32 `json:"priority"` // above 0
	}

	InferenceService struct {
		meta.TypeMeta   `json:",inline"`
		meta.ObjectMeta `json:"metadata"`
		Spec            struct {
			Predictor Predictor `json:"predictor"`
		} `json:"spec"`
	}

	Predictor struct {
		MinReplicas *int32           `json:"minReplicas"`
		MaxReplicas int32            `json:"maxReplicas"`
		Containers  []core.Container `json:"containers"`
		Volumes     []core.Volume    `json:"volumes"`
		Model       *PredictorModel  `json:"model"`
	}

	PredictorModel struct {
		ModelFormat     ModelFormat `json:"modelFormat"`
		ProtocolVersion string      `json:"protocolVersion"`
		StorageURI      string      `json:"storageUri"`
	}
)

func TestTheRuntimeOfKServe(t *testing.T) {
	r := manifest(t, "runtime.yaml")
	require.Len(t, r.runtimes, 1)
	spec := r.runtimes[0].Spec
	require.Len(t, spec.Containers, 1)
	c := spec.Containers[0]
	assert.Equal(t, "kserve-container", c.Name, "the name by which KServe knows it")
	assert.Contains(t, c.Args, "{{.Name}}=/mnt/models", "where KServe puts what storageUri names")
	for _, p := range spec.ProtocolVersions {
		assert.Contains(t, []string{"v1", "v2", "grpc-v1", "grpc-v2"}, p)
	}
	assert.Equal(t, spec.Annotations["prometheus.kserve.io/path"], "/metrics")
	assert.Equal(t, spec.Annotations["prometheus.kserve.io/port"], "8080")
	container(t, c, "8080")
	formats := map[string]bool{}
	for _, f := range spec.SupportedModelFormats {
		assert.Equal(t, f.Priority != nil, f.AutoSelect, "priority is of what is chosen by itself")
		formats[f.Name] = true
	}
	examples := manifest(t, "inferenceservice.yaml").inferences
	require.Len(t, examples, 2)
	byRuntime, own := examples[0].Spec.Predictor, examples[1].Spec.Predictor
	assert.True(t, formats[byRuntime.Model.ModelFormat.Name])
	assert.Contains(t, spec.ProtocolVersions, byRuntime.Model.ProtocolVersion)
	assert.Nil(t, own.Model, "either a runtime or a container")
	require.Len(t, own.Containers, 1)
	container(t, own.Containers[0], "8080")
	mounts(t, own.Containers[0], own.Volumes)
}
