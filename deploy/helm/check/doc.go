// Package check renders the chart deploy/helm/warm by Helm's own engine, reads what comes of it
// and the manifests of deploy/kserve strictly into Kubernetes' types, and holds each flag,
// variable, path, port and reference in them against the others and against the program itself.
//
// It is a module of its own, so that warmserve's has none of Helm's and Kubernetes' packages.
// nocluster stands for Kubernetes' client, which Helm imports to ask a cluster, and which takes
// longer to build than all else.
package check
