package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/warmserve/warmserve/"

// layout is the architecture: for each package of ours, which others of ours it
// may import. A new package or edge is fine when this table changes with it, on
// purpose. cmd/warm may import everything and is not listed.
var layout = map[string][]string{
	"api":                      {},
	"server/batch":             {},
	"server/memory":            {},
	"server/scorertest":        {"server/batch"},
	"server/console":           {}, // files for people, a client of the routes like any other
	"server/live":              {"api", "loader/disk", "server/batch"},
	"server/score":             {"api", "eval", "server/batch", "server/live", "server/memory"},
	"server/servertest":        {"api", "server/batch", "server/live", "server/scorertest"},
	"eval":                     {}, // figures that server and trainer report alike, and which know neither
	"eval/boards":              {},
	"server":                   {"api", "server/batch", "server/console", "server/dialect", "server/live", "server/memory", "server/score"},
	"server/dialect":           {"api"},
	"model/kernel":             {"model/kernel/amd64"}, // the generated assembly
	"model/kernel/amd64":       {},
	"model/cuda":               {"model/binding", "model/cuda/kernel", "model/kernel", "model/nn", "model/plan"},
	"model/cuda/cudatest":      {"model", "model/binding", "model/cuda", "model/cuda/driver", "model/cuda/ptx", "model/kernel", "model/nn"}, // for tests: the engine in this process
	"model/cuda/kernel":        {},                                                                                                          // device code and its parameters
	"model/cuda/ptx":           {"model/cuda", "model/cuda/kernel"},                                                                         // for tests: no command, and no package but those for tests, depends on it; see below
	"model/cuda/driver":        {"model/cuda", "model/cuda/kernel"},
	"model/cuda/worker":        {"model", "model/binding", "model/cuda", "model/cuda/driver", "model/kernel", "model/nn", "model/plan"},
	"model/par":                {},
	"model/nn":                 {},
	"model/plan":               {"model/nn"},
	"model/binding":            {"model/nn", "model/kernel"}, // kernel hashes, and has the names of number formats
	"model/cpu":                {"model/binding", "model/nn", "model/kernel", "model/par", "model/plan"},
	"model/tokenizer":          {},
	"model/chat":               {"model/chat/jinja", "model/chat/origin"},
	"model/chat/jinja":         {"model/chat/origin"},
	"model/chat/origin":        {},
	"model":                    {"model/binding", "model/cpu", "model/plan", "model/nn", "model/kernel", "loader/jsonerr"}, // jsonerr is words for errors, and opens nothing
	"model/device":             {"model", "model/cuda/driver", "model/cuda/worker"},                                        // joins the devices for programs; nothing else imports it
	"model/modeltest":          {"model", "model/kernel"},
	"loader/disk":              {}, // writes files whole, and holds them
	"loader/safetensors":       {"loader/disk"},
	"loader/jsonerr":           {},
	"loader/bucket":            {}, // objects of a store, whatever they hold
	"loader/bucket/buckettest": {},
	"loader/hub":               {"loader/disk", "loader/bucket"},
	"loader/hub/hubtest":       {},
	"loader/torchfile":         {"loader/safetensors"}, // its tensors are those of a safetensors file, read where they lie
	"loader":                   {"loader/disk", "loader/jsonerr", "loader/safetensors", "loader/torchfile"},
	"warm":                     {"loader"},
	"warm/backend":             {"loader", "model", "model/binding", "model/kernel", "model/nn", "model/plan", "model/tokenizer", "warm"}, // an engine as model/cuda/worker is one, and a writer of checkpoints
	"warm/backend/backendtest": {"loader", "model", "model/cpu", "model/tokenizer"},                                                       // engines of others, for tests
	"warm/plan":                {"server/batch"},                                                                                          // whose rules its simulation goes by
	"warm/reward":              {"loader/jsonerr", "model", "model/kernel", "model/tokenizer", "model/chat", "loader", "warm"},
	"warm/reward/rewardtest":   {"model", "loader"},
	"warm/serve":               {"api", "loader", "loader/bucket", "loader/hub", "loader/jsonerr", "model", "model/chat", "model/kernel", "model/tokenizer", "server", "server/batch", "server/live", "trainer/data", "warm", "warm/backend", "warm/reward"},
	"trainer":                  {},
	"trainer/data":             {"loader/disk", "model/chat", "trainer/data/parquet"},
	"trainer/data/parquet":     {},
	"trainer/optim":            {"model/cpu", "model/kernel", "model/nn"},
	"trainer/loss":             {},
	"trainer/bpe":              {"model/tokenizer"},
	"trainer/events":           {},
	"trainer/state":            {"loader/disk", "model/nn", "loader", "loader/safetensors", "trainer/events", "trainer/lab/drawing"}, // drawing knows nothing of experiments
	"trainer/lm":               {"model", "model/chat", "model/kernel", "model/nn", "model/tokenizer", "loader", "trainer/data", "trainer/optim", "trainer/state"},
	"trainer/lab":              {"loader/disk", "model", "warm/reward", "loader", "warm", "trainer/data", "eval", "trainer/lab/drawing", "trainer/rm", "trainer/state"},
	"trainer/lab/drawing":      {"eval"},
	// An experiment knows the lab and what it shares with others, and no other experiment.
	"trainer/lab/debates":      {"loader/disk", "loader", "model/nn", "trainer/data", "trainer/lab", "trainer/lm", "trainer/optim", "trainer/rm", "trainer/state"},
	"trainer/lab/methods":      {"model/nn", "trainer/lab", "warm"},
	"trainer/lab/contest":      {"warm/reward", "trainer/data", "eval", "trainer/lab", "trainer/lab/debates", "trainer/lm", "trainer/optim", "trainer/rl"},
	"trainer/lab/connectivity": {"loader", "model/nn", "eval", "trainer/lab", "trainer/lab/debates", "trainer/lab/drawing", "warm"},
	"trainer/lab/corruption":   {"eval", "trainer/lab", "trainer/lab/debates", "trainer/lab/drawing", "trainer/lab/methods", "warm"},
	"trainer/lab/shift":        {"trainer/data", "eval", "trainer/lab", "trainer/lab/debates", "trainer/lab/drawing", "trainer/lab/methods", "warm"},
	"trainer/lab/soups":        {"trainer/lab", "trainer/lab/debates", "trainer/lab/drawing", "trainer/lab/methods", "warm"},
	"trainer/lab/members":      {"api", "trainer/data", "eval", "trainer/judge", "trainer/lab", "trainer/lab/debates", "trainer/lab/drawing", "trainer/lab/methods", "trainer/rm", "warm"}, // judge has the bag of words
	"trainer/lab/pareto":       {"trainer/data", "eval", "trainer/lab", "trainer/lab/debates", "trainer/lab/drawing"},
	"trainer/lab/bestofn":      {"eval", "trainer/lab", "trainer/lab/contest", "trainer/lab/drawing", "warm"},
	"trainer/lab/rl":           {"eval", "trainer/lab", "trainer/lab/contest", "trainer/lab/drawing", "trainer/rl", "trainer/state"},
	"trainer/lab/experiments":  {"trainer/lab", "trainer/lab/connectivity", "trainer/lab/corruption", "trainer/lab/shift", "trainer/lab/soups", "trainer/lab/members", "trainer/lab/pareto", "trainer/lab/bestofn", "trainer/lab/rl"},
	"trainer/lab/labtest":      {"model/nn", "trainer/lab", "trainer/lm"},
	"trainer/rl":               {"api", "loader", "model", "model/chat", "model/cpu", "model/kernel", "model/nn", "model/tokenizer", "trainer/data", "trainer/lm", "trainer/optim", "trainer/state"},
	"trainer/mirror":           {"loader/disk", "loader/bucket", "trainer/state"}, // runs in a bucket
	"trainer/trl":              {"loader/disk", "loader", "model", "trainer/optim", "trainer/rm", "trainer/state", "warm/reward"},
	"deploy/members/trl":       {}, // a program in Python, which commands write out
	"trainer/rm":               {"eval", "loader", "loader/safetensors", "model", "model/chat", "model/kernel", "model/nn", "model/tokenizer", "trainer/data", "trainer/loss", "trainer/optim", "trainer/state", "warm/reward"},
	"trainer/judge":            {"api", "eval", "eval/boards", "loader", "model", "model/chat", "trainer/data", "trainer/rm", "warm", "warm/reward"},
}

