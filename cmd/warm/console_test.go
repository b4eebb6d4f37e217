package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const consoleAdmin = "an-administrators-key"

// guardPairs are few: operations judges them for eight averages and their members.
const guardPairs = 30

// preferences are n pairs, made up for these tests, on which the embedded model's
// members disagree now and then.
func preferences(n int) string {
	topics := []string{"school uniforms", "plastic bottles", "phones at school", "vegetarian food", "homework", "zoos", "night buses", "public libraries", "video games", "sports lessons"}
	good := []string{
		"Yes: %s change what children do every day, and those who are supported early keep the habit for life.",
		"I would keep %s: they cost little, they hurt nobody, and where they were given up people asked for them back within a year.",
		"No. Rules about %s only work where everybody understands the reason, and a rule that nobody understands is broken as soon as nobody looks.",
		"The question is who pays. For families with little money %s are not a matter of taste but of what is left at the end of the month.",
		"Good for health, %s are.",
		"It is better to decide about %s close to those concerned, in each town, than once for a whole country.",
	}
	bad := []string{
		"%s are just bad lol",
		"i dont care about %s because nobody cares and it is what it is and so on and so on, who even asks such things, really, I mean really who",
		"no %s",
		"Such things as %s should be what they are because they are what they are, and that is that, as everybody knows who knows it.",
		"Yes because yes, %s.",
	}
	var out strings.Builder
	draw := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		topic := topics[i%len(topics)]
		line, _ := json.Marshal(map[string]string{
			"prompt": "What do you think of " + topic + "?", "chosen": fmt.Sprintf(good[draw.IntN(len(good))], topic), "rejected": fmt.Sprintf(bad[draw.IntN(len(bad))], topic),
		})
		out.Write(append(line, '\n'))
	}
	return out.String()
}

// startConsole serves the embedded model's members as "arguments", with an
// administrator's key, a folder of models and a guard's pairs in it.
func startConsole(t *testing.T) *instance {
	dir := t.TempDir()
	models := filepath.Join(dir, "models")
	code, _, stderr := command(t, "", "embedded", models)
	require.Zero(t, code, stderr)
	require.NoError(t, os.WriteFile(filepath.Join(models, "guard.jsonl"), []byte(preferences(guardPairs)), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "admin.keys"), []byte(consoleAdmin), 0o600))
	config := `
admin_key_file: admin.keys
model_root: models
models:
  arguments:
    members: [models/member-1, models/member-2, models/member-3, models/member-4]
    mode: both
limits: {drift_scores: 200}
`
	require.NoError(t, os.WriteFile(filepath.Join(dir, "warm.yaml"), []byte(config), 0o600))
	return startServe(t, "--config", filepath.Join(dir, "warm.yaml"))
}

// TestTheConsoleInABrowser goes through every page and every action of one server.
func TestTheConsoleInABrowser(t *testing.T) {
	t.Parallel()
	newTab(t, "about:blank") // skips before the server is started
	s := startConsole(t)
	for _, c := range []struct {
		name string
		test func(*tab)
	}{
		{"overview", testConsoleOverview}, {"playground", testConsolePlayground}, {"keyboard", testConsoleKeyboard}, {"compare", testConsoleCompare},
		{"live", testConsoleLive}, {"operations", testConsoleOperations}, {"docs", testConsoleDocs}, {"theme", testConsoleTheme},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newTab(t, s.url)
			c.test(b)
			assert.Empty(t, b.said(), "errors in the console")
		})
	}
}

