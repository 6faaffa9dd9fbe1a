// RocksDB alone: opens a database, reads every row of it, and says how long that took.
#include <rocksdb/db.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: rocks_scan DIR\n", stderr);
    return 2;
  }
  const auto begin = std::chrono::steady_clock::now();
  rocksdb::DB* opened = nullptr;
  const rocksdb::Status status = rocksdb::DB::OpenForReadOnly({}, argv[1], &opened);
  const std::unique_ptr<rocksdb::DB> db(opened);
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.ToString().c_str());
    return 1;
  }
  const std::unique_ptr<rocksdb::Iterator> row(db->NewIterator({}));
  uint64_t rows = 0;
  uint64_t bytes = 0;
  for (row->SeekToFirst(); row->Valid(); row->Next()) {
    ++rows;
    bytes += row->key().size() + row->value().size();
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  std::printf("{\"scan_s\": %g, \"rows\": %llu, \"row_bytes\": %llu}\n", took.count(),
              static_cast<unsigned long long>(rows), static_cast<unsigned long long>(bytes));
  return row->status().ok() ? 0 : 1;
}
