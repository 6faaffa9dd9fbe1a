// A library for LD_PRELOAD that makes the files below one directory fail, and remembers what of
// them a power cut would leave. Everything else it passes on untouched.
//
// Environment:
//   FAULT_DIR      the directory, as realpath gives it. Unset: the library does nothing.
//   FAULT_STATE    a file outside of it, which outlives the process: struct State. With it, what is
//                  unlinked or replaced is kept in FAULT_STATE.kept until its directory is synced.
//   FAULT_WRITE    n:ERROR[:forever] fails the n-th write (or fallocate, ftruncate), with EIO or
//   FAULT_SYNC     ENOSPC; the same of the n-th fsync, fdatasync or sync_file_range.
//   FAULT_EXCEPT   files whose names begin so are never made to fail, and not counted.
//   FAULT_SYNC_US  how long each sync takes longer.
//   FAULT_FREE     a file: while it is there, the disk has as many free bytes as it says.
//   FAULT_BOOT_ID  a file that is read instead of the kernel's boot id (also without FAULT_DIR).
//
// The model of a power cut: of a file stays what had been written when its last fsync or fdatasync
// began (files are appended to, so that this is a length); an entry of a directory is there, or
// gone, as it was when the directory was synced last. sync_file_range makes nothing durable, for it
// leaves out the file's length. What is not modelled stands in the README.
//
// Threads: one mutex for the tables, never held over a write or a sync.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { kFilesMax = 16384, kEntriesMax = 16384, kNameMax = 256, kFdsMax = 65536 };

// What power.py reads: keep the two alike.
enum Kind { kNone = 0, kCreated = 1, kRenamed = 2, kUnlinked = 3 };

struct File {
  uint64_t dev, ino;
  int64_t synced;  // the length that is durable
};

struct Entry {
  uint32_t kind;  // kNone: durable by now
  uint32_t kept;  // the number of the link to what was there before; 0: nothing was
  char path[kNameMax];
  char from[kNameMax];  // of kRenamed
};

struct State {
  uint64_t magic;
  uint64_t writes, syncs, failed;  // counted over all processes that used this file
  uint64_t overflows;              // a table was full: nothing can be said any more
  uint32_t files, entries, kept, unused;
  struct File file[kFilesMax];
  struct Entry entry[kEntriesMax];
};
static const uint64_t kMagic = 0x3154554c54434157;  // a version, too

struct Plan {
  uint64_t at;  // 0: never
  int error;
  int forever;
};

struct Fd {
  char watched, directory, excepted;
  char path[kNameMax];
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct State* state;
static struct Fd* fds;
static char root[PATH_MAX];
static size_t root_length;
static char kept_folder[PATH_MAX];
static const char* except;
static struct Plan write_plan, sync_plan;
static long sync_us;
static _Atomic uint64_t writes, syncs;  // of this process

#define REAL(type, name, ...)                           \
  static type (*real)(__VA_ARGS__);                     \
  if (real == NULL) *(void**)&real = dlsym(RTLD_NEXT, name)

static void die(const char* what) {
  dprintf(2, "fault_shim: %s\n", what);
  abort();
}

static struct Plan parse(const char* text) {
  struct Plan plan = {0, EIO, 0};
  if (text == NULL || *text == '\0') return plan;
  char* rest = NULL;
  plan.at = strtoull(text, &rest, 10);
  if (strncmp(rest, ":EIO", 4) == 0) {
    rest += 4;
  } else if (strncmp(rest, ":ENOSPC", 7) == 0) {
    plan.error = ENOSPC;
    rest += 7;
  }
  plan.forever = strcmp(rest, ":forever") == 0;
  if (plan.at == 0 || (*rest != '\0' && !plan.forever)) die("a plan is n:EIO|ENOSPC[:forever]");
  return plan;
}

__attribute__((constructor)) static void begin(void) {
  const char* directory = getenv("FAULT_DIR");
  if (directory == NULL) return;
  root_length = strlen(directory);
  if (root_length == 0 || root_length >= sizeof root || directory[0] != '/') die("FAULT_DIR");
  strcpy(root, directory);
  write_plan = parse(getenv("FAULT_WRITE"));
  sync_plan = parse(getenv("FAULT_SYNC"));
  except = getenv("FAULT_EXCEPT");
  const char* delay = getenv("FAULT_SYNC_US");
  sync_us = delay ? atol(delay) : 0;
  const char* path = getenv("FAULT_STATE");
  const size_t size = sizeof(struct State);
  const size_t fds_size = kFdsMax * sizeof(struct Fd);
  void* memory;
  if (path != NULL) {
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)size) != 0) die("FAULT_STATE cannot be opened");
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    snprintf(kept_folder, sizeof kept_folder, "%s.kept", path);
    if (mkdir(kept_folder, 0700) != 0 && errno != EEXIST) die("no folder for what is kept");
  } else {
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  }
  if (memory == MAP_FAILED) die("mmap");
  struct State* mapped = memory;
  if (mapped->magic != 0 && mapped->magic != kMagic) die("FAULT_STATE is of another version");
  mapped->magic = kMagic;
  fds = mmap(NULL, fds_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (fds == MAP_FAILED) die("mmap");
  state = mapped;  // from now on files are looked at
}

