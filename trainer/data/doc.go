// Package data reads preference data: pairs of a chosen and a rejected answer, and answers with the
// votes of a crowd.
//
// It knows JSON Lines and JSON arrays, plain or compressed with gzip or zstd, and Parquet files (all
// told apart by their first bytes), and the forms in which preference data is published: TRL's
// standard and conversational forms with an explicit or implicit prompt, and HH-RLHF's dialogues as
// text. It does not know templates, tokens or models, and it neither shuffles nor splits nor draws
// from votes.
//
// How to start: [Open] a file or [NewReader] a stream, then range over [Reader.Pairs] or
// [Reader.Votes]. A bad line is an *[Error] with its place and does not end the reading: the caller
// decides whether to go on. A damaged stream does end it.
//
// Memory is one line and one decompression window, whatever the file's size; of a Parquet file it is a
// page of each column.
//
// Sources: TRL, docs/source/dataset_formats.md; HH-RLHF (Bai et al. 2022); UKPConvArg (Habernal and
// Gurevych, ACL 2016).
package data
