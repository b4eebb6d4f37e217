// Package scheme has the resources that Helm says a cluster knows.
package scheme

import "k8s.io/apimachinery/pkg/runtime"

// Scheme is filled by Helm; nothing in the chart asks what a cluster knows.
var Scheme = runtime.NewScheme()
