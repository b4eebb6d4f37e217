// Package console is the server's page for people: what is live, a playground, a
// comparison on pairs of one's own, charts of the metrics, the changes of models,
// and openapi.yaml to read.
//
// It holds files and says how they are sent, and knows nothing of models: the page
// is a client of the routes that everyone uses, with the same keys and limits.
// Begin with [Find].
//
// The files are written by hand and served as they are: no build step, nothing from
// elsewhere, so that the page works on a machine without a network and its policy
// (Policy) can forbid everything but this server. Scripts make elements and never
// parse text as HTML. Of what is typed into the page nothing is stored; the key is in
// the tab's sessionStorage, the choice of a theme in localStorage.
//
//	static/index.html    the shell of every view; /, /docs
//	static/app.js        which view is shown, the key, the theme
//	static/client.js     the wire
//	static/dom.js        elements, and how numbers are written
//	static/chart.js      charts in SVG
//	static/metrics.js    Prometheus' text format
//	static/NAME.js       the view NAME
package console
