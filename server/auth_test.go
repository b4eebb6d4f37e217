package server_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/servertest"
)

// Clients of other stacks take a URL and nothing else: the key has four ways in.
func TestAKeyArrivesByHeaderPasswordOrURL(t *testing.T) {
	const secret = "sk-a-secret-key"
	h := start(t, server.Config{Keys: []string{"sk-another-key", secret}}, servertest.New("m"))
	basic := func(password string) string {
		r, _ := http.NewRequest(http.MethodGet, "/", nil)
		r.SetBasicAuth("anyone", password)
		return r.Header.Get("Authorization")
	}
	for name, c := range map[string]struct {
		path   string
		header []string
		want   int
	}{
		"no key is refused":                     {"/v1/reward", nil, 401},
		"a bearer token is taken":               {"/v1/reward", []string{"Authorization", "Bearer " + secret}, 200},
		"X-API-Key is taken":                    {"/v1/reward", []string{"X-API-Key", secret}, 200},
		"a Basic password is taken":             {"/v1/reward", []string{"Authorization", basic(secret)}, 200},
		"?key= is taken":                        {"/v1/reward?key=" + secret, nil, 200},
		"a wrong X-API-Key is refused":          {"/v1/reward", []string{"X-API-Key", secret + "x"}, 401},
		"a wrong password is refused":           {"/v1/reward", []string{"Authorization", basic("x" + secret)}, 401},
		"a wrong ?key= is refused":              {"/v1/reward?key=sk-a-secret", nil, 401},
		"an empty ?key= is refused":             {"/v1/reward?key=", nil, 401},
		"the Basic user is no key":              {"/v1/reward", []string{"Authorization", "Basic c2stYS1zZWNyZXQta2V5Og=="}, 401},
		"one good credential among bad is good": {"/v1/reward?key=" + secret, []string{"Authorization", "Bearer wrong-key"}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, c.want, h.do(http.MethodPost, c.path, one, c.header...).status)
		})
	}
	assert.NotContains(t, h.log.String(), "a-secret", "keys in the log")
}
