package disk

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAFileIsReplacedWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	require.NoError(t, Write(path, []byte("old")))
	boom := errors.New("boom")
	err := Replace(path, 0o600, func(f *os.File) error {
		_, err := f.Write([]byte("ne"))
		require.NoError(t, err)
		return boom
	})
	require.ErrorIs(t, err, boom)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "old", string(text))
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	assert.Len(t, entries, 1, "nothing is left beside it")

	require.NoError(t, Replace(path, 0o600, func(f *os.File) error {
		assert.Contains(t, f.Name(), Unfinished(path))
		_, err := f.Write(bytes.Repeat([]byte("new"), 3))
		return err
	}))
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.EqualValues(t, 9, info.Size())
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestErrorsNameTheFileThatWasToBeWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "away", "state.json")
	err := Write(path, nil)
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.Equal(t, "write "+path+": no such file or directory", err.Error())

	path = filepath.Join(t.TempDir(), "state.json")
	err = Replace(path, 0o644, func(f *os.File) error {
		f.Close()
		_, err := f.Write([]byte("x"))
		return err
	})
	assert.Equal(t, "write "+path+": file already closed", err.Error())
	err = Replace(path, 0o644, func(*os.File) error {
		_, err := os.ReadFile(filepath.Join(filepath.Dir(path), "source"))
		return err
	})
	assert.ErrorContains(t, err, "source", "another file's error is its own")
}

func TestAFileIsHeldByOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		require.NoError(t, err)
		return f
	}
	a, b := open(), open()
	defer b.Close()
	require.NoError(t, TryLock(a))
	require.ErrorIs(t, TryLock(b), ErrLocked)
	require.NoError(t, a.Close())
	require.NoError(t, TryLock(b))
}
