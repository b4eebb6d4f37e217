package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Config says what is sent, how, and where to.
type Config struct {
	URL     string // http(s)://HOST[:PORT], or with a path that takes the place of the dialect's own
	Dialect string // one of Dialects
	Model   string // sent where the dialect has a place for it; "" for none
	Key     string // sent as a bearer token; "" for none
	Remote  bool   // allows a host other than this machine

	Clients  int           // closed loop: clients; open loop: the most requests under way
	Rate     float64       // requests per second of an open loop; 0 for a closed one
	Warmup   time.Duration // of sending before the window; a closed loop is steady once each client was answered
	Duration time.Duration // of the window
	Timeout  time.Duration // of a request, and so of what is under way when the window ends; the dialect reward tells it to the server

	NewConnections bool // one for each request, as most of the stacks do
	Backoff        bool // a client of a closed loop waits for as long as Retry-After says

	Prompt, Answer Length
	Answers        int    // of a prompt, in one request
	Vocabulary     int    // token ids are sent, below this; 0 sends words
	Distinct       int    // bodies that are made beforehand and sent in turn
	Seed           uint64 // of all that is drawn

	// Begin and End, when set, are called when the window begins and ends, as for
	// reading the server's counters. Each runs beside the load and is waited for.
	Begin, End func()
}

// Validate reports every field that is out of range, together.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if u, err := url.Parse(c.URL); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		bad("url: want http://HOST:PORT or https://HOST:PORT")
	}
	d, ok := dialects[c.Dialect]
	if !ok {
		bad("dialect: %q, want one of %s", c.Dialect, strings.Join(Dialects(), ", "))
	}
	if ok && c.Vocabulary != 0 && !d.ids {
		bad("ids: the dialect %s sends text", c.Dialect)
	}
	for name, v := range map[string]int{"clients": c.Clients, "answers": c.Answers, "distinct": c.Distinct} {
		if v < 1 {
			bad("%s: %d, want 1 or more", name, v)
		}
	}
	if c.Vocabulary < 0 || c.Vocabulary == 1 {
		bad("ids: a vocabulary of %d, want 2 or more", c.Vocabulary)
	}
	if !(c.Rate >= 0) || c.Rate > 1e6 {
		bad("rate: %g, want 0 for a closed loop or up to 1e6 a second", c.Rate)
	}
	if c.Duration <= 0 || c.Timeout <= 0 || c.Warmup < 0 {
		bad("duration %v, timeout %v, warmup %v: want times above 0, and no negative warmup",
			c.Duration, c.Timeout, c.Warmup)
	}
	if c.Answer == (Length{}) || c.Answer.kind == "fixed" && c.Answer.a < 1 {
		bad("answer: want a length of 1 or more")
	}
	return errors.Join(errs...)
}

// target returns the address of the requests.
func (c *Config) target() string {
	u, err := url.Parse(c.URL)
	if err != nil {
		panic("load: the url was validated")
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = dialects[c.Dialect].path
	}
	return u.String()
}

// ErrRemote is returned for a host that is not this machine.
var ErrRemote = errors.New("is not this machine: load tests of other people's servers do harm; --i-own-this-host says that it is yours")

// checkHost refuses a URL whose host has an address beyond the loopback.
func checkHost(ctx context.Context, rawURL string) error {
	u, err := url.Parse(rawURL)
	if err != nil {
		return err
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(addrs,
		func(a netip.Addr) bool { return !a.Unmap().IsLoopback() }); i >= 0 || len(addrs) == 0 {
		return fmt.Errorf("%s %w", u.Hostname(), ErrRemote)
	}
	return nil
}

// onlyLoopback is a net.Dialer's Control: a name may have another address by
// the time that it is dialled.
func onlyLoopback(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil || !a.Addr().Unmap().IsLoopback() {
		return fmt.Errorf("%s %w", address, ErrRemote)
	}
	return nil
}

// words are drawn for text: common ones, which tokenisers have as one token each.
var words = strings.Fields(`the of and to in is that it was for on are as with his they at be this from have or by one had not but what all were when we there can an your which their said if do will each about how up out them then she many some so these would other into has more her two like him see time could no make than first been its who now people my made over did down only way find use may water long little very after words called just where most know`)

// bodies makes the requests' bodies, encoded, with how many answers and how
// many units (tokens or words) each holds.
func (c *Config) bodies() ([]request, error) {
	rng := rand.New(rand.NewPCG(c.Seed, 0x5eed))
	d := dialects[c.Dialect]
	out := make([]request, c.Distinct)
	for i := range out {
		g, units := c.draw(rng)
		body, err := json.Marshal(d.body(c.Model, g))
		if err != nil {
			return nil, err
		}
		out[i] = request{body, c.Answers, units}
	}
	return out, nil
}

// request is one body.
type request struct {
	body    []byte
	answers int
	units   int
}

// draw makes a prompt and its answers.
func (c *Config) draw(rng *rand.Rand) (g group, units int) {
	prompt := c.Prompt.draw(rng)
	if c.Vocabulary > 0 {
		head := randomIDs(rng, prompt, c.Vocabulary)
		for range c.Answers {
			ids := slices.Concat(head, randomIDs(rng, c.Answer.draw(rng), c.Vocabulary))
			g.ids = append(g.ids, ids)
			units += len(ids)
		}
		return g, units
	}
	g.prompt = randomText(rng, prompt)
	for range c.Answers {
		n := c.Answer.draw(rng)
		g.answers = append(g.answers, randomText(rng, n))
		units += prompt + n
	}
	return g, units
}

// randomIDs draws from [1, vocabulary): id 0 is padding in many models.
func randomIDs(rng *rand.Rand, n, vocabulary int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = 1 + rng.Int32N(int32(vocabulary-1))
	}
	return ids
}

func randomText(rng *rand.Rand, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(words[rng.IntN(len(words))])
	}
	return b.String()
}

// Words are what text is made of.
func Words() []string { return slices.Clone(words) }
