package model

import "strings"

// public is a public model whose files do not tell how it is read: they are those of a language model.
type public struct {
	Name string // the last part of its name, as in the paths under which people keep it
	Settings
	Pooling Pooling
}

// publicModels are those. The rows of the judges of steps are the ids of + and -.
// Sources: the models' cards and their users' code.
var publicModels = []public{
	{"Llama-3.1-Nemotron-70B-Reward-HF", Settings{Head: "lm_head[0]"}, PoolLast},
	{"Qwen-3-Nemotron-32B-Reward", Settings{Head: "lm_head[0]"}, PoolLast},
	{"math-shepherd-mistral-7b-prm", Settings{Head: "lm_head[648,387]", Output: "softmax(0)"}, "every:12902"},
	{"Llama3.1-8B-PRM-Deepseek-Data", Settings{Head: "lm_head[10,12]", Output: "softmax(0) by mean"},
		"every:271,10,128009"},
	{"Llama3.1-8B-PRM-Mistral-Data", Settings{Head: "lm_head[10,12]", Output: "softmax(0) by mean"},
		"every:271,10,128009"},
}

// publicModel returns the public model that one of the paths names.
func publicModel(paths ...string) (public, bool) {
	for _, p := range paths {
		for _, part := range strings.FieldsFunc(p, func(r rune) bool { return r == '/' || r == '\\' }) {
			for _, m := range publicModels {
				if part == m.Name || strings.HasSuffix(part, "--"+m.Name) { // as the hub's cache has it
					return m, true
				}
			}
		}
	}
	return public{}, false
}
