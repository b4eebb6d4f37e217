package api

import (
	"math"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
)

// BackendSpec is an inference engine of others that computes a model's outputs in the
// place of the server's own. It is given the weights as a checkpoint directory, and
// token ids; all else stays the server's. Exactly one of the addresses is set.
type BackendSpec struct {
	SGLang string `json:"sglang,omitzero"` // the address of an SGLang server, as in http://host:30000
	VLLM   string `json:"vllm,omitzero"`   // of a vLLM server
	TEI    string `json:"tei,omitzero"`    // of a text-embeddings-inference server
	// Directory is where the averages are written, each in a folder of its own.
	Directory string `json:"directory,omitzero"`
	// EngineDirectory is that directory as the engine sees it; "" is Directory.
	EngineDirectory string `json:"engine_directory,omitzero"`
	// Verify says how the engine's weights are known to be the model's: VerifyScores
	// or VerifyName; "" is VerifyScores.
	Verify string `json:"verify,omitzero"`
	// Tolerance is how far the engine's outputs may be from the CPU's, as a share of
	// their root mean square; 0 is 0.05.
	Tolerance float64 `json:"tolerance,omitzero"`
	// Concurrency is how many batches the engine is given at a time; 0 is
	// DefaultConcurrency.
	Concurrency int `json:"concurrency,omitzero"`
}

// How an engine's weights are known to be a model's.
const (
	// VerifyScores has a few sequences scored by the engine and, of the same files, by
	// the CPU, which holds the model for it while it is loaded.
	VerifyScores = "scores"
	// VerifyName takes the engine's word for it: the name of the weights that it says
	// it serves. It is for models that this machine's memory does not hold.
	VerifyName = "name"
)

// DefaultConcurrency is that of a BackendSpec.
const DefaultConcurrency = 4

// The kinds of engines, which are also the fields of their addresses.
const (
	BackendSGLang = "sglang"
	BackendVLLM   = "vllm"
	BackendTEI    = "tei"
)

// Engine returns the kind and the address of the engine.
func (b *BackendSpec) Engine() (kind, address string) {
	switch {
	case b.SGLang != "":
		return BackendSGLang, b.SGLang
	case b.VLLM != "":
		return BackendVLLM, b.VLLM
	}
	return BackendTEI, b.TEI
}

func (s *ModelSpec) checkBackend() *Error {
	b := s.Backend
	if b == nil {
		return nil
	}
	set := slices.DeleteFunc([]string{b.SGLang, b.VLLM, b.TEI}, func(s string) bool { return s == "" })
	kind, address := b.Engine()
	u, err := url.Parse(address)
	at := "backend." + kind
	switch {
	case len(set) != 1:
		return Errorf(CodeInvalidValue, "backend", "want the address of one engine: sglang, vllm or tei")
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
		return Errorf(CodeInvalidValue, at, "%s, want an address as in http://host:8000", quote(address))
	case u.User != nil:
		return Errorf(CodeInvalidValue, at, "an address has no password in it: the engine's key is the variable WARM_BACKEND_KEY")
	case b.Directory == "":
		return Errorf(CodeMissingField, "backend.directory", "the engine reads the average from a directory: name one that it sees")
	case strings.Contains(b.Directory, "://"):
		return Errorf(CodeInvalidValue, "backend.directory", "%s, want a directory that the engine sees", quote(b.Directory))
	case b.EngineDirectory != "" && !filepath.IsAbs(b.EngineDirectory) && !strings.HasPrefix(b.EngineDirectory, "/"):
		return Errorf(CodeInvalidValue, "backend.engine_directory", "%s, want an absolute path", quote(b.EngineDirectory))
	case !slices.Contains([]string{"", VerifyScores, VerifyName}, b.Verify):
		return Errorf(CodeInvalidValue, "backend.verify", "%s, want %s or %s", quote(b.Verify), VerifyScores, VerifyName)
	case !(b.Tolerance >= 0 && b.Tolerance <= 1) || math.IsNaN(b.Tolerance):
		return Errorf(CodeInvalidValue, "backend.tolerance", "%v, want a share in [0, 1]", b.Tolerance)
	case b.Concurrency < 0 || b.Concurrency > 256:
		return Errorf(CodeInvalidValue, "backend.concurrency", "%d, want 1 to 256", b.Concurrency)
	case s.Mode == ModeEns || s.Mode == ModeBoth:
		return Errorf(CodeConflictingFields, "backend",
			"an engine holds one set of weights: the mode is wa or member:NAME, not %s", s.Mode)
	case s.Swap == SwapBeside:
		return Errorf(CodeConflictingFields, "swap",
			"an engine holds one revision: with a backend requests are held while it takes the new one's weights; leave swap out")
	}
	return nil
}