// Takes out of a path what means nothing: doubled slashes, and parts that are a dot.
static void clean(char* path) {
  char* to = path;
  for (const char* from = path; *from != '\0';) {
    if (from[0] == '/' && from[1] == '/') {
      ++from;
    } else if (from[0] == '/' && from[1] == '.' && (from[2] == '/' || from[2] == '\0')) {
      from += 2;
    } else {
      *to++ = *from++;
    }
  }
  *to = '\0';
}

// Whether the path lies below the directory; then it is made absolute.
static int inside(int at, const char* path, char* out) {
  if (state == NULL || path == NULL) return 0;
  if (path[0] == '/') {
    if (strlen(path) >= kNameMax) return 0;
    strcpy(out, path);
  } else {
    char folder[PATH_MAX];
    if (at == AT_FDCWD) {
      if (getcwd(folder, sizeof folder) == NULL) return 0;
    } else {
      char link[64];
      snprintf(link, sizeof link, "/proc/self/fd/%d", at);
      const ssize_t length = readlink(link, folder, sizeof folder - 1);
      if (length < 0) return 0;
      folder[length] = '\0';
    }
    if (snprintf(out, kNameMax, "%s/%s", folder, path) >= kNameMax) return 0;
  }
  clean(out);
  return strncmp(out, root, root_length) == 0 &&
         (out[root_length] == '/' || out[root_length] == '\0');
}

// Another path for the kernel's boot id, or this one.
static const char* redirected(const char* path) {
  const char* other = getenv("FAULT_BOOT_ID");
  const int is_boot_id = path != NULL && strcmp(path, "/proc/sys/kernel/random/boot_id") == 0;
  return other != NULL && is_boot_id ? other : path;
}

static int is_excepted(const char* path) {
  const char* name = strrchr(path, '/');
  return except != NULL && *except != '\0' && strncmp(name + 1, except, strlen(except)) == 0;
}

static struct Fd* watched(int fd) {
  return state != NULL && fd >= 0 && fd < kFdsMax && fds[fd].watched ? &fds[fd] : NULL;
}

// The tables, under the mutex.

static struct File* file_of(const struct stat* at, int64_t synced_if_new) {
  for (uint32_t i = 0; i < state->files; ++i) {
    struct File* file = &state->file[i];
    if (file->ino == at->st_ino && file->dev == at->st_dev) return file;
  }
  if (state->files == kFilesMax) {
    ++state->overflows;
    return NULL;
  }
  struct File* file = &state->file[state->files];
  file->dev = at->st_dev;
  file->ino = at->st_ino;
  file->synced = synced_if_new;
  ++state->files;
  return file;
}

static void add_entry(enum Kind kind, const char* path, const char* from, uint32_t kept) {
  if (state->entries == kEntriesMax) {
    ++state->overflows;
    return;
  }
  struct Entry* entry = &state->entry[state->entries];
  strcpy(entry->path, path);
  strcpy(entry->from, from);
  entry->kept = kept;
  entry->kind = kind;
  ++state->entries;
}

