package api

import (
	"fmt"
	"slices"
	"strings"
)

// DefaultMaxSequences bounds the answers of one request where a server does
// not choose: several rollout batches of today's RL stacks.
const DefaultMaxSequences = 4096

// maxLambda bounds lambda to what a float32 reward survives.
const maxLambda = 1e6

// Validate checks what can be known without a model: that every input has one
// form, that words are of their sets, and that there are at most maxSequences
// answers. Its errors are *[Error] and name the first thing that is wrong. With
// on_error: item the inputs are left to [Input.Check].
func (r *RewardRequest) Validate(maxSequences int) error {
	for _, check := range []func() *Error{r.checkWords, r.checkEnsemble, func() *Error { return r.checkInputs(maxSequences) }} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (r *RewardRequest) checkWords() *Error {
	if !knownMode(r.Mode) {
		return Errorf(CodeInvalidValue, "mode", "mode %s, want wa, ens, both or member:NAME", quote(r.Mode))
	}
	for _, w := range []struct {
		param, got string
		want       []string
	}{
		{"aggregate", r.Aggregate, Aggregates()},
		{"truncate", r.Truncate, truncations},
		{"on_error", r.OnError, []string{OnErrorRequest, OnErrorItem}},
	} {
		if err := checkWord(w.param, w.got, w.want); w.got != "" && err != nil {
			return err
		}
	}
	return checkWords("return", r.Return,
		[]string{ReturnMembers, ReturnTokens, ReturnAttributes, ReturnSteps, ReturnTrajectory})
}

var truncations = []string{TruncateError, TruncatePromptLeft, TruncateLeft, TruncateRight}

// checkWord refuses a word that is none of those known.
func checkWord(param, word string, known []string) *Error {
	if slices.Contains(known, word) {
		return nil
	}
	return Errorf(CodeInvalidValue, param, "%s, want one of %s", quote(word), strings.Join(known, ", "))
}

// checkWords refuses a list with another word than those known, or with one twice.
func checkWords(param string, list, known []string) *Error {
	for i, word := range list {
		param := fmt.Sprintf("%s[%d]", param, i)
		if slices.Contains(list[:i], word) {
			return Errorf(CodeInvalidValue, param, "%s is given twice", quote(word))
		}
		if err := checkWord(param, word, known); err != nil {
			return err
		}
	}
	return nil
}

func checkLambda(lambda *float64) *Error {
	if lambda != nil && !(*lambda >= 0 && *lambda <= maxLambda) {
		return Errorf(CodeInvalidValue, "lambda", "%v, want a number in [0, %g]", *lambda, float64(maxLambda))
	}
	return nil
}

func knownMode(mode string) bool {
	switch mode {
	case "", ModeWA, ModeEns, ModeBoth:
		return true
	}
	name, ok := strings.CutPrefix(mode, ModeMember)
	return ok && name != ""
}

// checkEnsemble checks the fields that only an ensemble reads. A mode that is
// left to the model is judged by the server, once it knows the model's own.
func (r *RewardRequest) checkEnsemble() *Error {
	if r.Mode != "" {
		if err := r.CheckMode(r.Mode); err != nil {
			return err
		}
	}
	if r.Lambda == nil {
		return nil
	}
	if err := checkLambda(r.Lambda); err != nil {
		return err
	}
	if r.Aggregate != AggregateMeanMinusStd && r.Aggregate != AggregateMeanMinusVar {
		return Errorf(CodeConflictingFields, "lambda",
			"lambda is read only with the aggregates mean_minus_std and mean_minus_var")
	}
	return nil
}

// CheckMode refuses the fields that mode, which is the request's own or the
// model's default, would leave unread. The error is nil or an *[Error].
func (r *RewardRequest) CheckMode(mode string) *Error {
	if mode == ModeEns && len(r.Details()) > 0 {
		return Errorf(CodeConflictingFields, "return",
			"%s is of one model's reward, and the mode ens answers with none", r.Details()[0])
	}
	if mode == ModeEns || mode == ModeBoth {
		return nil
	}
	if r.Aggregate != "" {
		return Errorf(CodeConflictingFields, "aggregate",
			"aggregate is read only with the modes ens and both, not with %s", quote(mode))
	}
	if slices.Contains(r.Return, ReturnMembers) {
		return Errorf(CodeConflictingFields, "return",
			"members are returned only with the modes ens and both, not with %s", quote(mode))
	}
	return nil
}

// Details are the words of Return that are about one model's reward.
func (r *RewardRequest) Details() (words []string) {
	for _, w := range r.Return {
		if w == ReturnAttributes || w == ReturnSteps || w == ReturnTrajectory {
			words = append(words, w)
		}
	}
	return words
}

func (r *RewardRequest) checkInputs(maxSequences int) *Error {
	if r.Inputs == nil {
		return Errorf(CodeMissingField, "inputs", "inputs is missing")
	}
	if len(r.Inputs) == 0 {
		return Errorf(CodeEmptyInput, "inputs", "inputs is empty")
	}
	sequences := 0
	for i := range r.Inputs {
		if r.OnError != OnErrorItem {
			if err := r.Inputs[i].Check(); err != nil {
				return err.Under(fmt.Sprintf("inputs[%d]", i))
			}
		}
		if sequences += r.Inputs[i].Count(); sequences > maxSequences {
			return Errorf(CodeTooManySequences, "inputs", "more than %d answers in one request", maxSequences)
		}
	}
	return nil
}

// Check refuses an input that has not exactly one form, or was found bad when
// it was read. The error is nil or an *[Error] whose Param is relative to the
// input.
func (in *Input) Check() *Error {
	if in.Fault != nil {
		return in.Fault
	}
	var given []string
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"messages", in.Messages != nil},
		{"prompt", in.Prompt != nil},
		{"response", in.Response != nil},
		{"responses", in.Responses != nil},
		{"text", in.Text != nil},
		{"add_special_tokens", in.AddSpecialTokens != nil},
		{"input_ids", in.InputIDs != nil},
	} {
		if f.set {
			given = append(given, f.name)
		}
	}
	switch strings.Join(given, " ") {
	case "messages":
		return checkConversation(in.Messages)
	case "prompt response":
		return in.Prompt.check()
	case "prompt responses":
		if len(in.Responses) == 0 {
			return Errorf(CodeEmptyInput, "responses", "responses is empty")
		}
		return in.Prompt.check()
	case "text", "text add_special_tokens":
		if *in.Text == "" {
			return Errorf(CodeEmptyInput, "text", "text is empty")
		}
		return nil
	case "input_ids":
		return checkIDs(in.InputIDs)
	}
	return wrongForm(given)
}

