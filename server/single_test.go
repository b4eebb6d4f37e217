package server_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/live"
)

func TestAModelOfTwoFunctionsHasNoEnsemble(t *testing.T) {
	info := live.Info{Model: api.Model{ID: "m", Revision: "1", ContextLength: 64, Mode: api.ModeEns, Modes: []string{api.ModeEns}, Members: []string{"a"}}}
	h := start(t, server.Config{}, live.NewModel(info, prepare, score))
	for mode, status := range map[string]int{`"wa"`: http.StatusOK, `"ens"`: http.StatusBadRequest, `"member:a"`: http.StatusBadRequest} {
		r := h.post(`{"mode":` + mode + `,"inputs":[{"prompt":"Q","responses":["A"]}]}`)
		assert.Equal(t, status, r.status, "%s: %s", mode, r.body)
	}
	r := h.post(`{"inputs":[{"text":"A"}]}`)
	assert.Equal(t, "unsupported_input", r.error(t).Error.Code)
}