static int lies_in(const char* path, const char* directory) {
  const size_t length = strlen(directory);
  return strncmp(path, directory, length) == 0 && path[length] == '/' &&
         strchr(path + length + 1, '/') == NULL;
}

static void name_kept(char to[static PATH_MAX + 32], uint32_t number) {
  snprintf(to, PATH_MAX + 32, "%s/%u", kept_folder, number);
}

// Everything that was done in this directory is durable: the first `count` entries, which were all
// when the sync began.
static void directory_synced(const char* directory, uint32_t count) {
  REAL(int, "unlink", const char*);
  for (uint32_t i = 0; i < count; ++i) {
    struct Entry* entry = &state->entry[i];
    if (entry->kind == kNone || !lies_in(entry->path, directory)) continue;
    entry->kind = kNone;
    char kept[PATH_MAX + 32];
    name_kept(kept, entry->kept);
    if (entry->kept != 0) real(kept);
  }
  while (state->entries > 0 && state->entry[state->entries - 1].kind == kNone) --state->entries;
}

// A second link to what stands under a path, so that it can come back. 0: nothing stands there.
static uint32_t keep(const char* path) {
  if (kept_folder[0] == '\0') return 0;
  char to[PATH_MAX + 32];
  const uint32_t number = ++state->kept;
  name_kept(to, number);
  REAL(int, "link", const char*, const char*);
  return real(path, to) == 0 ? number : 0;
}

// Faults

// Whether this operation is to fail; then errno is set.
static int fails(_Atomic uint64_t* count, const struct Plan* plan, uint64_t* total,
                 const struct Fd* fd) {
  if (fd->excepted) return 0;
  const uint64_t number = atomic_fetch_add(count, 1) + 1;
  const int failing = plan->at != 0 && (number == plan->at || (plan->forever && number > plan->at));
  pthread_mutex_lock(&mutex);
  ++*total;
  state->failed += failing;
  pthread_mutex_unlock(&mutex);
  if (failing) errno = plan->error;
  return failing;
}

static int write_fails(int fd) {
  const struct Fd* to = watched(fd);
  return to != NULL && fails(&writes, &write_plan, &state->writes, to);
}

// Opening and closing

static int opened(int fd, const char* path, int flags, int existed) {
  if (fd < 0 || fd >= kFdsMax) {
    if (fd >= kFdsMax) ++state->overflows;
    return fd;
  }
  struct stat now;
  if (fstat(fd, &now) != 0) return fd;
  pthread_mutex_lock(&mutex);
  fds[fd].directory = S_ISDIR(now.st_mode);
  fds[fd].excepted = (char)is_excepted(path);
  strcpy(fds[fd].path, path);
  if ((flags & O_ACCMODE) != O_RDONLY && S_ISREG(now.st_mode)) {
    struct File* file = file_of(&now, existed ? now.st_size : 0);
    if (!existed) {
      if (file != NULL) file->synced = 0;  // the number may have been another file's
      add_entry(kCreated, path, "", 0);
    } else if (file != NULL && file->synced > now.st_size) {
      file->synced = now.st_size;  // O_TRUNC
    }
  }
  fds[fd].watched = 1;
  pthread_mutex_unlock(&mutex);
  return fd;
}

static int needs_mode(int flags) {
  return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
}

#define OPEN(call)                                        \
  path = redirected(path);                                \
  char absolute[PATH_MAX];                                \
  if (!inside(at, path, absolute)) return call;           \
  struct stat before;                                     \
  const int existed = stat(absolute, &before) == 0;       \
  return opened(call, absolute, flags, existed)

#define MODE                         \
  mode_t mode = 0;                   \
  if (needs_mode(flags)) {           \
    va_list arguments;               \
    va_start(arguments, flags);      \
    mode = va_arg(arguments, mode_t); \
    va_end(arguments);               \
  }

int open(const char* path, int flags, ...) {
  REAL(int, "open", const char*, int, ...);
  MODE
  const int at = AT_FDCWD;
  OPEN(real(path, flags, mode));
}

