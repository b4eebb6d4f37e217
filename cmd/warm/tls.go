package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificate is the server's key pair, read again when its files change, so
// that a renewed certificate is served without a restart. A pair that cannot be
// read leaves the one before in use.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu      sync.Mutex
	pair    *tls.Certificate
	looked  time.Time // when the files were last looked at
	changed [2]time.Time
}

// certificateAge is how long a look at the files is good for.
const certificateAge = 10 * time.Second

// tlsConfig returns nil when neither file is named.
func tlsConfig(certFile, keyFile string, log *slog.Logger) (*tls.Config, *certificate, error) {
	if certFile == "" && keyFile == "" {
		return nil, nil, nil
	}
	if certFile == "" || keyFile == "" {
		return nil, nil, errors.New("tls_cert and tls_key go together")
	}
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
	if err := c.read(); err != nil {
		return nil, nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}, c, nil
}

// again reads the pair now, whenever it was last looked at.
func (c *certificate) again() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read()
}

// read loads the pair and notes when its files changed.
func (c *certificate) read() error {
	changed, err := c.modified()
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("%s, %s: %w", c.certFile, c.keyFile, err)
	}
	c.pair, c.changed, c.looked = &pair, changed, time.Now()
	return nil
}

func (c *certificate) modified() (times [2]time.Time, err error) {
	for i, file := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(file)
		if err != nil {
			return times, err
		}
		times[i] = info.ModTime()
	}
	return times, nil
}

// get is a tls.Config's GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) < certificateAge {
		return c.pair, nil
	}
	c.looked = time.Now()
	if changed, err := c.modified(); err == nil && changed == c.changed {
		return c.pair, nil
	}
	if err := c.read(); err != nil {
		c.log.Error("the certificate changed and cannot be read; the one before stays", "error", err.Error())
		return c.pair, nil
	}
	c.log.Info("the certificate was read again")
	return c.pair, nil
}
