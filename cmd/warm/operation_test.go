package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// selfSigned writes a certificate for 127.0.0.1 and its key.
func selfSigned(t testing.TB, certFile, keyFile string, serial int64) *x509.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert
}

func TestServeSpeaksTLS(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	cert := selfSigned(t, certFile, keyFile, 1)
	ctx, cancel := context.WithCancel(t.Context())
	stderr, ended, model := &output{}, make(chan int, 1), tinyModel(t, "one", nil)
	go func() {
		ended <- run(ctx, []string{"serve", "--addr", "127.0.0.1:0", "--model", "m=" + model, "--tls-cert", certFile, "--tls-key", keyFile}, noEnv, strings.NewReader(""), io.Discard, stderr)
	}()
	defer func() {
		cancel()
		assert.Equal(t, exitOK, <-ended)
	}()
	url := ""
	require.Eventually(t, func() bool {
		m := listening.FindStringSubmatch(stderr.String())
		if m != nil {
			url = m[1]
		}
		return m != nil
	}, 10*time.Second, time.Millisecond, "%s", stderr)
	require.True(t, strings.HasPrefix(url, "https://127.0.0.1:"), url)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	require.Eventually(t, func() bool {
		r, err := client.Get(url + "/readyz")
		if err != nil {
			return false
		}
		r.Body.Close()
		return r.StatusCode == http.StatusOK
	}, 20*time.Second, 5*time.Millisecond)
	r, err := client.Post(url+"/v1/reward", "application/json", strings.NewReader(`{"inputs":[{"text":"a"}]}`))
	require.NoError(t, err)
	defer r.Body.Close()
	assert.Equal(t, http.StatusOK, r.StatusCode)
	assert.Equal(t, 1, r.ProtoMajor)
	_, err = tls.Dial("tcp", strings.TrimPrefix(url, "https://"), &tls.Config{RootCAs: pool, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10})
	assert.Error(t, err, "old versions of TLS are refused")
}

func TestARenewedCertificateIsServedAndABrokenOneIsNot(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	selfSigned(t, certFile, keyFile, 1)
	c := &certificate{certFile: certFile, keyFile: keyFile, log: slog.New(slog.DiscardHandler)}
	require.NoError(t, c.read())
	serial := func() int64 {
		pair, err := c.get(nil)
		require.NoError(t, err)
		return pair.Leaf.SerialNumber.Int64()
	}
	later := func(f string) { require.NoError(t, os.Chtimes(f, time.Time{}, time.Now().Add(time.Minute))) }
	selfSigned(t, certFile, keyFile, 2)
	later(certFile)
	assert.EqualValues(t, 1, serial(), "the files were looked at just now")
	c.looked = time.Now().Add(-certificateAge)
	assert.EqualValues(t, 2, serial())
	require.NoError(t, os.WriteFile(certFile, []byte("half a file"), 0o600))
	c.looked = time.Now().Add(-certificateAge)
	assert.EqualValues(t, 2, serial(), "what cannot be read is not served")
	selfSigned(t, certFile, keyFile, 3)
	c.looked = time.Now().Add(-certificateAge)
	assert.EqualValues(t, 3, serial())
}

