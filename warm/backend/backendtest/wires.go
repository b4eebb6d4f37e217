package backendtest

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
)

// sglang answers as sglang 0.5.23 does.
func (s *Server) sglang(w http.ResponseWriter, r *http.Request, data []byte) {
	of, dir, version := s.now()
	wrong := func(err error) {
		reply(w, http.StatusBadRequest, map[string]any{"error": map[string]any{"message": err.Error()}})
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /v1/models":
		s.list(w, s.started)
	case "GET /model_info":
		reply(w, http.StatusOK, map[string]any{"model_path": dir, "tokenizer_path": s.started, "is_generation": false,
			"weight_version": version, "model_type": of.files["model_type"], "architectures": of.files["architectures"]})
	case "POST /update_weight_version":
		var q struct {
			Version string `json:"new_version"`
			Abort   bool   `json:"abort_all_requests"`
		}
		if err := strict(data, &q); err != nil {
			reply(w, http.StatusUnprocessableEntity, map[string]any{"detail": err.Error()})
			return
		}
		s.setVersion(q.Version)
		reply(w, http.StatusOK, map[string]any{"success": true, "message": "", "new_version": q.Version})
	case "POST /update_weights_from_disk":
		var q struct {
			Path    string `json:"model_path"`
			Version string `json:"weight_version"`
			Flush   bool   `json:"flush_cache"`
		}
		err := strict(data, &q)
		if err == nil {
			err = s.load(q.Path)
		}
		status, message := http.StatusOK, "Succeeded to update model weights."
		if err != nil {
			status, message = http.StatusBadRequest, fmt.Sprintf("Failed to get weights iterator: %v.", err)
		} else {
			s.setVersion(q.Version)
		}
		reply(w, status, map[string]any{"success": err == nil, "message": message, "num_paused_requests": 0})
	case "POST /classify":
		var q struct {
			IDs [][]int32 `json:"input_ids"`
		}
		if err := strict(data, &q); err != nil {
			reply(w, http.StatusUnprocessableEntity, map[string]any{"detail": err.Error()})
			return
		}
		rows, err := s.outputs(of, q.IDs, nil)
		if err != nil {
			wrong(err)
			return
		}
		var out []any
		for i, row := range rows {
			out = append(out, map[string]any{"embedding": row, "meta_info": map[string]any{"id": strconv.Itoa(i),
				"finish_reason": map[string]any{"type": "stop"}, "prompt_tokens": len(q.IDs[i]), "weight_version": version}})
		}
		reply(w, http.StatusOK, out)
	default:
		reply(w, http.StatusNotFound, map[string]any{"detail": "Not Found"})
	}
}

// vllm answers as vllm 0.32.0 does, in its development mode unless Fixed is set.
func (s *Server) vllm(w http.ResponseWriter, r *http.Request, data []byte) {
	of, _, version := s.now()
	wrong := func(status int, err error) {
		reply(w, status, map[string]any{"error": map[string]any{"message": err.Error(), "type": "BadRequestError", "param": nil, "code": status}})
	}
	route := r.Method + " " + r.URL.Path
	if s.Fixed && !slices.Contains([]string{"GET /v1/models", "POST /classify"}, route) {
		route = ""
	}
	switch route {
	case "GET /v1/models":
		s.list(w, s.started)
	case "GET /weight_info":
		reply(w, http.StatusOK, map[string]any{"weight_version": version})
	case "POST /update_weight_version":
		var q struct {
			Version string `json:"new_version"`
		}
		if err := strict(data, &q); err != nil {
			wrong(http.StatusBadRequest, err)
			return
		}
		s.setVersion(q.Version)
		reply(w, http.StatusOK, map[string]any{"success": true, "new_version": q.Version})
	case "POST /collective_rpc":
		var q struct {
			Method string            `json:"method"`
			Kwargs map[string]string `json:"kwargs"`
		}
		err := strict(data, &q)
		if err == nil && q.Method != "reload_weights" {
			err = fmt.Errorf("no method %q", q.Method)
		}
		if err == nil {
			err = s.load(q.Kwargs["weights_path"])
		}
		if err != nil {
			wrong(http.StatusInternalServerError, errors.New("Call to collective_rpc method failed: "+err.Error()))
			return
		}
		reply(w, http.StatusOK, map[string]any{"results": []any{nil}})
	case "POST /reset_prefix_cache":
		reply(w, http.StatusOK, map[string]any{"success": true})
	case "POST /classify":
		var q struct {
			Input      [][]int32 `json:"input"`
			Activation *bool     `json:"use_activation"`
			Special    bool      `json:"add_special_tokens"`
		}
		if err := strict(data, &q); err != nil {
			wrong(http.StatusBadRequest, err)
			return
		}
		rows, err := s.outputs(of, q.Input, nil)
		if err != nil {
			wrong(http.StatusBadRequest, err)
			return
		}
		var out []any
		for i, row := range rows {
			if s.Activated || q.Activation == nil || *q.Activation {
				for j, v := range row {
					row[j] = float32(1 / (1 + math.Exp(-float64(v))))
				}
			}
			out = append(out, map[string]any{"index": i, "label": "LABEL_0", "probs": row, "num_classes": len(row)})
		}
		reply(w, http.StatusOK, map[string]any{"id": "classify-1", "object": "list", "created": 1, "model": s.started, "data": out,
			"usage": map[string]any{"prompt_tokens": 1, "total_tokens": 1}})
	default:
		reply(w, http.StatusNotFound, map[string]any{"detail": "Not Found"})
	}
}
