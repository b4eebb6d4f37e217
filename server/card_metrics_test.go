package server_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/servertest"
)

func TestMetricsSayHowCardsAreDoing(t *testing.T) {
	cards := []server.Card{
		{Name: "cuda:0 Test", Up: true, Batches: 3, Tokens: 1200, Memory: 80e9, Free: 30e9, Clock: 1.98e9, Power: 512.5, Temperature: 61},
		{Name: "cuda:1 Test", Restarts: 2},
	}
	h := start(t, server.Config{Cards: func() []server.Card { return cards }}, servertest.New("m"))
	got := string(h.get("/metrics").body)
	for _, want := range []string{
		`warm_card_up{card="cuda:0 Test"} 1`, `warm_card_up{card="cuda:1 Test"} 0`,
		`warm_card_restarts_total{card="cuda:0 Test"} 0`, `warm_card_restarts_total{card="cuda:1 Test"} 2`,
		`warm_card_batches_total{card="cuda:0 Test"} 3`, `warm_card_tokens_total{card="cuda:0 Test"} 1200`,
		`warm_card_memory_bytes{card="cuda:0 Test"} 8e+10`, `warm_card_memory_free_bytes{card="cuda:0 Test"} 3e+10`,
		`warm_card_clock_hertz{card="cuda:0 Test"} 1.98e+09`, `warm_card_power_watts{card="cuda:0 Test"} 512.5`,
		`warm_card_temperature_celsius{card="cuda:0 Test"} 61`,
	} {
		assert.Contains(t, got, want)
	}
	assert.NotContains(t, string(start(t, server.Config{}, servertest.New("m")).get("/metrics").body), "warm_card_")
}