func TestSIGHUPServesARenewedCertificateAtOnce(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	renew := func(serial int64) *x509.Certificate { return selfSigned(t, certFile, keyFile, serial) }
	renew(1)
	c := startChild(t, "--tls-cert", certFile, "--tls-key", keyFile, "--model", "m="+tinyModel(t, "one", nil))
	served := func() int64 {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(c.url, "https://"), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the serial number is all that is asked
		require.NoError(t, err)
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	hup := func(says string) {
		t.Helper()
		before := strings.Count(c.stderr.String(), says)
		require.NoError(t, c.cmd.Process.Signal(syscall.SIGHUP))
		require.Eventually(t, func() bool { return strings.Count(c.stderr.String(), says) > before }, 20*time.Second, time.Millisecond, "%s", c.stderr)
	}
	assert.EqualValues(t, 1, served())
	renew(2)
	assert.EqualValues(t, 1, served(), "the files are looked at every ten seconds")
	hup(`msg="the configuration was read again"`)
	assert.EqualValues(t, 2, served())
	require.NoError(t, os.WriteFile(keyFile, []byte("half a file"), 0o600))
	hup("what is wrong with it stays as it was")
	assert.EqualValues(t, 2, served())
	renew(3)
	hup(`msg="the configuration was read again"`)
	assert.EqualValues(t, 3, served())
}

func TestTLSMistakesExitWith2(t *testing.T) {
	good := tinyModel(t, "good", nil)
	for _, args := range [][]string{{"--tls-cert", "x"}, {"--tls-key", "x"}, {"--tls-cert", "/nowhere/c", "--tls-key", "/nowhere/k"}} {
		code, _, stderr := command(t, "", append([]string{"serve", "--model", "m=" + good}, args...)...)
		assert.Equal(t, exitUsage, code, stderr)
		assert.Regexp(t, "tls_|nowhere", stderr)
	}
}

func TestTheLimitOnOpenFilesBoundsTheConnections(t *testing.T) {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	for _, c := range []struct {
		asked int
		limit uint64
		err   error
		want  int
	}{
		{0, 1 << 20, nil, defaultConnections},
		{0, defaultConnections + otherFiles, nil, defaultConnections},
		{0, 4096, nil, 4096 - otherFiles},
		{100, 4096, nil, 100},
		{5000, 4096, nil, 4096 - otherFiles},
		{0, 300, nil, 150},
		{0, 1, nil, 1},
		{0, 0, errors.New("not permitted"), defaultConnections},
	} {
		assert.Equal(t, c.want, connectionLimit(c.asked, func(uint64) (uint64, error) { return c.limit, c.err }, log), "%+v", c)
	}
	limit, err := raiseOpenFiles(64)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, limit, uint64(64), "the limit is never lowered")
}

func TestASecondSignalEndsAtOnce(t *testing.T) {
	config := filepath.Join(t.TempDir(), "serve.yaml")
	require.NoError(t, os.WriteFile(config, []byte("limits:\n  drain_delay: 60s\nmodels:\n  m:\n    members: ["+tinyModel(t, "one", nil)+"]\n"), 0o600))
	c := startChild(t, "--config", config)
	require.NoError(t, c.cmd.Process.Signal(syscall.SIGTERM))
	require.Eventually(t, func() bool { return strings.Contains(c.stderr.String(), "draining") }, 10*time.Second, time.Millisecond)
	r, err := http.Post(c.url+"/v1/reward", "application/json", strings.NewReader(`{"inputs":[{"text":"a"}]}`))
	require.NoError(t, err, "the first signal drains")
	r.Body.Close()
	assert.Equal(t, http.StatusOK, r.StatusCode)
	select {
	case <-c.ended:
		t.Fatal("the first signal ended the server")
	default:
	}
	// The handler of the first signal is taken down in a goroutine of its own.
	require.Eventually(t, func() bool {
		_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		select {
		case <-c.ended:
			return true
		default:
			return false
		}
	}, 10*time.Second, 20*time.Millisecond)
	status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, ok)
	assert.True(t, status.Signaled() && status.Signal() == syscall.SIGTERM, "%v", c.cmd.ProcessState)
}

func TestABSampleFeedsTheMetricsOfDisagreement(t *testing.T) {
	members := tinyModel(t, "one", nil) + "," + tinyModel(t, "three", nil)
	s := startServe(t, "--model", "m="+members, "--mode", "both", "--ab-sample", "1")
	code, got := s.post(t, `{"inputs":[{"text":"a"},{"text":"b"}]}`)
	require.Equal(t, http.StatusOK, code)
	assert.Nil(t, got.Data[0].Ensemble)
	require.Eventually(t, func() bool {
		r, err := http.Get(s.url + "/metrics")
		require.NoError(t, err)
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		return strings.Contains(string(body), `warm_ab_samples_total{model="m",outcome="scored"} 1`) && strings.Contains(string(body), `warm_reward_std_count{model="m",revision="`+got.Revision+`"} 2`)
	}, 10*time.Second, 5*time.Millisecond)
	assert.Equal(t, exitOK, s.stop())
	code, _, stderr := command(t, "", "serve", "--model", "m="+members, "--ab-sample", "0.5")
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, stderr, "ab_sample")
}
