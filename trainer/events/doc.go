// Package events writes event files as TensorBoard reads them: TFRecords, each of
// which holds a protobuf Event with scalars. It writes no other kind of summary and
// reads nothing.
//
// Sources: the comment at the head of tensorflow/core/lib/io/record_writer.h for the
// framing and its masked CRC-32C; event.proto and summary.proto of tensorboard/compat/proto
// for the messages.
package events