func testConsoleOverview(b *tab) {
	b.open("/")
	said := b.text("main")
	for _, want := range []string{"arguments", "LlamaForSequenceClassification", "5.31 M a member", "106 MB", "512 tokens", "member-4", "of equal weight"} {
		assert.Contains(b, said, want)
	}
	b.press("article details summary")
	assert.Contains(b, b.text("article .log"), "At the start")
	b.audit("overview")

	// What changes shows by itself, and takes neither what is open nor the focus.
	js[bool](b, `(window.before = document.querySelector('article'), document.querySelector('article .revision').focus(), true)`)
	looks := `performance.getEntriesByType('resource').filter(e => e.name.endsWith('/v1/models')).length`
	b.wait(fmt.Sprint(looks, " > ", js[int](b, looks)))
	assert.True(b, js[bool](b, "document.querySelector('article') === window.before"), "what is as it was stays in place")
	tried, err := http.NewRequestWithContext(b.Context(), http.MethodPut, b.url+"/v1/models/arguments?dry_run=true", strings.NewReader(`{}`))
	require.NoError(b, err)
	tried.Header.Set("Authorization", "Bearer "+consoleAdmin)
	tried.Header.Set("Content-Type", "application/json")
	reply, err := http.DefaultClient.Do(tried)
	require.NoError(b, err)
	require.NoError(b, reply.Body.Close())
	b.wait(`document.querySelector('article .log').innerText.includes('Tried by an administrator')`)
	assert.True(b, js[bool](b, "document.querySelector('article details').open"))
	assert.True(b, js[bool](b, "document.activeElement === document.querySelector('article .revision')"))
}

func testConsolePlayground(b *tab) {
	b.open("/#/playground")
	b.audit("playground-empty")
	b.press("#add-answer")
	b.fill("#answer-3", "Sport teaches how to lose. Nothing else at school does that so often and so gently.")
	b.press("#score")
	b.wait("document.querySelectorAll('.result .path').length === 4")
	assert.Equal(b, "#1", b.text(".result.best .rank"))
	rewards := js[[]float64](b, `[...document.querySelectorAll('.result .reward')].map(e => Number(e.textContent.replace('−', '-')))`)
	require.Len(b, rewards, 4)
	assert.IsDecreasing(b, rewards)
	api := js[float64](b, `fetch('/v1/reward', {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify({mode: 'both', inputs: [{prompt: document.querySelector('#prompt').value, response: document.querySelector('#answer-2').value}]})}).then(r => r.json()).then(r => r.data[0].reward)`)
	assert.InDelta(b, api, js[float64](b, `Number(document.querySelector('[data-answer="3"] .reward').textContent.replace('−', '-'))`), .001)
	js[bool](b, `(document.querySelectorAll('.result.best .words span')[2].dispatchEvent(new PointerEvent('pointerenter')), true)`)
	assert.Contains(b, b.text(".result.best [aria-live]"), "then")
	b.press("main details summary")
	assert.Contains(b, b.text("table"), "member-3")
	scored := js[int](b, `performance.getEntriesByType('resource').filter(e => e.name.endsWith('/v1/reward')).length`)
	assert.Equal(b, 2, scored, "one request for all answers and their trajectories, and this test's own")
	assert.Equal(b, js[string](b, "document.querySelector('#answer-2').value"), js[string](b, `[...document.querySelectorAll('[data-answer="3"] .words span:not(.end)')].map(e => e.textContent).join('').trim()`),
		"the words are the answer's")
	assert.Equal(b, "</s>", b.text(`[data-answer="3"] .words .end`))
	js[bool](b, `(document.querySelector('[data-answer="3"] .words .end').dispatchEvent(new PointerEvent('pointerenter')), true)`)
	assert.Contains(b, b.text(`[data-answer="3"] [aria-live]`), "then "+b.text(`[data-answer="3"] .reward`), "the last point is the reward")
	assert.Contains(b, b.text(".reading"), "score.weight")
	assert.Contains(b, b.text(".reading"), "the last that is not padding")
	b.audit("playground")

	// Texts that cannot be had cost the words their colours alone.
	js[bool](b, `(window.asked = window.fetch, window.fetch = (path, o) => path.startsWith('/decode') ? Promise.reject(new TypeError('no')) : asked(path, o), true)`)
	b.press("#score")
	b.wait("document.querySelector('#results .problem')")
	assert.Contains(b, b.text("#results .problem"), "The rewards along the answers cannot be shown")
	assert.Len(b, js[[]string](b, `[...document.querySelectorAll('.result .reward')].map(e => e.textContent)`), 4)
	js[bool](b, `(window.fetch = window.asked, true)`)

	b.press("#clear")
	b.fill("#answer-0", "Sport <b>matters</b> & <script>alert(1)</script>")
	b.press("#score")
	b.wait("document.querySelectorAll('.result').length === 2")
	assert.Contains(b, b.text(`[data-answer="1"] .words`), "<b>matters</b> & <script>", "text is only ever text")
	b.press(`input[value="conversation"]`)
	b.press("#add-turn")
	b.fill(`[aria-label="Message 1"]`, "You are brief.")
	b.press(`[aria-label="Remove message 2"]`)
	b.fill("#answer-0", "Yes.")
	b.press("#score")
	b.wait("document.querySelector('.problem, .result .path')")
}

