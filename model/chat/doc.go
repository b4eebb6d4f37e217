// Package chat turns messages into the exact text a model was trained on: it renders the chat
// template of a Hugging Face checkpoint as transformers' apply_chat_template does.
//
// It knows the variables and functions that transformers gives to a template, and what the tokenizer
// files say about special tokens. It does not know tokens, files or requests. The template language is
// in package jinja below it, and text that knows where its characters came from in package origin.
//
// How to start: [SpecialTokens] reads the tokenizer files, [Parse] compiles a template once,
// [Template.Render] renders many conversations, from any number of goroutines. What it returns says
// of each run of characters which message and field it came from.
//
// A [Message] keeps every key it arrived with and their order, because templates print whole
// objects with tojson. The rendered text usually begins with the model's BOS token and holds other
// special tokens as text; tokenise it without adding special tokens again.
//
// Sources: transformers 5.24, utils/chat_template_utils.py (render_jinja_template,
// _compile_jinja_template) and tokenization_utils_base.py (special tokens).
package chat