// bans are the imports, direct or not, that would undo a boundary.
var bans = []struct {
	from, of string // packages with the prefix from must not depend on of
	except   string // but for what has this prefix
	direct   bool   // whether only the imports in the package's own files count
	reason   string
}{
	{"api", module, module + "api", false, "a program that wants rewards imports the wire alone"},
	{"server/batch", "net/http", "", false, "the queue knows nothing of the protocol"},
	{"server/live", "net/http", "", true, "models change without a protocol; package api has a client"},
	{"server/score", "net/http", "", true, "requests are scored without a protocol; package api has a client"},
	{"server", module + "model", "", false, "the server scores through the interface that it declares"},
	{"server", module + "loader", module + "loader/disk", false, "the server is given models, it does not read them"},
	{"server", module + "warm", "", false, "aggregation reaches the server through its interface"},
	{"server", module + "trainer", "", false, "serving does not need training"},
	{"model/kernel", module, module + "model/kernel", false, "arithmetic knows nothing above it"},
	{"model/nn", module, module + "model/nn", false, "what a network computes is said without a device"},
	{"model/plan", module + "model/cpu", "", false, "what a batch is made of is said without a device"},
	{"model/binding", module + "model/cpu", "", false, "tensors are read for a device of any kind"},
	{"model/cpu", "os", "", true, "executors open no files"},
	{"model/tokenizer", "net/http", "", false, "text processing is offline"},
	{"model", "net/http", "", false, "models are not served here"},
	{"loader", module + "model", "", false, "a checkpoint is read without knowing what it computes"},
	{"warm", module + "model", "", false, "averaging is about tensors and scores, whatever the architecture"},
	{"warm", "net/http", "", false, "averaging and loading need no protocol"},
	{"trainer", module + "server", "", false, "the trainer scores locally or through the client"},
}

