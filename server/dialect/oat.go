package dialect

import (
	"time"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"

	"github.com/warmserve/warmserve/api"
)

// oatWait ends before oat's client, which hangs up after 5 s and comes again ten
// times, each time after a longer while: what it no longer waits for need not be
// computed.
var oatWait = hold(4500 * time.Millisecond)

// MsgPack is MessagePack's content type.
const MsgPack = "application/msgpack"

// oatRequest is what oat's oracle sends: prompts with responses, to be scored,
// or with pairs of candidates, to be compared.
type oatRequest struct {
	Prompts    api.Responses   `json:"batch_prompt"`
	Responses  api.Responses   `json:"batch_response"`
	Candidates []api.Responses `json:"batch_candidates"`
}

// oatReply has one of its lists empty.
type oatReply struct {
	Scores []float32 `json:"batch_score"`
	Wins   []float32 `json:"batch_first_win_prob"` // of the first candidate, by Bradley and Terry
}

// oat is POST /get_feedback. Its client speaks MessagePack, without a content
// type; JSON is told by its first byte and answered likewise.
func oat(body []byte, at Target) (*Call, error) {
	var r oatRequest
	packed := len(body) > 0 && body[0] >= 0x80 // no JSON begins so, and every map does
	var err error
	if packed {
		err = r.unpack(body)
	} else {
		err = api.DecodeLenient(body, &r)
	}
	if err != nil {
		return nil, err
	}
	c := &Call{Request: &api.RewardRequest{}, Wait: oatWait}
	if err := r.inputs(c); err != nil {
		return nil, err
	}
	c.Reply = func(res *Result) (any, error) {
		out := oatReply{Scores: []float32{}, Wins: []float32{}}
		rewards := res.rewards()
		if len(r.Candidates) == 0 {
			out.Scores = rewards
		}
		for i := range r.Candidates {
			out.Wins = append(out.Wins, sigmoid(rewards[2*i]-rewards[2*i+1]))
		}
		if packed {
			return &Encoded{Body: out.pack(), Media: MsgPack}, nil
		}
		return out, nil
	}
	return c, c.choose(at.Query)
}

// inputs makes native inputs of the lists.
func (r *oatRequest) inputs(c *Call) error {
	add := func(i int, response *string) {
		c.Request.Inputs = append(c.Request.Inputs,
			api.Input{Prompt: &api.Prompt{Text: r.Prompts[i]}, Response: response})
	}
	switch {
	case len(r.Prompts) == 0:
		return api.Errorf(api.CodeEmptyInput, "batch_prompt", "batch_prompt is empty")
	case len(r.Responses) > 0 && len(r.Candidates) > 0:
		return api.Errorf(api.CodeConflictingFields, "batch_candidates",
			"batch_response and batch_candidates together")
	case len(r.Responses) > 0:
		if len(r.Responses) != len(r.Prompts) {
			return api.Errorf(api.CodeInvalidValue, "batch_response", "%d responses for %d prompts",
				len(r.Responses), len(r.Prompts))
		}
		c.Param = under("batch_response", false)
		for i := range r.Responses {
			add(i, &r.Responses[i])
		}
		return nil
	case len(r.Candidates) != len(r.Prompts):
		return api.Errorf(api.CodeInvalidValue, "batch_candidates",
			"%d pairs of candidates for %d prompts", len(r.Candidates), len(r.Prompts))
	}
	c.Param = places(func(int, string) string { return "batch_candidates" })
	for i, pair := range r.Candidates {
		if len(pair) != 2 {
			return wrongPair(len(pair))
		}
		add(i, &pair[0])
		add(i, &pair[1])
	}
	return nil
}

// unpack reads the request in MessagePack. What a count announces is not taken
// before it is there, and rows are bounded: one takes a byte as it is sent and
// hundreds as it is read.
func (r *oatRequest) unpack(body []byte) error {
	fields, rest, err := msgp.ReadMapHeaderBytes(body)
	for ; err == nil && fields > 0; fields-- {
		var name []byte
		if name, rest, err = msgp.ReadMapKeyZC(rest); err != nil {
			break
		}
		switch string(name) {
		case "batch_prompt":
			rest, err = unpackStrings(rest, "batch_prompt", &r.Prompts)
		case "batch_response":
			rest, err = unpackStrings(rest, "batch_response", &r.Responses)
		case "batch_candidates":
			rest, err = r.unpackCandidates(rest)
		default:
			rest, err = msgp.Skip(rest)
		}
	}
	if _, ours := err.(*api.Error); err != nil && !ours {
		return api.Errorf(api.CodeInvalidValue, "", "not the MessagePack of an oracle's request: %v", err)
	}
	return err
}

func (r *oatRequest) unpackCandidates(b []byte) (rest []byte, err error) {
	const param = "batch_candidates"
	n, rest, err := msgp.ReadArrayHeaderBytes(b)
	for ; err == nil && n > 0; n-- {
		if len(r.Candidates) == maxRows {
			return rest, tooManyRows(param)
		}
		if size, _, err := msgp.ReadArrayHeaderBytes(rest); err == nil && size != 2 {
			return rest, wrongPair(int(size))
		}
		var pair api.Responses
		if rest, err = unpackStrings(rest, param, &pair); err != nil {
			return rest, err
		}
		r.Candidates = append(r.Candidates, pair)
	}
	return rest, err
}

func unpackStrings(b []byte, param string, into *api.Responses) (rest []byte, err error) {
	n, rest, err := msgp.ReadArrayHeaderBytes(b)
	for ; err == nil && n > 0; n-- {
		if len(*into) == maxRows {
			return rest, tooManyRows(param)
		}
		var s string
		if s, rest, err = msgp.ReadStringBytes(rest); err == nil && !utf8.ValidString(s) {
			return rest, api.Errorf(api.CodeInvalidUTF8, param, "element %d is not UTF-8", len(*into))
		}
		*into = append(*into, s)
	}
	return rest, err
}

func wrongPair(size int) *api.Error {
	return api.Errorf(api.CodeInvalidValue, "batch_candidates", "%d candidates, want 2", size)
}

func (r oatReply) pack() []byte {
	list := func(b []byte, name string, values []float32) []byte {
		b = msgp.AppendArrayHeader(msgp.AppendString(b, name), uint32(len(values)))
		for _, v := range values {
			b = msgp.AppendFloat32(b, v)
		}
		return b
	}
	b := msgp.AppendMapHeader(nil, 2)
	b = list(b, "batch_score", r.Scores)
	return list(b, "batch_first_win_prob", r.Wins)
}
