// Package dynamic asks no cluster for resources.
package dynamic

import (
	"context"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
)

// ResourceInterface is what Helm's engine asks for resources.
type ResourceInterface interface {
	Get(ctx context.Context, name string, o meta.GetOptions, subresources ...string) (*unstructured.Unstructured, error)
	List(ctx context.Context, o meta.ListOptions) (*unstructured.UnstructuredList, error)
}

// NamespaceableResourceInterface is of all namespaces, or of one.
type NamespaceableResourceInterface interface {
	Namespace(string) ResourceInterface
	ResourceInterface
}

// DynamicClient is one of no cluster.
type DynamicClient struct{}

// NewForConfig returns an error.
func NewForConfig(*rest.Config) (*DynamicClient, error) { return nil, discovery.ErrNoCluster }

// Resource returns nothing: there is no client to ask for it.
func (*DynamicClient) Resource(schema.GroupVersionResource) NamespaceableResourceInterface {
	return nil
}
