package server_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// BenchmarkDialects is BenchmarkHandler in other stacks' words: what a
// translation costs beside the native route of the same text.
func BenchmarkDialects(b *testing.B) {
	text := strings.Repeat("words ", 50) + strings.Repeat("more ", 40)
	for _, c := range []struct{ name, path, body string }{
		{"native", "/v1/reward", `{"inputs":[{"text":"` + text + `"}]}`},
		{"openrlhf", "/get_reward", `{"query":["` + text + `"],"prompts":["words "],"labels":[null]}`},
		{"classify", "/classify", `{"model":"m","input":"` + text + `","use_activation":false}`},
		{"predict", "/predict", `{"inputs":"` + text + `","raw_scores":true}`},
		{"score-one", "/v1/score-one?bare=1", `{"prompt":"words","response":"` + text + `","label":null}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := benchServer(b)
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, c.path, bytes.NewReader([]byte(c.body))))
				if w.Code != http.StatusOK {
					b.Fatal(w.Body.String())
				}
			}
		})
	}
}