// testConsoleKeyboard does without a mouse what a visitor does first.
func testConsoleKeyboard(b *tab) {
	b.open("/#/playground")
	b.keys(kb.Tab)
	assert.Equal(b, "skip", js[string](b, "document.activeElement.id"), "the first key leads past the navigation")
	assert.NotEqual(b, "none", js[string](b, "getComputedStyle(document.activeElement).outlineStyle"))
	b.keys(kb.Enter)
	assert.Equal(b, "main", js[string](b, "document.activeElement.id"))
	assert.Equal(b, "#/playground", js[string](b, "location.hash"), "and stays on the page")
	reached := map[string]bool{}
	for range 30 {
		b.keys(kb.Tab)
		id := js[string](b, "document.activeElement.id || document.activeElement.getAttribute('aria-label') || document.activeElement.value || ''")
		reached[id] = true
		if id != "" {
			assert.NotEqual(b, "none", js[string](b, "getComputedStyle(document.activeElement.closest('label') && document.activeElement.type === 'radio' ? document.activeElement.closest('label') : document.activeElement).outlineStyle"), "the focus on %s is not to be seen", id)
		}
		if id == "score" {
			break
		}
	}
	for _, id := range []string{"prompt", "answer-0", "answer-2", "Remove answer 3", "add-answer", "score"} {
		assert.True(b, reached[id], "the key Tab does not reach %s, but %v", id, reached)
	}
	js[bool](b, "(document.querySelector('#answer-2').select(), true)")
	b.keys("Because sport keeps us well.")
	b.keys(kb.Enter, chromedp.KeyModifiers(chromedp.ModifierCtrl))
	b.wait("document.querySelectorAll('.result .path').length === 3")
	js[bool](b, "(document.querySelector('.path').focus(), true)")
	b.keys(kb.ArrowRight)
	b.keys(kb.ArrowRight)
	assert.Equal(b, 1, js[int](b, "[...document.querySelectorAll('.path .words span')].findIndex(e => e.classList.contains('at'))"), "the arrow keys go from word to word")

	b.press(`#nav [data-view="compare"]`)
	b.wait(`document.querySelector('[data-view="compare"][data-ready]')`)
	assert.Equal(b, "Compare", js[string](b, "document.activeElement.textContent"), "another view takes the focus with its heading")
	assert.Equal(b, "Compare · warmserve", js[string](b, "document.title"))

	js[bool](b, "(document.querySelector('#key-open').focus(), true)")
	b.keys(kb.Enter)
	b.wait("document.querySelector('#key-dialog').open")
	b.audit("key")
	b.keys(kb.Escape)
	b.wait("!document.querySelector('#key-dialog').open")
	assert.Equal(b, "key-open", js[string](b, "document.activeElement.id"), "the focus goes back to where it was")
}

// drop gives the page a file, as its button does.
func (b *tab) drop(name, content string) {
	b.Helper()
	path := filepath.Join(b.TempDir(), name)
	require.NoError(b, os.WriteFile(path, []byte(content), 0o600))
	require.NoError(b, chromedp.Do(b.ctx, chromedp.SetUploadFiles(chromedp.CSS("#pairs-file"), []string{path})))
}

