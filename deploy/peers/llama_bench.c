// Times llama.cpp on one model:
//   llama_bench BACKENDS MODEL.gguf THREADS SHAPES ROUNDS CHECK encoder|decoder
// BACKENDS is the folder of its CPU libraries, of which it takes the best for the
// machine; CHECK a file with a line of ids for each input, or "-". The other
// arguments are those of torch_bench.py. Prints one JSON object.
//
// The check keeps keys and values in float32, so that it compares the same
// function; the timing keeps llama.cpp's default, half precision, which is faster.
//
// Each sequence is its own call: that was as fast as any larger batch, because
// llama.cpp attends over a whole micro-batch and masks what does not belong.

#define _DEFAULT_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ggml-backend.h"
#include "llama.h"

enum { max_tokens = 512 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

static void quiet(enum ggml_log_level level, const char *text, void *data) {
    (void)data;
    if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

static void die(const char *what) {
    fprintf(stderr, "llama_bench: %s\n", what);
    exit(1);
}

// score returns the score of n ids, whose last token alone is an output for a decoder.
static float score(struct llama_context *ctx, struct llama_batch *b, const llama_token *ids, int n, int encoder) {
    b->n_tokens = n;
    for (int i = 0; i < n; i++) {
        b->token[i] = ids[i];
        b->pos[i] = i;
        b->n_seq_id[i] = 1;
        b->seq_id[i][0] = 0;
        b->logits[i] = encoder || i == n - 1;
    }
    if (encoder) {
        if (llama_encode(ctx, *b) != 0) die("llama_encode failed");
        return llama_get_embeddings_seq(ctx, 0)[0];
    }
    llama_memory_clear(llama_get_memory(ctx), false);
    if (llama_decode(ctx, *b) != 0) die("llama_decode failed");
    return llama_get_logits_ith(ctx, n - 1)[0];
}

// check prints the scores of a file's lines.
static void check(struct llama_context *ctx, struct llama_batch *b, const char *path, int encoder) {
    FILE *f = fopen(path, "r");
    if (!f) die("cannot open the inputs to check");
    static char line[16 * max_tokens];
    llama_token ids[max_tokens];
    const char *comma = "";
    printf("\"scores\":[");
    while (fgets(line, sizeof line, f)) {
        int n = 0;
        for (char *s = strtok(line, " \n"); s && n < max_tokens; s = strtok(NULL, " \n")) ids[n++] = atoi(s);
        printf("%s%.9g", comma, score(ctx, b, ids, n, encoder));
        comma = ",";
    }
    printf("],");
    fclose(f);
}

// resident returns the memory of the process in bytes.
static long resident(void) {
    long size = 0, pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%ld %ld", &size, &pages) != 2) pages = 0;
    if (f) fclose(f);
    return pages * sysconf(_SC_PAGESIZE);
}

static struct llama_context *context(struct llama_model *model, int threads, int encoder, int exact) {
    struct llama_context_params p = llama_context_default_params();
    p.n_ctx = p.n_batch = p.n_ubatch = max_tokens;
    p.n_seq_max = 1;
    p.n_threads = p.n_threads_batch = threads;
    p.embeddings = encoder;
    if (exact) {
        p.type_k = p.type_v = GGML_TYPE_F32;
        p.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    }
    struct llama_context *ctx = llama_init_from_model(model, p);
    if (!ctx) die("cannot make a context");
    return ctx;
}

static void measure(struct llama_context *ctx, struct llama_batch *b, int batch, int length, int rounds, int encoder) {
    llama_token ids[max_tokens];
    for (int round = 0; round <= rounds; round++) {
        double start = now();
        for (int s = 0; s < batch; s++) {
            for (int i = 0; i < length; i++) ids[i] = (long)(s * length + i) * 7919 % 4096;
            score(ctx, b, ids, length, encoder);
        }
        if (round > 0) printf("%s%.9g", round > 1 ? "," : "", now() - start);
    }
}

int main(int argc, char **argv) {
    if (argc != 8) die("usage: llama_bench BACKENDS MODEL.gguf THREADS SHAPES ROUNDS CHECK encoder|decoder");
    int threads = atoi(argv[3]), rounds = atoi(argv[5]), encoder = strcmp(argv[7], "encoder") == 0;
    double start = now();
    llama_log_set(quiet, NULL);
    ggml_backend_load_all_from_path(argv[1]);
    struct llama_model_params mp = llama_model_default_params();
    mp.n_gpu_layers = 0;
    struct llama_model *model = llama_model_load_from_file(argv[2], mp);
    if (!model) die("cannot load the model");
    struct llama_context *ctx = context(model, threads, encoder, 0);
    struct llama_batch b = llama_batch_init(max_tokens, 0, 1);
    printf("{\"load_seconds\":%.9g,", now() - start);
    if (strcmp(argv[6], "-") != 0) {
        struct llama_context *exact = context(model, threads, encoder, 1);
        check(exact, &b, argv[6], encoder);
        llama_free(exact);
    }
    printf("\"seconds\":{");
    const char *comma = "";
    for (char *s = strtok(argv[4], ","); s; s = strtok(NULL, ",")) {
        int batch, length;
        if (sscanf(s, "%dx%d", &batch, &length) != 2 || length > max_tokens) die("bad shape");
        printf("%s\"%s\":[", comma, s);
        measure(ctx, &b, batch, length, rounds, encoder);
        printf("]");
        comma = ",";
    }
    printf("},\"rss_bytes\":%ld}\n", resident());
    llama_batch_free(b);
    llama_free(ctx);
    llama_model_free(model);
    return 0;
}
