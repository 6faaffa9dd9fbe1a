// The least that sessions can cost: waitd's own messages on arenas, a sharded map from names to who
// is parked, and results that are ready while a message is being written leave together in the next
// one. No kinds, deadlines, ids, generations, limits or metrics. Usage: batch_peer HOST:PORT
#include <array>
#include <iostream>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "tests/bench/batch.h"
#include "tests/bench/peers/peer.h"

namespace waitd::bench {
namespace {

class BatchStream;

/// Names on which a wait is parked or a READY is remembered.
class Table {
 public:
  /// Nobody: a READY is remembered.
  struct Parked {
    BatchStream* stream;
    uint64_t id;
  };

  /// True: a READY was there. False: parked.
  bool Wait(const std::string& name, Parked who) {
    Shard& shard = ShardOf(name);
    const std::lock_guard lock(shard.mutex);
    const auto [at, added] = shard.names.try_emplace(name, who);
    if (added) return false;
    shard.names.erase(at);
    return true;
  }

  /// Who was parked; nobody: the READY is remembered.
  Parked Ready(const std::string& name) {
    Shard& shard = ShardOf(name);
    const std::lock_guard lock(shard.mutex);
    const auto [at, added] = shard.names.try_emplace(name, Parked{nullptr, 0});
    const Parked who = at->second;
    if (who.stream != nullptr) shard.names.erase(at);
    return who;
  }

 private:
  struct Shard {
    std::mutex mutex;
    absl::flat_hash_map<std::string, Parked> names;
  };

  Shard& ShardOf(std::string_view name) {
    // Not the bits by which the shard's own table goes.
    return shards_[(absl::Hash<std::string_view>{}(name) >> 48) % shards_.size()];
  }

  std::array<Shard, 64> shards_;
};

/// One session. Its reads come from one queue's thread; results come from anybody's.
class BatchStream {
 public:
  static void Await(Table& table, PeerService& service, grpc::ServerCompletionQueue& queue) {
    new BatchStream(table, service, queue);
  }

 private:
  BatchStream(Table& table, PeerService& service, grpc::ServerCompletionQueue& queue)
      : table_(table), service_(service), queue_(queue) {
    service.RequestSession(&context_, &stream_, &queue, &queue, &arrived_);
  }

  void Arrived(bool ok) {
    if (!ok) {
      delete this;
      return;
    }
    Await(table_, service_, queue_);
    stream_.Read(&*request_, &read_);
  }

  void Read(bool ok) {
    if (!ok) {  // waits may still be parked on it: it stays for the process's lifetime
      const std::lock_guard lock(mutex_);
      closed_ = true;
      stream_.Finish(grpc::Status::OK, &ended_);
      return;
    }
    std::vector<BatchStream*> dirty;
    if (request_->has_hello()) {
      const std::lock_guard lock(mutex_);
      pending_->mutable_welcome();
    }
    for (const v1::Operation& operation : request_->operations()) Do(operation, dirty);
    request_.Clear();
    stream_.Read(&*request_, &read_);
    for (BatchStream* stream : dirty) stream->Flush();
    Flush();
  }

  void Do(const v1::Operation& operation, std::vector<BatchStream*>& dirty) {
    if (operation.has_wait()) {
      if (table_.Wait(operation.wait().name(), {this, operation.id()})) Release(operation.id());
    } else if (operation.has_ready()) {
      const Table::Parked who = table_.Ready(operation.ready().name());
      if (who.stream != nullptr) {
        who.stream->Release(who.id);
        if (who.stream != this && (dirty.empty() || dirty.back() != who.stream)) {
          dirty.push_back(who.stream);
        }
      }
      const std::lock_guard lock(mutex_);
      v1::OperationResult& result = *pending_->add_results();
      result.set_id(operation.id());
      v1::ReadyResponse& ready = *result.mutable_ready();
      ready.set_effect(who.stream != nullptr ? v1::READY_EFFECT_WOKE : v1::READY_EFFECT_REMEMBERED);
      ready.set_woken(who.stream != nullptr ? 1 : 0);
    } else {
      const std::lock_guard lock(mutex_);
      v1::OperationResult& result = *pending_->add_results();
      result.set_id(operation.id());
      result.mutable_open();
    }
  }

  void Release(uint64_t id) {
    const std::lock_guard lock(mutex_);
    v1::OperationResult& result = *pending_->add_results();
    result.set_id(id);
    result.mutable_wait()->set_outcome(v1::OUTCOME_READY);
  }

  void Flush() {
    const std::lock_guard lock(mutex_);
    if (closed_ || writing_ || (pending_->results().empty() && !pending_->has_welcome())) return;
    writing_ = true;
    if (!pending_->has_welcome()) pending_->set_sequence(++sequence_);
    stream_.Write(*pending_, &written_);  // serialized at once
    pending_.Clear();
  }

  void Written(bool ok) {
    if (!ok) return;
    {
      const std::lock_guard lock(mutex_);
      writing_ = false;
    }
    Flush();
  }

  void Ended(bool /*ok*/) {}

  Table& table_;
  PeerService& service_;
  grpc::ServerCompletionQueue& queue_;
  Batch<v1::SessionRequest> request_;
  std::mutex mutex_;
  Batch<v1::SessionResponse> pending_;  // under mutex_, as are the next three
  bool writing_ = false;
  bool closed_ = false;
  uint64_t sequence_ = 0;
  grpc::ServerContext context_;
  grpc::ServerAsyncReaderWriter<v1::SessionResponse, v1::SessionRequest> stream_{&context_};
  To<BatchStream, &BatchStream::Arrived> arrived_{*this};
  To<BatchStream, &BatchStream::Read> read_{*this};
  To<BatchStream, &BatchStream::Written> written_{*this};
  To<BatchStream, &BatchStream::Ended> ended_{*this};
};

}  // namespace
}  // namespace waitd::bench

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: batch_peer HOST:PORT\n";
    return 2;
  }
  using waitd::bench::BatchStream;
  waitd::bench::Table table;
  return waitd::bench::ServePeer(
      argv[1], [&table](waitd::bench::PeerService& service, grpc::ServerCompletionQueue& queue) {
        BatchStream::Await(table, service, queue);
      });
}
