/* The canonical ABI of the interfaces that a small HTTP component needs, for C without a libc. */
#ifndef GUEST_H
#define GUEST_H
#include <stddef.h>
#include <stdint.h>

#define IMPORT(module, name) __attribute__((import_module(module), import_name(name))) extern
#define EXPORT(name) __attribute__((export_name(name)))

#define HTTP "wasi:http/types@0.2.12"
#define STREAMS "wasi:io/streams@0.2.12"
#define STORE "wasi:keyvalue/store@0.2.0-draft"

IMPORT(HTTP, "[method]incoming-request.path-with-query") void request_path(int32_t self, uint8_t *ret);
IMPORT(HTTP, "[resource-drop]incoming-request") void request_drop(int32_t self);
IMPORT(HTTP, "[constructor]fields") int32_t fields_new(void);
IMPORT(HTTP, "[method]fields.append")
void fields_append(int32_t self, const char *name, size_t name_len, const char *value, size_t value_len, uint8_t *ret);
IMPORT(HTTP, "[constructor]outgoing-response") int32_t response_new(int32_t headers);
IMPORT(HTTP, "[method]outgoing-response.set-status-code") int32_t response_set_status(int32_t self, int32_t status);
IMPORT(HTTP, "[method]outgoing-response.body") void response_body(int32_t self, uint8_t *ret);
IMPORT(HTTP, "[static]response-outparam.set")
void outparam_set(int32_t self, int32_t is_err, int32_t response, int32_t, int64_t, uint8_t *, size_t, int32_t, int32_t);
IMPORT(HTTP, "[method]outgoing-body.write") void body_write(int32_t self, uint8_t *ret);
IMPORT(HTTP, "[static]outgoing-body.finish") void body_finish(int32_t self, int32_t has_trailers, int32_t trailers, uint8_t *ret);
IMPORT(STREAMS, "[method]output-stream.blocking-write-and-flush")
void stream_write(int32_t self, const void *bytes, size_t len, uint8_t *ret);
IMPORT(STREAMS, "[resource-drop]output-stream") void stream_drop(int32_t self);

IMPORT(STORE, "open") void store_open(const char *name, size_t len, uint8_t *ret);
IMPORT(STORE, "[method]bucket.get") void bucket_get(int32_t self, const char *key, size_t len, uint8_t *ret);
IMPORT(STORE, "[method]bucket.set")
void bucket_set(int32_t self, const char *key, size_t key_len, const void *value, size_t value_len, uint8_t *ret);
IMPORT(STORE, "[resource-drop]bucket") void bucket_drop(int32_t self);

/* Where calls with several results put them: a tag first, the payload behind it. */
static _Alignas(8) uint8_t ret[128];
#define WORD(offset) (*(int32_t *)(ret + (offset)))

/* What the host passes in is needed for one request only. */
static uint8_t heap[65536];
static size_t heap_used;

EXPORT("cabi_realloc")
void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
  (void)old, (void)old_size;
  heap_used = (heap_used + align - 1) & ~(align - 1);
  void *block = heap + heap_used;
  heap_used += size;
  if (heap_used > sizeof heap) __builtin_trap();
  return block;
}

static int equal(const char *a, size_t a_len, const char *b, size_t b_len) {
  if (a_len != b_len) return 0;
  for (size_t i = 0; i < a_len; i++)
    if (a[i] != b[i]) return 0;
  return 1;
}

/* Sends a whole answer; the rest of the body's life is here. */
static void answer(int32_t outparam, int32_t status, const char *type, size_t type_len, const char *body, size_t body_len) {
  int32_t headers = fields_new();
  fields_append(headers, "content-type", 12, type, type_len, ret);
  int32_t response = response_new(headers);
  response_set_status(response, status);
  response_body(response, ret);
  if (ret[0]) __builtin_trap();
  int32_t out = WORD(4);
  outparam_set(outparam, 0, response, 0, 0, 0, 0, 0, 0);
  body_write(out, ret);
  if (ret[0]) __builtin_trap();
  int32_t stream = WORD(4);
  stream_write(stream, body, body_len, ret);
  if (ret[0]) __builtin_trap();
  stream_drop(stream);
  body_finish(out, 0, 0, ret);
}
#endif