// wrongForm says what is missing from, or too much in, the fields given.
func wrongForm(given []string) *Error {
	const forms = "an input is messages, prompt with response, prompt with responses, text, or input_ids"
	has := func(name string) bool { return slices.Contains(given, name) }
	switch {
	case len(given) == 0:
		return Errorf(CodeMissingField, "", "nothing to score: %s", forms)
	case len(given) == 1 && has("prompt"):
		return Errorf(CodeMissingField, "response", "a prompt needs a response, or responses")
	case len(given) == 1 && (has("response") || has("responses")):
		return Errorf(CodeMissingField, "prompt", "%s needs a prompt", given[0])
	case len(given) == 1:
		return Errorf(CodeMissingField, "text", "add_special_tokens belongs to text")
	}
	return Errorf(CodeConflictingFields, given[len(given)-1], "%s together: %s",
		strings.Join(given, ", "), forms)
}

func (p *Prompt) check() *Error {
	if p.Messages == nil {
		return nil
	}
	if len(p.Messages) == 0 {
		return Errorf(CodeEmptyInput, "prompt", "prompt is an empty list of messages")
	}
	if err := checkMessages(p.Messages); err != nil {
		return err.Under("prompt")
	}
	return nil
}

// checkConversation refuses messages that do not end with an answer: a reward
// model scores a user's turn without complaint, and the number looks fine.
func checkConversation(messages []Message) *Error {
	if len(messages) == 0 {
		return Errorf(CodeEmptyInput, "messages", "messages is empty")
	}
	if err := checkMessages(messages); err != nil {
		return err.Under("messages")
	}
	last := len(messages) - 1
	if role := messages[last].Role; role != "assistant" {
		return Errorf(CodeLastMessageNotAssistant, fmt.Sprintf("messages[%d].role", last),
			"the role of the last message is %s, want \"assistant\"", quote(role))
	}
	return nil
}

func checkMessages(messages []Message) *Error {
	for i := range messages {
		m := &messages[i]
		if m.Role == "" {
			return Errorf(CodeMissingField, fmt.Sprintf("[%d].role", i), "a message needs a role")
		}
		if m.Content.Null && !slices.ContainsFunc(m.Extra, insteadOfContent) {
			return Errorf(CodeMissingField, fmt.Sprintf("[%d].content", i),
				"a message without tool_calls or reasoning needs a content")
		}
	}
	return nil
}

// insteadOfContent tells whether a message with the field may be without content: it calls a tool, or
// it ended while it was thinking.
func insteadOfContent(f Field) bool {
	switch f.Name {
	case "tool_calls":
		return f.Value.Kind() == '['
	case "reasoning_content", "reasoning", "thinking":
		return f.Value.Kind() == '"'
	}
	return false
}

func checkIDs(ids []int32) *Error {
	if len(ids) == 0 {
		return Errorf(CodeEmptyInput, "input_ids", "input_ids is empty")
	}
	for i, id := range ids {
		if id < 0 {
			return Errorf(CodeTokenOutOfRange, fmt.Sprintf("input_ids[%d]", i), "id %d is below 0", id)
		}
	}
	return nil
}
