package images

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var root = filepath.Join("..", "..", "..", "..")

// stages reads the Dockerfile as BuildKit does, with each of its rules.
func stages(t *testing.T) ([]instructions.Stage, []instructions.ArgCommand) {
	f, err := os.Open(filepath.Join(root, "Dockerfile"))
	require.NoError(t, err)
	defer f.Close()
	parsed, err := parser.Parse(f)
	require.NoError(t, err)
	assert.Empty(t, parsed.Warnings)
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, message string, _ []parser.Range) {
		t.Errorf("%s: %s", rule, message)
	}})
	all, args, err := instructions.Parse(parsed.AST, lint)
	require.NoError(t, err)
	return all, args
}

// image is what a stage makes of an image.
type image struct {
	user, stop            string
	entrypoint, cmd, test []string
	labels, env           map[string]string
	copied                map[string]string // by where it goes
}

func read(t *testing.T, stage instructions.Stage) image {
	m := image{labels: map[string]string{}, env: map[string]string{}, copied: map[string]string{}}
	for _, c := range stage.Commands {
		switch c := c.(type) {
		case *instructions.UserCommand:
			m.user = c.User
		case *instructions.StopSignalCommand:
			m.stop = c.Signal
		case *instructions.EntrypointCommand:
			require.False(t, c.PrependShell, "there is no shell")
			m.entrypoint = c.CmdLine
		case *instructions.CmdCommand:
			require.False(t, c.PrependShell, "there is no shell")
			m.cmd = c.CmdLine
		case *instructions.HealthCheckCommand:
			m.test = c.Health.Test
		case *instructions.LabelCommand:
			for _, l := range c.Labels {
				m.labels[strings.Trim(l.Key, `"`)] = strings.Trim(l.Value, `"`)
			}
		case *instructions.EnvCommand:
			for _, e := range c.Env {
				m.env[e.Key] = e.Value
			}
		case *instructions.CopyCommand:
			require.Equal(t, "build", c.From, "checkpoints and the like are mounted")
			require.Len(t, c.SourcePaths, 1)
			m.copied[c.DestPath] = c.SourcePaths[0]
		case *instructions.ExposeCommand, *instructions.ArgCommand:
		default: // as RUN, for which another processor would have to be emulated
			t.Errorf("%s: %s does not belong in an image", stage.Name, c.Name())
		}
	}
	return m
}

func TestWhatTheImagesAre(t *testing.T) {
	all, args := stages(t)
	require.Empty(t, args)
	require.Len(t, all, 3)
	build := all[0]
	assert.Equal(t, "$BUILDPLATFORM", build.Platform, "nothing is compiled by an emulated processor")
	declared := map[string]bool{}
	text := build.SourceCode
	for _, c := range build.Commands {
		if a, ok := c.(*instructions.ArgCommand); ok {
			for _, one := range a.Args {
				declared[one.Key] = true
			}
		}
		if e, ok := c.(*instructions.EnvCommand); ok {
			text += e.String()
		}
	}
	for _, name := range []string{"VERSION", "COMMIT", "TIME", "TARGETOS", "TARGETARCH"} {
		assert.True(t, declared[name], name)
	}
	assert.Contains(t, text, "GOARCH=${TARGETARCH}")

	for i, want := range []struct{ name, base, binary string }{{"cuda", "debian:13-slim", "/warm-cuda"}, {"static", "scratch", "/warm"}} {
		t.Run(want.name, func(t *testing.T) {
			stage := all[i+1]
			m := read(t, stage)
			assert.Equal(t, want.name, stage.Name)
			assert.Equal(t, want.base, stage.BaseName)
			assert.Equal(t, want.binary, m.copied["/warm"])
			assert.Equal(t, "/etc/ssl/certs/ca-certificates.crt", m.copied["/etc/ssl/certs/ca-certificates.crt"])
			assert.Contains(t, m.copied, "/LICENSE")
			assert.Equal(t, "65532:65532", m.user, "a number, as Kubernetes wants to see that it is not root")
			assert.Equal(t, "SIGTERM", m.stop)
			assert.Equal(t, []string{"/warm"}, m.entrypoint)
			assert.Equal(t, []string{"serve", "--addr", "0.0.0.0:8080"}, m.cmd)
			assert.Equal(t, []string{"CMD", "/warm", "health"}, m.test)
			assert.Equal(t, "/etc/warm/serve.yaml", m.env["WARM_DEFAULT_CONFIG"])
			for label, value := range map[string]string{"title": "warm", "licenses": "Apache-2.0", "version": "${VERSION}", "revision": "${COMMIT}", "created": "${TIME}"} {
				assert.Equal(t, value, m.labels["org.opencontainers.image."+label], label)
			}
			assert.NotEmpty(t, m.labels["org.opencontainers.image.description"])
		})
	}
}