func testConsoleCompare(b *tab) {
	b.open("/#/compare")
	b.audit("compare-empty")
	b.press("#sample")
	b.wait("document.querySelector('[role=status]')?.textContent === '10 of 10 pairs'")

	b.drop("pairs.jsonl", preferences(60)+"\n{\"chosen\":\"a\"}\nnot JSON\n"+`{"chosen":"Buses at night bring people home.","rejected":"buses"}`+"\n"+
		`{"prompt":[{"role":"user","content":"Hi"}],"chosen":"Hello.","rejected":"What?"}`)
	b.wait("document.querySelector('[role=status]')?.textContent === '62 of 62 pairs' && document.querySelector('#accuracy svg')")
	assert.Contains(b, b.text("main"), "Left out 2 lines: line 62 has no rejected; line 63 is not JSON.")
	chart := js[string](b, "document.querySelector('#accuracy svg').getAttribute('aria-label')")
	for _, name := range []string{"Weight average", "Ensemble", "member-1", "member-4"} {
		assert.Contains(b, chart, name+" ")
	}
	assert.Contains(b, b.text("#accuracy"), "The average is right")
	b.press("#disagreements details summary")
	assert.Contains(b, b.text("#disagreements details"), "Rejected")
	b.audit("compare")

	b.drop("many.jsonl", preferences(3000))
	b.wait("document.querySelector('progress')?.value > 0")
	b.press("#cancel")
	b.wait("document.querySelector('[role=status]').textContent.startsWith('Cancelled after')")
	assert.Empty(b, b.text(".problem"))

	b.drop("empty.jsonl", "\n")
	b.wait("document.querySelector('.problem')?.textContent.includes('It is empty')")
	assert.False(b, js[bool](b, "Object.keys(localStorage).length + Object.keys(sessionStorage).length > 0"), "nothing is stored")
}

func testConsoleLive(b *tab) {
	client := &http.Client{Timeout: time.Minute}
	score := func(mode string, from, n int) {
		var inputs []map[string]string
		for i := range n {
			inputs = append(inputs, map[string]string{"prompt": fmt.Sprintf("Should there be more of number %d?", from+i), "response": "Yes, since " + strings.Repeat("it helps many people and ", (from+i)*5%11) + fmt.Sprint("reason ", i)})
		}
		body, _ := json.Marshal(map[string]any{"mode": mode, "inputs": inputs})
		r, err := client.Post(b.url+"/v1/reward", "application/json", bytes.NewReader(body))
		require.NoError(b, err)
		require.NoError(b, r.Body.Close())
	}
	for i := range 3 {
		score("both", 90*i, 90) // the first 200 and some after them, of other lengths
	}
	b.open("/#/live")
	second := time.Second / time.Duration(haste()) // of the page
	deadline := time.Now().Add(11 * second)
	for i := 0; time.Now().Before(deadline); i++ {
		score("both", 1000+i*7, 10+i*13%50)
		time.Sleep(second * time.Duration(100+i*37%400) / 1000)
	}
	b.wait(`document.querySelectorAll('[data-rewards="arguments"] .gauges svg').length === 4`)
	assert.Contains(b, b.text("main"), "Outline: the first 200 of this revision.")
	assert.Positive(b, js[int](b, "document.querySelectorAll('.bar-now').length"))
	assert.NotEmpty(b, js[string](b, "document.querySelector('.bar-first').getAttribute('d')"))
	for _, title := range []string{"Answers a second", "Tokens a second", "Latency", "Queue"} {
		assert.Contains(b, b.text("main"), title)
	}
	b.audit("live")
	b.press("#pause")
	assert.Equal(b, "Go on", b.text("#pause"))
	scrapes := `performance.getEntriesByType('resource').filter(e => e.name.endsWith('/metrics')).length`
	time.Sleep(500 * time.Millisecond) // for a look that was under way
	before := js[int](b, scrapes)
	time.Sleep(5 * second) // two looks and a half
	assert.Equal(b, before, js[int](b, scrapes), "a page that pauses asks for nothing")
	b.press("#pause")
	b.wait(fmt.Sprint(scrapes, " > ", before))
}

