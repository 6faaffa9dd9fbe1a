// Writes to a RocksDB as a store does, so that the shim can be tried on the library it is for.
//
//   rocks_probe put DIR FROM TO [nosync]   puts keys, and prints each whose write was acknowledged
//   rocks_probe get DIR                    prints all keys
//
// After "put" it waits to be killed, unless a write failed: then it says so, and ends with 1.
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int failed(const char* what, char* error) {
  if (error == NULL) return 0;
  fprintf(stderr, "%s: %s\n", what, error);
  free(error);
  return 1;
}

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  char* error = NULL;
  rocksdb_options_t* options = rocksdb_options_create();
  rocksdb_options_set_create_if_missing(options, 1);
  rocksdb_options_set_paranoid_checks(options, 1);
  rocksdb_t* db = rocksdb_open(options, argv[2], &error);
  if (failed("open", error)) return 1;
  if (strcmp(argv[1], "get") == 0) {
    rocksdb_readoptions_t* reading = rocksdb_readoptions_create();
    rocksdb_iterator_t* at = rocksdb_create_iterator(db, reading);
    for (rocksdb_iter_seek_to_first(at); rocksdb_iter_valid(at); rocksdb_iter_next(at)) {
      size_t size = 0;
      const char* key = rocksdb_iter_key(at, &size);
      printf("%.*s\n", (int)size, key);
    }
    rocksdb_iter_destroy(at);
    rocksdb_close(db);
    return 0;
  }
  if (argc < 5) return 2;
  rocksdb_writeoptions_t* writing = rocksdb_writeoptions_create();
  rocksdb_writeoptions_set_sync(writing, argc < 6);
  for (int i = atoi(argv[3]); i < atoi(argv[4]); ++i) {
    char key[32];
    const int size = snprintf(key, sizeof key, "%08d", i);
    rocksdb_put(db, writing, key, (size_t)size, "value", 5, &error);
    if (failed("put", error)) return 1;
    printf("%s\n", key);
    fflush(stdout);
  }
  printf("done\n");
  fflush(stdout);
  pause();
}
