package main

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// consoleAudit lists what is wrong with the page that a browser shows: contrast,
// sizes, headings, width.
//
//go:embed testdata/console_audit.js
var consoleAudit string

// tab is a page of a real browser. What the page writes to its console as an error
// fails the test, unless it was expected.
type tab struct {
	*testing.T
	ctx context.Context
	url string // of the server

	mu       sync.Mutex
	messages []string
}

// theBrowser starts the browser once for all tests; it ends with the process.
var theBrowser = sync.OnceValues(func() (context.Context, error) {
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		return nil, fmt.Errorf("no chromium on the PATH")
	}
	ctx, _ := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU)...) // root, as in containers, has no sandbox
	ctx, _ = chromedp.NewContext(ctx)
	return ctx, chromedp.Do(ctx, chromedp.Navigate("about:blank"))
})

// haste is how many times as fast as elsewhere the timers of pages run, which look at
// metrics and loads now and then. Pictures and costs are of pages in their own time.
func haste() int {
	if os.Getenv("WARM_SCREENSHOTS") != "" || os.Getenv(costOfConsole) != "" {
		return 1
	}
	return 10
}

// newTab opens a page of the browser, or skips the test where there is none.
func newTab(t *testing.T, url string) *tab {
	if os.Getenv("WARM_BROWSER") == "" && os.Getenv("WARM_CONSOLE_COST") == "" {
		t.Skip("drives a browser: set WARM_BROWSER=1")
	}
	browser, err := theBrowser()
	if err != nil {
		t.Skipf("no browser: %v (apt-get install chromium)", err)
	}
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	ctx, stop := context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(stop)
	b := &tab{T: t, ctx: ctx, url: url}
	_, err = chromedp.Call(ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
		Source: fmt.Sprintf("{ const timer = setTimeout; globalThis.setTimeout = (f, ms) => timer(f, ms / %d); }", haste()),
	})
	require.NoError(t, err)
	messages := chromedp.Console(ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			if m.Type == "error" || m.Type == "warning" || m.Type == chromedp.ConsoleException {
				b.mu.Lock()
				b.messages = append(b.messages, fmt.Sprint(m.Type, ": ", m.Text, " ", m.URL))
				b.mu.Unlock()
			}
		}
	}()
	b.window(1280, 900, "light")
	return b
}

// said returns what the page has written as errors, and forgets it.
func (b *tab) said() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.messages
	b.messages = nil
	return out
}

// window gives the page a size and a theme of the system.
func (b *tab) window(width, height int64, theme string) {
	b.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 600})
	require.NoError(b, err)
	_, err = chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: theme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
	require.NoError(b, err)
}

// open goes to a path and waits until its view is there.
func (b *tab) open(path string) {
	b.Helper()
	require.NoError(b, chromedp.Do(b.ctx, chromedp.Navigate("about:blank"), chromedp.Navigate(b.url+path)))
	b.wait(`document.querySelector('[data-ready]')`)
}

// js evaluates an expression, the value of a promise where it is one.
func js[T any](b *tab, expression string) T {
	b.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	require.NoError(b, err, expression)
	return v
}

// wait waits until an expression is true.
func (b *tab) wait(expression string) {
	b.Helper()
	require.Eventually(b, func() bool { return js[bool](b, "Boolean("+expression+")") }, 30*time.Second, 20*time.Millisecond, "%s\nthe page says %q, and in its console %q", expression,
		js[string](b, "document.querySelector('main').innerText"), b.messages)
}

// press clicks what a selector finds, by script.
func (b *tab) press(selector string) {
	b.Helper()
	b.wait(fmt.Sprintf("document.querySelector(%q)", selector))
	js[bool](b, fmt.Sprintf("(document.querySelector(%q).click(), true)", selector))
}

// fill gives a field a value, as typing does.
func (b *tab) fill(selector, value string) {
	b.Helper()
	b.wait(fmt.Sprintf("document.querySelector(%q)", selector))
	v, err := json.Marshal(value)
	require.NoError(b, err)
	js[bool](b, fmt.Sprintf("(e => { e.value = %s; e.dispatchEvent(new Event('input', {bubbles: true})); e.dispatchEvent(new Event('change', {bubbles: true})); return true; })(document.querySelector(%q))", v, selector))
}

