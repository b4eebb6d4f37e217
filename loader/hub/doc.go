// Package hub brings checkpoints by the name that people know them by,
// `org/name` or `org/name@revision`, from the Hugging Face hub into its own cache
// on disk, where huggingface_hub finds them and from where it reuses what that
// has downloaded; and from buckets (s3://, gs://) and web servers (https://) into
// folders of the same form.
//
// The layout of the cache, under $HF_HUB_CACHE or $HF_HOME/hub:
//
//	models--org--name/refs/main               the commit that a branch or tag stood at
//	models--org--name/trees/COMMIT.json       the files of a commit
//	models--org--name/blobs/HASH              a file, by its SHA-256 or git's SHA-1
//	models--org--name/blobs/HASH.incomplete   what has come of it so far
//	models--org--name/snapshots/COMMIT/FILE   a link to the blob
//	.locks/models--org--name/HASH.lock        held while a blob is downloaded
//
// What is downloaded is verified by its hash, goes on where it was interrupted,
// and is given its place only when it is whole. Source: huggingface_hub
// file_download.py, _snapshot_download.py and _tree_cache.py.
package hub
