/*
 * Preloaded into a process under test: lets chosen write and sync calls fail, and records what was asked of the disk.
 *
 * AETHER_SHIM_FOLDER   files in it are watched; in those named engine.db* and in the folder itself calls may fail
 * AETHER_SHIM_CONTROL  a file of four int64: first call that fails (0: none), errno, kinds (1 writes, 2 syncs), calls
 * AETHER_SHIM_TRACE    what happened is appended: op, failed, length of name (u16), of data (u32), offset (u64), both
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { WRITES = 1, SYNCS = 2 };

static struct { int64_t from, error, kinds, calls; } *control;
static const char *folder;
static int trace = -1;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("AETHER_SHIM_CONTROL");
  folder = getenv("AETHER_SHIM_FOLDER");
  if (path == NULL || folder == NULL) return;
  int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR);
  control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  syscall(SYS_close, fd);
  if (control == MAP_FAILED) abort();
  trace = syscall(SYS_openat, AT_FDCWD, getenv("AETHER_SHIM_TRACE"), O_WRONLY | O_APPEND);
}

/* The name below the watched folder, "" for the folder itself, NULL for what is not watched. */
static const char *below(const char *path) {
  size_t length = folder == NULL ? 0 : strlen(folder);
  if (trace < 0 || strncmp(path, folder, length) != 0) return NULL;
  if (path[length] == '\0') return path + length;
  return path[length] == '/' ? path + length + 1 : NULL;
}

static const char *name_of(int fd, char *path, size_t size) {
  char link[64];
  if (trace < 0) return NULL;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, size - 1);
  if (length < 0) return NULL;
  path[length] = '\0';
  return below(path);
}

static int fails(const char *name, int kind) {
  int mine = name[0] == '\0' || strncmp(name, "engine.db", 9) == 0;
  if (!mine || (control->kinds & kind) == 0) return 0;
  control->calls++;
  return control->from > 0 && control->calls >= control->from;
}

static void record(char op, int failed, const char *name, uint64_t offset, const void *data, uint32_t size) {
  unsigned char head[16] = {op, failed};
  uint16_t length = strlen(name);
  memcpy(head + 2, &length, 2);
  memcpy(head + 4, &size, 4);
  memcpy(head + 8, &offset, 8);
  syscall(SYS_write, trace, head, sizeof head);
  syscall(SYS_write, trace, name, length);
  if (size > 0) syscall(SYS_write, trace, data, size);
}

static int refuse(void) {
  errno = control->error;
  return -1;
}

static ssize_t put(int fd, const void *data, size_t size, int64_t offset) {
  char path[4096];
  const char *name = name_of(fd, path, sizeof path);
  if (name != NULL) {
    int failed = fails(name, WRITES);
    int64_t at = offset >= 0 ? offset : syscall(SYS_lseek, fd, 0, SEEK_CUR);
    record('w', failed, name, at, data, size);
    if (failed) return refuse();
  }
  return offset >= 0 ? syscall(SYS_pwrite64, fd, data, size, offset) : syscall(SYS_write, fd, data, size);
}

static int sync_file(int fd, long call) {
  char path[4096];
  const char *name = name_of(fd, path, sizeof path);
  if (name != NULL) {
    int failed = fails(name, SYNCS);
    record('s', failed, name, 0, NULL, 0);
    if (failed) return refuse();
  }
  return syscall(call, fd);
}

static int cut(int fd, int64_t size) {
  char path[4096];
  const char *name = name_of(fd, path, sizeof path);
  if (name != NULL) {
    int failed = fails(name, WRITES);
    record('t', failed, name, size, NULL, 0);
    if (failed) return refuse();
  }
  return syscall(SYS_ftruncate, fd, size);
}

ssize_t write(int fd, const void *data, size_t size) { return put(fd, data, size, -1); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return put(fd, data, size, offset); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) { return put(fd, data, size, offset); }
int fsync(int fd) { return sync_file(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_file(fd, SYS_fdatasync); }
int ftruncate(int fd, off_t size) { return cut(fd, size); }
int ftruncate64(int fd, off64_t size) { return cut(fd, size); }

int close(int fd) {
  char path[4096];
  const char *name = name_of(fd, path, sizeof path);
  if (name != NULL) record('c', 0, name, 0, NULL, 0);
  return syscall(SYS_close, fd);
}

static int open_file(const char *path, int flags, mode_t mode) {
  const char *name = below(path);
  int made = name != NULL && (flags & O_CREAT) != 0 && syscall(SYS_faccessat, AT_FDCWD, path, F_OK) != 0;
  int fd = syscall(SYS_openat, AT_FDCWD, path, flags, mode);
  if (made && fd >= 0) record('o', 0, name, 0, NULL, 0);
  return fd;
}

static mode_t mode_of(int flags, va_list rest) { return (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0; }

int open(const char *path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  int fd = open_file(path, flags, mode_of(flags, rest));
  va_end(rest);
  return fd;
}

int open64(const char *path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  int fd = open_file(path, flags, mode_of(flags, rest));
  va_end(rest);
  return fd;
}

int unlink(const char *path) {
  const char *name = below(path);
  if (name != NULL) record('u', 0, name, 0, NULL, 0);
  return syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}
