// Package bucket reads and writes objects below a folder of a bucket: of S3, of a
// store that speaks its protocol, or of Google Cloud Storage, which does. Who asks is
// found as the stores' own tools find it: in the environment, in their files, or from
// the machine; without any, what is public can be had.
//
// Writes may be conditional: on no object being there, or on it being the one that was
// read, by its [Object.Tag]. That is an ETag on S3, and a generation on Google Cloud
// Storage, whose own headers say so.
package bucket