int open64(const char* path, int flags, ...) {
  REAL(int, "open64", const char*, int, ...);
  MODE
  const int at = AT_FDCWD;
  OPEN(real(path, flags, mode));
}

int openat(int at, const char* path, int flags, ...) {
  REAL(int, "openat", int, const char*, int, ...);
  MODE
  OPEN(real(at, path, flags, mode));
}

int openat64(int at, const char* path, int flags, ...) {
  REAL(int, "openat64", int, const char*, int, ...);
  MODE
  OPEN(real(at, path, flags, mode));
}

FILE* fopen(const char* path, const char* mode) {
  REAL(FILE*, "fopen", const char*, const char*);
  return real(redirected(path), mode);
}

FILE* fopen64(const char* path, const char* mode) {
  REAL(FILE*, "fopen64", const char*, const char*);
  return real(redirected(path), mode);
}

int creat(const char* path, mode_t mode) { return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char* path, mode_t mode) { return creat(path, mode); }

int close(int fd) {
  REAL(int, "close", int);
  if (watched(fd) != NULL) fds[fd].watched = 0;
  return real(fd);
}

// Writing

ssize_t write(int fd, const void* data, size_t size) {
  REAL(ssize_t, "write", int, const void*, size_t);
  return write_fails(fd) ? -1 : real(fd, data, size);
}

ssize_t writev(int fd, const struct iovec* parts, int count) {
  REAL(ssize_t, "writev", int, const struct iovec*, int);
  return write_fails(fd) ? -1 : real(fd, parts, count);
}

