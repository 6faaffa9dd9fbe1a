#ifndef WAITD_TESTS_BENCH_BATCH_H_
#define WAITD_TESTS_BENCH_BATCH_H_

#include <google/protobuf/arena.h>

#include <memory>

namespace waitd::bench {

/// A message on an arena of its own, which keeps its first block when it is cleared.
template <class Message>
class Batch {
 public:
  Message& operator*() { return *message_; }
  Message* operator->() { return message_; }
  void Clear() {
    arena_.Reset();
    message_ = google::protobuf::Arena::CreateMessage<Message>(&arena_);
  }

 private:
  static google::protobuf::ArenaOptions Options(char* block) {
    google::protobuf::ArenaOptions options;
    options.initial_block = block;
    options.initial_block_size = kBlock;
    options.max_block_size = kBlock;  // by default 8 KiB, of which a large message needs many
    return options;
  }

  static constexpr size_t kBlock = 256 << 10;
  std::unique_ptr<char[]> block_{new char[kBlock]};
  google::protobuf::Arena arena_{Options(block_.get())};
  Message* message_ = google::protobuf::Arena::CreateMessage<Message>(&arena_);
};

}  // namespace waitd::bench

#endif  // WAITD_TESTS_BENCH_BATCH_H_
