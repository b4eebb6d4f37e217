package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/cmd/warm/embedded"
)

// banner is what a person at a terminal is told when warm serve listens: where, what is served,
// and a request to try.
type banner struct {
	url     string // of the server
	console bool
	keys    bool // whether requests need one
	models  map[string]*api.ModelSpec
	watched string // the manifest that names further models; "" for none
	device  string // that computes
}

// write prints the banner.
func (b *banner) write(w io.Writer, p paint) {
	row := func(name, value string) { fmt.Fprintf(w, "  %s  %s\n", p.as(faint, fmt.Sprintf("%-8s", name)), value) }
	fmt.Fprintf(w, "\n  %s %s\n\n", p.as(bold, "warm"), version())
	names := slices.Sorted(maps.Keys(b.models))
	for i, name := range names {
		row([]string{"models", ""}[min(i, 1)], p.as(green, name)+" "+composed(b.models[name]))
	}
	if b.watched != "" {
		row("models", "as "+b.watched+" says")
	}
	row("device", b.device)
	row("rewards", "POST "+p.as(cyan, b.url+"/v1/reward"))
	if b.console {
		row("console", p.as(cyan, b.url+"/"))
		row("API", p.as(cyan, b.url+"/docs"))
	}
	row("try", b.request(names))
	row("stop", "Ctrl-C")
	fmt.Fprintln(w)
}

// composed says what a model is made of.
func composed(m *api.ModelSpec) string {
	what := fmt.Sprintf("(%d members", len(m.Members))
	switch {
	case len(m.Members) == 1 && m.Members[0].Path == embedded.Prefix:
		what = "(the program's own members"
	case len(m.Members) == 1:
		what = "(1 member"
	}
	return what + ", " + modes(m.Mode) + ")"
}

// modes says in words what is held in memory.
func modes(mode string) string {
	switch mode {
	case "", "wa":
		return "averaged"
	case "ens":
		return "as an ensemble"
	case "both":
		return "averaged, and as an ensemble"
	}
	return mode
}

// request is a command that asks for rewards, in lines that a shell joins.
func (b *banner) request(models []string) string {
	body := api.RewardRequest{Inputs: []api.Input{api.Answers("Tea or coffee?", "Tea.", "dunno")}}
	if len(models) > 1 {
		body.Model = models[0]
	}
	data, _ := api.Encode(body) // of strings alone
	lines := []string{"curl " + b.url + "/v1/reward"}
	if strings.HasPrefix(b.url, "https:") {
		lines[0] += " --cacert CA.pem"
	}
	if b.keys {
		lines = append(lines, `-H "Authorization: Bearer $WARM_API_KEY"`)
	}
	lines = append(lines, "-H 'Content-Type: application/json'", "-d '"+string(data)+"'")
	return strings.Join(lines, " \\\n    ")
}
