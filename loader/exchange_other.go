//go:build !linux

package loader

func exchange(fresh, old string) error { return exchangeByRenames(fresh, old) }
