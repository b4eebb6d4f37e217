package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/model/cuda/driver"
)

// What a release's build sets by -ldflags "-X main.buildVersion=… -X main.buildCommit=…
// -X main.buildTime=…"; else the toolchain's own record says it.
var buildVersion, buildCommit, buildTime string

// buildInfo is which program this is. What is not known is empty.
type buildInfo struct {
	Version  string `json:"version"`            // a tag, a pseudo-version, or (devel)
	Commit   string `json:"commit,omitempty"`   // of the sources
	Modified bool   `json:"modified,omitempty"` // whether the sources differed from the commit
	Time     string `json:"time,omitempty"`     // of the commit, or of the build where it says so; RFC 3339
	Go       string `json:"go"`                 // the toolchain
	OS       string `json:"os"`
	Arch     string `json:"arch"`
}

// built returns what is known of this build.
func built() buildInfo {
	b := buildInfo{Version: "(devel)", Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		b.Version = cmp.Or(info.Main.Version, b.Version)
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Commit = s.Value
			case "vcs.time":
				b.Time = s.Value
			case "vcs.modified":
				b.Modified = s.Value == "true"
			}
		}
	}
	b.Version, b.Commit = cmp.Or(buildVersion, b.Version), cmp.Or(buildCommit, b.Commit)
	b.Time = cmp.Or(buildTime, b.Time)
	return b
}

// version is the build in one word: the module's version, or the revision it was built from.
func version() string {
	b := built()
	if b.Version == "(devel)" && b.Commit != "" {
		return b.Commit
	}
	return b.Version
}

func (p *program) version() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "version",
		Short: "Say which version this is, and what it was built from",
		Long: `version prints the version, the commit and its time, the Go toolchain, the
platform, and whether NVIDIA's driver is found. A report of a problem wants all of it.`,
		Example: `  warm version
  warm version --json`,
		Args: arguments(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			b := struct {
				buildInfo
				Driver string `json:"nvidia_driver"` // what is missing, or "found"
			}{built(), "found"}
			if err := driver.Find(); err != nil {
				b.Driver = err.Error()
			}
			if asJSON {
				return json.NewEncoder(p.stdout).Encode(b)
			}
			fmt.Fprintf(p.stdout, "warm %s\n", b.Version)
			if b.Commit != "" {
				changed := ""
				if b.Modified {
					changed = ", with changes that are not committed"
				}
				fmt.Fprintf(p.stdout, "commit %s%s\n", b.Commit, changed)
			}
			if b.Time != "" {
				fmt.Fprintf(p.stdout, "of     %s\n", b.Time)
			}
			fmt.Fprintf(p.stdout, "with   %s for %s/%s\n", b.Go, b.OS, b.Arch)
			fmt.Fprintf(p.stdout, "cards  NVIDIA's driver: %s\n", b.Driver)
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
