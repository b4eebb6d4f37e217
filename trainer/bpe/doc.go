// Package bpe makes tokenizers: byte-level byte-pair encodings, learned from text
// and written as tokenizer.json and tokenizer_config.json, which package
// model/tokenizer and transformers read.
//
// Text is cut into words as GPT-2 does; a word's bytes are the first symbols, and
// the most frequent pair of neighbours becomes a symbol again and again. Equal
// text gives equal bytes: of pairs equally frequent the one with the lower symbols
// comes first.
//
// Sources: Sennrich et al. 2016 (arXiv 1508.07909), algorithm 1; Radford et al.
// 2019 for the bytes and the cut.
package bpe