// TestTheScriptOfARelease runs it on a repository of its own, with a program in Docker's place that
// notes what it is asked for.
func TestTheScriptOfARelease(t *testing.T) {
	dir, bin := t.TempDir(), t.TempDir()
	script, err := os.ReadFile(filepath.Join(root, "deploy", "images", "build.sh"))
	require.NoError(t, err)
	place := filepath.Join(dir, "deploy", "images", "build.sh")
	require.NoError(t, os.MkdirAll(filepath.Dir(place), 0o755))
	require.NoError(t, os.WriteFile(place, script, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".gitignore"), []byte("dist\n"), 0o600))
	noted := filepath.Join(bin, "noted")
	require.NoError(t, os.WriteFile(filepath.Join(bin, "docker"), []byte("#!/bin/sh\necho \"$*\" >>"+noted+"\n"), 0o755))
	git := func(args ...string) string {
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"}, args...)...)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return strings.TrimSpace(string(out))
	}
	git("init", "-q")
	git("add", ".")
	git("commit", "-qm", "all")
	release := func(env []string, args ...string) (said, asked string, err error) {
		_ = os.Remove(noted) // there may be none
		cmd := exec.Command(place, args...)
		cmd.Env = append(append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH")), env...)
		out, err := cmd.CombinedOutput()
		text, _ := os.ReadFile(noted) // none when nothing was asked for
		return string(out), string(text), err
	}

	said, asked, err := release(nil, "host/warm", "v1.2.3")
	require.NoError(t, err, said)
	lines := strings.Split(strings.TrimSpace(asked), "\n")
	require.Len(t, lines, 2)
	for i, target := range []struct{ name, tag string }{{"static", "v1.2.3"}, {"cuda", "v1.2.3-cuda"}} {
		for _, want := range []string{"buildx build --platform linux/amd64,linux/arm64 ", "--target " + target.name + " ", "--tag host/warm:" + target.tag + " ",
			"--build-arg VERSION=v1.2.3 ", "--build-arg COMMIT=" + git("rev-parse", "HEAD") + " ", "--build-arg TIME=2", "--output type=oci,dest=dist/warm-" + target.tag + ".tar ."} {
			assert.Contains(t, lines[i], want)
		}
	}
	_, asked, err = release([]string{"PUSH=1"}, "warm")
	require.NoError(t, err)
	assert.Contains(t, asked, "--tag warm:"+git("rev-parse", "--short=12", "HEAD")+"-cuda ")
	assert.Contains(t, asked, " --push .")
	git("tag", "v2")
	_, asked, err = release([]string{"LOAD=1", "PLATFORMS=linux/arm64"}, "warm")
	require.NoError(t, err)
	assert.Contains(t, asked, "--platform linux/arm64 --target static --tag warm:v2 ")
	assert.Contains(t, asked, " --load .")
	for _, args := range [][]string{nil, {"warm", "a b"}, {"warm", "v1", "v2"}} {
		_, asked, err = release(nil, args...)
		assert.Error(t, err)
		assert.Empty(t, asked)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "more"), nil, 0o600))
	said, asked, err = release(nil, "warm", "v1")
	assert.Error(t, err)
	assert.Contains(t, said, "commit or remove it first")
	assert.Empty(t, asked)
}
