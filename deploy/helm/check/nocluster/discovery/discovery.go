// Package discovery asks no cluster what it knows.
package discovery

import (
	"errors"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// ErrNoCluster is what all questions are answered with.
var ErrNoCluster = errors.New("there is no cluster here")

// DiscoveryClient is one of no cluster.
type DiscoveryClient struct{}

// NewDiscoveryClientForConfig returns ErrNoCluster.
func NewDiscoveryClientForConfig(*rest.Config) (*DiscoveryClient, error) { return nil, ErrNoCluster }

// ServerResourcesForGroupVersion returns ErrNoCluster.
func (*DiscoveryClient) ServerResourcesForGroupVersion(string) (*meta.APIResourceList, error) {
	return nil, ErrNoCluster
}
