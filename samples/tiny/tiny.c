/* The tally sample in C: GET /hit counts in the bucket "tallies", GET /count reads, GET / explains. */
#include "guest.h"

static const char HELP[] = "GET /hit counts, GET /count reads\n";
static const char KEY[] = "hits";
#define LEN(text) (sizeof(text) - 1)

static int32_t open_bucket(void) {
  store_open("tallies", 7, ret);
  if (ret[0]) __builtin_trap();
  return WORD(4);
}

static uint64_t read_count(int32_t bucket) {
  bucket_get(bucket, KEY, LEN(KEY), ret);
  if (ret[0]) __builtin_trap();
  if (!ret[4]) return 0;
  const uint8_t *digits = (const uint8_t *)(size_t)WORD(8);
  uint64_t count = 0;
  for (int32_t i = 0; i < WORD(12); i++) count = count * 10 + (digits[i] - '0');
  return count;
}

/* Writes digits backwards from the end; returns where they start. */
static char *format(uint64_t value, char *end) {
  do {
    *--end = (char)('0' + value % 10);
    value /= 10;
  } while (value);
  return end;
}

static void answer_count(int32_t outparam, uint64_t count) {
  static char body[48];
  char *end = body + sizeof body;
  *--end = '\n';
  *--end = '}';
  char *start = format(count, end);
  static const char head[] = "{\"count\":";
  for (size_t i = LEN(head); i-- > 0;) *--start = head[i];
  answer(outparam, 200, "application/json", 16, start, (size_t)(body + sizeof body - start));
}

EXPORT("wasi:http/incoming-handler@0.2.12#handle")
void handle(int32_t request, int32_t outparam) {
  heap_used = 0;
  request_path(request, ret);
  const char *path = ret[0] ? (const char *)(size_t)WORD(4) : "/";
  size_t path_len = ret[0] ? (size_t)WORD(8) : 1;
  for (size_t i = 0; i < path_len; i++)
    if (path[i] == '?') path_len = i;
  request_drop(request);

  int is_hit = equal(path, path_len, "/hit", 4);
  if (is_hit || equal(path, path_len, "/count", 6)) {
    int32_t bucket = open_bucket();
    uint64_t count = read_count(bucket);
    if (is_hit) {
      char digits[24];
      char *start = format(++count, digits + sizeof digits);
      bucket_set(bucket, KEY, LEN(KEY), start, (size_t)(digits + sizeof digits - start), ret);
      if (ret[0]) __builtin_trap();
    }
    bucket_drop(bucket);
    answer_count(outparam, count);
  } else if (equal(path, path_len, "/", 1)) {
    answer(outparam, 200, "text/plain", 10, HELP, LEN(HELP));
  } else {
    answer(outparam, 404, "text/plain", 10, "not found\n", 10);
  }
}