// joins are packages that exist to bring together what a ban on the prefix that
// they lie under keeps apart: for each, what it may depend on all the same.
// Whatever else lies under the prefix stays bound, what is added later included.
var joins = map[string][]string{
	"warm/reward":  {module + "model"},             // members, averaged, as one model that reads text: it is made of both
	"warm/backend": {module + "model", "net/http"}, // a model.Engine that speaks to inference servers, and writes averages for them
	"warm/serve":   {module + "model", "net/http"}, // such models behind the server, for the command and for programs that embed one
}

// dep is what go list says of a package.
type dep struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func TestPackagesImportWhatTheLayoutAllows(t *testing.T) {
	root := filepath.Join("..", "..")
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", "./...")
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "go list: %s", stderr.String())
	seen := map[string]bool{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p dep
		if err := dec.Decode(&p); err == io.EOF {
			break
		} else {
			require.NoError(t, err)
		}
		name := strings.TrimPrefix(p.ImportPath, module)
		if !strings.HasSuffix(name, "test") {
			assert.NotContains(t, p.Deps, module+"model/cuda/ptx", "%s depends on the interpreter of kernels, which is for tests", name)
		}
		if strings.HasPrefix(name, "cmd/") {
			continue
		}
		seen[name] = true
		allowed, ok := layout[name]
		if !assert.True(t, ok, "package %s is not in the layout", name) {
			continue
		}
		for _, i := range p.Imports {
			if ours, ok := strings.CutPrefix(i, module); ok {
				assert.Contains(t, allowed, ours, "%s imports %s", name, ours)
			}
		}
		for _, b := range bans {
			if name != b.from && !strings.HasPrefix(name, b.from+"/") || strings.HasSuffix(name, "test") {
				continue // packages for tests import a test library and what that needs
			}
			if slices.Contains(joins[name], b.of) {
				continue
			}
			for _, d := range p.Deps {
				hit := d == b.of || strings.HasPrefix(d, strings.TrimSuffix(b.of, "/")+"/")
				if b.direct {
					hit = d == b.of && slices.Contains(p.Imports, d)
				}
				if hit && (b.except == "" || !strings.HasPrefix(d, b.except)) {
					t.Errorf("%s depends on %s: %s", name, d, b.reason)
				}
			}
		}
	}
	for name := range layout {
		assert.True(t, seen[name], "package %s of the layout does not exist", name)
	}
}

func TestTopLevelHoldsWhatTheDesignNames(t *testing.T) {
	allowed := []string{
		"server", "model", "warm", "loader", "api", "eval", "trainer", "cmd", "deploy",
		"docs", // what the README points to: the report of what was measured
		"openapi.yaml", "go.mod", "go.sum", "Dockerfile", "README.md", "LICENSE",
		"CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", // where those who come to a repository look for them
	}
	out, err := exec.Command("git", "-C", filepath.Join("..", ".."), "ls-files").Output()
	if err != nil {
		t.Skipf("not a git checkout: %v", err)
	}
	for f := range strings.Lines(string(out)) {
		top, _, _ := strings.Cut(strings.TrimSpace(f), "/")
		if !strings.HasPrefix(top, ".") {
			assert.Contains(t, allowed, top)
		}
	}
}