func testConsoleOperations(b *tab) {
	b.open("/#/operations")
	assert.Contains(b, b.text("main"), "administrator’s key")
	b.audit("operations-locked")
	b.key(consoleAdmin)
	b.fill("#guard-pairs", "guard.jsonl")
	b.fill("#guard-loss", "10")
	b.press("#try")
	b.wait("document.querySelector('[data-outcome=tried]')")
	revision := b.text("#live-models .revision")
	for _, want := range []string{"It would go live", "average", "member-3", fmt.Sprintf("of %d pairs", guardPairs), "stays as it is"} {
		assert.Contains(b, b.text("#outcome"), want)
	}
	b.audit("operations")

	// One member stands for the shared initialisation, which is not part of the program.
	b.press("#along-base")
	b.fill("#base", "member-1")
	b.press("#sweep")
	b.wait("document.querySelector('#sweep-result svg')")
	assert.Equal(b, 5, js[int](b, "document.querySelectorAll('#sweep-result circle').length"))
	assert.Equal(b, revision, b.text("#live-models .revision"), "judging changes nothing")
	b.audit("operations-sweep")

	b.fill("#alpha", "0.5")
	assert.Equal(b, "0.50", b.text("output"))
	b.press("#swap")
	b.wait("document.querySelector('[data-outcome=live]')")
	b.wait("document.querySelector('#live-models .revision').textContent !== '" + revision + "'")
	b.press("[data-rollback=arguments]")
	b.press("dialog #confirm")
	b.wait("document.querySelector('#live-models .revision').textContent === '" + revision + "'")

	b.press(`input[name="members"][value="replace"]`)
	b.fill(`[aria-label="Checkpoint of member 1"]`, "member-1")
	b.press("#add-member")
	b.fill(`[aria-label="Checkpoint of member 2"]`, "nowhere")
	b.press("#try")
	b.wait("document.querySelector('#outcome .problem')")
	assert.Contains(b, b.text("#outcome"), "outside the folder of models, or does not exist")
	assert.NotEmpty(b, b.said(), "the browser tells of every reply that is an error")

	b.fill("#change-model", "")
	b.fill("#change-name", "second")
	b.fill(`[aria-label="Checkpoint of member 1"]`, "member-1")
	b.fill(`[aria-label="Weight of member 1"]`, "3")
	b.fill(`[aria-label="Checkpoint of member 2"]`, "member-2")
	b.fill("#guard-pairs", "")
	b.fill("#guard-loss", "")
	if js[bool](b, "document.querySelector('#along-base').checked") {
		b.press("#along-base")
	}
	b.press("#swap")
	b.wait("document.querySelector('[data-remove=second]')")
	b.said() // the page asked for a model that was not there yet
	b.press("[data-remove=second]")
	b.press("dialog #confirm")
	b.wait("document.querySelector('#outcome .note')?.textContent.includes('second is out of service')")
	b.press("[data-remove=arguments]")
	b.press("dialog [value=no]")
	assert.Contains(b, b.text("#live-models"), "arguments", "what is not confirmed is not done")

	b.press("#key-open")
	b.press("#key-forget")
	b.wait("document.querySelector('main').innerText.includes('asks for an administrator')")
	assert.Equal(b, 0, js[int](b, "sessionStorage.length"))
}

