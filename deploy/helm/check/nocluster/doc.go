// Package nocluster stands for Kubernetes' client, k8s.io/client-go, in the checks of the chart.
//
// Helm's engine imports the client for its function "lookup", which asks a cluster, and for the
// list of what a cluster knows. Here no cluster is asked: the engine that renders has no client,
// and a test refuses templates that would ask. The real one takes minutes to build, as it has a
// client for each resource of Kubernetes.
package nocluster
