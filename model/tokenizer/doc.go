// Package tokenizer turns text into token ids and back, as the tokenizer.json
// beside a Hugging Face checkpoint says.
//
// It knows the file's models (byte-level and SentencePiece-style BPE,
// WordPiece, WordLevel, Unigram), its normalizers, pre-tokenizers, added
// tokens, post-processors and decoders. It does not know files, models,
// chat templates, truncation or padding: the "truncation" and "padding" members
// of tokenizer.json are ignored, as transformers ignores them unless asked.
//
// [Parse] takes the bytes of tokenizer.json and returns an immutable
// [Tokenizer] that any number of goroutines may use. Whatever a file asks for is
// either done or refused by Parse with an error that names it; nothing is
// skipped in silence.
//
//	t, err := tokenizer.Parse(data)
//	ids := t.AppendEncode(nil, "Hello there.", tokenizer.Options{AddSpecial: true})
//
// # How text flows
//
// The text is cut at added tokens that match before normalization; each part
// between them is normalized and cut again at the added tokens that match after
// it; what is left passes through the pre-tokenizer stages, which cut it into
// words; the model turns each word into ids, with a bounded cache from word to
// ids in front of it. The post-processor's template puts special tokens around
// the result when [Options.AddSpecial] is set.
//
// [Tokenizer.AppendParts] takes a text of parts from several sources and says
// which tokens hold each. Borders travel with the text: normalizers and stages
// move them, and only in a word that has one inside is it looked up which token
// holds which byte. [Files.Configured] makes one tokenizer.json of the files that
// a checkpoint has.
//
// # Cost
//
// Encoding is linear in the text, except for the merges of one BPE word of n
// symbols, which cost O(n log n) and 28 bytes a symbol; a limit ends the work
// before such a word is merged. Text is normalized in chunks of some 16 KiB where
// it may be cut (see cutter), so that a long text needs no copy of itself; a
// tokenizer with a regular expression that is not known here gets its text whole.
// A call allocates nothing once its scratch space has grown, unless a normalizer
// rewrites non-ASCII text or the file carries a regular expression that has no
// scanner here. The GPT-2, Llama 3 (cl100k) and Qwen patterns have scanners; any
// other pattern runs in a backtracking engine, whose cost depends on the pattern.
//
// # Conventions
//
// Ids are int32 and never negative. Byte slices inside the package are valid
// UTF-8: text that is not is repaired first, each maximal ill-formed part
// becoming one U+FFFD. Slices handed from stage to stage live until the end of
// the call, in the scratch space.
//
// Unicode properties follow the reference implementation, which mixes
// several editions: Unicode 16 for \p{L}, \p{N} and \s, Unicode 8 for the BERT
// components, Unicode 9 for normalization forms. classes_delta.go holds the
// differences from Go's tables.
//
// # Sources
//
// The behaviour is that of huggingface/tokenizers 0.23 (Rust), read in its
// source and checked against the library itself.
package tokenizer
