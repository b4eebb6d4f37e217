package trl

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/goccy/go-yaml"
)

// places of the scripts.
const (
	SlurmFile = "members.sbatch"
	JobFile   = "job.yaml"
)

// slurm is the script of an array of jobs. Paths are quoted for the shell.
var slurm = template.Must(template.New("slurm").Parse(`#!/bin/bash
# Trains the members of a plan, one a task of an array:
#
#   sbatch --array={{.Array}} {{.Script}}
#
# Give time, partition and memory on the command line. A task is told two minutes
# before its time limit and saves its state; submit the same again to go on. When all
# are done, "warm train members --with trl" with the same plan checks the results and
# prints the comparison.
#SBATCH --job-name=warm-members
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
{{- if .GPUs}}
#SBATCH --gpus-per-node={{.GPUs}}
#SBATCH --nodes=1
{{- end}}
set -euo pipefail
exec {{.Python}} {{.Program}} "$SLURM_ARRAY_TASK_ID"
`))

// writeScripts writes the program, and what carries all runs out elsewhere.
func (s *Set) writeScripts() error {
	if err := s.write(programFile, s.options.Program); err != nil {
		return err
	}
	var script bytes.Buffer
	err := slurm.Execute(&script, map[string]any{
		"Array": ranges(s.all()), "Script": quoted(filepath.Join(s.Dir, SlurmFile)), "GPUs": s.options.GPUs,
		"Python": quoted(s.options.Python), "Program": quoted(filepath.Join(s.Dir, programFile))})
	if err != nil {
		return err
	}
	if err := s.write(SlurmFile, script.Bytes()); err != nil {
		return err
	}
	if s.options.Image == "" {
		return nil
	}
	manifest, err := s.manifest()
	if err != nil {
		return err
	}
	return s.write(JobFile, manifest)
}

// manifest is an Indexed Job of Kubernetes, one member a pod. The volume is mounted where
// everything lies here, so that all paths are the same there.
func (s *Set) manifest() ([]byte, error) {
	mount, err := s.mount()
	if err != nil {
		return nil, err
	}
	type object = yaml.MapSlice
	item := func(k string, v any) yaml.MapItem { return yaml.MapItem{Key: k, Value: v} }
	member := object{
		item("name", "member"), item("image", s.options.Image),
		// The shell counts from 1, as members are counted.
		item("command", []string{"sh", "-c", `exec "$0" "$1" $((JOB_COMPLETION_INDEX + 1))`, s.options.Python,
			filepath.Join(s.Dir, programFile)}),
		item("volumeMounts", []object{{item("name", "work"), item("mountPath", mount)}}),
	}
	if s.options.GPUs > 0 {
		cards := object{item("nvidia.com/gpu", fmt.Sprint(s.options.GPUs))}
		member = append(member, item("resources", object{item("limits", cards)}))
	}
	return yaml.MarshalWithOptions(object{
		item("apiVersion", "batch/v1"), item("kind", "Job"),
		item("metadata", object{item("name", "warm-members")}),
		item("spec", object{
			item("completions", len(s.jobs)), item("parallelism", len(s.jobs)), item("completionMode", "Indexed"),
			item("backoffLimitPerIndex", 3),
			item("template", object{item("spec", object{
				item("restartPolicy", "Never"), item("terminationGracePeriodSeconds", 120),
				item("containers", []object{member}),
				item("volumes", []object{{item("name", "work"),
					item("persistentVolumeClaim", object{item("claimName", s.options.Claim)})}}),
			})}),
		}),
	}, yaml.IndentSequence(true))
}

// mount is the deepest directory that holds the results and the bases.
func (s *Set) mount() (string, error) {
	out := filepath.Dir(filepath.Dir(s.Dir)) // of the plan's directory
	for _, start := range s.Plan.Starts() {
		base, err := filepath.Abs(start.Config.Base)
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(start.Config.Base) && strings.Contains(start.Config.Base, ":") {
			continue // no directory: it is written beside the program
		}
		for out != "/" && base != out && !strings.HasPrefix(base, out+"/") {
			out = filepath.Dir(out)
		}
	}
	if out == "/" {
		return "", fmt.Errorf("kubernetes: %s and the base have no directory in common that a volume could be mounted at", s.Plan.Out)
	}
	return out, nil
}

// all are the numbers of all members.
func (s *Set) all() []int {
	out := make([]int, len(s.jobs))
	for i := range out {
		out[i] = i + 1
	}
	return out
}

// ranges writes increasing numbers as an array of Slurm's has them, 1-3,5.
func ranges(numbers []int) string {
	var parts []string
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		part := fmt.Sprint(numbers[i])
		if j > i {
			part += fmt.Sprintf("-%d", numbers[j])
		}
		parts = append(parts, part)
		i = j + 1
	}
	return strings.Join(parts, ",")
}

// quoted is a word for a shell.
func quoted(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/+=:,@%", r)
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// Submit is the command that carries out members, by their numbers, elsewhere.
func (s *Set) Submit(on string, members []int) string {
	if on == "kubernetes" { // whose pods end at once where a member is there
		return "kubectl apply -f " + quoted(filepath.Join(s.Dir, JobFile))
	}
	return fmt.Sprintf("sbatch --array=%s %s", ranges(members), quoted(filepath.Join(s.Dir, SlurmFile)))
}
