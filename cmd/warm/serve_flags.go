package main

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/api"
)

// serveRules are the flags of warm serve that have no effect beside others.
func serveRules(f *serveFlags, getenv func(string) string) []rule {
	return []rule{
		{when: func() bool { return len(f.models) == 0 && f.others(getenv) },
			why: "without --model: the models of a configuration, manifest or state have settings of their own",
			flags: []string{"mode", "dtype", "pooling", "ending", "double-bos", "head", "output",
				"max-tokens", "base", "alpha", "ab-sample", "swap", "backend", "backend-directory"}},
		{when: func() bool { return f.backend == "" }, why: "without --backend: nothing is written for another engine",
			flags: []string{"backend-directory"}},
		{when: func() bool {
			return f.file(getenv) == "" && f.set.AdminKeyFile == "" && getenv("WARM_ADMIN_KEY") == "" &&
				getenv("WARM_ADMIN_KEY_FILE") == ""
		}, why: "without --admin-key-file or WARM_ADMIN_KEY: no request can name a path below the model root", flags: []string{"model-root"}},
	}
}

// backendKeyVariable names the key that engines of others want.
const backendKeyVariable = "WARM_BACKEND_KEY"

// addBackend has the models of --model computed by the engine that --backend names.
func (f *serveFlags) addBackend() error {
	if f.backend == "" {
		return nil
	}
	kind, url, ok := strings.Cut(f.backend, "=")
	b := &api.BackendSpec{Directory: f.backendDirectory}
	to, known := map[string]*string{api.BackendSGLang: &b.SGLang, api.BackendVLLM: &b.VLLM, api.BackendTEI: &b.TEI}[kind]
	switch {
	case !ok || !known || url == "":
		return usagef("--backend %s: want sglang=URL, vllm=URL or tei=URL", f.backend)
	case f.backendDirectory == "":
		return usagef("--backend needs --backend-directory DIR, which the engine reads the average from")
	case len(f.models) > 1:
		return usagef("--backend: an engine holds one model, and --model is given %d times; in a configuration each has its own", len(f.models))
	}
	*to, f.def.Backend = url, b
	return nil
}

// others says whether models may come from elsewhere than flags and the program itself.
func (f *serveFlags) others(getenv func(string) string) bool {
	return cmp.Or(f.file(getenv), f.set.Watch, f.set.State, f.set.AdminKeyFile,
		getenv("WARM_ADMIN_KEY"), getenv("WARM_ADMIN_KEY_FILE"), getenv("WARM_WATCH"), getenv("WARM_STATE")) != ""
}

// file is the configuration that is read: the one that --config names, else the one
// of WARM_DEFAULT_CONFIG where it exists; "" for none.
func (f *serveFlags) file(getenv func(string) string) string {
	if f.config != "" {
		return f.config
	}
	byDefault := getenv("WARM_DEFAULT_CONFIG")
	if _, err := os.Stat(byDefault); errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return byDefault
}

// serveArguments refuses directories without a name, which are a likely mistake.
func serveArguments(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usagef("serve takes flags alone, not %q: did you mean --model NAME=%s? (see warm serve --help)", args[0], strings.Join(args, ","))
}