// keys presses keys where the focus is.
func (b *tab) keys(keys string, options ...chromedp.KeyOption) {
	b.Helper()
	require.NoError(b, chromedp.Do(b.ctx, chromedp.KeyEvent(keys, options...)))
}

func (b *tab) text(selector string) string {
	b.Helper()
	return js[string](b, fmt.Sprintf("(document.querySelector(%q)?.innerText ?? '')", selector))
}

// key gives the tab a key, as the dialogue does.
func (b *tab) key(key string) {
	b.Helper()
	b.press("#key-open")
	b.fill("#key-input", key)
	b.press("#key-form [type=submit]")
	b.wait("!document.querySelector('#key-dialog').open && document.querySelector('[data-ready]')")
}

// nameless are roles that mean nothing to who hears them without a name.
var nameless = map[string]bool{
	"button": true, "link": true, "textbox": true, "searchbox": true, "combobox": true, "checkbox": true, "radio": true, "slider": true,
	"spinbutton": true, "image": true, "img": true, "progressbar": true, "dialog": true, "region": true, "navigation": true,
}

// audit holds the page as it is now to what every page must be, at both widths and
// in both themes, and keeps its pictures where WARM_SCREENSHOTS names a folder.
func (b *tab) audit(name string) {
	b.Helper()
	assert.Empty(b, b.said(), "errors in the console of %s", name)
	tree, err := chromedp.Call(b.ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	require.NoError(b, err)
	for _, n := range tree.Nodes {
		if n.Ignored || n.Role == nil || !nameless[strings.Trim(string(n.Role.Value), `"`)] {
			continue
		}
		role := strings.Trim(string(n.Role.Value), `"`)
		if n.Name == nil || strings.Trim(string(n.Name.Value), `" `) == "" {
			b.Errorf("%s: a %s without a name, %s", name, role, describeNode(n))
		}
	}
	for _, width := range []int64{1280, 390} {
		for _, theme := range []string{"light", "dark"} {
			// Contrast is a matter of the theme and room one of the width: each is seen once,
			// and all four where there is a picture of each.
			if (width == 390) != (theme == "dark") && os.Getenv("WARM_SCREENSHOTS") == "" {
				continue
			}
			height := map[int64]int64{1280: 900, 390: 844}[width]
			b.window(width, height, theme)
			js[bool](b, `(scrollTo(0, 0), new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => done(true), 60)))))`)
			for _, wrong := range js[[]string](b, consoleAudit) {
				b.Errorf("%s at %d px, %s: %s", name, width, theme, wrong)
			}
			b.picture(name, theme, width)
		}
	}
	b.window(1280, 900, "light")
}

func describeNode(n *accessibility.Node) string {
	data, _ := json.Marshal(n.Properties)
	return string(data)
}

// pictured are the states of pages that docs/console.md shows.
var pictured = []string{"overview", "playground", "compare", "live", "operations", "operations-sweep", "docs"}

// picture writes what the page shows, as far as a reader scrolls, to the folder
// WARM_SCREENSHOTS: what docs/console.md shows as WebP, and with
// WARM_SCREENSHOTS_FORMAT=png every state in that format.
func (b *tab) picture(state, theme string, width int64) {
	dir, format := os.Getenv("WARM_SCREENSHOTS"), os.Getenv("WARM_SCREENSHOTS_FORMAT")
	if dir == "" || format == "" && !slices.Contains(pictured, state) {
		return
	}
	name := fmt.Sprintf("%s-%d-%s", state, width, theme)
	tall := js[float64](b, "document.documentElement.scrollHeight")
	most := map[int64]float64{1280: 1360, 390: 1500}[width]
	if state == "docs" {
		most = 1000
	}
	beyond, quality := true, int64(74)
	shot, err := chromedp.Call(b.ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{
		Format: page.CaptureScreenshotFormat(cmp.Or(format, "webp")), Quality: &quality, CaptureBeyondViewport: &beyond,
		Clip: &page.Viewport{Width: float64(width), Height: min(tall, most), Scale: 1},
	})
	require.NoError(b, err)
	require.NoError(b, os.WriteFile(filepath.Join(dir, name+"."+cmp.Or(format, "webp")), shot.Data, 0o644))
}
