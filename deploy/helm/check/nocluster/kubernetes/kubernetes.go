// Package kubernetes is imported by Helm for the version of this module alone.
package kubernetes
