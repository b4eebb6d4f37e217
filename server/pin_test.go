package server_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/server/servertest"
)

func TestARequestMayPinARevision(t *testing.T) {
	l := startLive(t, server.Config{}, nil)
	require.Equal(t, http.StatusOK, l.put("a").status)
	require.Equal(t, http.StatusOK, l.put("b").status)
	old, now := rev("a"), rev("b")
	hex := strings.TrimPrefix
	for _, c := range []struct {
		name, header, model, want string
	}{
		{"the live one, whole", now, "", now},
		{"the one before, whole", old, "", old},
		{"a prefix", old[:len("sha256:")+8], "", old},
		{"digits alone", hex(old, "sha256:"), "", old},
		{"capitals", strings.ToUpper(hex(old, "sha256:")[:10]), "", old},
		{"behind the model's name", "", "m@" + old, old},
		{"behind the model's name, a prefix", "", "m@" + hex(old, "sha256:")[:8], old},
		{"in both places", old, "m@" + old, old},
		{"the name alone", "", "m", now},
		{"nothing", "", "", now},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := `{"inputs":[{"text":"x"}]}`
			if c.model != "" {
				body = `{"model":"` + c.model + `","inputs":[{"text":"x"}]}`
			}
			assert.Equal(t, c.want, l.post(body, "X-Pin-Revision", c.header).rewards(t).Revision)
		})
	}
	for _, c := range []struct {
		name, header, model string
		status              int
		code, param         string
	}{
		{"a revision that is not held", "sha256:0123456789abcdef", "", 409, "revision_gone", "X-Pin-Revision"},
		{"a revision that is not held, behind the name", "", "m@01234567", 409, "revision_gone", "model"},
		{"a prefix too short to name one", old[:len("sha256:")+7], "", 400, "invalid_value", "X-Pin-Revision"},
		{"no digits", "sha256:", "", 400, "invalid_value", "X-Pin-Revision"},
		{"a word", "latest-one", "", 400, "invalid_value", "X-Pin-Revision"},
		{"nothing behind the @", "", "m@", 400, "invalid_value", "model"},
		{"two revisions at once", now, "m@" + old, 400, "conflicting_fields", "model"},
		{"a model that is not served", old, "n", 404, "unknown_model", "model"},
		{"a pin of a model that is not served", "", "n@" + old, 404, "unknown_model", "model"},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := `{"inputs":[{"text":"x"}]}`
			if c.model != "" {
				body = `{"model":"` + c.model + `","inputs":[{"text":"x"}]}`
			}
			r := l.post(body, "X-Pin-Revision", c.header)
			assert.Equal(t, c.status, r.status)
			e := r.error(t).Error
			assert.Equal(t, c.code, e.Code, e.Message)
			assert.Equal(t, c.param, *e.Param)
			if c.status == http.StatusConflict {
				assert.Contains(t, e.Message, now, "the error names the live revision")
			}
		})
	}
	require.Equal(t, http.StatusOK, l.put("c").status)
	assert.Equal(t, http.StatusConflict, l.post(one, "X-Pin-Revision", old).status, "a later load takes the room of what was kept")
	assert.Equal(t, now, l.post(one, "X-Pin-Revision", now).rewards(t).Revision)
}

// TestReadinessIsAskedForARevision is what a load balancer asks to find the replica
// that holds a pinned revision: of any model, without a key, and leaving what is kept
// to be kept no longer.
func TestReadinessIsAskedForARevision(t *testing.T) {
	l := startLive(t, server.Config{Keys: []string{"a-client-key"}}, nil)
	require.Equal(t, http.StatusServiceUnavailable, l.get("/readyz", "X-Pin-Revision", rev("a")).status, "nothing is live")
	require.Equal(t, http.StatusOK, l.put("a").status)
	require.Equal(t, http.StatusOK, l.put("b").status)
	for pin, want := range map[string]int{
		"": http.StatusOK, rev("b"): http.StatusOK, rev("a"): http.StatusOK, rev("b")[:len("sha256:")+8]: http.StatusOK,
		rev("c"): http.StatusConflict, "sha256:0123456789abcdef": http.StatusConflict,
		"latest-one": http.StatusBadRequest, "sha256:": http.StatusBadRequest,
	} {
		r := l.get("/readyz", "X-Pin-Revision", pin)
		assert.Equal(t, want, r.status, "pin %q", pin)
		if want == http.StatusConflict {
			assert.Equal(t, "revision_gone", r.error(t).Error.Code)
			assert.NotContains(t, r.error(t).Error.Message, rev("b"), "a stranger learns no revision")
		}
	}
	require.Equal(t, http.StatusOK, l.put("c").status)
	assert.Equal(t, http.StatusConflict, l.get("/readyz", "X-Pin-Revision", rev("a")).status, "a later load takes the room of what was kept")
	assert.Equal(t, http.StatusOK, l.get("/readyz", "X-Pin-Revision", rev("c")).status)
}