ssize_t pwrite(int fd, const void* data, size_t size, off_t offset) {
  REAL(ssize_t, "pwrite", int, const void*, size_t, off_t);
  return write_fails(fd) ? -1 : real(fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void* data, size_t size, off64_t offset) {
  REAL(ssize_t, "pwrite64", int, const void*, size_t, off64_t);
  return write_fails(fd) ? -1 : real(fd, data, size, offset);
}

ssize_t pwritev(int fd, const struct iovec* parts, int count, off_t offset) {
  REAL(ssize_t, "pwritev", int, const struct iovec*, int, off_t);
  return write_fails(fd) ? -1 : real(fd, parts, count, offset);
}

ssize_t pwritev64(int fd, const struct iovec* parts, int count, off64_t offset) {
  REAL(ssize_t, "pwritev64", int, const struct iovec*, int, off64_t);
  return write_fails(fd) ? -1 : real(fd, parts, count, offset);
}

ssize_t pwritev2(int fd, const struct iovec* parts, int count, off_t offset, int flags) {
  REAL(ssize_t, "pwritev2", int, const struct iovec*, int, off_t, int);
  return write_fails(fd) ? -1 : real(fd, parts, count, offset, flags);
}

ssize_t pwritev64v2(int fd, const struct iovec* parts, int count, off64_t offset, int flags) {
  return pwritev2(fd, parts, count, offset, flags);
}

int fallocate(int fd, int mode, off_t offset, off_t length) {
  REAL(int, "fallocate", int, int, off_t, off_t);
  return write_fails(fd) ? -1 : real(fd, mode, offset, length);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
  return fallocate(fd, mode, offset, length);
}

int posix_fallocate(int fd, off_t offset, off_t length) {
  REAL(int, "posix_fallocate", int, off_t, off_t);
  return write_fails(fd) ? errno : real(fd, offset, length);
}

int posix_fallocate64(int fd, off64_t offset, off64_t length) {
  return posix_fallocate(fd, offset, length);
}

int ftruncate(int fd, off_t length) {
  REAL(int, "ftruncate", int, off_t);
  if (write_fails(fd)) return -1;
  const int result = real(fd, length);
  struct stat now;
  if (result == 0 && watched(fd) != NULL && fstat(fd, &now) == 0) {
    pthread_mutex_lock(&mutex);
    struct File* file = file_of(&now, now.st_size);
    if (file != NULL && file->synced > length) file->synced = length;
    pthread_mutex_unlock(&mutex);
  }
  return result;
}

int ftruncate64(int fd, off64_t length) { return ftruncate(fd, length); }

// How much room there is

int statvfs(const char* path, struct statvfs* out) {
  REAL(int, "statvfs", const char*, struct statvfs*);
  const int result = real(path, out);
  const char* says = getenv("FAULT_FREE");
  char absolute[PATH_MAX];
  if (result != 0 || says == NULL || !inside(AT_FDCWD, path, absolute)) return result;
  FILE* file = fopen(says, "r");
  unsigned long long free_bytes = 0;
  if (file == NULL) return result;
  if (fscanf(file, "%llu", &free_bytes) == 1 && out->f_frsize > 0) {
    out->f_bfree = out->f_bavail = free_bytes / out->f_frsize;
  }
  fclose(file);
  return result;
}

int statvfs64(const char* path, struct statvfs64* out) {
  return statvfs(path, (struct statvfs*)out);  // alike where file offsets have 64 bits
}

// Syncing

static int sync_with(int fd, int (*real)(int)) {
  const struct Fd* to = watched(fd);
  if (to == NULL) return real(fd);
  if (fails(&syncs, &sync_plan, &state->syncs, to)) return -1;
  if (sync_us > 0) {
    const struct timespec length = {sync_us / 1000000, sync_us % 1000000 * 1000};
    nanosleep(&length, NULL);
  }
  // What comes while the sync is under way may be in it or not: it does not count.
  struct stat before;
  const int known = fstat(fd, &before) == 0;
  pthread_mutex_lock(&mutex);
  const uint32_t count = state->entries;
  pthread_mutex_unlock(&mutex);
  const int result = real(fd);
  if (result == 0 && known) {
    pthread_mutex_lock(&mutex);
    if (to->directory) {
      directory_synced(to->path, count);
    } else {
      struct File* file = file_of(&before, 0);
      if (file != NULL && file->synced < before.st_size) file->synced = before.st_size;
    }
    pthread_mutex_unlock(&mutex);
  }
  return result;
}

int fsync(int fd) {
  REAL(int, "fsync", int);
  return sync_with(fd, real);
}

int fdatasync(int fd) {
  REAL(int, "fdatasync", int);
  return sync_with(fd, real);
}

int sync_file_range(int fd, off64_t offset, off64_t length, unsigned flags) {
  REAL(int, "sync_file_range", int, off64_t, off64_t, unsigned);
  const struct Fd* to = watched(fd);
  const int asks = offset == 0 && length == 0 && flags == 0;  // RocksDB: is it supported here?
  if (to != NULL && !asks && fails(&syncs, &sync_plan, &state->syncs, to)) return -1;
  return real(fd, offset, length, flags);
}

// Entries of directories. What is done is written down first: a kill in between leaves a note of
// what did not happen, and undoing that changes nothing.

int rename(const char* from, const char* to) {
  REAL(int, "rename", const char*, const char*);
  char a[PATH_MAX], b[PATH_MAX];
  if (inside(AT_FDCWD, from, a) && inside(AT_FDCWD, to, b)) {
    pthread_mutex_lock(&mutex);
    add_entry(kRenamed, b, a, keep(b));
    pthread_mutex_unlock(&mutex);
  }
  return real(from, to);
}

int link(const char* from, const char* to) {
  REAL(int, "link", const char*, const char*);
  char b[PATH_MAX];
  if (inside(AT_FDCWD, to, b)) {
    pthread_mutex_lock(&mutex);
    add_entry(kCreated, b, "", 0);
    pthread_mutex_unlock(&mutex);
  }
  return real(from, to);
}

int unlink(const char* path) {
  REAL(int, "unlink", const char*);
  char a[PATH_MAX];
  if (inside(AT_FDCWD, path, a)) {
    pthread_mutex_lock(&mutex);
    const uint32_t kept = keep(a);
    if (kept != 0) add_entry(kUnlinked, a, "", kept);
    pthread_mutex_unlock(&mutex);
  }
  return real(path);
}

int remove(const char* path) {
  REAL(int, "remove", const char*);
  char a[PATH_MAX];
  struct stat now;
  if (inside(AT_FDCWD, path, a) && lstat(path, &now) == 0 && S_ISREG(now.st_mode)) {
    return unlink(path);
  }
  return real(path);
}
