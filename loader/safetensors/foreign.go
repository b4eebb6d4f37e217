package safetensors

import (
	"bytes"
	"errors"
	"fmt"
)

// ErrForeign is returned for a file that is of another known format under this one's name.
var ErrForeign = errors.New("not a safetensors file")

// formats are what lies in place of a checkpoint's files in practice, by their first bytes, each
// with what to do.
var formats = []struct{ begin, what, remedy string }{
	{"version https://git-lfs", "a git-LFS pointer, not the file itself", "git lfs install && git lfs pull"},
	{"version https://hawser", "a git-LFS pointer, not the file itself", "git lfs install && git lfs pull"},
	{"<!doctype", "an HTML page, as a download that needs a login gives",
		"download the file again, by its own address"},
	{"<html", "an HTML page, as a download that needs a login gives",
		"download the file again, by its own address"},
	{"<?xml", "an XML document, as a refused download gives", "download the file again, by its own address"},
	{"gguf", "a GGUF file of llama.cpp",
		"use the model's original safetensors: GGUF has no score head, and its weights are quantised"},
	{"pk\x03\x04", "a file of torch.save (a zip archive)",
		"give it the name pytorch_model.bin, or, of an adapter, adapter_model.bin"},
	{"\x80\x02", "a file of torch.save (a pickle)",
		"give it the name pytorch_model.bin, or, of an adapter, adapter_model.bin"},
	{"\x89hdf\r\n\x1a\n", "an HDF5 file of TensorFlow or Keras",
		"save the model with PyTorch: model.save_pretrained(out)"},
	{"\x1f\x8b", "a gzip archive", "unpack it"},
	{"\xfd7zxz\x00", "an xz archive", "unpack it"},
	{"(\xb5/\xfd", "a zstd archive", "unpack it"},
}

// Foreign names the format of a file that is none of safetensors or JSON, by its first bytes, with
// what to do; "" when it is not known.
func Foreign(head []byte) string {
	head = head[:min(len(head), 64)]
	// A length of 0x1f8b.. or 0x8002 is that of a legal header: those two are told by a header that
	// does not follow.
	legal := len(head) > 8 && head[8] == '{'
	low := bytes.Clone(bytes.TrimLeft(head, " \t\r\n"))
	for i, c := range low {
		if 'A' <= c && c <= 'Z' {
			low[i] = c + 'a' - 'A'
		}
	}
	for _, f := range formats {
		if bytes.HasPrefix(low, []byte(f.begin)) && !legal {
			return f.what + ": " + f.remedy
		}
	}
	return ""
}

// explain puts what a file is in the place of what its header lacks.
func explain(file []byte, err error) error {
	switch what := Foreign(file); {
	case what != "":
		return fmt.Errorf("%w but %s", ErrForeign, what)
	case errors.Is(err, ErrTooSmall), errors.Is(err, ErrHeaderTruncated), errors.Is(err, ErrTruncated):
		return fmt.Errorf("%w: the download or copy was cut short; fetch the file again", err)
	}
	return err
}
