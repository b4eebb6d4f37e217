package experiments

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/warm/reward"
)

// served is Lab.Serve by the lab's own arithmetic.
type served struct {
	l  *lab.Lab
	mu sync.Mutex // a lab serves one at a time
	// starts are the names and modes that were served, in order.
	starts []string
}

func (s *served) start(_ context.Context, name string, members []string, mode string) (string, func() error, error) {
	s.starts = append(s.starts, name+" "+mode)
	groups := [][]string{members}
	switch one, found := strings.CutPrefix(mode, "member:member-"); {
	case found:
		groups = [][]string{{members[one[0]-'1']}}
	case mode == "ens":
		groups = nil
		for _, m := range members {
			groups = append(groups, []string{m})
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			body, err = s.reply(r.Context(), body, groups)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(body)
	}))
	return server.URL, func() error { server.Close(); return nil }, nil
}

// reply answers a request with the mean of the groups' rewards.
func (s *served) reply(ctx context.Context, body []byte, groups [][]string) ([]byte, error) {
	req, err := api.DecodeRewardRequest(body)
	if err != nil {
		return nil, err
	}
	var texts []reward.Input
	for _, in := range req.Inputs {
		for _, answer := range in.Responses {
			texts = append(texts, reward.Input{Prompt: &in.Prompt.Text, Response: answer})
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	reply := api.RewardResponse{Object: "reward.list", Model: "m", Revision: "sha256:test", Mode: "wa", Data: make([]api.Reward, len(texts))}
	for _, members := range groups {
		rewards, err := s.l.Rewards(ctx, lab.Model{Members: members}, texts)
		if err != nil {
			return nil, err
		}
		for i, v := range rewards {
			reply.Data[i].Index = i
			reply.Data[i].Reward += v / float32(len(groups))
		}
	}
	return json.Marshal(reply)
}
