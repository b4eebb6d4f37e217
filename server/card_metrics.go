package server

import "github.com/prometheus/client_golang/prometheus"

// Card is a card that computes for the server, and how it is doing. What its driver does
// not tell is 0.
type Card struct {
	Name     string // as in "cuda:0 NVIDIA H100"
	Up       bool   // whether it answers
	Restarts uint64 // times that its worker ended or did not start
	Batches  uint64 // computed
	Tokens   uint64 // in them

	Memory, Free float64 // bytes
	Clock        float64 // of what computes, Hz
	Power        float64 // W
	Temperature  float64 // °C
}

// cardCollector asks the cards at a scrape.
type cardCollector struct{ cards func() []Card }

// cardMetric is what is told of a card in one number.
type cardMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(c *Card) float64
}

var cardMetrics = []cardMetric{
	newCardMetric("up", "1 while the card answers.", prometheus.GaugeValue, func(c *Card) float64 { return oneIf(c.Up) }),
	newCardMetric("restarts_total", "Times that the card's process ended or did not start.", prometheus.CounterValue,
		func(c *Card) float64 { return float64(c.Restarts) }),
	newCardMetric("batches_total", "Batches that the card computed.", prometheus.CounterValue,
		func(c *Card) float64 { return float64(c.Batches) }),
	newCardMetric("tokens_total", "Tokens that the card computed.", prometheus.CounterValue,
		func(c *Card) float64 { return float64(c.Tokens) }),
	newCardMetric("memory_bytes", "The card's memory.", prometheus.GaugeValue, func(c *Card) float64 { return c.Memory }),
	newCardMetric("memory_free_bytes", "The card's memory that nothing holds.", prometheus.GaugeValue,
		func(c *Card) float64 { return c.Free }),
	newCardMetric("clock_hertz", "The clock of the card's multiprocessors.", prometheus.GaugeValue,
		func(c *Card) float64 { return c.Clock }),
	newCardMetric("power_watts", "The power that the card draws.", prometheus.GaugeValue, func(c *Card) float64 { return c.Power }),
	newCardMetric("temperature_celsius", "The card's temperature.", prometheus.GaugeValue,
		func(c *Card) float64 { return c.Temperature }),
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func newCardMetric(name, help string, kind prometheus.ValueType, value func(c *Card) float64) cardMetric {
	return cardMetric{prometheus.NewDesc("warm_card_"+name, help, []string{"card"}, nil), kind, value}
}

func (c cardCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range cardMetrics {
		ch <- m.desc
	}
}

func (c cardCollector) Collect(ch chan<- prometheus.Metric) {
	cards := c.cards()
	for i := range cards {
		for _, m := range cardMetrics {
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(&cards[i]), cards[i].Name)
		}
	}
}