func testConsoleDocs(b *tab) {
	b.open("/docs")
	assert.Contains(b, b.text("#reward"), "curl -s "+b.url+"/v1/reward")
	b.audit("docs")
	b.press("#putModel details summary")
	b.fill("#search", "dry_run")
	shown := `[...document.querySelectorAll('section.op')].filter(e => e.checkVisibility()).map(e => e.id).join(' ')`
	assert.Contains(b, js[string](b, shown), "putModel")
	assert.NotContains(b, js[string](b, shown), "livez")
	b.fill("#search", "nothing is called so")
	assert.Contains(b, b.text("main"), "Nothing is called that.")
	b.fill("#search", "")
	b.open("/docs#getModel")
	b.wait("Math.abs(document.querySelector('#getModel').getBoundingClientRect().top - 56) < 8")
}

func testConsoleTheme(b *tab) {
	b.open("/")
	paper := `getComputedStyle(document.documentElement).backgroundColor`
	light := js[string](b, paper)
	b.press("#theme")
	b.press("#theme")
	dark := js[string](b, paper)
	assert.NotEqual(b, light, dark)
	b.open("/")
	assert.Equal(b, dark, js[string](b, paper), "it is remembered")
	b.press("#theme")
	assert.Equal(b, light, js[string](b, paper))
}

// TestTheConsoleOfTheAverageAlone is of a server as it starts without arguments.
func TestTheConsoleOfTheAverageAlone(t *testing.T) {
	t.Parallel()
	newTab(t, "about:blank")
	b := newTab(t, startServe(t).url)
	b.open("/#/playground")
	b.press("#score")
	b.wait("document.querySelectorAll('.result .path').length === 3")
	assert.Contains(t, b.text("#results"), "With --mode both the members and their ensemble answer, too.")
	b.audit("average-alone")
	b.open("/#/compare")
	b.press("#sample")
	b.wait("document.querySelector('[role=status]')?.textContent === '10 of 10 pairs' && document.querySelector('#accuracy svg')")
	assert.Contains(t, b.text("main"), "This model holds one scorer.")
	assert.Contains(t, b.text("main"), "Where it is wrong")
	b.audit("average-alone-compare")
}

// TestTheConsoleAsksForAKeyAndWaitsForAModel is of a server with keys and without models.
func TestTheConsoleAsksForAKeyAndWaitsForAModel(t *testing.T) {
	t.Parallel()
	newTab(t, "about:blank")
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "keys"), []byte("a-key-of-clients"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "admin.keys"), []byte(consoleAdmin), 0o600))
	s := startServe(t, "--model", "m=embedded:", "--key-file", filepath.Join(dir, "keys"), "--admin-key-file", filepath.Join(dir, "admin.keys"), "--model-root", dir)
	removed, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, s.url+"/v1/models/m", nil)
	require.NoError(t, err)
	removed.Header.Set("Authorization", "Bearer "+consoleAdmin)
	reply, err := http.DefaultClient.Do(removed)
	require.NoError(t, err)
	require.NoError(t, reply.Body.Close())
	require.Equal(t, http.StatusOK, reply.StatusCode)
	b := newTab(t, s.url)
	b.open("/")
	b.wait("document.querySelector('#key-dialog').open")
	assert.Contains(t, b.text("#key-why"), "send the key as")
	b.fill("#key-input", "a-wrong-key")
	b.press("#key-form [type=submit]")
	b.wait("document.querySelector('#key-dialog').open")
	b.fill("#key-input", "a-key-of-clients")
	b.press("#key-form [type=submit]")
	b.wait("document.querySelector('main').innerText.includes('No model is live yet')")
	b.said() // the browser tells of every 401
	b.audit("no-model")
	b.press(`#nav [data-view="operations"]`)
	b.fill("#change-name", "m")
	b.fill(`[aria-label="Checkpoint of member 1"]`, "x")
	b.press("#swap")
	b.wait("document.querySelector('#outcome .problem')")
	assert.Contains(t, b.text("#outcome"), "administrator's key")
	s.stop()
	b.press(`#nav [data-view="overview"]`)
	b.wait("document.querySelector('main').innerText.includes('The server cannot be reached')")
	b.said()
	b.audit("unreachable")
}
