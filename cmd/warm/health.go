package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/api"
)

func (p *program) health() *cobra.Command {
	f := serveFlags{set: serveConfig{Addr: defaultAddr}}
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "health [URL]",
		Short: "Ask a server whether it is ready: the health check of a container",
		Long: `health asks a server's /readyz. It exits with 0 when requests may be sent there,
and else with 1 and the reason.

Without a URL it asks the server that "warm serve" with the same configuration
and environment is on this machine: at ops_addr where that is set, else at addr,
else at ` + defaultAddr + `. A server that was told --addr wants a URL. That server's
certificate is not checked, since it names another host; a URL's is.`,
		Example: `  warm health
  warm health http://rewards:8080
  docker run --health-cmd "/warm health" …`,
		Args: arguments(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			var base string
			own := len(args) == 0
			if own {
				var err error
				if base, err = p.ownAddress(f); err != nil {
					return usageError{err}
				}
			} else if base = args[0]; !strings.Contains(base, "://") {
				base = "http://" + base
			}
			ctx, cancel := context.WithTimeout(c.Context(), timeout)
			defer cancel()
			err := askReady(ctx, base, p.getenv("WARM_API_KEY"), own)
			if c.Context().Err() == nil && ctx.Err() != nil {
				err = fmt.Errorf("%s: no answer within %s", base, timeout)
			}
			if err != nil {
				return err
			}
			fmt.Fprintln(p.stdout, "ready")
			return nil
		},
	}
	c.Flags().StringVar(&f.config, "config", "", "the server's configuration in YAML, a `file`")
	c.Flags().DurationVar(&timeout, "timeout", 5*time.Second, "longest wait for the answer")
	return c
}

// ownAddress is where the server of this machine's configuration and environment is asked.
func (p *program) ownAddress(f serveFlags) (string, error) {
	c, err := f.settings(p.getenv, func(string) bool { return false })
	if err != nil {
		return "", err
	}
	scheme := "http"
	if c.TLSCert != "" {
		scheme = "https"
	}
	return scheme + "://" + reachable(cmp.Or(c.OpsAddr, c.Addr)), nil
}

// reachable is the address by which this machine reaches a server that listens at addr: one that
// listens at every address is reached at the loopback's.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	switch ip := net.ParseIP(host); {
	case host == "" || ip != nil && ip.IsUnspecified() && ip.To4() != nil:
		host = "127.0.0.1"
	case ip != nil && ip.IsUnspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}

// askReady asks the server at base. The error says why it is not ready.
func askReady(ctx context.Context, base, key string, own bool) error {
	transport := &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}
	if own { // nothing between the two could be someone else
		transport.Proxy, transport.TLSClientConfig = nil, &tls.Config{InsecureSkipVerify: true}
	}
	options := []api.Option{api.WithHTTPClient(&http.Client{Transport: transport})}
	if key != "" { // who has one is told what is missing
		options = append(options, api.WithKey(key))
	}
	client, err := api.NewClient(base, options...)
	if err != nil {
		return usageError{err}
	}
	err = client.Ready(ctx)
	if reply := new(api.Error); errors.As(err, &reply) && reply.Message != "" {
		return fmt.Errorf("%s is not ready: %s", base, reply.Message)
	}
	if failed := new(url.Error); errors.As(err, &failed) {
		return fmt.Errorf("%s does not answer: %w", base, failed.Err)
	}
	return err
}
