// Package parquet reads the rows of a Parquet file as JSON objects, so that whoever reads records
// need not know how they were stored.
//
// It knows files as data sets are published in them: flat and nested columns, lists and maps, pages
// that are plain or packed by Snappy, gzip or Zstandard. It knows no encryption, no file that refers
// to another, and none of the codecs that no published set was seen to have.
//
// How to start: [Open], then [Rows.Next] until io.EOF.
//
// A file is hostile: the library that decodes pages believes what they say of themselves. So the
// footer and the header of every page are walked before the library sees them ([checkFooter],
// [checkPages]), and what a page unpacks to is measured, so that memory has a bound whatever the file
// says; a panic of the library is an error of the file.
//
// Sources: Apache Parquet, parquet.thrift and Encodings.md; LogicalTypes.md for lists and maps; the
// Thrift compact protocol; Melnik et al., Dremel, VLDB 2010, for repetition and definition levels.
package parquet
