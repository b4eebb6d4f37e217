package serve

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/loader/hub"
	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/warm/reward"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// running starts a server of models and returns its client, its listener, and
// what ends with Run's error.
func running(t *testing.T, c Config) (*api.Client, net.Listener, <-chan error) {
	c.Server.Logger, c.Threads = slog.New(slog.DiscardHandler), 1
	s, err := New(c)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, ln) }()
	client, err := api.NewClient("http://"+ln.Addr().String(), api.WithRetry(api.Retry{Attempts: 100, Max: 50 * time.Millisecond}))
	require.NoError(t, err)
	return client, ln, ended
}

// soon returns what a server ended with, which takes no longer than it must.
func soon(t *testing.T, ended <-chan error) error {
	select {
	case err := <-ended:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("the server still runs")
		return nil
	}
}

func oneOf(path string) map[string]*api.ModelSpec {
	return map[string]*api.ModelSpec{"m": {Members: []api.MemberSpec{{Path: path}}}}
}

func TestRunEndsWithTheReasonWhereNothingCanBeServed(t *testing.T) {
	_, _, ended := running(t, Config{Models: oneOf(filepath.Join(t.TempDir(), "gone"))})
	assert.ErrorContains(t, soon(t, ended), "gone")
}

func TestRunEndsWhenItsListenerDoes(t *testing.T) {
	t.Parallel()
	client, ln, ended := running(t, Config{Models: oneOf(rewardtest.Checkpoint(t, "tiny", nil)), Watch: t.TempDir()})
	_, err := client.Reward(t.Context(), &api.RewardRequest{Inputs: []api.Input{api.Answers("Q", "A")}})
	require.NoError(t, err)
	require.NoError(t, ln.Close())
	assert.ErrorIs(t, soon(t, ended), net.ErrClosed)
}

// oneMember is a pack of the checkpoint in a directory.
type oneMember string

func (p oneMember) Members() ([]string, error)                    { return []string{"only"}, nil }
func (p oneMember) Checkpoint(string) (*loader.Checkpoint, error) { return loader.Open(string(p)) }

func TestAPackIsServedAsItsDirectoryIs(t *testing.T) {
	dir := rewardtest.Checkpoint(t, "tiny", nil)
	models := oneOf("own:")
	models["dir"] = oneOf(dir)["m"]
	client, _, _ := running(t, Config{Models: models, Sources: Sources{Packs: map[string]func() Pack{"own:": func() Pack { return oneMember(dir) }}}})
	require.Eventually(t, func() bool { return client.Ready(t.Context()) == nil }, 20*time.Second, 5*time.Millisecond)
	var revisions []string
	for _, name := range []string{"m", "dir"} {
		r, err := client.Reward(t.Context(), &api.RewardRequest{Model: name, Inputs: []api.Input{api.Answers("Q", "A")}})
		require.NoError(t, err)
		revisions = append(revisions, r.Revision)
	}
	assert.Equal(t, revisions[0], revisions[1])
	assert.Equal(t, "own:", models["m"].Members[0].Path, "the caller's specs stay as they were")
}

func TestReferencesBecomeWhatIsLoaded(t *testing.T) {
	sources := Sources{Packs: map[string]func() Pack{"own:": func() Pack { return oneMember("") }}, Hub: &hub.Client{}}
	models := map[string]*api.ModelSpec{"empty": nil, "m": {
		Members: []api.MemberSpec{{Path: "own:"}, {Path: "own:x"}, {Path: "own:x", Name: "y"}, {Path: "./a"}, {Path: "org/name@v1"}, {Path: "hf://org/name"}, {Path: "/b/../c"}, {Path: reward.RandomPrefix + "c.json"}, {Path: ""}},
		Base:    "../base", Guard: &api.GuardSpec{Pairs: "some/pairs.jsonl"},
	}}
	for range 2 { // resolved paths stay
		require.NoError(t, sources.Resolve("/dir", models))
		assert.Equal(t, []api.MemberSpec{
			{Name: "only", Path: "own:only"}, {Name: "x", Path: "own:x"}, {Name: "y", Path: "own:x"},
			{Path: "/dir/a"}, {Path: "hf://org/name@v1"}, {Path: "hf://org/name"}, {Path: "/c"}, {Path: reward.RandomPrefix + "/dir/c.json"}, {Path: ""},
		}, models["m"].Members)
		assert.Equal(t, "/base", models["m"].Base)
		assert.Equal(t, "/dir/some/pairs.jsonl", models["m"].Guard.Pairs)
		assert.Equal(t, &api.ModelSpec{}, models["empty"])
	}
}

// TestAnAdaptersFilesNameNoWebAddress: whoever wrote them would have the server ask
// inside of its own network.
func TestAnAdaptersFilesNameNoWebAddress(t *testing.T) {
	var asked atomic.Int64
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer inside.Close()
	dir := t.TempDir()
	for name, data := range map[string]string{
		"adapter_config.json":       `{"peft_type":"LORA","r":1,"lora_alpha":1,"target_modules":["x"],"base_model_name_or_path":"` + inside.URL + `/base"}`,
		"adapter_model.safetensors": "\x02\x00\x00\x00\x00\x00\x00\x00{}",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600))
	}
	sources := Sources{Hub: &hub.Client{Cache: t.TempDir()}}
	_, err := sources.Opening(t.Context(), nil).Open(dir)
	assert.ErrorContains(t, err, "a web address is not followed")
	assert.Zero(t, asked.Load())
}

func TestAllThatIsWrongWithModelsIsSaidTogether(t *testing.T) {
	err := Check(map[string]*api.ModelSpec{
		"m m": {Members: []api.MemberSpec{{Path: "a"}}, DType: "float12", Pooling: "middle", Ending: "soon"},
		"n":   {Members: []api.MemberSpec{{Path: "a"}, {Path: "b"}}, Weights: []float64{1}},
		"o":   {},
	}, nil)
	for _, want := range []string{`"m m": a model's name is`, "models.m m: ", "float12", `pooling rule "middle"`, `ending "soon"`, "models.n: weights: 1 weights for 2 members", "models.o: members: members is missing"} {
		assert.ErrorContains(t, err, want)
	}
	_, err = New(Config{Models: map[string]*api.ModelSpec{"o": nil}, Server: server.Config{Logger: slog.New(slog.DiscardHandler)}})
	assert.ErrorContains(t, err, "models.o: members")
}
