package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// shared returns a folder of the reference material, or skips the test.
func shared(t testing.TB, elem ...string) string {
	dir := os.Getenv("WARM_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared")
	}
	dir = filepath.Join(append([]string{dir}, elem...)...)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no reference material (set WARM_SHARED): %v", err)
	}
	return dir
}

// paradetox returns the directories of the four small reward models.
func paradetox(t testing.TB) []string {
	dir := shared(t, "models")
	var out []string
	for _, n := range []string{"1", "2", "3", "4"} {
		out = append(out, filepath.Join(dir, "rm-paradetox-"+n))
	}
	return out
}

// output is a writer that a test may read while it is written.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// command runs warm to its end.
func command(t testing.TB, stdin string, args ...string) (code int, stdout, stderr string) {
	var out, errs output
	code = run(t.Context(), args, noEnv, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

func noEnv(name string) string {
	switch name {
	case "HF_HUB_OFFLINE":
		return "1" // no test asks the hub of the world
	case deviceVariable:
		return "cpu" // whatever this machine has
	}
	return ""
}

// instance is a warm serve that runs until the test ends.
type instance struct {
	url    string
	stderr *output
	stop   func() int // drains and returns the exit code
}

var listening = regexp.MustCompile(`msg=listening addr=(\S+)`)

// startServe runs warm serve on a port of its own and waits until it is ready.
func startServe(t testing.TB, args ...string) *instance {
	ctx, cancel := context.WithCancel(context.Background())
	s := &instance{stderr: &output{}}
	exit := make(chan int, 1)
	go func() {
		exit <- run(ctx, append([]string{"serve", "--addr", "127.0.0.1:0"}, args...), noEnv, strings.NewReader(""), io.Discard, s.stderr)
	}()
	var once sync.Once
	code := -1
	s.stop = func() int {
		once.Do(func() {
			cancel()
			code = <-exit
		})
		return code
	}
	t.Cleanup(func() { s.stop() })
	require.Eventually(t, func() bool {
		m := listening.FindStringSubmatch(s.stderr.String())
		if m == nil {
			select {
			case c := <-exit:
				exit <- c
				t.Fatalf("warm serve ended with %d: %s", c, s.stderr)
			default:
			}
			return false
		}
		s.url = m[1]
		r, err := http.Get(s.url + "/readyz")
		if err != nil {
			return false
		}
		r.Body.Close()
		return r.StatusCode == http.StatusOK
	}, 30*time.Second, 5*time.Millisecond, "warm serve does not become ready")
	return s
}

// reply is what the tests read of an answer of POST /v1/reward.
type reply struct {
	Model    string `json:"model"`
	Revision string `json:"revision"`
	Data     []struct {
		Input     int      `json:"input"`
		Reward    float32  `json:"reward"`
		Ensemble  *float32 `json:"ensemble"`
		Std       *float32 `json:"std"`
		Tokens    int      `json:"tokens"`
		Truncated bool     `json:"truncated"`
		TokenIDs  []int32  `json:"token_ids"`
		Members   []struct {
			Name   string  `json:"name"`
			Reward float32 `json:"reward"`
		} `json:"members"`
	} `json:"data"`
	Error *struct{ Type, Message, Param, Code string } `json:"error"`
}

// post sends a request body and returns status and answer.
func (s *instance) post(t testing.TB, body any) (int, reply) {
	data, ok := body.(string)
	if !ok {
		b, err := json.Marshal(body)
		require.NoError(t, err)
		data = string(b)
	}
	r, err := http.Post(s.url+"/v1/reward", "application/json", strings.NewReader(data))
	require.NoError(t, err)
	defer r.Body.Close()
	var out reply
	require.NoError(t, json.NewDecoder(r.Body).Decode(&out))
	return r.StatusCode, out
}
