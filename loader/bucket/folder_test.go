package bucket

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader/bucket/buckettest"
)

// folder is one of a store on loopback.
func folder(t *testing.T, s *buckettest.Store, ref string) *Folder {
	for k, v := range s.Env() {
		t.Setenv(k, v)
	}
	f, err := Stores{S3: s.URL, GS: s.URL}.Open(ref)
	require.NoError(t, err)
	return f
}

func read(t *testing.T, f *Folder, name string) (string, Object) {
	body, o, err := f.Get(t.Context(), name, "")
	require.NoError(t, err)
	defer body.Close()
	data, err := io.ReadAll(body)
	require.NoError(t, err)
	return string(data), o
}

func TestWritesMayBeConditional(t *testing.T) {
	for _, scheme := range []string{"s3", "gs"} {
		t.Run(scheme, func(t *testing.T) {
			s := buckettest.New(t)
			f := folder(t, s, scheme+"://bucket/a/b")
			put := func(text string, when Condition) (Object, error) {
				return f.Put(t.Context(), "x y", strings.NewReader(text), int64(len(text)), when)
			}
			_, _, err := f.Get(t.Context(), "x y", "")
			require.ErrorIs(t, err, ErrNotFound)
			first, err := put("one", Absent)
			require.NoError(t, err)
			_, err = put("two", Absent)
			require.ErrorIs(t, err, ErrChanged)
			second, err := put("two", Condition(first.Tag))
			require.NoError(t, err)
			_, err = put("three", Condition(first.Tag))
			require.ErrorIs(t, err, ErrChanged)
			text, o := read(t, f, "x y")
			assert.Equal(t, "two", text)
			assert.Equal(t, second.Tag, o.Tag)
			_, _, err = f.Get(t.Context(), "x y", o.Tag)
			require.ErrorIs(t, err, ErrSame)
			_, err = put("three", "")
			require.NoError(t, err)
			body, _, err := f.Get(t.Context(), "x y", o.Tag)
			require.NoError(t, err)
			require.NoError(t, body.Close())
			assert.Equal(t, map[string][]byte{"bucket/a/b/x y": []byte("three")}, s.Objects())
			require.NoError(t, f.Remove(t.Context(), "x y"))
			require.NoError(t, f.Remove(t.Context(), "x y"))
			assert.Empty(t, s.Objects())
		})
	}
}

func TestAgesAreByTheStoresClock(t *testing.T) {
	s := buckettest.New(t)
	s.Later(-48 * time.Hour) // its clock is two days behind
	f := folder(t, s, "s3://bucket/a")
	_, err := f.Put(t.Context(), "x", strings.NewReader("1"), 1, "")
	require.NoError(t, err)
	o, err := f.Stat(t.Context(), "x")
	require.NoError(t, err)
	assert.Less(t, f.Age(o).Abs(), 5*time.Second)
	s.Later(time.Hour)
	o, err = f.Stat(t.Context(), "x")
	require.NoError(t, err)
	assert.InDelta(t, time.Hour.Seconds(), f.Age(o).Seconds(), 5)
}

func TestALargeObjectGoesInParts(t *testing.T) {
	s := buckettest.New(t)
	f := folder(t, s, "s3://bucket")
	data := bytes.Repeat([]byte("0123456789abcdef"), 17<<16)
	_, err := f.Put(t.Context(), "x", bytes.NewReader(data), int64(len(data)), "")
	require.NoError(t, err)
	assert.True(t, bytes.Equal(data, s.Objects()["bucket/x"]))
	assert.Greater(t, len(s.Requests()), 3)
}

func TestWhatAStoreSays(t *testing.T) {
	s := buckettest.New(t)
	f := folder(t, s, "s3://bucket/a")
	for status, want := range map[int]error{http.StatusForbidden: ErrDenied, http.StatusNotImplemented: ErrUnconditional} {
		s.Break(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(status); return true })
		_, err := f.Put(t.Context(), "x", strings.NewReader("1"), 1, Absent)
		require.ErrorIs(t, err, want)
		assert.ErrorContains(t, err, "s3://bucket/a/x")
	}
	for _, ref := range []string{"https://host/a", "s3://", "s3://key:secret@bucket/a", "s3://bucket/a?x", "a/b"} {
		_, err := Stores{}.Open(ref)
		require.ErrorContains(t, err, "no folder of a bucket", ref)
	}
}