func TestTheRevisionBeforeLivesAMinuteAfterItsLastPinnedRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := server.New(server.Config{Builder: &factory{}, Logger: slog.New(slog.DiscardHandler)}, live.NewModels())
		require.NoError(t, err)
		defer s.Close()
		put := func(member string) {
			ld, err := s.Changes().Put("m", of("/", member), "test")
			require.NoError(t, err)
			require.NoError(t, ld.Wait(t.Context()))
		}
		ask := func(pin string) (int, string) {
			r := httptest.NewRequest("POST", "/v1/reward", strings.NewReader(one))
			r.Header.Set("X-Pin-Revision", pin)
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, r)
			var got api.RewardResponse
			_ = json.Unmarshal(w.Body.Bytes(), &got)
			return w.Code, got.Revision
		}
		put("a")
		put("b")
		for range 5 {
			time.Sleep(59 * time.Second)
			code, revision := ask(rev("a"))
			assert.Equal(t, http.StatusOK, code, "each pinned request gives it another minute")
			assert.Equal(t, rev("a"), revision)
			code, revision = ask("")
			assert.Equal(t, http.StatusOK, code)
			assert.Equal(t, rev("b"), revision, "unpinned requests get the live one")
		}
		time.Sleep(61 * time.Second)
		code, _ := ask(rev("a"))
		assert.Equal(t, http.StatusConflict, code)
		code, _ = ask(rev("b"))
		assert.Equal(t, http.StatusOK, code)
	})
}

func TestNothingIsKeptWhenToldSo(t *testing.T) {
	l := startLive(t, server.Config{KeepPrevious: -1}, nil)
	require.Equal(t, http.StatusOK, l.put("a").status)
	require.Equal(t, http.StatusOK, l.put("b").status)
	assert.Empty(t, l.detail("m").Previous)
	assert.Equal(t, http.StatusConflict, l.post(one, "X-Pin-Revision", rev("a")).status)
}

// TestReplacedModelsAreNotHeld swaps models that requests have used and looks
// whether anything still holds them: queue, metrics, handlers or history.
func TestReplacedModelsAreNotHeld(t *testing.T) {
	var made []weak.Pointer[servertest.Model]
	f := &factory{change: func(_ *api.ModelSpec, m *servertest.Model) { made = append(made, weak.Make(m)) }}
	l := startLive(t, server.Config{}, f)
	for _, m := range []string{"a", "b", "c", "d"} {
		require.Equal(t, http.StatusOK, l.put(m).status)
		l.post(one).rewards(t)
		l.post(one, "X-Pin-Revision", rev(m)).rewards(t)
	}
	held := func() (n int) {
		// A connection that waits for its next request may still have the last
		// one's variables on its stack, and so may whatever served it: a request
		// that no model answers takes their place.
		l.post(`{"model":"none","inputs":[{"text":"x"}]}`)
		http.DefaultClient.CloseIdleConnections()
		runtime.GC()
		for _, w := range made {
			if w.Value() != nil {
				n++
			}
		}
		return n
	}
	eventually(t, "the live one and the one before", func() bool { return held() == 2 })
	require.Equal(t, http.StatusOK, l.put("d").status)
	eventually(t, "the live one", func() bool { return held() == 1 })
	require.Equal(t, http.StatusOK, l.admin("DELETE", "/v1/models/m", "").status)
	eventually(t, "none", func() bool { return held() == 0 })
}

// TestMemoryHoldsOneModelBesideTheLiveOnes holds a request to the first
// revision and loads two more.
func TestMemoryHoldsOneModelBesideTheLiveOnes(t *testing.T) {
	m, entered, open := blocked(t, "m")
	f := &factory{}
	l := startLive(t, server.Config{}, f)
	_, err := l.models.Swap(m)
	require.NoError(t, err)
	held := l.async(one)
	<-entered
	// The probe of a new revision waits behind the batch that is held; with it
	// the exchange.
	first := make(chan *reply, 1)
	go func() { first <- l.put("a") }()
	eventually(t, "the first load is built", func() bool { return f.builds() == 1 })
	close(open)
	assert.Equal(t, http.StatusOK, (<-held).status)
	assert.Equal(t, http.StatusOK, (<-first).status)

	// A pinned request holds what is kept; the next build waits for it.
	entered2, open2 := make(chan struct{}), make(chan struct{})
	n := servertest.New("m", func(i *live.Info) { i.Revision = "sha256:" + strings.Repeat("ab", 32) })
	n.BeforePrepare = func(*api.Input) error {
		close(entered2)
		<-open2
		return nil
	}
	_, err = l.models.Swap(n)
	require.NoError(t, err)
	pinned := l.async(one)
	<-entered2
	_, err = l.models.Swap(servertest.New("m"))
	require.NoError(t, err)
	second := make(chan *reply, 1)
	go func() { second <- l.put("b") }()
	eventually(t, "the load waits for the request", func() bool {
		d := l.detail("m")
		return len(d.Loads) == 1 && d.Loads[0].Doing == "waiting for requests of earlier revisions"
	})
	assert.Contains(t, string(l.get("/metrics").body), `warm_live_revisions{model="m"} 2`)
	assert.Equal(t, 1, f.builds())
	close(open2)
	assert.Equal(t, http.StatusOK, (<-pinned).status)
	assert.Equal(t, http.StatusOK, (<-second).status)
}
