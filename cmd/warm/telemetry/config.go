package telemetry

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Config is what a configuration file says. The standard variables of the environment
// beat each of it.
type Config struct {
	Endpoint string   `yaml:"endpoint"` // of what takes OTLP over HTTP, as in http://127.0.0.1:4318; default none
	Service  string   `yaml:"service"`  // service.name; default warm
	Sample   *float64 `yaml:"sample"`   // share in [0, 1] of the traces that begin here; default 1
}

// Validate reports every problem at once.
func (c *Config) Validate() error {
	var errs []error
	if c.Endpoint != "" {
		if err := checkURL("telemetry.endpoint", c.Endpoint); err != nil {
			errs = append(errs, err)
		}
	}
	if s := c.Sample; s != nil && !(*s >= 0 && *s <= 1) {
		errs = append(errs, fmt.Errorf("telemetry.sample: %v, want a share in [0, 1]", *s))
	}
	return errors.Join(errs...)
}

func checkURL(what, text string) error {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return fmt.Errorf("%s: want http://HOST:PORT or https://HOST:PORT", what) // it may hold a password
	}
	return nil
}

// signal is what is exported: traces or metrics.
type signal struct {
	name   string // in variables: TRACES or METRICS
	others []string
}

// Exporters that are no OTLP and need none: metrics are at /metrics anyway.
var (
	traces  = signal{"TRACES", []string{"none"}}
	metrics = signal{"METRICS", []string{"none", "prometheus"}}
)

// wanted says whether a signal is exported, by the environment and the configuration.
func (s signal) wanted(c Config, getenv func(string) string) (bool, error) {
	if strings.EqualFold(strings.TrimSpace(getenv("OTEL_SDK_DISABLED")), "true") {
		return false, nil
	}
	variable := "OTEL_" + s.name + "_EXPORTER"
	exporter := strings.TrimSpace(getenv(variable))
	if slices.Contains(s.others, exporter) {
		return false, nil
	}
	if exporter != "" && exporter != "otlp" {
		return false, fmt.Errorf("%s: %q, want otlp or %s", variable, exporter, strings.Join(s.others, " or "))
	}
	named := false
	for _, v := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_" + s.name + "_ENDPOINT"} {
		if text := getenv(v); text != "" {
			named = true
			if err := checkURL(v, text); err != nil {
				return false, err
			}
		}
	}
	if !named && exporter == "" && c.Endpoint == "" {
		return false, nil
	}
	for _, v := range []string{"OTEL_EXPORTER_OTLP_" + s.name + "_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if p := strings.TrimSpace(getenv(v)); p != "" && p != "http/protobuf" && p != "http/json" {
			return false, fmt.Errorf("%s: %q, want http/protobuf or http/json: collectors take these at port 4318", v, p)
		} else if p != "" {
			break
		}
	}
	return true, nil
}

// endpoint is the URL of a signal where the environment names none; "" is the exporter's
// default.
func (s signal) endpoint(c Config, getenv func(string) string) string {
	if getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || getenv("OTEL_EXPORTER_OTLP_"+s.name+"_ENDPOINT") != "" || c.Endpoint == "" {
		return ""
	}
	return strings.TrimRight(c.Endpoint, "/") + "/v1/" + strings.ToLower(s.name)
}
