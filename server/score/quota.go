package score

import (
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/warmserve/warmserve/api"
)

// quotas bounds the tokens that each client may have scored in a minute.
type quotas struct {
	perMinute int // 0 is no bound

	mu      sync.Mutex
	clients map[string]*rate.Limiter
	sweepAt int // clients from which those that are as good as new are dropped
}

func newQuotas(perMinute int) *quotas {
	return &quotas{perMinute: perMinute, clients: make(map[string]*rate.Limiter), sweepAt: 1024}
}

// charge takes tokens from what the client has left, or says when it has enough.
// A client that was quiet for a minute has a whole minute's tokens at once.
func (q *quotas) charge(client string, tokens int) error {
	if q.perMinute == 0 || tokens <= 0 {
		return nil
	}
	if tokens > q.perMinute {
		return api.Errorf(api.CodeTooManyTokens, "",
			"the request has %d tokens, and a client may have %d scored in a minute: send less at once", tokens, q.perMinute)
	}
	now := time.Now()
	r := q.limiter(client, now).ReserveN(now, tokens)
	wait := r.DelayFrom(now)
	if wait == 0 {
		return nil
	}
	r.CancelAt(now)
	e := api.Errorf(api.CodeRateLimited, "",
		"a client may have %d tokens scored in a minute, and this one has had them", q.perMinute)
	e.RetryAfter = time.Duration(math.Ceil(wait.Seconds())) * time.Second
	return e
}

// limiter returns the client's, a new one where it has none.
func (q *quotas) limiter(client string, now time.Time) *rate.Limiter {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.clients[client]
	if l != nil {
		return l
	}
	if len(q.clients) >= q.sweepAt {
		for name, l := range q.clients {
			if l.TokensAt(now) >= float64(q.perMinute) {
				delete(q.clients, name)
			}
		}
		q.sweepAt = max(1024, 2*len(q.clients))
	}
	l = rate.NewLimiter(rate.Limit(float64(q.perMinute)/60), q.perMinute)
	q.clients[client] = l
	return l
}
