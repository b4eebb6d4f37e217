package check

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
)

// indexed holds what is true of each Job that trains members.
func indexed(t *testing.T, text string) core.PodSpec {
	var jobs []batch.Job
	add(t, &jobs, "job", text)
	j := jobs[0]
	assert.Equal(t, "batch/v1", j.APIVersion)
	assert.Equal(t, "Job", j.Kind)
	assert.Equal(t, batch.IndexedCompletion, *j.Spec.CompletionMode)
	assert.Positive(t, *j.Spec.BackoffLimitPerIndex)
	pod := j.Spec.Template.Spec
	// What Kubernetes asks of a limit for each index.
	assert.Equal(t, core.RestartPolicyNever, pod.RestartPolicy)
	mounts(t, pod.Containers[0], pod.Volumes)
	return pod
}

func TestTheJobOfMembers(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "members", "kubernetes.yaml"))
	require.NoError(t, err)
	pod := indexed(t, string(data))
	assert.Equal(t, []string{"train", "members", "--plan", "/work/plan.yaml", "--index", "$(JOB_COMPLETION_INDEX)"}, pod.Containers[0].Args)
}

func TestTheJobOfMembersByTRL(t *testing.T) {
	dir := t.TempDir()
	var pairs strings.Builder
	for i := range 8 {
		fmt.Fprintf(&pairs, "{\"chosen\": \"yes %d\", \"rejected\": \"no\"}\n", i)
	}
	file := filepath.Join(dir, "pairs.jsonl")
	require.NoError(t, os.WriteFile(file, []byte(pairs.String()), 0o600))
	out, err := exec.Command(binary, "train", "members", "--base", "embedded:base", "--train", file, "--m", "3", "--out", filepath.Join(dir, "runs"),
		"--with", "trl", "--on", "kubernetes", "--image", "trl:1", "--claim", "work", "--gpus", "2").CombinedOutput()
	require.Error(t, err, "members are left")
	require.Contains(t, string(out), "kubectl apply -f "+filepath.Join(dir, "runs", "trl", "job.yaml"))
	data, err := os.ReadFile(filepath.Join(dir, "runs", "trl", "job.yaml"))
	require.NoError(t, err)
	pod := indexed(t, string(data))
	c := pod.Containers[0]
	assert.Equal(t, "trl:1", c.Image)
	gpus := c.Resources.Limits["nvidia.com/gpu"]
	assert.EqualValues(t, 2, gpus.Value())
	assert.Equal(t, "work", pod.Volumes[0].PersistentVolumeClaim.ClaimName)
	assert.Equal(t, dir, c.VolumeMounts[0].MountPath)
	assert.Equal(t, filepath.Join(dir, "runs", "trl", "members.py"), c.Command[len(c.Command)-1])
}
